"""``exec``: a process more in a running container, by the runtime, under a monitor of its own.

The container's operation lock is held from the check until the process runs, and a stop takes it before it begins to
kill: so what gets in is seen, signalled and ended by that stop, and nothing gets in after (rule S16).
"""

from __future__ import annotations

import os
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock, command
from bento.drivers.monitor.base import ExecLaunch, ExecLaunched
from bento.engine.base import exec_sessions
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.exec_sessions import door_is_open
from bento.engine.base.happened import tell, tell_of_id
from bento.engine.lifecycle import reconcile
from bento.engine.resources.rooted import root_of
from bento.engine.stop.report import exit_code_from
from bento.errors import BentoError, InternalError, RuntimeFailed, UsageError, WrongState
from bento.model.container import Container, Run, Status
from bento.model.event import UNKNOWN_CODE, Deed, of_container
from bento.model.exec import ExecOptions, ExecSession
from bento.model.terminal import WindowSize
from bento.parse.environment import check_variable
from bento.units import new_id

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


_HEX = frozenset("0123456789abcdef")
_KEEPER_LIMIT_S = 10.0  # for a shell that starts one program


class Attached:
    """A process that runs in a container, with its standard streams. ``Engine.wait_exec`` closes what is still open.

    Attributes:
        session: its record.
        stdin_fd: write its input there, and close it by ``end_input``; None when it has none. A terminal's input does
            not end by that.
        stdout_fd, stderr_fd: pipes with its output. What it has left behind may keep them open after its end. With a
            terminal ``stdout_fd`` is that, at whose end reading fails with EIO, and ``stderr_fd`` is None.
        status_fd: readable once it has ended; only to be polled.
    """

    def __init__(self, session: ExecSession, launched: ExecLaunched, process_fd: int | None) -> None:
        if launched.streams is None:
            raise InternalError("the monitor gave no streams")
        self.session = session
        self.stdin_fd: int | None = launched.streams.stdin_fd
        self.stdout_fd, self.stderr_fd = launched.streams.stdout_fd, launched.streams.stderr_fd
        self.status_fd, self.process_fd = launched.status_fd, process_fd
        self._is_open = True

    @property
    def input_fd(self) -> int | None:
        """The same as ``stdin_fd``."""
        return self.stdin_fd

    def write(self, data: bytes) -> int:
        """Write input; return how much was taken. Blocks unless ``stdin_fd`` is made non-blocking.

        Raises BrokenPipeError when nothing reads it any more.
        """
        if self.stdin_fd is None:
            raise BrokenPipeError
        return os.write(self.stdin_fd, data)

    def end_input(self) -> None:
        """Let its stdin come to an end. Idempotent."""
        fd, self.stdin_fd = self.stdin_fd, None
        if fd is not None:
            os.close(fd)

    def resize(self, size: WindowSize) -> None:
        """Set the size of its terminal. No error where it has none, or has ended. Does not block."""
        if self.stderr_fd is None and self._is_open:
            with suppress(OSError):
                termios.tcsetwinsize(self.stdout_fd, (size.rows, size.columns))

    def detach(self) -> None:
        """Close the descriptors and let the process go on, with a terminal that something reads. Idempotent.

        The last close of a terminal is a hangup for what runs on it (tty_ioctl(4)): a process of its own keeps it, and
        drops what comes, until the process and all else on the terminal have ended.
        """
        if self.stderr_fd is None and self._is_open:
            os.set_blocking(self.stdout_fd, True)
            words = ("/bin/sh", "-c", "exec 3<&0; cat <&3 3<&- >/dev/null 2>&1 &")
            command.spawn(words, capture=False, stdin_fd=self.stdout_fd, new_session=True).finish(_KEEPER_LIMIT_S)
        self.close()

    def close(self) -> None:
        """Close the descriptors. The process goes on; a terminal of its own is hung up. Idempotent."""
        self.end_input()
        if self._is_open:
            self._is_open = False
            for fd in (self.stdout_fd, self.stderr_fd, self.status_fd, self.process_fd):
                if fd is not None:
                    os.close(fd)


def attached(drivers: Drivers, ref: str, options: ExecOptions) -> Attached:
    """Run a command in a container, with its output and input. Blocks until it runs.

    Raises NotFound, UsageError, CommandNotFound, CommandNotExecutable, RuntimeFailed, and WrongState when the container
    does not run, is paused, or is ending.
    """
    session, launched = _begin(drivers, ref, options, is_attached=True)
    found = Attached(session, launched, drivers.processes.open(session.process) if session.process else None)
    if not options.has_input:
        found.end_input()
    return found


def detached(drivers: Drivers, ref: str, options: ExecOptions) -> ExecSession:
    """Run a command in a container and leave it there; its output is lost. Blocks until it runs.

    Raises as ``attached``.
    """
    session, launched = _begin(drivers, ref, options, is_attached=False)
    os.close(launched.status_fd)
    return session


def wait(drivers: Drivers, running: Attached) -> int:
    """Return the exit status of an attached process, 128+n after signal n, and close its descriptors. Blocks.

    Output that was not read is lost. Raises RuntimeFailed when the end was not seen.
    """
    try:
        code = drivers.monitor.exec_status(running.status_fd)
        if code is None and running.process_fd is not None:  # its monitor was ended; it may go on
            drivers.processes.wait(running.process_fd, None)
            code = exit_code_from(drivers.processes, running.process_fd)
    finally:
        running.close()
    session = running.session
    if exec_sessions.take(drivers, session):
        logged = str(UNKNOWN_CODE if code is None else code)
        tell_of_id(drivers, session.container_id, "exec_die", execID=session.id, exitCode=logged)
    if code is None:
        raise RuntimeFailed("the command has ended, and its exit status is not known", hint="was its monitor killed?")
    return code


def leave(drivers: Drivers, running: Attached) -> None:
    """Detach from a process, which goes on, and log that."""
    running.detach()
    tell_of_id(drivers, running.session.container_id, "exec_detach", execID=running.session.id)


def signal(drivers: Drivers, session: ExecSession, number: int) -> None:
    """Send a signal to an exec's process; no error when it has ended."""
    fd = drivers.processes.open(session.process) if session.process else None
    if fd is not None:
        drivers.processes.send_signal(fd, number, wake=False)
        os.close(fd)


def _begin(drivers: Drivers, ref: str, options: ExecOptions, *, is_attached: bool) -> tuple[ExecSession, ExecLaunched]:
    options = _checked(options)
    container_id = reconcile.find(drivers, ref).id
    with drivers.locks.hold(container_id, LOCK_TIMEOUT_S):
        container = drivers.store.get(container_id)
        run = _may_enter(drivers, container)
        session = ExecSession(
            id=options.id or new_id(),
            container_id=container_id,
            command=options.command,
            started_unix_ns=clock.wall_ns(),
        )
        exec_sessions.write(drivers, session)
        _tell_begin(drivers, container, session)
        try:
            launched = _launch(drivers, container, run, session, options, is_attached=is_attached)
        except BaseException as error:
            exec_sessions.end(drivers, session)
            if isinstance(error, BentoError):
                # These say more: that it ended meanwhile, or what the runtime takes for its end.
                _check_main_thread(drivers, _may_enter(drivers, drivers.store.get(container_id)), container.name)
            raise
        session = replace(
            session,
            process=drivers.processes.identify(launched.pid),
            monitor=drivers.processes.identify(launched.monitor_pid) if launched.monitor_pid else None,
        )
        exec_sessions.complete(drivers, session)
        return session, launched


def _tell_begin(drivers: Drivers, container: Container, session: ExecSession) -> None:
    """Log the ends of earlier sessions, and that this one begins: before it does, so that its end can only come later.

    As in Docker, also of a command that then cannot be run.
    """
    words, attributes = " ".join(session.command), {"execID": session.id}
    begun = (Deed(action=f"{verb}: {words}", attributes=attributes) for verb in ("exec_create", "exec_start"))
    deeds = (*exec_sessions.take_ended(drivers, container.id), *begun)
    tell(drivers, *(of_container(container, deed, session.started_unix_ns) for deed in deeds))


def _checked(options: ExecOptions) -> ExecOptions:
    """Refuse what could not be run, before anything is made. Raises UsageError."""
    words = (*options.command, options.workdir or "", options.user or "")
    if not options.command or not options.command[0] or any("\0" in word for word in words):
        raise UsageError("no command to run, or one with a null byte", hint="give a program and its arguments")
    if options.workdir is not None and not options.workdir.startswith("/"):
        raise UsageError(f"working directory {options.workdir!r} is not an absolute path")
    if not _HEX.issuperset(options.id):
        raise UsageError(f"bad id of an exec session {options.id!r}", hint="give one of bento.units.new_id")
    for entry in options.env:
        check_variable(entry)
    for word in (*words, *options.env):
        if not word.isascii():
            _check_text(word)
    return options


def _check_text(word: str) -> None:
    """Refuse what no record can hold. Arguments of a command line may be any bytes (PEP 383)."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(f"not valid UTF-8: {word!r}", hint="a command and its variables must be text") from None


def _may_enter(drivers: Drivers, container: Container) -> Run:
    """Return the run of a container that takes another process now. Raises WrongState."""
    name, run = container.name, container.run
    if container.status not in (Status.RUNNING, Status.STOPPING) or run is None:
        raise WrongState(f"container {name} is not running: it is {container.status.value}", hint="start it first")
    if container.status is Status.STOPPING and not door_is_open(container.intent):
        raise WrongState(f"container {name} is ending: nothing more is run in it", hint="start it again later")
    if not reconcile.is_alive(drivers, run) or drivers.processes.is_exiting(run):
        raise WrongState(f"container {name} is not running: it has just ended", hint="start it first")
    if drivers.processes.is_frozen(run):
        if (holder := drivers.locks.freezer(container.id)) is not None:
            raise WrongState(f"container {name} is frozen by {holder}", hint="try again when it is done")
        raise WrongState(f"container {name} is paused: nothing can be run in it", hint=f"bento unpause {name}")
    return run


def _check_main_thread(drivers: Drivers, run: Run, name: str) -> None:
    """Raise WrongState where PID 1 goes on without its main thread: crun and runc look at that alone."""
    if not drivers.processes.has_main_thread(run):
        runtime = os.path.basename(run.runtime)
        raise WrongState(
            f"nothing can be run in container {name}: the main thread of its program has ended, so {runtime} takes it "
            "for stopped, though its other threads go on",
            hint="bento logs, bento cp and bento stop work",
        )


def _launch(
    drivers: Drivers, container: Container, run: Run, session: ExecSession, options: ExecOptions, *, is_attached: bool
) -> ExecLaunched:
    runtime = drivers.runtime(run.runtime)
    path = exec_sessions.directory(drivers, session)
    bundle = drivers.storage.bundle(container.id)
    spec_path = path / "process.json"
    with root_of(drivers, container.id, run) as root:
        runtime.write_process(container, options, bundle=bundle, root=root, path=spec_path)
        if root is not None:
            runtime.check_program(spec_path, root=root)
    # As for the container itself (start): so that the process is in the container's cgroup2, too.
    needs_cgroup2 = container.spec.system and not runtime.sees_cgroup2
    monitor_cgroup = drivers.processes.monitor_cgroup(
        container.id, needs_cgroup2=needs_cgroup2, parent=container.spec.cgroup_parent
    )
    launch = ExecLaunch(
        container_id=container.id,
        exec_id=session.id,
        name=container.name,
        runtime=runtime,
        directory=path,
        ended=exec_sessions.ended_directory(drivers, session),
        wakes=drivers.store.events_signal,
        process_spec=spec_path,
        command=options.command[0],
        is_attached=is_attached,
        has_terminal=options.tty,
        has_own_ids=container.spec.namespaces.ids is not None,
        enter=monitor_cgroup.enter if monitor_cgroup else None,
    )

    def inside() -> ExecLaunched:
        runtime.enter()
        return drivers.monitor.launch_exec(launch)

    try:
        launched = drivers.in_private_mounts(inside)
        if monitor_cgroup is not None and launched.monitor_pid is not None:
            monitor_cgroup.leave(launched.monitor_pid)
        return launched
    finally:
        if monitor_cgroup is not None:
            monitor_cgroup.close()
        with suppress(OSError):  # it holds the environment; it is read no more
            spec_path.unlink()
