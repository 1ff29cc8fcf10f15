"""What containers and pods take of the machine."""

from __future__ import annotations

from bento import clock
from bento.api_cri.bodies import front
from bento.api_cri.context import Context
from bento.api_cri.handlers import finding
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import usage
from bento.model.container import Container
from bento.model.pods import Pod
from bento.model.stats import Usage
from bento.wiring import Engine


async def container(context: Context, request: Message) -> Message:
    """Return what one container takes. Raises NotFound."""

    def look(engine: Engine) -> Message:
        found = finding.container(engine, request.container_id)
        return pb.ContainerStatsResponse(stats=_of(engine, [found])[0])

    return await context.engines.ask(look)


async def containers(context: Context, request: Message) -> Message:
    """Return what the containers take that pass a filter."""
    wanted = request.filter
    selector = dict(wanted.label_selector)

    def passes(each: Container) -> bool:
        return (
            front.is_ours(each.spec.node.front)
            and each.id.startswith(wanted.id)
            and each.spec.pod.startswith(wanted.pod_sandbox_id)
            and finding.is_selected(front.container_config(each.spec.node.front).labels, selector)
        )

    def look(engine: Engine) -> Message:
        found = [each for each in engine.containers(all=True) if passes(each)]
        return pb.ListContainerStatsResponse(stats=_of(engine, found))

    return await context.engines.ask(look)


async def sandbox(context: Context, request: Message) -> Message:
    """Return what a pod takes. Raises NotFound."""

    def look(engine: Engine) -> Message:
        return pb.PodSandboxStatsResponse(stats=_of_pod(engine, finding.pod(engine, request.pod_sandbox_id)))

    return await context.engines.ask(look)


async def sandboxes(context: Context, request: Message) -> Message:
    """Return what the pods take that pass a filter."""
    wanted = request.filter
    selector = dict(wanted.label_selector)

    def passes(pod: Pod) -> bool:
        return (
            front.is_ours(pod.settings.front)
            and pod.id.startswith(wanted.id)
            and finding.is_selected(front.sandbox_config(pod.settings.front).labels, selector)
        )

    def look(engine: Engine) -> Message:
        found = [_of_pod(engine, each) for each in engine.pods() if passes(each)]
        return pb.ListPodSandboxStatsResponse(stats=found)

    return await context.engines.ask(look)


def _of(engine: Engine, found: list[Container]) -> list[Message]:
    samples = _samples(engine, found)
    return [usage.container(each, samples.get(each.id), engine.own_files(each.id)) for each in found]


def _samples(engine: Engine, found: list[Container]) -> dict[str, Usage]:
    if not found:
        return {}
    sampled = engine.stats_sampler([each.id for each in found]).sample()
    return {each.id: each.now for each in sampled if each.now is not None}


def _of_pod(engine: Engine, pod: Pod) -> Message:
    found = [each for each in engine.pod_containers(pod.id) if front.is_ours(each.spec.node.front)]
    samples = _samples(engine, found)
    made = usage.pod(pod, list(samples.values()), clock.wall_ns())
    made.linux.containers.extend(
        usage.container(each, samples.get(each.id), engine.own_files(each.id)) for each in found
    )
    return made
