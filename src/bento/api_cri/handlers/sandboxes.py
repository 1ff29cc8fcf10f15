"""Pods: RunPodSandbox, StopPodSandbox, RemovePodSandbox, PodSandboxStatus, ListPodSandbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from bento import clock
from bento.api_cri.bodies import front
from bento.api_cri.bodies.sandboxes import read_sandbox
from bento.api_cri.context import Context
from bento.api_cri.handlers import finding, jobs
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import sandboxes as shapes
from bento.errors import NotFound
from bento.model.pods import Pod
from bento.serving.jobs import RemovePod, StopPod
from bento.wiring import Engine

LEFT_GRACE_S: Final = 2.0
"""For what still runs in a pod that is stopped: the interface has it end by force, after its containers were stopped.
Programs that hear may still end in order."""


async def run(context: Context, request: Message) -> Message:
    """Make a pod, which is ready then."""
    options = read_sandbox(request.config, request.runtime_handler)

    def make(engine: Engine) -> Pod:
        name = finding.free_pod_name(engine, options.name) if options.name else ""
        return engine.create_pod(replace(options, name=name))

    made = await context.engines.act(make)
    return pb.RunPodSandboxResponse(pod_sandbox_id=made.id)


def _unless_live(engine: Engine, ref: str, do: Callable[[str], object]) -> str:
    """Do something to a pod in which nothing runs, here: there is nothing to wait for that needs a process of its own.

    Return its id where something runs, and "" where it is done. Raises NotFound, and what ``do`` raises.
    """
    pod = finding.pod(engine, ref)
    if any(each.status.is_live for each in engine.pod_containers(pod.id)):
        return pod.id
    do(pod.id)
    return ""


async def stop(context: Context, request: Message) -> Message:
    """End what runs in a pod, and release its network. What is stopped, or not there, is no error."""
    with suppress(NotFound):
        live = await context.engines.act(
            lambda engine: _unless_live(
                engine, request.pod_sandbox_id, lambda pod_id: engine.stop_pod(pod_id, LEFT_GRACE_S)
            )
        )
        if live:
            await jobs.done(context, StopPod(ref=live, grace_s=LEFT_GRACE_S))
    return pb.StopPodSandboxResponse()


async def remove(context: Context, request: Message) -> Message:
    """Remove a pod and its containers, which are ended. What is not there is no error."""
    with suppress(NotFound):
        live = await context.engines.act(
            lambda engine: _unless_live(
                engine, request.pod_sandbox_id, lambda pod_id: engine.remove_pod(pod_id, force=True)
            )
        )
        if live:
            await jobs.done(context, RemovePod(ref=live))
    return pb.RemovePodSandboxResponse()


async def status(context: Context, request: Message) -> Message:
    """Return a pod, and its containers. Raises NotFound."""

    def look(engine: Engine) -> Message:
        as_of_ns = clock.wall_ns()  # before the look: a kubelet takes what an event said later for the newer
        pod = finding.pod(engine, request.pod_sandbox_id)
        config = front.sandbox_config(pod.settings.front)
        found = [c for c in engine.pod_containers(pod.id) if front.is_ours(c.spec.node.front)]
        reply = pb.PodSandboxStatusResponse(
            status=shapes.status(pod),
            containers_statuses=[finding.described(engine, each, config) for each in found],
            timestamp=as_of_ns,
        )
        if request.verbose:
            reply.info["info"] = shapes.info(pod)
        return reply

    return await context.engines.ask(look)


async def update_resources(context: Context, request: Message) -> Message:
    """Keep what the containers of a pod may take together: its cgroup is the kubelet's, which changes it itself."""

    def change(engine: Engine) -> None:
        pod = finding.pod(engine, request.pod_sandbox_id)
        config = pb.PodSandboxConfig()
        config.CopyFrom(front.sandbox_config(pod.settings.front))
        for name in ("overhead", "resources"):
            if request.HasField(name):
                getattr(config.linux, name).CopyFrom(getattr(request, name))
        engine.keep_pod_front(pod.id, front.keep(config, front.runtime_handler(pod.settings.front)))

    await context.engines.act(change)
    return pb.UpdatePodSandboxResourcesResponse()


async def list_all(context: Context, request: Message) -> Message:
    """Return the pods that pass a filter."""
    wanted = request.filter
    state = wanted.state.state if wanted.HasField("state") else None
    selector = dict(wanted.label_selector)

    def passes(pod: Pod) -> bool:
        return (
            front.is_ours(pod.settings.front)
            and pod.id.startswith(wanted.id)
            and (state is None or shapes.state(pod) == state)
            and finding.is_selected(front.sandbox_config(pod.settings.front).labels, selector)
        )

    def look(engine: Engine) -> Message:
        return pb.ListPodSandboxResponse(items=[shapes.listed(each) for each in engine.pods() if passes(each)])

    return await context.engines.ask(look)
