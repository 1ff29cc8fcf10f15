"""Exec sessions: a command more in a container that runs."""

from __future__ import annotations

import os
from contextlib import suppress

from msgspec.structs import replace

from bento.api_docker.bodies.execs import ExecCreate, ExecStart, read_exec, read_keys, read_size
from bento.api_docker.handlers.attach import read_size as size_of
from bento.api_docker.http.call import Call
from bento.api_docker.http.duplex import Duplex
from bento.api_docker.http.errors import message_of
from bento.api_docker.http.replies import Reply, Upgrade, json
from bento.api_docker.streams.execs import Exec
from bento.api_docker.streams.frames import STDOUT, Frames
from bento.api_docker.streams.relay import copy_exec, relay
from bento.docker import exec_api
from bento.engine.lifecycle.exec_ import Attached
from bento.errors import BentoError, Conflict, WrongState
from bento.model.container import Status
from bento.model.event import UNKNOWN_CODE
from bento.serving.feeding import copy_input
from bento.units import new_id


async def create(call: Call) -> Reply:
    """``POST /containers/ID/exec``: keep what is to be run."""
    body = await call.read(ExecCreate)
    options, keys = read_exec(body, new_id()), read_keys(body.DetachKeys)
    container = await call.ask(lambda engine: engine.get(call.ref))
    if container.status is Status.PAUSED:
        raise WrongState(f"Container {container.id} is paused, unpause the container before exec")
    if container.status is Status.RESTARTING:
        raise WrongState(f"Container {container.id} is restarting, wait until the container is running")
    if container.status not in (Status.RUNNING, Status.STOPPING):
        raise WrongState(f"Container {container.id} is not running")
    made = Exec(container.id, options, stdout=bool(body.AttachStdout), stderr=bool(body.AttachStderr), keys=keys)
    call.services.execs.add(made)
    return json({"Id": options.id}, 201)


async def start(call: Call) -> Reply | Upgrade:
    """``POST /exec/ID/start``: run it, on this connection, or detached."""
    body = await call.read(ExecStart)
    session = call.services.execs.find(call.ref)
    if session.is_begun:
        raise Conflict(f"Error: Exec command {session.options.id} has already run")
    size = read_size(body.ConsoleSize) or session.options.size
    session.options = replace(session.options, size=size)
    container = await call.ask(lambda engine: engine.get(session.container_id))
    if container.status not in (Status.RUNNING, Status.STOPPING):
        raise WrongState(f"Container {container.id} is not running: {container.status.value}")
    session.is_begun = True
    if body.Detach:
        try:
            found = await call.act(lambda engine: engine.exec_detached(session.container_id, session.options))
        except BentoError as error:
            session.exit_code = _code_of(error)
            raise
        session.pid = found.process.pid if found.process else 0
        return Reply()
    frames = Frames(is_terminal=session.options.tty, stdout=session.stdout, stderr=session.stderr)
    running = _Running(call, session, frames)
    return Upgrade(run=running.run, content_type=frames.content_type(call.version), abandon=running.abandon)


def _code_of(error: BentoError) -> int:
    return error.exit_code if error.exit_code in (126, 127) else 125


class _Running:
    """A session on the connection of a client."""

    def __init__(self, call: Call, session: Exec, frames: Frames) -> None:
        self._call, self._session, self._frames = call, session, frames
        self._is_over = False

    async def run(self, duplex: Duplex) -> None:
        session = self._session
        try:
            running = await self._call.act(
                lambda engine: engine.exec(session.container_id, session.options), self._go_on
            )
        except BentoError as error:  # as in Docker: the client has its connection already
            self._is_over = True
            session.exit_code = _code_of(error)
            await duplex.write(self._frames.pack(STDOUT, f"{message_of(error)}\r\n".encode()))
            duplex.end()
            return
        session.running = running
        if session.options.size is not None:  # it may have come while the command was being begun
            running.resize(session.options.size)
        session.pid = running.session.process.pid if running.session.process else 0
        output = copy_exec(running, self._frames, duplex.write)
        keys = session.keys if session.options.tty else b""
        typed = copy_input(duplex, running, keys) if session.options.has_input else None
        if running.stdin_fd is not None:
            os.set_blocking(running.stdin_fd, False)
        if await relay(output, typed):
            return  # the client has left by its keys
        self._is_over = True
        await finish(self._call, session, running)
        duplex.end()

    def abandon(self) -> None:
        """Have what goes on without its client be read to its end: it is not to fail by a closed pipe."""
        running = self._session.running
        if not self._is_over and running is not None:
            self._go_on(running)

    def _go_on(self, running: Attached) -> None:
        self._call.services.execs.in_background(_drain(self._call, self._session, running))


async def finish(call: Call, session: Exec, running: Attached) -> None:
    """Take the exit code of a command that has ended."""
    session.running = None
    try:
        session.exit_code = await call.act(lambda engine: engine.wait_exec(running))
    except BentoError:
        session.exit_code = UNKNOWN_CODE if session.exit_code is None else session.exit_code


async def _drain(call: Call, session: Exec, running: Attached) -> None:
    async def drop(data: bytes) -> None:
        return None

    if not session.options.tty:
        running.end_input()
    with suppress(OSError):
        await copy_exec(running, Frames(is_terminal=True), drop)
    await finish(call, session, running)


async def inspect(call: Call) -> Reply:
    """``GET /exec/ID/json``."""
    session = call.services.execs.find(call.ref)
    return json(
        exec_api.document(
            session.options,
            session.container_id,
            pid=session.pid,
            is_running=session.is_running,
            exit_code=session.exit_code,
            stdout=session.stdout,
            stderr=session.stderr,
            keys=session.keys,
        )
    )


async def resize(call: Call) -> Reply:
    """``POST /exec/ID/resize``."""
    session, size = call.services.execs.find(call.ref), size_of(call)
    session.options = replace(session.options, size=size)
    if session.running is not None:
        session.running.resize(size)
    return Reply()
