"""Containers: what lists, makes, starts, ends, and removes them."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from bento.api_docker.bodies.containers import Create
from bento.api_docker.bodies.create import read_create
from bento.api_docker.bodies.execs import read_size
from bento.api_docker.handlers.attach import start_attached
from bento.api_docker.handlers.jobs import outcome
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import NO_CONTENT, NOT_MODIFIED, Reply, json
from bento.docker import container_api
from bento.engine.stop.request import StopOptions
from bento.errors import BentoError, MissingTool, NotFound, UsageError, WrongState
from bento.model.container import Container, Status
from bento.model.stop import AskedBy, OnPaused
from bento.serving.jobs import Remove, Restart, Stop
from bento.units import NO_LIMIT, SIGKILL, parse_signal
from bento.wiring import Engine


async def list_(call: Call) -> Reply:
    """``GET /containers/json``. ``limit``: so many, the newest, of all; 0 and below are no limit."""
    query = call.query
    limit = query.number("limit") or 0
    is_all, size, filters = query.flag("all") or limit > 0, query.flag("size"), query.filters()

    def look(engine: Engine) -> list[dict[str, object]]:
        found = engine.containers(all=is_all, filters=filters)
        return engine.summaries(found[:limit] if limit > 0 else found, size=size)

    return json(await call.ask(look))


async def inspect(call: Call) -> Reply:
    """``GET /containers/ID/json``."""
    size = call.query.flag("size")

    def look(engine: Engine) -> dict[str, object]:
        container = engine.get(call.ref)
        return container_api.inspected(engine.inspect(container.id, size=size), container.status)

    return json(await call.ask(look))


async def create(call: Call) -> Reply:
    """``POST /containers/create``."""
    body = await call.read(Create)
    asked, platform = read_create(body, name=call.query.text("name").removeprefix("/")), call.query.text("platform")

    def make(engine: Engine) -> Container:
        engine.provide_image(asked.options.image, "never", platform=platform)
        try:
            return engine.create(asked.options)
        except MissingTool as error:
            if asked.options.runtime:
                raise UsageError(error.message, hint=error.hint) from error
            raise
        except NotFound as error:  # a network, or another container: clients take 404 for an image to be fetched
            engine.provide_image(asked.options.image, "never", platform=platform)  # it may have gone just now
            raise UsageError(error.message, hint=error.hint) from error

    container = await call.act(make)
    if body.Tty and body.HostConfig and (size := read_size(body.HostConfig.ConsoleSize)):
        call.services.attaching.sizes[container.id] = size
    return json({"Id": container.id, "Warnings": [*asked.warnings, *container.spec.notes]}, 201)


async def start(call: Call) -> Reply:
    """``POST /containers/ID/start``; 304 when it runs already."""
    if call.query.text("checkpoint"):
        raise UsageError("checkpoints are not supported", hint="omit checkpoint")
    container = await call.ask(lambda engine: engine.get(call.ref))
    if container.status is Status.RUNNING:
        return NOT_MODIFIED
    if container.status is Status.PAUSED:
        raise WrongState("cannot start a paused container, try unpause instead")
    try:
        if pending := call.services.attaching.take(container.id):
            await start_attached(call, container, pending)
        else:
            await call.act(lambda engine: engine.start(container.id))
    except BentoError:
        if container.spec.auto_remove:  # as Docker does; clients wait for that
            with suppress(BentoError):
                await call.act(lambda engine: engine.remove(container.id, volumes=True))
        raise
    call.services.workers.prepare()  # it will be stopped one day, maybe soon
    return NO_CONTENT


def _stop_options(call: Call) -> StopOptions:
    seconds, signal = call.query.number("t"), call.query.text("signal")
    return StopOptions(
        grace_s=None if seconds is None else NO_LIMIT if seconds < 0 else float(seconds),
        signal=parse_signal(signal) if signal else None,
        on_paused=OnPaused.THAW,  # as Docker does
        asked_by=AskedBy.API,
    )


async def stop(call: Call) -> Reply:
    """``POST /containers/ID/stop``; 304 when it does not run. The verdict is in a header, the whole report below."""
    options = _stop_options(call)
    container = await call.ask(lambda engine: engine.get(call.ref))
    if not container.status.is_wanted:
        return NOT_MODIFIED
    message = await outcome(call, Stop(refs=(container.id,), options=options))
    verdict = message.report.verdict.value if message.report is not None else ""
    return Reply(status=204, headers=(("X-Bento-Verdict", verdict),) if verdict else ())


async def stop_report(call: Call) -> Reply:
    """``GET /bento/containers/ID/stop-report``: what happened in its last stop. Bento's own."""
    container = await call.ask(lambda engine: engine.get(call.ref))
    if container.report is None:
        raise NotFound(f"container {container.name} was not stopped by Bento yet")
    return json(msgspec.to_builtins(container.report))


async def restart(call: Call) -> Reply:
    """``POST /containers/ID/restart``."""
    options = _stop_options(call)
    container = await call.ask(lambda engine: engine.get(call.ref))
    await outcome(call, Restart(refs=(container.id,), options=options))
    return NO_CONTENT


async def kill(call: Call) -> Reply:
    """``POST /containers/ID/kill``."""
    text = call.query.text("signal")
    number = parse_signal(text) if text else SIGKILL
    await call.act(lambda engine: engine.kill(call.ref, number, for_good=True))
    return NO_CONTENT


async def pause(call: Call) -> Reply:
    """``POST /containers/ID/pause``."""
    await call.act(lambda engine: engine.pause(call.ref))
    return NO_CONTENT


async def unpause(call: Call) -> Reply:
    """``POST /containers/ID/unpause``."""
    await call.act(lambda engine: engine.unpause(call.ref))
    return NO_CONTENT


async def rename(call: Call) -> Reply:
    """``POST /containers/ID/rename``."""
    name = call.query.text("name").removeprefix("/")
    await call.act(lambda engine: engine.rename(call.ref, name))
    return NO_CONTENT


async def remove(call: Call) -> Reply:
    """``DELETE /containers/ID``. One that runs is ended first where ``force`` says so, by a worker."""
    query = call.query
    volumes, force = query.flag("v"), query.flag("force")
    if query.flag("link"):
        raise UsageError(
            "a link is not removed by itself", hint="connect the container to its network anew, without it"
        )
    container = await call.ask(lambda engine: engine.get(call.ref))
    if force and container.status.is_wanted:
        await outcome(call, Remove(refs=(container.id,), volumes=volumes, shared=True))
    else:
        _refuse_if_live(container)
        await call.act(lambda engine: engine.remove(container.id, force=force, volumes=volumes, shared=True))
    call.services.execs.forget(container.id)  # the event comes later
    return NO_CONTENT


def _refuse_if_live(container: Container) -> None:
    if container.status.is_wanted:
        raise WrongState(
            f'cannot remove container "/{container.name}": container is {container_api.state(container.status)}: '
            "stop the container before removing or force remove"
        )
