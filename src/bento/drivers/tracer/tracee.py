"""Processes and their threads as the tracer process has them: how these are stepped and kept."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from bento.drivers.tracer.base import Key
from bento.drivers.tracer.calls import Noting, Patience, again, ends_now, interrupted, patience
from bento.drivers.tracer.signals import Masks, parse_masks
from bento.errors import KernelError
from bento.kernel.process import ptrace
from bento.kernel.process.ptrace import Registers

_OPTIONS: Final = ptrace.OPTION_SYSGOOD | ptrace.OPTION_CLONE | ptrace.OPTION_EXEC


class Thread:
    """One traced thread. It has stopped and is left so (``is_kept``), or it runs as far as we know."""

    __slots__ = ("is_kept", "is_listening", "noting", "options", "patience", "restarted", "tid", "tracee")

    def __init__(self, tid: int, tracee: Tracee) -> None:
        self.tid, self.tracee = tid, tracee
        self.options = tracee.options
        self.is_kept = False
        self.is_listening = False  # in a group stop
        self.noting: Noting | None = None
        self.restarted: Registers | None = None  # as they were before its call was made again
        self.patience: Patience | None = None  # with the call that is made again; until that has returned

    def resume(self, number: int = 0) -> None:
        """Let it run on, with this signal. One that is to be held stops again before its program goes on."""
        self.is_kept = False
        self.renew_options()
        with gone_is_fine():
            if self.tracee.is_held:
                ptrace.interrupt(self.tid)
            step = ptrace.cont if self.noting is None and self.patience is None else ptrace.cont_to_syscall
            step(self.tid, number)

    def keep(self) -> None:
        """Leave it where it has stopped. The stop is taken off the list: nothing would be lost with us."""
        self.is_kept = True
        self.renew_options()
        self.acknowledge()

    def heed_handlers(self) -> None:
        """Before it is let go from where it was kept: a handler that is about to run ends its call as ever."""
        if self.restarted is not None and (masks := self.masks()) is not None and masks.will_handle:
            self.interrupt_after_all()

    def renew_options(self) -> None:
        """Have it traced, it has stopped, as its process is by now."""
        if self.options != self.tracee.options:
            with gone_is_fine():
                ptrace.set_options(self.tid, self.tracee.options)
                self.options = self.tracee.options

    def acknowledge(self) -> None:
        """Take its stop off the kernel's list. Not for a signal, nor before it is known that the stop is kept."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.tid, os.WSTOPPED | os.WNOHANG | ptrace.WALL)

    def masks(self) -> Masks | None:
        """Return its signals; None when it has gone."""
        try:
            with open(f"/proc/{self.tid}/status", "rb", buffering=0) as file:
                return parse_masks(file.read(1 << 14))
        except OSError:
            return None

    def undo_interruption(self, masks: Masks | None) -> None:
        """Have it make the call again that was interrupted for our sake alone; not when a handler is about to run."""
        if masks is None or masks.will_handle or not ptrace.can_restart_calls():
            return
        with gone_is_fine():
            before = ptrace.registers(self.tid)
            after = again(before)
            if after is None:
                return
            now_mono_s = time.monotonic()
            if self.patience is None or not self.patience.is_of(before):
                self.patience = patience(before, now_mono_s, self._memory)
            elif now_mono_s >= self.patience.until_mono_s:
                ptrace.set_registers(self.tid, ends_now(before, self.patience))
                self.patience = None
                return
            ptrace.set_registers(self.tid, after)
            self.restarted = before

    def see_call(self, call: tuple[int, ...] | None) -> None:
        """It has stopped at the entry of this call, or at the end of one: is it still the one that was made again?"""
        if self.patience is None:
            return
        if call is not None:
            is_over = call[0] != self.patience.call
        else:
            is_over = True
            with gone_is_fine():
                is_over = again(ptrace.registers(self.tid)) is None
        if is_over:
            self.patience = None

    def _memory(self, address: int, count: int) -> bytes:
        try:
            with open(f"/proc/{self.tid}/mem", "rb", buffering=0) as memory:
                return os.pread(memory.fileno(), count, address)
        except (OSError, OverflowError):
            return b""

    def interrupt_after_all(self) -> None:
        """A handler is about to run: a call that was to be made again, and has not been yet, ends with EINTR."""
        before, self.restarted, self.patience = self.restarted, None, None
        if before is None:
            return
        with gone_is_fine():
            after = interrupted(ptrace.registers(self.tid), before)
            if after is not None:
                ptrace.set_registers(self.tid, after)


class Tracee:
    """One traced process. ``threads`` is complete: the kernel has us trace each new one from its first step."""

    __slots__ = (
        "exit_code", "gave_up", "given_up", "has_let_go", "hold_exit", "is_held", "is_init", "job", "note_signal",
        "pid", "start_ticks", "threads",
    )  # fmt: skip

    def __init__(self, job: int, pid: int, start_ticks: int, *, is_init: bool) -> None:
        self.job, self.pid, self.start_ticks, self.is_init = job, pid, start_ticks, is_init
        self.threads: dict[int, Thread] = {}
        self.hold_exit = False
        self.note_signal = 0
        self.is_held = False
        self.has_let_go = False  # each thread is detached at its next stop
        self.given_up = ""  # why
        self.gave_up = False  # it has sent itself a signal that it does not handle, and that was told
        self.exit_code: int | None = None  # raw, once it is kept at its exit

    @property
    def key(self) -> Key:
        """What distinguishes this process from a later one with the same pid."""
        return (self.pid, self.start_ticks)

    @property
    def options(self) -> int:
        """What its threads are traced with. Without ``hold_exit`` none stops at its end, whatever becomes of us."""
        return _OPTIONS | (ptrace.OPTION_EXIT if self.hold_exit else 0)

    @property
    def is_still(self) -> bool:
        """Whether no thread runs: each is kept, or in a group stop."""
        return all(thread.is_kept or thread.is_listening for thread in self.threads.values())

    def hold_at_exit(self) -> None:
        """Have its threads stop at their exit from now on."""
        self.hold_exit = True
        for thread in self.threads.values():
            if thread.is_kept:
                thread.renew_options()
        self.interrupt()  # the others get them when they have stopped

    def interrupt(self) -> None:
        """Have every thread stop that runs, as far as we know, or is in a group stop."""
        for thread in self.threads.values():
            if not thread.is_kept:
                with gone_is_fine():
                    ptrace.interrupt(thread.tid)


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """For requests to a thread that may have been killed meanwhile: waitid reports it in its turn."""
    try:
        yield
    except KernelError as error:
        if not ptrace.has_gone(error):
            raise
