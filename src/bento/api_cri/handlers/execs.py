"""ExecSync: a command in a container, its whole output, and its exit code."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Final

from bento.api_cri.context import Context
from bento.api_cri.handlers import finding
from bento.api_cri.messages import Message, pb
from bento.engine.lifecycle.exec_ import Attached
from bento.errors import BentoError, DeadlineExceeded, UsageError
from bento.model.exec import ExecOptions
from bento.serving.readiness import read_now, readable
from bento.units import SIGKILL
from bento.wiring import Engine

_OUTPUT_MAX: Final = 16 << 20
"""What is kept of each stream: an answer of the interface is to have no more, and neither has its kubelet."""
_LAST_S: Final = 5.0
"""For a command that was killed: one that cannot be killed is left."""


async def exec_sync(context: Context, request: Message) -> Message:
    """Run a command to its end; after ``timeout`` seconds, 0 is none, it is killed. Raises DeadlineExceeded."""
    if not request.cmd:
        raise UsageError("no command to run", hint="fill in cmd")
    if request.timeout < 0:
        raise UsageError(f"bad timeout {request.timeout}", hint="give 0 or more seconds")
    limit_s = float(request.timeout) or None

    def begin(engine: Engine) -> Attached:
        found = finding.container(engine, request.container_id)
        return engine.exec(found.id, ExecOptions(command=tuple(request.cmd)))

    running = await context.engines.act(begin, undo=lambda begun: _abandon(context, begun))
    kept: dict[int, bytearray] = {}
    try:
        async with asyncio.timeout(limit_s):
            await _read(running, kept)
    except TimeoutError:
        await asyncio.shield(_abandon(context, running))  # it is gone when the call ends
        raise DeadlineExceeded(f"command {request.cmd[0]!r} timed out: timeout {limit_s:g}s exceeded") from None
    except BaseException:  # the client has left
        _abandon(context, running)
        raise
    output = [bytes(kept.get(fd, b"")) if fd is not None else b"" for fd in (running.stdout_fd, running.stderr_fd)]
    code = await context.engines.act(lambda engine: engine.wait_exec(running))
    return pb.ExecSyncResponse(stdout=output[0], stderr=output[1], exit_code=code)


async def _read(running: Attached, kept: dict[int, bytearray]) -> None:
    """Read the output until the command has ended. What it has left behind is not waited for."""
    outputs = [fd for fd in (running.stdout_fd, running.stderr_fd) if fd is not None]
    for fd in outputs:
        os.set_blocking(fd, False)
        kept[fd] = bytearray()
    while (ready := await readable(*outputs, running.status_fd)) in outputs:
        if _take(ready, kept[ready]) is False:
            outputs.remove(ready)
    for fd in outputs:
        while _take(fd, kept[fd]):
            pass


def _take(fd: int, into: bytearray) -> bool | None:
    """Keep what there is now; None: nothing; False: its end."""
    data = read_now(fd)
    if data:
        into += data[: max(0, _OUTPUT_MAX - len(into))]
        return True
    return None if data is None else False


def _abandon(context: Context, running: Attached) -> asyncio.Task[None]:
    """Kill a command that is waited for no longer, and close its descriptors once it has ended."""
    task = asyncio.ensure_future(_end(context, running))
    _ending.add(task)
    task.add_done_callback(_ending.discard)
    return task


_ending: set[asyncio.Task[None]] = set()
"""The loop itself holds no task."""


async def _end(context: Context, running: Attached) -> None:
    with suppress(BentoError, OSError):
        await context.engines.act(lambda engine: engine.signal_exec(running.session, SIGKILL))
        async with asyncio.timeout(_LAST_S):
            await readable(running.status_fd)
        await context.engines.act(lambda engine: engine.wait_exec(running))
        return
    running.close()
