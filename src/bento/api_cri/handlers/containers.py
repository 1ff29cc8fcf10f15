"""Containers, from their creation to their removal, and what is said of them."""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from bento.api_cri.bodies import front
from bento.api_cri.bodies.containers import read_container
from bento.api_cri.bodies.resources import read_hugepages, read_resources
from bento.api_cri.context import Context
from bento.api_cri.handlers import finding, jobs
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import containers as shapes
from bento.api_cri.shapes import images
from bento.engine.stop.request import StopOptions
from bento.errors import NotFound, UsageError, WrongState
from bento.model.container import IMAGE, Container, Status
from bento.model.create import CreateOptions, UpdateOptions
from bento.model.image import Image
from bento.model.pods import Pod
from bento.model.stop import OnPaused
from bento.oci.resources import given
from bento.serving.jobs import Remove, Stop
from bento.wiring import Engine


async def create(context: Context, request: Message) -> Message:
    """Make a container in a pod that is ready."""

    def make(engine: Engine) -> Container:
        pod = finding.pod(engine, request.pod_sandbox_id)
        if not pod.is_ready:
            raise WrongState(f"pod {pod.name} is not ready", hint="make another one")
        return engine.create(_asked(engine, request.config, pod))

    made = await context.engines.act(make)
    return pb.CreateContainerResponse(container_id=made.id)


def _asked(engine: Engine, config: Message, pod: Pod) -> CreateOptions:
    """Return what is asked of a container. Raises UsageError, NotFound: ImageStatus knows no such image."""
    options = read_container(config, front.sandbox_config(pod.settings.front), pod.id)
    image = _image(engine, options.image)
    for mount in options.files.mounts:
        if mount.kind == IMAGE:
            _image(engine, mount.source)
    name = finding.free_container_name(engine, options.name) if options.name else None
    return replace(options, name=name, image_name=images.called(image, config.image))


def _image(engine: Engine, name: str) -> Image:
    found = finding.image(engine, name)
    if found is None:
        raise NotFound(f"no such image: {name}", hint="pull it")
    return found


async def start(context: Context, request: Message) -> Message:
    """Start a container that was just made: the interface has none start twice."""

    def begin(engine: Engine) -> None:
        found = finding.container(engine, request.container_id)
        if found.status is not Status.CREATED:
            raise WrongState(f"container {found.id} is {found.status.value}, and not created")
        engine.start(found.id)

    await context.engines.act(begin)
    return pb.StartContainerResponse()


async def stop(context: Context, request: Message) -> Message:
    """Stop a container: 0 kills, and a call for one whose stop is under way can make that end sooner.

    It goes on when the client leaves, or this server ends. What does not run, or is not there, is no error.
    """
    if request.timeout < 0:
        raise UsageError(f"bad timeout {request.timeout}", hint="give 0 or more seconds")
    with suppress(NotFound):
        found = await context.engines.ask(lambda engine: finding.container(engine, request.container_id))
        if found.status.is_live:
            options = StopOptions(grace_s=float(request.timeout), on_paused=OnPaused.THAW)
            await jobs.done(context, Stop(refs=(found.id,), options=options))
    return pb.StopContainerResponse()


async def remove(context: Context, request: Message) -> Message:
    """Remove a container, which is killed where it runs. What is not there is no error."""
    with suppress(NotFound):
        found = await context.engines.ask(lambda engine: finding.container(engine, request.container_id))
        if found.status.is_live:
            await jobs.done(context, Remove(refs=(found.id,), volumes=True, shared=True))
        else:
            await context.engines.act(lambda engine: engine.remove(found.id, force=True, volumes=True))
    return pb.RemoveContainerResponse()


async def list_all(context: Context, request: Message) -> Message:
    """Return the containers that pass a filter."""
    wanted = request.filter
    state = wanted.state.state if wanted.HasField("state") else None
    selector = dict(wanted.label_selector)

    def passes(container: Container) -> bool:
        return (
            front.is_ours(container.spec.node.front)
            and container.id.startswith(wanted.id)
            and container.spec.pod.startswith(wanted.pod_sandbox_id)
            and (state is None or shapes.state(container) == state)
            and finding.is_selected(front.container_config(container.spec.node.front).labels, selector)
        )

    def look(engine: Engine) -> Message:
        found = [shapes.listed(each) for each in engine.containers(all=True) if passes(each)]
        return pb.ListContainersResponse(containers=found)

    return await context.engines.ask(look)


async def status(context: Context, request: Message) -> Message:
    """Return all that is said of a container. Raises NotFound."""

    def look(engine: Engine) -> Message:
        found = finding.container(engine, request.container_id)
        try:
            sandbox = front.sandbox_config(engine.pod(found.spec.pod).settings.front)
        except NotFound:
            sandbox = pb.PodSandboxConfig()
        reply = pb.ContainerStatusResponse(status=finding.described(engine, found, sandbox))
        if request.verbose:
            reply.info["info"] = shapes.info(found)
        return reply

    return await context.engines.ask(look)


async def update_resources(context: Context, request: Message) -> Message:
    """Change the limits of a container: all that are given, or none."""
    asked = read_resources(request.linux)
    if any(read_hugepages(request.linux).values()):
        raise UsageError("the limits of huge pages are those that a container was made with", hint="make it anew")

    def change(engine: Engine) -> None:
        found = finding.container(engine, request.container_id)
        if given(asked):
            engine.update(found.id, UpdateOptions(resources=asked))

    await context.engines.act(change)
    return pb.UpdateContainerResourcesResponse()


async def reopen_log(context: Context, request: Message) -> Message:
    """Have the log of a container that runs be written to a new file, after the old one was renamed."""

    def reopen(engine: Engine) -> None:
        found = finding.container(engine, request.container_id)
        if not found.spec.node.log_path:
            raise WrongState(f"container {found.id} has no log of its own", hint="make it with a log_path")
        engine.reopen_log(found.id)

    await context.engines.act(reopen)
    return pb.ReopenContainerLogResponse()
