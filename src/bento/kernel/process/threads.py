"""What every thread of a process waits for, from /proc alone: no process is stopped or traced.

/proc/PID/task/TID/syscall gives the call and its registers, /proc/PID/task/TID/mem the structures that they point to
(both need ptrace access: root). A thread is believed only when its text in ``syscall`` and its context switches are the
same before and after the reading: then it has slept all along, and what lies in its stack is what it gave the call.
Everything may vanish at any moment; what could not be read counts as not known, never as idle.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from msgspec.structs import replace

from bento.kernel.process import syscalls
from bento.kernel.process.alarms import Alarms
from bento.kernel.process.calls import CallReader
from bento.kernel.process.descriptors import Look, entries, slurp
from bento.kernel.process.mappings import Mappings
from bento.kernel.process.proc import waits_for_signal
from bento.model.waits import Evidence, ThreadWait

MAX_THREADS: Final = 256
"""Of one process. One with more has a thread of which nothing is known."""

_PARENTS: Final = 16
"""So many threads are asked for their children, and so many children for their state."""
_SIGNAL_WAITS: Final = frozenset({"pause", "rt_sigsuspend", "rt_sigtimedwait"})


class Sighting(NamedTuple):
    """What an earlier look saw of a thread."""

    text: bytes  # of its ``syscall``, when it was last seen blocked in a call
    since_s: float  # its call had not begun before this: seconds since boot (CLOCK_BOOTTIME)
    seen_s: float  # just before that text was read


Memory = dict[tuple[int, int], tuple[bytes, float, float]]
"""By process and thread. Handed from one look to the next, it bounds how long a relative sleep has lasted."""


def examine(
    pids: Iterable[int],
    *,
    outsiders: Iterable[int],
    memory: Memory | None = None,
    list_again: Callable[[], Iterable[int]] = tuple,
) -> dict[int, Evidence]:
    """Return what each process of a container waits for, all at one moment; those that have ended are left out.

    ``pids`` are all processes of the container, ``outsiders`` those outside that hold an end of its pipes or trace it:
    its monitors, and Bento's own. ``memory`` is changed: give the same one at each look.

    They are read one after the other, and may wake each other meanwhile: a shell was seen to wait for its child, which
    had ended by the time it was its turn. So all are looked at once more, after ``list_again`` has listed them: each
    that still sleeps, and was not switched to, has slept all along, so that there was a moment at which all of them
    did. The others run, and all of them do where there is a new process, which any of them may have started.
    """
    listed = list(pids)
    tasks = {pid: tids for pid in listed if (tids := _live_threads(pid))}
    outside = frozenset(outsiders)
    seen = memory if memory is not None else {}
    kept: Memory = {}
    look = Look({pid: _task(pid, tids[0]) for pid, tids in tasks.items()}, outside)
    system = _System(look, Alarms(slurp("/proc/timer_list")), Mappings())
    statuses = {pid: status for pid in tasks if (status := Status.read(f"/proc/{pid}"))}
    found = {}
    readers = {}
    for pid, tids in tasks.items():
        readers[pid] = reader = _ProcessReader(pid, statuses, outside, (seen, kept))
        evidence = reader.read(tids, system)
        if evidence is not None:
            found[pid] = evidence
    seen.clear()
    seen.update(kept)
    is_joined = not set(list_again()) <= set(listed)
    for pid, evidence in found.items():
        if is_joined or readers[pid].has_moved(tasks[pid]):
            found[pid] = replace(evidence, threads=(ThreadWait(tid=pid, state="R"),))
    return found


def switches(pid: int) -> int:
    """Return the context switches of all threads of a process so far; 0 when it is gone.

    Different from an earlier number: some thread has run since (or has ended: it is not counted any more).
    """
    statuses = (Status.read(_task(pid, int(tid))) for tid in entries(f"/proc/{pid}/task"))
    return sum(status.switches for status in statuses if status)


class Status(NamedTuple):
    """What is needed of /proc/PID/task/TID/status (proc_pid_status(5))."""

    state: str
    ppid: int
    tracer: int
    ns_pids: tuple[int, ...]
    ignored: int
    switches: int
    kept: int = 0  # caught or blocked

    def drops(self, number: int) -> bool:
        """Whether nothing comes of a signal: it is ignored, or has the default action in the init of a namespace."""
        bit = 1 << (number - 1)
        is_init = len(self.ns_pids) > 1 and self.ns_pids[-1] == 1
        return bool(self.ignored & bit) or (is_init and not self.kept & bit)

    def is_ended_by(self, number: int) -> bool:
        """Whether a signal whose default action is to end a process has that here."""
        return not (self.ignored | self.kept) & 1 << (number - 1) and not self.drops(number)

    @staticmethod
    def read(task: str) -> Status | None:
        """Return the status of a thread, or None when it is gone."""
        text = slurp(f"{task}/status")
        return Status.parse(text) if text else None

    @staticmethod
    def parse(text: bytes) -> Status:
        """Read the text of a status file."""
        values = {}
        for line in text.split(b"\n"):  # a name may hold \r
            key, _, value = line.partition(b":")
            values[key] = value
        return Status(
            state=values.get(b"State", b"").strip()[:1].decode(errors="replace"),
            ppid=int(values.get(b"PPid", b"0")),
            tracer=int(values.get(b"TracerPid", b"0")),
            ns_pids=tuple(int(word) for word in values.get(b"NSpid", b"").split()),
            ignored=int(values.get(b"SigIgn", b"0"), 16),
            switches=int(values.get(b"voluntary_ctxt_switches", b"0"))
            + int(values.get(b"nonvoluntary_ctxt_switches", b"0")),
            kept=int(values.get(b"SigCgt", b"0"), 16) | int(values.get(b"SigBlk", b"0"), 16),
        )


class _System(NamedTuple):
    """What is read once for all processes of a look."""

    look: Look
    alarms: Alarms
    mappings: Mappings


class _ProcessReader:
    """Reads the threads of one process."""

    def __init__(self, pid: int, statuses: dict[int, Status], outsiders: frozenset[int], memory: tuple[Memory, Memory]):
        self._pid = pid
        self._statuses = statuses
        self._outsiders = outsiders
        self._seen, self._kept = memory
        self._read: dict[int, tuple[str, int]] = {}  # the state and the switches of each thread

    def read(self, tids: list[int], system: _System) -> Evidence | None:
        """Return the evidence of a process with these threads, the first of them alive; None when it has ended."""
        main, look = _task(self._pid, tids[0]), system.look
        threads = []
        total = 0
        catches_io, is_deaf, is_ended = False, True, True  # SIGIO; to SIGALRM, by it
        with CallReader(main, look, self._child, system.mappings) as calls:
            for tid in tids[:MAX_THREADS]:
                read = self._read_thread(tid, calls)
                if read is not None:
                    threads.append(read[0])
                    total += read[1].switches
                    catches_io = catches_io or bool(read[1].kept & 1 << (signal.SIGIO - 1))
                    awaits = _awaits(read[0], signal.SIGALRM)
                    is_deaf = is_deaf and read[1].drops(signal.SIGALRM) and not awaits
                    is_ended = is_ended and read[1].is_ended_by(signal.SIGALRM) and not awaits
        if not threads:
            return None
        if len(tids) > MAX_THREADS:
            threads.append(ThreadWait(tid=tids[MAX_THREADS], state="R"))
        listening, connected = look.count_sockets(main)
        alarm_s = system.alarms.earliest(self._pid, is_deaf=is_deaf)
        if (catches_io or any(_reads_signals(one) for one in threads)) and look.is_async(main):
            alarm_s, is_ended = 0.0, False
        return Evidence(
            threads=tuple(threads),
            listening=listening,
            connected=connected,
            switches=total,
            stdin=look.standard_input(main),
            unreaped=self._has_unreaped(tids),
            feeds=look.feeds(main),
            alarm_s=alarm_s,
            is_ended_by_alarm=is_ended and alarm_s is not None and not system.alarms.has_posix(self._pid),
        )

    def has_moved(self, tids: list[int]) -> bool:
        """Whether a thread has come, ended or run since it was read. ``tids``: those that there were then."""
        if not set(_live_threads(self._pid)) <= set(tids):
            return True
        for tid, before in self._read.items():
            status = Status.read(_task(self._pid, tid))
            if status is None or (status.state, status.switches) != before:
                return True
        return False

    def _read_thread(self, tid: int, calls: CallReader) -> tuple[ThreadWait, Status] | None:
        task = _task(self._pid, tid)
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        text = slurp(f"{task}/syscall")
        status = Status.read(task)
        if status is None or status.state in "ZX":
            return None
        self._read[tid] = status.state, status.switches
        parsed = syscalls.parse(text)
        since_s = self._remember(tid, text, parsed, calls, now_s)
        if status.state not in "SD" or parsed is None:
            is_held = status.state == "t" and status.tracer in self._outsiders
            return ThreadWait(tid=tid, state=status.state, is_held=is_held), status
        wait = calls.read(task, status.state, *parsed, since_s=since_s)
        after = Status.read(task)
        if after is None or after.switches != status.switches or slurp(f"{task}/syscall") != text:
            return ThreadWait(tid=tid, state="R"), status  # it has moved under the reader
        return wait, status

    def _remember(
        self, tid: int, text: bytes, parsed: tuple[int, tuple[int, ...]] | None, calls: CallReader, now_s: float
    ) -> float:
        """Return seconds since boot before which the thread's call had not begun, by what earlier looks saw of it.

        Another call then, or other arguments: this one is younger. That the thread ran then proves nothing: a call
        may wake up inside the kernel, and sleep on. A restarted call has the deadline of the one that it goes on with.
        """
        key = self._pid, tid
        noted = self._seen.get(key)
        before = None if noted is None else Sighting(*noted)
        if parsed is None:
            if before is not None:
                self._kept[key] = before
            return 0.0
        since_s = 0.0
        if before is not None and calls.name(parsed[0]) != syscalls.RESTART:
            since_s = before.since_s if before.text == text else before.seen_s
        self._kept[key] = Sighting(text, since_s, now_s)
        return since_s

    def _has_unreaped(self, tids: list[int]) -> bool:
        """Whether a child has ended that none of the threads has waited for; a thread's own children are listed."""
        pids = (pid for tid in tids[:_PARENTS] for pid in slurp(f"{_task(self._pid, tid)}/children").split())
        ended = [int(pid) for pid in pids if int(pid) not in self._statuses]
        return any(_state(pid) == b"Z" for pid in ended[:_PARENTS])

    def _child(self, number: int) -> int | None:
        """Return the host's number of the child that a process of a PID namespace calls by this one; 0: any child."""
        if number <= 0:
            return 0  # any, or any of a process group
        own = self._statuses.get(self._pid)
        level = len(own.ns_pids) - 1 if own else 0
        for pid, status in self._statuses.items():
            if status.ppid == self._pid and len(status.ns_pids) > level and status.ns_pids[level] == number:
                return pid
        return None


def _reads_signals(thread: ThreadWait) -> bool:
    """Whether a thread goes on at a signal that has no handler, or is there for signals."""
    return thread.call in _SIGNAL_WAITS or any(fd.kind == "signalfd" for fd in thread.fds)


def _awaits(thread: ThreadWait, number: int) -> bool:
    """Whether a thread may be in sigwait(3) for a signal: the masks do not say so while it sleeps there."""
    return thread.call == "rt_sigtimedwait" and waits_for_signal(thread.tid, number) is not False


def _task(pid: int, tid: int) -> str:
    return f"/proc/{pid}/task/{tid}"


def _state(pid: int, tid: int = 0) -> bytes:
    _, _, tail = slurp(f"{_task(pid, tid or pid)}/stat").rpartition(b")")
    return tail.split()[0] if tail else b""


def _live_threads(pid: int) -> list[int]:
    """Return the threads of a process, first one that has not ended: by its directory the process can be read."""
    tids = sorted(int(name) for name in entries(f"/proc/{pid}/task"))
    for at, tid in enumerate(tids[:MAX_THREADS]):
        if _state(pid, tid) not in (b"", b"Z", b"X"):
            return tids[at:]
    return []
