"""What the engine needs of a monitor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from bento.drivers.runtime.base import RuntimeDriver
from bento.model.container import ProcessIdentity
from bento.model.terminal import WindowSize

INPUT_MAX: Final = 28672
"""Bytes of a packet of input, whole pages. conmon 2.1.6 drops what is beyond 32767 (conn_sock.c)."""


class Launch(Struct, frozen=True, kw_only=True):
    """Everything a monitor needs to create a container from a bundle."""

    container_id: str
    name: str
    runtime: RuntimeDriver
    bundle: Path  # holds config.json
    run_dir: Path  # the container's directory below the run root: pid files, exit file, attach socket
    log_path: Path | None  # None: its output is not kept in a file
    log_max_bytes: int = 0  # before the log grows beyond, it begins anew; 0: no limit
    is_logged_to_journal: bool = False  # systemd's
    log_tag: str = ""  # in the journal
    has_terminal: bool = False  # its standard streams are one, made by the runtime and held by the monitor
    has_input: bool = False  # it has an input, which can be attached to
    has_own_ids: bool = False  # it is in a user namespace in which root, whose the pipes are, has no id
    keeps_input: bool = False  # that input does not end with what is attached to it
    command: str = ""  # what the container is to run, for error messages
    exit_command: tuple[str, ...] = ()  # run by the monitor after the exit file is written
    kept_fds: tuple[int, ...] = ()  # the monitor has them open until it ends
    cgroup_parent: str = ""  # as of the spec
    notify_socket: str = ""  # where it passes READY=1 on, which it gets at "notify/notify.sock"
    words_before: tuple[str, ...] = ()  # a program that the monitor is started by, and becomes
    enter: Callable[[int], None] | None = None  # called with the monitor's pid before that does anything
    timeout_s: float = 60.0  # for the runtime's create; virtual machines need seconds


class Launched(Struct, frozen=True):
    """The processes of a created, not yet started container; pids, not yet identified."""

    init_pid: int
    monitor_pid: int


class ExecLaunch(Struct, frozen=True, kw_only=True):
    """Everything a monitor needs to have a process brought into a running container."""

    container_id: str
    exec_id: str
    name: str  # of the container
    runtime: RuntimeDriver
    directory: Path  # of this session alone, there already
    ended: Path  # what the monitor renames it to at its end
    wakes: Path  # what it then opens for writing and closes
    process_spec: Path  # config.json's ``process``, for this one
    command: str = ""  # for error messages
    is_attached: bool = False
    has_terminal: bool = False
    has_own_ids: bool = False  # as in Launch
    enter: Callable[[int], None] | None = None  # as in Launch
    timeout_s: float = 30.0


class Streams(Struct, frozen=True):
    """Our ends of the pipes that are a process's standard streams; the holder closes them.

    ``stderr_fd`` None: a terminal, of which the other two are the master's side. Reading it fails with EIO at its end.
    """

    stdin_fd: int
    stdout_fd: int
    stderr_fd: int | None


class Connection(Struct, frozen=True):
    """SOCK_SEQPACKET descriptors that the caller closes.

    ``input_fd`` never blocks, and takes packets of ``INPUT_MAX`` bytes. shutdown(2) of its writing side, or the end of
    both descriptors, ends the input, unless that was launched to be kept or is a terminal.
    """

    output_fd: int
    input_fd: int | None = None


class ExecLaunched(Struct, frozen=True):
    """A process that was brought in. Pids are not yet identified; descriptors are the caller's to close.

    ``monitor_pid``: None when the process, and then its monitor, have ended already.
    ``status_fd`` is for ``exec_status``; readable once the process has ended. ``streams``: None when it is detached.
    """

    pid: int
    monitor_pid: int | None
    status_fd: int
    streams: Streams | None


class JournalEntry(Struct, frozen=True, kw_only=True):
    """A line of output in the journal, or a part of one: it ends with a newline unless the line goes on."""

    cursor: str  # where it is in the journal
    unix_ns: int
    is_stderr: bool
    text: bytes


class ExitStatus(Struct, frozen=True):
    """What the monitor saw: 0-255, 128+n for signal n. ``at_unix_ns``: when; 0 is not known."""

    code: int
    at_unix_ns: int = 0


class MonitorDriver(Protocol):
    """Starts monitors and reads what they leave. State is in files, so any process can ask."""

    def launch(self, launch: Launch) -> Launched:
        """Start a monitor in the calling thread's mount namespace and have it create the container.

        Blocks until the runtime has created it. Raises what the runtime's ``explain_create_failure`` says,
        RuntimeFailed, MissingTool, or DeadlineExceeded. Leaves nothing behind when it raises.
        """

    def keep_log(self, announcements: Path, bundle: Path, files: int, monitor: ProcessIdentity) -> None:
        """Have the log of a container, which is in its bundle, be kept in so many files while this monitor lives.

        By one process for all containers that are announced in the same directory, which is made when it is missing.
        Raises StorageUnusable.
        """

    def resume_logs(self, announcements: Path, containers: Path) -> None:
        """Start that process again where it was killed; ``containers`` has the bundles. Idempotent."""

    def read_journal(self, container_id: str, monitor_fd: int | None) -> Iterator[JournalEntry | None]:
        """Yield what the journal has of a container's output, then None, and then, where its monitor lives, what comes.

        ``monitor_fd``: a pidfd of the monitor; the end of that is the end. Blocks. Raises MissingTool, UsageError.
        """

    def pids(self, run_dir: Path) -> tuple[int | None, int | None]:
        """Return (init pid, monitor pid) as the monitor wrote them; None for what it did not get to."""

    def launch_exec(self, launch: ExecLaunch) -> ExecLaunched:
        """Start a monitor that has the runtime bring a process into a container, and reaps it at its end.

        Blocks until the process runs. Raises what the runtime's ``explain_exec_failure`` says, RuntimeFailed,
        MissingTool, or DeadlineExceeded: then the monitor is ended, the directory maybe not yet renamed.
        """

    def exec_status(self, status_fd: int) -> int | None:
        """Return how the process of ``launch_exec`` has ended: 0-255, 128+n for signal n. Blocks until then.

        None: the monitor was ended before it could report.
        """

    def exit_status(self, run_dir: Path, container_id: str) -> ExitStatus | None:
        """Return what the monitor wrote at the exit, or None when it has written nothing."""

    def saw_oom(self, run_dir: Path) -> bool:
        """Whether the monitor saw the container run out of memory, by a mark that outlives its cgroup."""

    def end_input(self, run_dir: Path) -> None:
        """Let the input of a container with ids of its own come to its end: that is a pipe, also without ``-i``.

        Not before the caller has attached to it: conmon takes one connection at a time, and what the program writes in
        between would be lost to the second. No error where it has ended.
        """

    def attach(self, run_dir: Path, spool: Path, *, has_input: bool = False, stays: bool = False) -> Connection:
        """Connect to the container's output, and with ``has_input`` to its input. Raises KernelError: no monitor.

        Each packet of output is one byte for the stream (2 stdout, 3 stderr) and the bytes. Its end: the monitor ended.
        A caller that does not read holds up neither the container nor its monitor: a process between the two keeps what
        was not read yet, in a file without a name in the directory ``spool`` when it is much. What goes beyond its
        limits (1 GiB, or half of what the disk has left) is missing, the oldest first; a packet of stream 0 tells, in
        digits, how many bytes are missing at this place. ``stays``: the container's input, which ends with what is
        attached to it, is not to end with this.
        """

    def reopen_log(self, run_dir: Path, path: Path) -> None:
        """Have the container's log be written to a new file at ``path``, from where the old one was moved away.

        Returns when it is there, which may be some milliseconds. Raises WrongState: the monitor has ended, or does not
        do it in time; then no file was made.
        """

    def close(self) -> None:
        """Attach to nothing more; what is attached stays so. Idempotent."""

    def resize(self, run_dir: Path, size: WindowSize) -> None:
        """Set the size of the container's terminal. No error where it has none, or has ended. Does not block."""
