"""The process that forks a server's workers, seen from the server, which never forks: it has threads.

It is started by posix_spawn(3), and has the modules of jobs loaded (``bento.serve.worker``). It knows of no job, so it
may be killed at any time: what it has forked goes on, and another one is started.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from typing import Final

from bento import __version__, command, log
from bento.command import Child
from bento.errors import BentoError, KernelError
from bento.serving.readiness import readable

AGAIN_S: Final = 1.0
"""After its end another one is started, for what may come; what needs it has it started at once."""
LIMIT_S: Final = 20.0
"""So long a worker may take to be there, an interpreter's start included; then what is to fork it is ended."""
_ATTEMPTS: Final = 10
_AT_ONCE: Final = 16  # so many are asked for, which a socket always has room for
_HELLO_BYTES: Final = 64
_REAP_LIMIT_S: Final = 5.0


class Worker:
    """A process that waits for a job, or is at one. ``ours``: the server's end of its socket."""

    def __init__(self, ours: socket.socket, pidfd: int) -> None:
        self.ours, self._pidfd = ours, pidfd

    def is_alive(self) -> bool:
        """Whether it still waits; one that has ended closes its socket."""
        try:
            return bool(self.ours.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def terminate(self) -> None:
        """Send it SIGTERM. Nothing happens where it has ended, or was closed."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def close(self) -> None:
        """Let go of it: it ends, once it has no job. Idempotent."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
            self.ours.close()


class Forker:
    """Starts that process, and another one when it has ended. The calls are for the loop. Close it.

    ``argv``: of the process, before the numbers of its descriptor and of the server.
    """

    def __init__(self, argv: tuple[str, ...]) -> None:
        self._argv = argv
        self._loop = asyncio.get_running_loop()
        self._child: Child | None = None
        self._control: socket.socket | None = None
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Have it there: it is started where it is not. Raises MissingTool, KernelError."""
        if self._control is not None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            fd = command.above_standard(theirs.detach())
            try:
                argv = (*self._argv, str(fd), str(os.getpid()))
                child = command.spawn(argv, env=dict(os.environ), capture=False, pass_fds=(fd,), new_session=True)
            finally:
                os.close(fd)
        except BaseException:
            ours.close()
            raise
        self._child, self._control = child, ours
        self._loop.add_reader(child.pidfd, self._ended)
        log.debug(f"process {child.pid} was started to fork workers")

    async def fork(self) -> Worker:
        """Return a worker that waits for a job. Raises MissingTool, KernelError when there can be none."""
        async with self._room:
            for _ in range(_ATTEMPTS):
                self.start()
                ours, theirs = socket.socketpair()
                ours.setblocking(False)
                try:
                    with theirs:
                        self._ask(theirs)
                    worker = await self._greeted(ours)
                except BaseException:
                    ours.close()
                    raise
                if worker is not None:
                    return worker
                ours.close()  # what was to fork it has ended
        raise KernelError("fork", 0, "the process that forks workers has ended again and again", hint="try again")

    def _ask(self, theirs: socket.socket) -> None:
        """Pass on a worker's end of its socket. Where nothing takes it, the other end tells."""
        assert self._control is not None
        try:
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
        except OSError:  # it is just ending
            self._drop()

    async def _greeted(self, ours: socket.socket) -> Worker | None:
        """Return the worker that says it is there; None: there will be none. Raises KernelError."""
        if await readable(ours.fileno(), timeout_s=LIMIT_S) is None:
            log.warning(f"no worker was forked in {LIMIT_S:g} s: the process that is to do so is ended")
            self._drop()
            return None
        try:
            said, fds, _, _ = socket.recv_fds(ours, _HELLO_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return None
        if said and not fds:
            raise KernelError("fork", int(said), os.strerror(int(said)), hint="see the limits of processes and memory")
        if said and said.decode() != __version__:
            log.warning_once(f"Bento {said.decode()} was installed while this server of {__version__} runs: restart it")
        return Worker(ours, fds[0]) if fds else None

    def _drop(self) -> None:
        """Have another one take its place."""
        if self._child is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._child.pidfd, signal.SIGKILL)
            self._ended()

    def _ended(self) -> None:
        child, self._child = self._child, None
        control, self._control = self._control, None
        if child is None or control is None:
            return
        self._loop.remove_reader(child.pidfd)
        control.close()
        with suppress(BentoError):
            child.finish(_REAP_LIMIT_S)
        self._again = self._loop.call_later(AGAIN_S, self._start_again)

    def _start_again(self) -> None:
        with suppress(BentoError, OSError):
            self.start()

    def close(self) -> None:
        """Keep it no more: what it has forked goes on. Blocks for some ms. Idempotent."""
        if self._child is not None:
            self._drop()
        if self._again is not None:
            self._again.cancel()
