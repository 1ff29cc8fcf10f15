"""What is done with each stop of a traced thread: the heart of the tracer process.

A stop is looked at with WNOWAIT and not taken off the kernel's list before the thread is resumed. If this process is
killed in between, the kernel lets the thread go on with what it had stopped for: ``ptrace_stop`` in kernel/signal.c
returns the exit_code, which only a wait without WNOWAIT, or a resume, replaces. So a signal is delivered, not lost. Of
100 signals in each of 60 rounds with a tracer killed amid them, 7 were lost with a wait that takes the stop, none so
(Linux 6.18; tests/contract/test_tracer_killed.py). Taken are only stops in which a thread is kept, and that of execve:
these carry no signal.

What a stop at a system call leaves behind in the same way is no signal with PTRACE_O_TRACESYSGOOD (SIGTRAP | 0x80 is
not valid); without that option it is a SIGTRAP, which ended the program.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from bento.drivers.tracer.base import AtExit, GaveUp, Key, LetGo, Noted
from bento.drivers.tracer.calls import Noting, fault_again, parse_call
from bento.drivers.tracer.freezer import Freezer
from bento.drivers.tracer.messages import Answer
from bento.drivers.tracer.seizing import Prospect, belongs, call_of, look_around, process_of
from bento.drivers.tracer.signals import Verdict, gives_up, judge
from bento.drivers.tracer.tracee import Thread, Tracee, gone_is_fine
from bento.errors import KernelError
from bento.kernel.process import ptrace

_BREAKPOINT = b"\xcc"


class Stops:
    """The tables of what is traced, and what each stop means. ``freezers`` are by job."""

    def __init__(self, emit: Callable[[Answer], None], freezers: dict[int, Freezer]) -> None:
        self._emit, self._freezers = emit, freezers
        self.processes: dict[int, Tracee] = {}
        self.threads: dict[int, Thread] = {}
        self.given_up: dict[Key, str] = {}  # and why
        self._leaving: dict[int, Thread] = {}  # by process: at its exit, perhaps as the last

    def add(self, tracee: Tracee) -> None:
        """Take in a process that was seized."""
        self.processes[tracee.pid] = tracee
        self.threads |= tracee.threads

    def let_go(self, tracee: Tracee) -> None:
        """Trace it no more: at once where it is kept, else as soon as it has been reached. Idempotent."""
        tracee.has_let_go, tracee.is_held = True, False
        for thread in list(tracee.threads.values()):
            if thread.is_kept:
                with suppress(KernelError):
                    thread.heed_handlers()
                self._detach(thread)
        with suppress(KernelError):
            tracee.interrupt()

    def give_up(self, tracee: Tracee, error: KernelError) -> None:
        """Let it go, as the kernel refuses what it never should: that costs no other process its hold. Idempotent."""
        if tracee.given_up:
            return
        tracee.given_up = error.message
        self.given_up[tracee.key] = error.message
        self.let_go(tracee)
        self._emit(LetGo(job=tracee.job, pid=tracee.pid, why=error.message, lives=True))

    def ended(self, tid: int) -> None:
        """A thread has ended without a stop that we could keep it in."""
        thread = self.threads.get(tid)
        if thread is not None:
            self._forget(thread, why="it has ended")

    def prune(self, tracee: Tracee) -> None:
        """Forget threads that are not traced any more. One that was killed while it was seized may not be reported."""
        for thread in list(tracee.threads.values()):
            try:
                os.waitid(os.P_PID, thread.tid, os.WEXITED | os.WNOHANG | os.WNOWAIT | ptrace.WALL)
            except ChildProcessError:
                self._forget(thread, why="it has ended")

    def stopped(self, tid: int, status: int) -> None:
        """A thread has stopped; ``status`` as waitid has it: the signal, and the event above it."""
        number, event = status & 0xFF, status >> 8
        thread = self._adopt(tid) if event == ptrace.EVENT_EXEC else self.threads.get(tid) or self._adopt(tid)
        if thread is None:
            with suppress(KernelError):
                ptrace.detach(tid)  # a process of its own (clone without CLONE_THREAD and SIGCHLD)
            return
        try:
            self._deal_with(thread, number, event)
        except KernelError as error:
            self.give_up(thread.tracee, error)
            if self.threads.get(tid) is thread:
                self._detach(thread, number if not event and number != ptrace.SYSCALL_STOP else 0)

    def _deal_with(self, thread: Thread, number: int, event: int) -> None:
        was_listening, thread.is_listening = thread.is_listening, False
        if event == ptrace.EVENT_EXIT:
            self._at_exit(thread)
        elif event == ptrace.EVENT_STOP:
            self._at_trap(thread, number, was_listening=was_listening)
        elif event == ptrace.EVENT_CLONE:
            self._has_cloned(thread)
        elif event == ptrace.EVENT_EXEC:
            self._has_executed(thread)
        elif number == ptrace.SYSCALL_STOP:
            self._at_call(thread)
        else:
            self._at_signal(thread, number)

    def _adopt(self, tid: int) -> Thread | None:
        """Return the thread that one of ours has started; None: it is of another process."""
        tracee = self.processes.get(process_of(tid))
        if tracee is None:
            return None
        thread = self.threads[tid] = tracee.threads[tid] = Thread(tid, tracee)
        return thread

    def _has_executed(self, thread: Thread) -> None:
        """All others have ended, and this one has taken over its leader's number (ptrace(2), execve)."""
        thread.acknowledge()  # before that the kernel takes requests for meant for the leader that was (ESRCH)
        for other in list(thread.tracee.threads.values()):
            if other is not thread:
                self._forget(other)
        self._go_on(thread)

    def _go_on(self, thread: Thread, number: int = 0) -> None:
        if thread.tracee.has_let_go:
            self._detach(thread, number)
        else:
            thread.resume(number)

    def _detach(self, thread: Thread, number: int = 0) -> None:
        try:
            ptrace.detach(thread.tid, number)
        except KernelError:  # gone; or it cannot be helped, and its stop is not to come again for ever
            thread.acknowledge()
        self._forget(thread)

    def _forget(self, thread: Thread, why: str = "") -> None:
        tracee = thread.tracee
        if self._leaving.get(tracee.pid) is thread:
            del self._leaving[tracee.pid]
        for table in (self.threads, tracee.threads):
            if table.get(thread.tid) is thread:  # else another one has taken over its number
                del table[thread.tid]
        if thread.noting is not None:
            self._noted(thread, only_noted=False)
        if not tracee.threads and self.processes.get(tracee.pid) is tracee:
            del self.processes[tracee.pid]
            if why and not tracee.has_let_go:
                self._emit(LetGo(job=tracee.job, pid=tracee.pid, why=why))

    def _has_cloned(self, thread: Thread) -> None:
        with gone_is_fine():
            tid = ptrace.event_message(thread.tid)
            if tid not in self.threads and belongs(tid, thread.tracee.pid):
                self.threads[tid] = thread.tracee.threads[tid] = Thread(tid, thread.tracee)
        self._go_on(thread)

    def _at_exit(self, thread: Thread) -> None:
        tracee = thread.tracee
        code = -1
        with gone_is_fine():
            code = ptrace.event_message(thread.tid)
        if thread.noting is not None:
            self._noted(thread, only_noted=False)
        if not tracee.hold_exit or tracee.has_let_go or code < 0:
            self._detach(thread)
        elif code & 0x7F == signal.SIGKILL:
            self._emit(LetGo(job=tracee.job, pid=tracee.pid, why="it was killed"))
            tracee.has_let_go = True
            self._detach(thread)
        else:
            # Not the last after all, the one before: a thread that comes to its exit later.
            if (before := self._leaving.pop(tracee.pid, None)) is not None and before is not thread:
                self._detach(before)
            thread.keep()
            self._leaving[tracee.pid] = thread
            if len(tracee.threads) == 1:
                self.settle()

    def settle(self) -> bool:
        """Decide for threads at their exit whether they are their process's last; return whether all are decided.

        By our own table, which says which came to its exit. But one that is on its way there when others begin to end
        the process passes it without a stop, and the end of a leader is not even reported.
        """
        for pid, thread in list(self._leaving.items()):
            others = [other.tid for other in thread.tracee.threads.values() if other is not thread]
            prospects = {Prospect.ENDS} if not others else look_around(others)
            if Prospect.LIVES in prospects:
                del self._leaving[pid]
                self._detach(thread)
            elif Prospect.MAY_STOP not in prospects:
                del self._leaving[pid]
                try:
                    self._is_last(thread)
                except KernelError as error:
                    self.give_up(thread.tracee, error)
        return not self._leaving

    def _is_last(self, thread: Thread) -> None:
        tracee = thread.tracee
        code = -1
        with gone_is_fine():
            code = ptrace.event_message(thread.tid)
        freezer = self._freezers.get(tracee.job)
        is_frozen = freezer is not None and freezer.freeze()
        tracee.exit_code = code
        self._emit(AtExit(job=tracee.job, pid=tracee.pid, code=code, is_frozen=is_frozen))

    def _at_trap(self, thread: Thread, number: int, *, was_listening: bool) -> None:
        """It was interrupted by us, begins, or its group stop begins or ends."""
        tracee = thread.tracee
        if number in ptrace.STOP_SIGNALS and not tracee.has_let_go:
            thread.is_listening = True
            with gone_is_fine():
                ptrace.listen(thread.tid)
            return
        if not was_listening:  # after a group stop a call ends with EINTR as it always does
            thread.undo_interruption(thread.masks())
        if tracee.is_held:
            thread.keep()
        else:
            self._go_on(thread)

    def _at_signal(self, thread: Thread, number: int) -> None:
        tracee, masks = thread.tracee, thread.masks()
        if masks is None:
            return self._go_on(thread, number)
        verdict = Verdict.PASS
        with gone_is_fine():
            info = ptrace.signal_info(thread.tid)
            verdict = judge(number, info.code, info.sender, masks, is_init=tracee.is_init)
            if verdict is Verdict.SUPPRESS and gives_up(number, info.code, info.sender, masks, is_init=tracee.is_init):
                self._gave_up(tracee, number)
        if verdict is Verdict.LET_GO:
            return self._dies(thread, number)
        is_handled = masks.catches(number)
        if is_handled:
            thread.interrupt_after_all()
        if number == tracee.note_signal:
            self._begin_noting(thread, is_handled=is_handled)
        if verdict is Verdict.SUPPRESS:
            thread.undo_interruption(masks)
            number = 0
        self._go_on(thread, number)

    def _gave_up(self, tracee: Tracee, number: int) -> None:
        if tracee.hold_exit and not tracee.gave_up:
            tracee.gave_up = True
            self._emit(GaveUp(job=tracee.job, pid=tracee.pid, number=number))

    def _dies(self, thread: Thread, number: int) -> None:
        """An init with a fault that nothing handles: untraced it dies, when the fault comes again at the same place."""
        tracee = thread.tracee
        with gone_is_fine():
            if ptrace.can_restart_calls():
                now = ptrace.registers(thread.tid)
                skip_bytes = _bytes_behind(thread.tid, now.ip, number)
                if skip_bytes:
                    ptrace.set_registers(thread.tid, fault_again(now, skip_bytes=skip_bytes))
        self._emit(LetGo(job=tracee.job, pid=tracee.pid, why=f"it dies of {signal.Signals(number).name}"))
        tracee.has_let_go, tracee.is_held = True, False
        self._detach(thread, number)
        self.let_go(tracee)

    def _begin_noting(self, thread: Thread, *, is_handled: bool) -> None:
        thread.tracee.note_signal = 0
        thread.noting = Noting(parse_call(call_of(thread.tid)))
        if not is_handled or len(thread.tracee.threads) > 1:
            self._noted(thread, only_noted=False)

    def _at_call(self, thread: Thread) -> None:
        call = None
        try:
            call = ptrace.entered_call(thread.tid)
        except KernelError as error:
            if not ptrace.has_gone(error) and thread.noting is not None:  # EIO: Linux before 5.3 does not say
                self._noted(thread, only_noted=False)
        thread.see_call(call)
        if thread.noting is not None and call is not None:
            only_noted = thread.noting.enter(call)
            if only_noted is not None:
                self._noted(thread, only_noted=only_noted)
        self._go_on(thread)

    def _noted(self, thread: Thread, *, only_noted: bool) -> None:
        tracee, thread.noting = thread.tracee, None
        self._emit(Noted(job=tracee.job, pid=tracee.pid, only_noted=only_noted))
        if not tracee.hold_exit and not tracee.is_held:
            tracee.has_let_go = True  # the caller detaches this thread, which has stopped
            if len(tracee.threads) > 1:
                tracee.interrupt()


def _bytes_behind(tid: int, ip: int, number: int) -> int:
    """Return how long the instruction is that has raised a signal and is behind us; 0: it is the next one."""
    if number == signal.SIGSYS:
        return 2  # seccomp has put the call's number back (SECCOMP_RET_TRAP)
    if number != signal.SIGTRAP:
        return 0
    try:
        with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
            return 1 if os.pread(memory.fileno(), 1, ip - 1) == _BREAKPOINT else 0
    except (OSError, OverflowError):
        return 0
