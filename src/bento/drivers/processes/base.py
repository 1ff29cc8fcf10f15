"""What the engine needs to know of, and do to, the processes of a container."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from bento.model.container import ProcessIdentity, Run
from bento.model.resources import HostLimits
from bento.model.waits import ProcessState
from bento.stop.process import Process

if TYPE_CHECKING:
    from bento.command import Child

Memory = dict[Any, Any]
"""What a driver remembers from one look to the next."""


class FileWatch(Protocol):
    """Waits for writes to one file. A context."""

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when it was written to; None: no watch is left."""

    def clear(self) -> None:
        """Take what was reported so far, where ``fileno`` is readable."""

    def wait(self, other_fd: int) -> None:
        """Block until the file was written to since the last call, or ``other_fd`` is readable."""

    def __enter__(self) -> FileWatch: ...

    def __exit__(self, *_: object) -> None: ...


class ArrivalWatch(Protocol):
    """Tells when a file was renamed into a directory, or that is gone. Close it."""

    def fileno(self) -> int | None:
        """Return a descriptor that is readable then; None: no watch is left."""

    def read(self) -> None:
        """Take what was reported so far."""

    def close(self) -> None:
        """Watch it no more. Idempotent."""


class GoneWatch(Protocol):
    """Waits for the removal of one directory. Close it."""

    def fileno(self) -> int | None:
        """Return a descriptor that is readable once it is removed; None: no watch is left."""

    def wait(self, timeout_s: float) -> bool:
        """Block until it is removed, at most so long; return whether it was."""

    def close(self) -> None:
        """Watch it no more. Idempotent."""


class BirthWatch(Protocol):
    """Follows what some processes begin, where the kernel reports it. Nothing blocks; close it."""

    def follow(self, root: int, pids: Iterable[int]) -> None:
        """Follow what these begin from now on; ``root`` is a name for all of them."""

    def read(self) -> None:
        """Take what was reported so far, so that it does not pile up."""

    def killed(self, root: int) -> list[int]:
        """Return the processes that began since then, and that SIGKILL has ended."""

    def close(self) -> None:
        """Follow nothing any more. Idempotent."""


class Refusal(Struct, frozen=True):
    """Why a request was not delivered. ``may_pass``: the container may only not be so far yet."""

    reason: str
    may_pass: bool = False


class Placement(Struct, frozen=True):
    """Where a process is: its PID namespace, and the text of its cgroups (proc_pid_cgroup(5))."""

    pid_namespace: str
    cgroups: str


class ChildProcess(Struct, frozen=True):
    """A process as a child of another one, read while it was that."""

    process: ProcessIdentity
    comm: str
    argv: tuple[str, ...]
    placement: Placement


class MonitorCgroup(Protocol):
    """The cgroups for a monitor: not those of the command that started it, whose end shall not be the monitor's."""

    def enter(self, pid: int) -> None:
        """Move a process in, before it has a container made. Raises KernelError."""

    def leave(self, pid: int) -> None:
        """Move it out of the container's own cgroup, once that is made."""

    def close(self) -> None:
        """Close it; the cgroups stay."""


class HostProcesses(Protocol):
    """Any process of this host, such as a monitor, or another command of Bento's own. No call blocks.

    Descriptors returned by ``open`` are pidfds: readable when the process has exited, zombie or not; the caller closes
    them.
    """

    def open(self, identity: ProcessIdentity) -> int | None:
        """Return a pidfd of this very process, or None when it is gone, a zombie, or another process."""

    def identify(self, pid: int, *, mark: str = "") -> ProcessIdentity | None:
        """Return the process that has this pid now, or None; also None without ``mark`` in its arguments or cgroups."""

    def own(self) -> ProcessIdentity:
        """Return this process. Raises KernelError when processes cannot be identified here."""

    def boot_id(self) -> str:
        """Return the id of this boot."""

    def namespaces(self) -> tuple[int, int]:
        """Return what identifies this process's PID namespace and its time namespace; 0: there are none.

        Raises KernelError when processes cannot be identified here.
        """

    def comm(self, pid: int) -> str:
        """Return the name of a process (proc_pid_comm(5)); "" when it is gone."""

    def placement(self, pid: int) -> Placement:
        """Return where a process is; of one that has gone, nothing that any other has."""

    def children(self, pid: int) -> list[ChildProcess]:
        """Return the live children of a process, in no order; none when it is gone."""

    def progress(self, pid: int) -> tuple[int, bool]:
        """Return how often threads of a process were switched to or from, and whether all of them are stopped.

        The same number at two looks: none has run meanwhile. (0, False) when it is gone.
        """

    def is_process_frozen(self, pid: int) -> bool:
        """Whether the cgroup that a process is in is frozen, whatever has made it."""

    def kill_session(self, pid: int, *, spared: int = 0) -> None:
        """SIGKILL a process and all others in its session. The caller knows that the pid is still its own.

        ``spared``: the process alone, when it is in this one's session, or in the caller's.
        """

    def open_root(self, process: ProcessIdentity, *, with_mounts: bool = True) -> int | None:
        """Return the root directory of this very process, open (O_PATH); None when it has ended. The caller closes it.

        ``with_mounts``: with all that its mount namespace shows there; else a copy of the mount at / alone.
        Raises KernelError. Nothing of what is below is executed.
        """

    def open_mount(self, process: ProcessIdentity, path: str) -> int | None:
        """Return a detached copy of what is mounted at a path of a process's mount namespace; the caller closes it.

        None when the process is gone. Raises KernelError when there is nothing at that path.
        """

    def find_by_arguments(self, part: str, word: str) -> list[ProcessIdentity]:
        """Return every process that has an argument with this part, and another that is this word. Slow."""

    def find_monitors(self, run_root: str) -> list[tuple[int, str]]:
        """Return (pid, container id) of every process whose arguments name a container below this run root. Slow."""

    def unhide_cgroup2(self) -> None:
        """For a process that a monitor has started: undo what hides a hierarchy in the monitor's mount namespace."""

    def find_cgroups(self) -> list[tuple[str, str, list[int]]]:
        """Return (container id, directory, live pids) of every container's cgroup on this host, of any engine."""

    def remove_cgroup(self, directory: str) -> bool:
        """Remove one empty cgroup directory that ``find_cgroups`` named; return whether it is gone."""

    def missing_cgroups(self, parent: str) -> tuple[str, ...]:
        """Return the directories that are not there yet of a parent cgroup, in every hierarchy, innermost first."""

    def remove_empty_cgroup(self, directory: str) -> None:
        """Remove a cgroup in which nothing is, neither processes nor cgroups; else leave it alone."""

    def host_limits(self) -> HostLimits:
        """Return what this host's cgroups can keep, by those that a runtime uses."""

    def cgroup_mode(self) -> str:
        """Return how this host's cgroups are mounted: v1, v2 or hybrid."""


class ProcessDriver(HostProcesses, Protocol):
    """Processes of containers. Every signal goes to a process whose identity was checked (rule S3). No call blocks."""

    def cgroups(self, pid: int, container_id: str) -> dict[str, str]:
        """Return by controller ("" is cgroup v2) the directories of a process that are this container's own.

        A runtime does not place a container in every hierarchy; elsewhere it is where its starter was.
        """

    def find_cgroups_of(self, container_id: str, parent: str = "") -> dict[str, str]:
        """Return by controller the directories that have a container's name, whatever is in them.

        ``parent``: its spec's ``cgroup_parent``, here and below.
        """

    def find_init(self, run: Run) -> ProcessIdentity | None:
        """Return PID 1 of a run from its cgroups, whatever was recorded; None when it cannot be known."""

    def is_exiting(self, run: Run) -> bool:
        """Whether PID 1, which lives, is in the middle of its exit: nothing gets into its namespaces any more."""

    def has_main_thread(self, run: Run) -> bool:
        """Whether the first thread of PID 1 still runs: others may go on without it (pthread_exit(3) in ``main``)."""

    def shows_life(self, run: Run, container_id: str, parent: str = "") -> bool:
        """Whether any process is in the cgroups of a run, or of that name, be it in another PID namespace."""

    def monitor_cgroup(self, container_id: str, *, needs_cgroup2: bool, parent: str = "") -> MonitorCgroup | None:
        """Return where a monitor is to be; None when that is where this process is. Raises KernelError.

        ``needs_cgroup2``: the runtime does not see that hierarchy, and the container is to have a cgroup of its own in
        it: it is made, on hosts with both versions.
        """

    def look(self, run: Run, number: int, *, tracer: int = 0, memory: Memory | None = None) -> tuple[Process, ...]:
        """Return every live process of the run, with what signal ``number`` would do to it.

        ``tracer``: a process of Bento's own. What it traces takes signals as if it were not traced. ``memory``: what
        PID 1 is at is noted there for ``examine``.
        """

    def examine(
        self, run: Run, processes: tuple[Process, ...], *, tracer: int = 0, memory: Memory | None = None
    ) -> tuple[Process, ...]:
        """Return the same with what each thread waits for; those that have ended meanwhile are left out.

        ``processes`` are all of the run. ``memory`` is for the driver: give the same one at each look of a stop.
        """

    def shut_down_sockets(self, run: Run, main_fd: int, *, with_unnamed: bool = False) -> None:
        """Shut down the sockets that PID 1 has and no other process of the host, so that no peer waits for it.

        For a PID 1 that is held at its exit. Unnamed UNIX sockets are left, but ``with_unnamed``: their peers are most
        likely its children.
        """

    def states(self, pid: int) -> tuple[ProcessState, ...]:
        """Return the state of every process of the PID namespace that a process is in, zombies too. Slow."""

    def watch(self, pid: int, start_ticks: int) -> int | None:
        """Return a pidfd of this very process, as ``open``."""

    def send_signal(self, pidfd: int, number: int, *, wake: bool) -> bool:
        """Send a signal, and SIGCONT after it when ``wake``. False: it had exited."""

    def find_method(self, run: Run) -> tuple[str, str]:
        """Return the stop method that PID 1 of the run obeys, ``signal`` when it is no init that is known, and why."""

    def executable(self, process: Process) -> str:
        """Return the path of the file that the kernel runs, in the container's root; "" where that is not shown."""

    def has_path(self, pidfd: int, path: str) -> bool:
        """Whether there is something at this path in the mount namespace of a process."""

    def ask_initctl(self, pidfd: int, run: Run) -> Refusal | None:
        """Ask PID 1 for run level 0 through the FIFO it reads; None when it has the request.

        Refuses, with the reason, whatever is not a FIFO of the container's own that a process reads.
        """

    def take_children(self) -> list[Child]:
        """Return what ``send_signal`` and ``kill_all`` have started since the last call: children that have the runtime
        send a signal (``RuntimeDriver.begin_signal``). The caller waits for them and ends them."""

    def is_empty(self, run: Run) -> bool:
        """Whether no process is left in the run's cgroups."""

    def has_exited(self, pidfd: int) -> bool:
        """Whether the process has exited."""

    def wait(self, pidfd: int, timeout_s: float | None) -> bool:
        """Block until the process has exited, at most so long (None: for ever); return whether it has."""

    def exit_status(self, pidfd: int) -> int | None:
        """Return the raw wait status of an exited process, or None when the kernel cannot say (before Linux 6.15)."""

    def kill_all(self, run: Run) -> int:
        """SIGKILL everything in the run's cgroups, fork-safe, thawed afterwards; return how many were alive."""

    def is_frozen(self, run: Run) -> bool:
        """Whether the run's cgroup is frozen: the container is paused."""

    def freeze(self, run: Run) -> None:
        """Freeze the run's cgroup. Idempotent."""

    def thaw(self, run: Run) -> None:
        """Thaw the run's cgroups, nested ones too. Idempotent; no error when they are gone."""

    def oom_kills(self, run: Run) -> int | None:
        """Return the cgroup's count of OOM kills; None when it cannot be known, as when the cgroup is gone."""

    def release_cgroups(self, run: Run) -> list[str]:
        """Remove the run's cgroups; return what could not be removed. Idempotent."""

    def name_stuck(self, run: Run) -> list[str]:
        """Return a line for each live process: pid, name, state, where in the kernel it waits."""


class Situation(Struct, frozen=True, kw_only=True):
    """Where a process is, for a stop of what Bento has not made.

    Attributes:
        process: None: it is gone.
        is_outside: its PID namespace is this process's own, or one around it.
        first: PID 1 of its namespace; 0: that cannot be known.
        cgroups: directories by controller, "" is version 2, in which there is nothing but what its namespace holds.
        membership: the text of its cgroups (proc_pid_cgroup(5)).
        own_id: it is PID 1 of a container of Bento's with this id.
        nested_ids: those of Bento's containers that run below it.
    """

    process: ProcessIdentity | None = None
    is_outside: bool = False
    first: int = 0
    cgroups: dict[str, str] = {}
    membership: str = ""
    own_id: str = ""
    nested_ids: tuple[str, ...] = ()


class NamespaceDriver(ProcessDriver, Protocol):
    """ProcessDriver for PID namespaces that another engine has made: a run has its PID 1, and maybe no cgroup.

    A look shows what is in the namespace and in those nested in it, in whatever cgroup. The end of PID 1 ends all.
    """

    def situate(self, pid: int) -> Situation:
        """Return where a process is. Looks at every process of the host. Raises KernelError."""
