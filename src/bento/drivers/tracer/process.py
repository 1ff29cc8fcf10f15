"""The client: starts the tracer process when it is first needed, and talks with it over a socket pair."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the other half makes an enum of each number: more than a fork
import _socket
import os
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from bento.command import Child, spawn
from bento.drivers.tracer.base import Event, Key, Lost
from bento.drivers.tracer.main import be_tracer
from bento.drivers.tracer.messages import (
    KEYS_AT_ONCE,
    PACKET_BYTES,
    Crashed,
    Hold,
    Outbox,
    Release,
    Request,
    Seizing,
    Thaw,
    Watch,
    answer_of,
    expect_answers,
)  # fmt: skip
from bento.errors import BentoError, KernelError
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.kernel import cgroup
else:  # for a tracer that has died
    cgroup = LazyModule("bento.kernel.cgroup")

_END_LIMIT_S: Final = 2.0
_PROGRAM: Final = "bento.drivers.tracer.main"


class ProcessTracer:
    """A ``TracerDriver`` with a tracer that is a process of its own. Close it.

    It is a child of this process, but in a session of its own, and outlives it by no more than it takes to thaw.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._fd = -1
        self._outbox = Outbox()
        self._jobs: dict[int, dict[str, str]] = {}  # with the cgroups that may have been frozen
        self._crash = ""
        self._seizing = 0  # the job that may end the tracer, as it has said last

    @property
    def pid(self) -> int:
        """The tracer process; 0 when there is none."""
        return self._child.pid if self._child is not None else 0

    def start(self) -> None:
        """See ``TracerDriver.start``."""
        if self._child is None or self._fd < 0:
            self._start()

    def watch(
        self, job: int, pid: int, start_ticks: int, *, hold_exit: bool, note_signal: int = 0,
        cgroups: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """See ``TracerDriver.watch``."""
        request = Watch(
            job=job, pid=pid, start_ticks=start_ticks, hold_exit=hold_exit, note_signal=note_signal,
            cgroups=cgroups or {},
        )  # fmt: skip
        self._request(request)
        self._jobs[job] = request.cgroups or self._jobs.get(job, {})

    def hold(self, job: int, keys: Iterable[Key]) -> None:
        """See ``TracerDriver.hold``."""
        wanted = tuple(keys)
        for start in range(0, max(1, len(wanted)), KEYS_AT_ONCE):
            self._request(Hold(job=job, keys=wanted[start : start + KEYS_AT_ONCE]))
        self._jobs.setdefault(job, {})

    def thaw(self, job: int) -> None:
        """See ``TracerDriver.thaw``."""
        if job in self._jobs:
            self._request(Thaw(job=job))

    def release(self, job: int, keys: Iterable[Key] | None = None) -> None:
        """See ``TracerDriver.release``."""
        self._request(Release(job=job, keys=None if keys is None else tuple(keys)))
        if keys is None:
            self._jobs.pop(job, None)

    def fileno(self) -> int:
        """See ``TracerDriver.fileno``."""
        self.start()
        return self._fd

    def events(self) -> list[Event]:
        """See ``TracerDriver.events``."""
        found: list[Event] = []
        while self._child is not None:
            try:
                packet = os.read(self._fd, PACKET_BYTES)
            except BlockingIOError:
                self._outbox.flush(self._fd)  # each request is answered: so what was left over is sent in time
                break
            except ConnectionResetError:
                packet = b""
            if not packet:
                found.append(self._lost())
                break
            answer = answer_of(packet)
            if isinstance(answer, Crashed):
                self._crash = answer.text
            elif isinstance(answer, Seizing):
                self._seizing = answer.job
            else:
                found.append(answer)
        return found

    def retire(self) -> None:
        """See ``TracerDriver.retire``."""
        self._close_socket()
        self._jobs.clear()

    def close(self) -> None:
        """See ``TracerDriver.close``."""
        self.retire()
        self._reap()

    def _close_socket(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._outbox.clear()

    def _reap(self) -> int:
        """Return how it has ended; 0 also when that cannot be known."""
        child, self._child = self._child, None
        if child is None:
            return 0
        try:
            return child.finish(_END_LIMIT_S).returncode
        except BentoError:  # killed after the limit, or reaped by the program that we are in
            return 0

    def _lost(self) -> Lost:
        """The tracer has died. What it may have frozen is thawed here: no other process knows of it."""
        jobs, self._jobs = self._jobs, {}
        code = self._reap()
        for cgroups in jobs.values():
            cgroup.Cgroups(cgroups).thaw()
        (why, self._crash), (by, self._seizing) = (self._crash, ""), (self._seizing, 0)
        if code == -signal.SIGALRM:
            why = "a process with threads that was to be traced was on its way through execve"
        elif not why and code:
            why = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return Lost(jobs=tuple(jobs), why=why, by=by if code == -signal.SIGALRM else 0)

    def _request(self, request: Request) -> None:
        self.start()
        self._outbox.put(request)
        self._outbox.flush(self._fd)
        expect_answers()

    def _start(self) -> None:
        """Raises KernelError."""
        self._close_socket()
        self._reap()  # one that was to end: until it has, it may still trace what is traced next
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC, 0)
        try:
            ours.setblocking(False)
            self._child = _fork(theirs.fileno()) if len(os.listdir("/proc/self/task")) == 1 else _spawn(theirs)
            self._fd = ours.detach()
        except OSError as error:
            raise KernelError("fork", error.errno or 0, error.strerror or "") from error
        finally:
            theirs.close()
            ours.close()


def _fork(socket_fd: int) -> Child:
    """A copy of this process, which has one thread, is there at once, with everything loaded."""
    # No handler of the program that we are in is to run in the copy.
    mask = _signal.pthread_sigmask(signal.SIG_BLOCK, _signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            be_tracer(socket_fd)
    finally:
        _signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return Child([_PROGRAM], pid, None, None)


def _spawn(theirs: _socket.socket) -> Child:
    """A process with other threads cannot be copied: one of them may hold a lock. The program is begun anew."""
    fd = os.dup(theirs.fileno())  # above 2, where ``spawn`` wants it
    try:
        words = [sys.executable, "-I", "-m", _PROGRAM, str(fd)]
        return spawn(words, capture=False, pass_fds=(fd,), new_session=True)
    finally:
        os.close(fd)
