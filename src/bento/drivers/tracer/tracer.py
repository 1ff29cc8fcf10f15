"""The loop of the tracer process, which does nothing but trace.

It is one process for all containers, because tracing belongs to one thread, and one of its own, because another
thread's waitpid(-1) would take the stops. Here waitid(P_ALL) is right: all that it can see is traced. At the end of
file of its socket it thaws what it has frozen and ends; the kernel then lets everything go where it is, without
interrupting what runs.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import Final

from msgspec import Struct

from bento.drivers.tracer.base import Failure, Held, Key, Released, Watched
from bento.drivers.tracer.freezer import Freezer
from bento.drivers.tracer.messages import (
    PACKET_BYTES,
    Answer,
    Crashed,
    Hold,
    Outbox,
    Release,
    Request,
    Seizing,
    Thaw,
    Watch,
    pack,
    request_of,
)  # fmt: skip
from bento.drivers.tracer.seizing import Refused, check_transparency, look_at, seize
from bento.drivers.tracer.stops import Stops
from bento.drivers.tracer.tracee import Tracee
from bento.errors import KernelError
from bento.kernel.process import ptrace

_ANSWER_LIMIT_S: Final = 0.02
"""How long an answer waits for threads that are being stopped: one may be frozen, or wait for a disk."""

_SETTLE_MS: Final = 1.0
"""How soon threads that end are looked at again."""

_STOPS_AT_ONCE: Final = 64
"""Before the socket is looked at again."""

_LOOK: Final = os.WEXITED | os.WSTOPPED | os.WNOHANG | ptrace.WALL


class _Waiting(Struct):
    """An answer that is given when these processes are still, or are traced no more."""

    tracees: list[Tracee]
    answer: Held | Released
    until_mono_s: float

    def is_due(self, processes: dict[int, Tracee]) -> bool:
        if time.monotonic() >= self.until_mono_s:
            return True
        if isinstance(self.answer, Held):
            return all(tracee.is_still for tracee in self.tracees)
        return all(processes.get(tracee.pid) is not tracee for tracee in self.tracees)


class Tracer:
    """Serves one client over its end of a SOCK_SEQPACKET pair."""

    def __init__(self, socket_fd: int) -> None:
        self._socket_fd = socket_fd
        self._outbox = Outbox()
        self._waiting: list[_Waiting] = []
        self._is_settled = True
        self._freezers: dict[int, Freezer] = {}
        self._stops = Stops(self._emit, self._freezers)
        os.set_blocking(socket_fd, False)
        self._wake_fd, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only what has a handler is written to the pipe

    def warm_up(self) -> None:
        """Go once through what answers a request. Each page that a fork writes to is copied first: better before."""
        other = Watch(job=0, pid=os.getpid(), start_ticks=0, hold_exit=True, note_signal=0, cgroups={})  # is refused
        self._take_stops()
        self._carry_out(request_of(pack(other)))
        self._answer_waiting()
        self._outbox.clear()

    def serve(self) -> None:
        """Return when the client has gone, with nothing frozen."""
        try:
            self._loop()
            self._take_stops()
        finally:
            for freezer in self._freezers.values():
                freezer.close()

    def tell_crash(self, error: BaseException) -> None:
        """For a defect of ours: the client is notified."""
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f" ({place.tb_frame.f_code.co_name}, line {place.tb_lineno})" if place is not None else ""
        self._emit(Crashed(text=f"{type(error).__name__}: {error}{where}"))
        self._outbox.flush(self._socket_fd)

    def _loop(self) -> None:
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        is_behind = False
        while True:
            poller.register(self._socket_fd, select.POLLIN | (select.POLLOUT if self._outbox else 0))
            ready = dict(poller.poll(0 if is_behind else self._timeout_ms()))
            if self._wake_fd in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake_fd, 1 << 16)
            is_behind = self._take_stops()
            self._is_settled = self._stops.settle()
            if self._socket_fd in ready and not self._take_requests():
                break
            self._answer_waiting()
            self._outbox.flush(self._socket_fd)

    def _timeout_ms(self) -> float | None:
        if not self._is_settled:
            return _SETTLE_MS
        if not self._waiting:
            return None
        return max(0.0, min(waiting.until_mono_s for waiting in self._waiting) - time.monotonic()) * 1000 + 1

    def _take_stops(self) -> bool:
        """Deal with what has stopped or ended; return whether there may be more."""
        for _ in range(_STOPS_AT_ONCE):
            if not self._take_stop(os.P_ALL, 0):
                return False
        # P_ALL begins with the same thread each time: one with a storm of signals must not hide the others.
        for tid in list(self._stops.threads):
            self._take_stop(os.P_PID, tid)
        return True

    def _take_stop(self, kind: int, tid: int) -> bool:
        try:
            found = os.waitid(kind, tid, _LOOK | os.WNOWAIT)
        except ChildProcessError:
            return False
        if found is None or not found.si_pid:
            return False
        if found.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
            os.waitid(os.P_PID, found.si_pid, os.WEXITED | os.WNOHANG | ptrace.WALL)  # its parent gets it from here on
            self._stops.ended(found.si_pid)
        else:
            self._stops.stopped(found.si_pid, found.si_status)
        return True

    def _take_requests(self) -> bool:
        """Carry out what has arrived; return False at the end of file."""
        while True:
            try:
                packet = os.read(self._socket_fd, PACKET_BYTES)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                return False
            if not packet:
                return False
            self._carry_out(request_of(packet))

    def _carry_out(self, request: Request) -> None:
        match request:
            case Watch():
                self._watch(request)
            case Hold():
                self._hold(request)
            case Thaw():
                if (freezer := self._freezers.get(request.job)) is not None:
                    freezer.thaw()
            case Release():
                self._release(request)

    def _watch(self, request: Watch) -> None:
        error = ""
        if request.cgroups and request.job not in self._freezers:
            self._freezers[request.job] = Freezer(request.cgroups)
        try:
            tracee = self._seized(request.job, (request.pid, request.start_ticks), hold_exit=request.hold_exit)
            tracee.note_signal = request.note_signal or tracee.note_signal
        except Refused as refusal:
            error = str(refusal)
        self._emit(Watched(job=request.job, pid=request.pid, error=error))

    def _hold(self, request: Hold) -> None:
        tracees, failed = [], []
        for key in request.keys:
            try:
                tracee = self._seized(request.job, key)
                if tracee.exit_code is not None:
                    raise Refused("it is at its exit")
            except Refused as refusal:
                failed.append(Failure(key, str(refusal)))
                continue
            tracee.is_held = True
            try:
                tracee.interrupt()
            except KernelError as error:
                self._stops.give_up(tracee, error)
            tracees.append(tracee)
        answer = Held(job=request.job, held=tuple(tracee.key for tracee in tracees), failed=tuple(failed))
        freezer = self._freezers.get(request.job)
        self._answer_later(tracees, answer, at_once=freezer is not None and freezer.has_frozen)

    def _release(self, request: Release) -> None:
        processes = self._stops.processes
        wanted = None if request.keys is None else set(request.keys)
        tracees = [
            tracee for tracee in processes.values()
            if tracee.job == request.job and (wanted is None or tracee.key in wanted)
        ]  # fmt: skip
        for tracee in tracees:
            self._stops.let_go(tracee)
        if wanted is None and (freezer := self._freezers.pop(request.job, None)) is not None:
            freezer.close()  # after that: what dies with PID 1 does not run before it does
        self._answer_later(tracees, Released(job=request.job))

    def _seized(self, job: int, key: Key, *, hold_exit: bool = False) -> Tracee:
        """Return the process, traced from now on if it was not before. Raises Refused."""
        pid, start_ticks = key
        tracee = self._stops.processes.get(pid)
        if tracee is not None:
            if tracee.start_ticks != start_ticks:
                raise Refused("it has ended")
            if tracee.job != job or tracee.has_let_go:
                raise Refused("it is traced for another job" if tracee.job != job else "it is being let go")
            try:
                if hold_exit and not tracee.hold_exit:
                    tracee.hold_at_exit()
            except KernelError as error:
                self._stops.give_up(tracee, error)
                raise Refused(error.message) from error
            return tracee
        if (why := self._stops.given_up.get(key)) is not None:
            raise Refused(why)
        status = look_at(pid, start_ticks)
        check_transparency(status)
        tracee = Tracee(job, pid, start_ticks, is_init=len(status.ns_pids) > 1 and status.ns_pids[-1] == 1)
        tracee.hold_exit = hold_exit
        if status.threads > 1:
            self._emit(Seizing(job=job))
            self._outbox.flush(self._socket_fd)
        try:
            seize(tracee)
        except Refused:
            self._stops.add(tracee)
            self._stops.let_go(tracee)
            raise
        self._stops.add(tracee)
        return tracee

    def _answer_later(self, tracees: list[Tracee], answer: Held | Released, *, at_once: bool = False) -> None:
        until_mono_s = 0.0 if at_once else time.monotonic() + _ANSWER_LIMIT_S
        self._waiting.append(_Waiting(tracees, answer, until_mono_s))

    def _answer_waiting(self) -> None:
        for waiting in list(self._waiting):
            if waiting.is_due(self._stops.processes):
                self._waiting.remove(waiting)
                answer = waiting.answer
                for tracee in waiting.tracees:
                    self._stops.prune(tracee)
                if isinstance(answer, Released):
                    left = (t.pid for t in waiting.tracees if self._stops.processes.get(t.pid) is t)
                    answer = Released(job=answer.job, unfinished=tuple(left))
                elif given_up := [tracee for tracee in waiting.tracees if tracee.given_up]:
                    held = set(answer.held) - {tracee.key for tracee in given_up}
                    failed = (Failure(tracee.key, tracee.given_up) for tracee in given_up)
                    answer = Held(job=answer.job, held=tuple(sorted(held)), failed=(*answer.failed, *failed))
                self._emit(answer)

    def _emit(self, answer: Answer) -> None:
        self._outbox.put(answer)
