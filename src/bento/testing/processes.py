"""Processes that exist only in memory: for tests of the engine, without root."""

from __future__ import annotations

import os
import select
from _thread import RLock
from collections.abc import Callable

from msgspec.structs import replace

from bento.command import Child
from bento.drivers.processes.base import ChildProcess, Memory, MonitorCgroup, Placement, Refusal, Situation
from bento.model.container import ProcessIdentity, Run
from bento.model.resources import HostLimits
from bento.model.waits import Descriptor, Evidence, ProcessState, ThreadWait
from bento.stop.process import Disposition, Process
from bento.units import SIGKILL

BOOT_ID = "fake-boot"

WAITS = Evidence(threads=(ThreadWait(tid=1, state="S", call="wait4", child=0),))
"""Of a process that waits for any child."""
SLEEPS = Evidence(threads=(ThreadWait(tid=1, state="S", call="clock_nanosleep", timeout_s=600.0),))
"""Of one that sleeps."""
LISTENS = Evidence(threads=(ThreadWait(tid=1, state="S", call="accept4", fds=(Descriptor("listen"),)),), listening=1)
"""Of a server without a connection."""


class FakeProcess:
    """One process. It has a pipe whose write end is closed at its exit: a pidfd is a copy of the read end.

    Attributes:
        signals: what it got, in order.
        evidence: what its threads wait for; it runs.
        on_signal: what it does about a signal; a test sets it. SIGKILL ends it without asking, unless ``is_immortal``.
    """

    def __init__(self, pid: int, comm: str, disposition: Disposition, parent: FakeProcess | None) -> None:
        self.identity = ProcessIdentity(pid, pid * 10, BOOT_ID)
        self.comm = comm
        self.disposition = disposition
        self.parent = parent
        self.signals: list[int] = []
        self.on_signal: Callable[[int], None] = lambda number: None
        self.is_immortal = False
        self.evidence = Evidence(threads=(ThreadWait(tid=pid, state="R"),))
        self.status: int | None = None  # raw wait status once it has exited
        self.reader, self._writer = os.pipe2(os.O_CLOEXEC)
        self.inode = os.fstat(self.reader).st_ino

    @property
    def main(self) -> FakeProcess:
        """PID 1 of its container."""
        return self if self.parent is None else self.parent.main

    def end(self, status: int) -> None:
        """Exit with a raw wait status (waitpid(2)). Idempotent."""
        if self.status is None:
            self.status = status
            os.close(self._writer)

    def close(self) -> None:
        """Let go of the pipe. Idempotent."""
        self.end(0)
        reader, self.reader = self.reader, -1
        if reader >= 0:
            os.close(reader)


class FakeProcesses:
    """Implements ``ProcessDriver``. A test adds processes and says what they do. Safe between threads.

    Attributes:
        frozen, exiting: pids of the PID 1s whose containers are paused, and of those in the middle of their exit.
        sessions_killed: the pids that ``kill_session`` was called for.
        kills: how often everything was killed.
        thaws: how often something was thawed.
        oom_count: what ``oom_kills`` returns; None: the cgroup is gone.
        cgroups_left: what the next ``release_cgroups`` return, first one first; then everything is gone.
        own_namespaces: of PIDs and of time.
        own_ids: by pid, the containers of Bento's that are found by a process.
        nested_ids: those that run below every other.
        stray: PID 1 that a look at the cgroups shows, whatever the record says.
        can_read_status: False on kernels before Linux 6.15.
    """

    def __init__(self) -> None:
        self.frozen, self.exiting = set[int](), set[int]()
        self.method = "signal"  # what PID 1 obeys
        self.executables: dict[int, str] = {}  # what the kernel runs, by pid
        self.shut_down: list[int] = []
        self.sessions_killed: list[int] = []
        self.kills = self.thaws = 0
        self.oom_count: int | None = 0
        self.cgroups_left: list[list[str]] = []
        self.can_read_status = True
        self.own_namespaces = (1, 1)
        self.own_ids: dict[int, str] = {}
        self.nested_ids: set[str] = set()
        self.stray: FakeProcess | None = None
        self._mutex = RLock()
        self._all: list[FakeProcess] = []

    def add(
        self,
        comm: str,
        disposition: Disposition = Disposition.HANDLED,
        *,
        under: FakeProcess | None = None,
        exits: int | None = None,
    ) -> FakeProcess:
        """Start a process, PID 1 of a new container unless ``under`` another. ``exits``: ends so when signalled."""
        with self._mutex:
            process = FakeProcess(1000 + len(self._all), comm, disposition, under)
            self._all.append(process)
        if exits is not None:
            process.on_signal = lambda number: self.end(process, exits)
        return process

    def end(self, process: FakeProcess, status: int) -> None:
        """Let a process exit. With PID 1 go all others of its container, as the kernel has it."""
        with self._mutex:
            others = [other for other in self._all if process.parent is None and other.main is process]
            process.end(status)
            for other in others:
                other.end(SIGKILL)

    def close(self) -> None:
        """Ends everything and closes every pipe of its own."""
        for process in self._all:
            process.close()

    def open(self, identity: ProcessIdentity) -> int | None:
        """See ProcessDriver."""
        if identity == self.own():
            return os.pidfd_open(os.getpid())
        with self._mutex:
            found = [one for one in self._all if one.identity == identity and one.status is None]
            return os.dup(found[0].reader) if found else None

    def identify(self, pid: int, *, mark: str = "") -> ProcessIdentity | None:
        """See ProcessDriver. Marks are not looked at."""
        return next((one.identity for one in self._all if one.identity.pid == pid and one.status is None), None)

    def own(self) -> ProcessIdentity:
        """Return the test's own process, of the fake's boot."""
        return ProcessIdentity(os.getpid(), 1, BOOT_ID)

    def comm(self, pid: int) -> str:
        """See ProcessDriver."""
        return next((one.comm for one in self._all if one.identity.pid == pid and one.status is None), "")

    def placement(self, pid: int) -> Placement:
        """All are in one place."""
        return Placement("fake", "fake")

    def children(self, pid: int) -> list[ChildProcess]:
        """See ProcessDriver."""
        return [
            ChildProcess(one.identity, one.comm, (one.comm,), self.placement(one.identity.pid))
            for one in self._all
            if one.parent is not None and one.parent.identity.pid == pid and one.status is None
        ]

    def progress(self, pid: int) -> tuple[int, bool]:
        """None ever runs."""
        return 0, False

    def open_root(self, process: ProcessIdentity, *, with_mounts: bool = True) -> int | None:
        """None has a root directory that could be opened."""
        return None

    def is_exiting(self, run: Run) -> bool:
        """Whether a test has said so."""
        return run.init is not None and run.init.pid in self.exiting

    def has_main_thread(self, run: Run) -> bool:
        """Every one has."""
        return True

    def cgroups(self, pid: int, container_id: str) -> dict[str, str]:
        """Return one directory that does not exist."""
        return {"": f"/fake/{pid}"}

    def unhide_cgroup2(self) -> None:
        """Nothing is hidden."""

    def monitor_cgroup(self, container_id: str, *, needs_cgroup2: bool, parent: str = "") -> MonitorCgroup | None:
        """It is where we are."""
        return None

    def find_method(self, run: Run) -> tuple[str, str]:
        """Return ``method``."""
        return self.method, "the fake says so"

    def executable(self, process: Process) -> str:
        """Return ``executables`` of its pid."""
        return self.executables.get(process.pid, "")

    def has_path(self, pidfd: int, path: str) -> bool:
        """Everything has booted."""
        return True

    def ask_initctl(self, pidfd: int, run: Run) -> Refusal | None:
        """Refuse: there is no FIFO."""
        return Refusal("there is no FIFO")

    def find_cgroups_of(self, container_id: str, parent: str = "") -> dict[str, str]:
        """There are no cgroups."""
        return {}

    def find_init(self, run: Run) -> ProcessIdentity | None:
        """Return ``stray``."""
        return self.stray.identity if self.stray is not None and self.stray.status is None else None

    def boot_id(self) -> str:
        """Return the boot that the fake's identities name."""
        return BOOT_ID

    def namespaces(self) -> tuple[int, int]:
        """Return those in which the fake's identities are."""
        return self.own_namespaces

    def shows_life(self, run: Run, container_id: str, parent: str = "") -> bool:
        """See ProcessDriver."""
        return not self.is_empty(run)

    def look(self, run: Run, number: int, *, tracer: int = 0, memory: Memory | None = None) -> tuple[Process, ...]:
        """See ProcessDriver."""
        return tuple(
            Process(
                pid=one.identity.pid,
                start_ticks=one.identity.start_ticks,
                ppid=one.parent.identity.pid if one.parent else 0,
                comm=one.comm,
                disposition=one.disposition,
                argv=(one.comm,),
                is_main=one.parent is None,
                is_namespace_init=one.parent is None,
            )
            for one in self._members(run)
        )

    def examine(
        self, run: Run, processes: tuple[Process, ...], *, tracer: int = 0, memory: Memory | None = None
    ) -> tuple[Process, ...]:
        """Give each process its ``evidence``."""
        found = {one.identity.pid: one.evidence for one in self._all}
        return tuple(replace(process, evidence=found[process.pid]) for process in processes)

    def shut_down_sockets(self, run: Run, main_fd: int, *, with_unnamed: bool = False) -> None:
        """Remember."""
        self.shut_down.append(self._of(main_fd).identity.pid)

    def situate(self, pid: int) -> Situation:
        """See NamespaceDriver. Every container has a namespace of its own; pid 1 is of this one."""
        if pid == 1:
            return Situation(process=ProcessIdentity(1, 1, BOOT_ID), is_outside=True)
        found = next((one for one in self._all if one.identity.pid == pid and one.status is None), None)
        if found is None:
            return Situation()
        return Situation(
            process=found.identity,
            first=found.main.identity.pid,
            membership=f"0::/fake/{found.comm}",
            own_id=self.own_ids.get(pid, ""),
            nested_ids=tuple(sorted(self.nested_ids)),
        )

    def states(self, pid: int) -> tuple[ProcessState, ...]:
        """None is shown."""
        return ()

    def watch(self, pid: int, start_ticks: int) -> int | None:
        """See ProcessDriver."""
        return self.open(ProcessIdentity(pid, start_ticks, BOOT_ID))

    def send_signal(self, pidfd: int, number: int, *, wake: bool) -> bool:
        """See ProcessDriver."""
        process = self._of(pidfd)
        if process.status is not None:
            return False
        process.signals.append(number)
        if number != SIGKILL:
            process.on_signal(number)
        elif not process.is_immortal:
            self.end(process, SIGKILL)
        return True

    def take_children(self) -> list[Child]:
        """There are none."""
        return []

    def is_empty(self, run: Run) -> bool:
        """See ProcessDriver."""
        return not self._members(run)

    def host_limits(self) -> HostLimits:
        """Return what a host of today has: version 2, and two CPUs."""
        names = "cpu.max cpu.weight cpuset.cpus cpuset.mems io.max memory.low memory.max pids.max"
        files = set(names.split())
        return HostLimits(files=frozenset(files | {"memory.swap.max"}), cpus="0-1", mems="0")

    def has_exited(self, pidfd: int) -> bool:
        """See ProcessDriver."""
        return self._of(pidfd).status is not None

    def wait(self, pidfd: int, timeout_s: float | None) -> bool:
        """See ProcessDriver."""
        readable, _, _ = select.select([pidfd], [], [], timeout_s)
        return bool(readable)

    def exit_status(self, pidfd: int) -> int | None:
        """See ProcessDriver."""
        return self._of(pidfd).status if self.can_read_status else None

    def kill_session(self, pid: int, *, spared: int = 0) -> None:
        """Remember."""
        self.sessions_killed.append(pid)

    def kill_all(self, run: Run) -> int:
        """See ProcessDriver."""
        self.kills += 1
        self.thaw(run)
        members = self._members(run)
        for process in members:
            if not process.is_immortal:
                self.end(process, SIGKILL)
        return len(members)

    def is_frozen(self, run: Run) -> bool:
        """See ProcessDriver."""
        return run.init is not None and run.init.pid in self.frozen

    def is_process_frozen(self, pid: int) -> bool:
        """Whether the process is among ``frozen``."""
        return pid in self.frozen

    def freeze(self, run: Run) -> None:
        """See ProcessDriver."""
        if run.init is not None:
            self.frozen.add(run.init.pid)

    def thaw(self, run: Run) -> None:
        """See ProcessDriver."""
        if run.init is not None and run.init.pid in self.frozen:
            self.frozen.remove(run.init.pid)
            self.thaws += 1

    def oom_kills(self, run: Run) -> int | None:
        """Return ``oom_count``."""
        return self.oom_count

    def release_cgroups(self, run: Run) -> list[str]:
        """Return the next of ``cgroups_left``, then nothing."""
        return self.cgroups_left.pop(0) if self.cgroups_left else []

    def name_stuck(self, run: Run) -> list[str]:
        """See ProcessDriver."""
        return [f"{one.identity.pid} {one.comm} (state D, in fake_wait, read)" for one in self._members(run)]

    def open_mount(self, process: ProcessIdentity, path: str) -> int | None:
        """Return a descriptor of /, or None when the process is gone."""
        return self.open_root(process)

    def find_by_arguments(self, part: str, word: str) -> list[ProcessIdentity]:
        """Return nothing: no arguments are kept."""
        return []

    def find_monitors(self, run_root: str) -> list[tuple[int, str]]:
        """Return nothing: no arguments are kept."""
        return []

    def missing_cgroups(self, parent: str) -> tuple[str, ...]:
        """Return nothing: all are there."""
        return ()

    def remove_empty_cgroup(self, directory: str) -> None:
        """There is none."""

    def find_cgroups(self) -> list[tuple[str, str, list[int]]]:
        """Return nothing: there are no cgroups."""
        return []

    def remove_cgroup(self, directory: str) -> bool:
        """Return True: it is gone."""
        return True

    def cgroup_mode(self) -> str:
        """Return "v2"."""
        return "v2"

    def _members(self, run: Run) -> list[FakeProcess]:
        with self._mutex:
            return [one for one in self._all if one.status is None and one.main.identity == run.init]

    def _of(self, pidfd: int) -> FakeProcess:
        inode = os.fstat(pidfd).st_ino
        return next(one for one in self._all if one.inode == inode)
