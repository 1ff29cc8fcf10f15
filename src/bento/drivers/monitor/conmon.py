"""conmon (2.1): a process of 0.4 MiB per container that holds its output, sees its exit and writes the code to a file.

What it is given and what it answers: conmon(8) and its source (conmon.c, parent_pipe_fd.c, conn_sock.c). It forks; the
parent ends at once, the child reports the container's pid, or -1 and the runtime's words, as one JSON line on the pipe
named by ``_OCI_SYNCPIPE``. At the exit it drains the output, writes ``exit/ID``, runs the exit command, and ends.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import chdir, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento import command, packets
from bento.command import Child
from bento.drivers.monitor import buffers, reports
from bento.drivers.monitor.base import Connection, ExecLaunch, ExecLaunched, ExitStatus, Launch, Launched
from bento.errors import (
    BentoError,
    DeadlineExceeded,
    KernelError,
    MissingTool,
    RuntimeFailed,
    StorageUnusable,
    WrongState,
)
from bento.files.smallfile import read_number
from bento.lazy import LazyModule
from bento.model.terminal import WindowSize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bento import locks
    from bento.drivers.monitor import conmon_exec, journal, rotation
    from bento.drivers.monitor.base import JournalEntry
    from bento.model.container import ProcessIdentity
else:  # only an exec, and a log of several files or elsewhere, needs them
    conmon_exec, journal, rotation = (
        LazyModule(f"bento.drivers.monitor.{name}") for name in ("conmon_exec", "journal", "rotation")
    )
    locks = LazyModule("bento.locks")

PACKAGE: Final = "conmon"

_PID_FILE: Final = "pidfile"
_MONITOR_PID_FILE: Final = "conmon.pid"
_CODE_MAX: Final = 255
_COARSE: Final = 5  # CLOCK_REALTIME_COARSE, linux/time.h
_WINDOW_MAX: Final = 1000
_REOPEN_LIMIT_S: Final = 5.0
_REOPEN_LOOK_S: Final = 0.002
_SOURCES: Final = Path(__file__).parents[3]
_ROTATE: Final = "import sys; sys.path.append(sys.argv.pop(1)); from bento.drivers.monitor.rotation import main; main()"
_JOURNAL: Final = "/run/systemd/journal/socket"


class ConmonMonitor:
    """Implements ``MonitorDriver``. ``path`` is the conmon binary."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._buffers = buffers.Buffers()

    def launch(self, launch: Launch) -> Launched:
        """See ``MonitorDriver.launch``."""
        if launch.is_logged_to_journal and not os.path.exists(_JOURNAL):  # conmon would drop the output
            raise MissingTool("systemd-journald does not run here", hint="use another --log-driver")
        deadline_mono_s = time.monotonic() + launch.timeout_s
        _prepare(launch)
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                # When memory runs out, conmon makes a file "oom" where it was started: not in the host's root.
                with chdir(launch.run_dir):
                    child = self._spawn(launch, write_fd)
            finally:
                os.close(write_fd)
            return self._follow(launch, child, read_fd, deadline_mono_s)
        finally:
            os.close(read_fd)

    def _spawn(self, launch: Launch, report_fd: int) -> Child:
        env = command.clean_environment() | {"_OCI_SYNCPIPE": str(report_fd)}
        if launch.enter is None:  # without _OCI_STARTPIPE conmon goes ahead at once
            return command.spawn(self._argv(launch), env=env, pass_fds=(report_fd, *launch.kept_fds))
        wait_fd, go_fd = os.pipe2(os.O_CLOEXEC)
        try:
            env["_OCI_STARTPIPE"] = str(wait_fd)
            child = command.spawn(self._argv(launch), env=env, pass_fds=(report_fd, wait_fd, *launch.kept_fds))
            try:
                launch.enter(child.pid)
            except BaseException:
                child.kill()
                raise
            return child
        finally:
            os.close(wait_fd)
            os.close(go_fd)  # conmon waits for a byte, or for this

    def keep_log(self, announcements: Path, bundle: Path, files: int, monitor: ProcessIdentity) -> None:
        """See ``MonitorDriver.keep_log``."""
        try:
            rotation.announce(str(announcements), bundle.name, files, monitor.pid, monitor.start_ticks)
        except OSError as error:
            raise StorageUnusable(f"{announcements}: {error.strerror}", hint="choose another --run-root") from None
        self.resume_logs(announcements, bundle.parent)

    def resume_logs(self, announcements: Path, containers: Path) -> None:
        """See ``MonitorDriver.resume_logs``."""
        if rotation.announced(str(announcements)) and not locks.is_locked(announcements / rotation.LOCK):
            words = (sys.executable, "-I", "-S", "-c", _ROTATE, str(_SOURCES), str(announcements), str(containers))
            command.spawn_detached(words)

    def read_journal(self, container_id: str, monitor_fd: int | None) -> Iterator[JournalEntry | None]:
        """See ``MonitorDriver.read_journal``."""
        return journal.read(container_id, monitor_fd)

    def pids(self, run_dir: Path) -> tuple[int | None, int | None]:
        """See ``MonitorDriver.pids``."""
        return read_number(run_dir / _PID_FILE), read_number(run_dir / _MONITOR_PID_FILE)

    def exit_status(self, run_dir: Path, container_id: str) -> ExitStatus | None:
        """See ``MonitorDriver.exit_status``."""
        # conmon writes a temporary file and renames it, so the name stands for the whole content.
        path = run_dir / "exit" / container_id
        code = read_number(path)
        return None if code is None or code > _CODE_MAX else ExitStatus(code, at_unix_ns=_written_ns(path))

    def saw_oom(self, run_dir: Path) -> bool:
        """See ``MonitorDriver.saw_oom``."""
        return (run_dir / "persist/oom").exists()

    def end_input(self, run_dir: Path) -> None:
        """See ``MonitorDriver.end_input``."""
        reports.end_input(run_dir)

    def attach(self, run_dir: Path, spool: Path, *, has_input: bool = False, stays: bool = False) -> Connection:
        """See ``MonitorDriver.attach``.

        Input and output are one connection. Of one that conmon could no longer write to it does not take the end of
        the input: it looks at what it has just freed (terminate_remote_sock of 2.1).
        """
        source_fd = command.above_standard(_connect(run_dir))
        ours, theirs = map(command.above_standard, packets.pair())
        try:
            self._buffers.pass_on(source_fd, theirs, spool, stays=stays)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
            if not has_input or sys.exception() is not None:
                os.close(source_fd)
        if has_input:
            os.set_blocking(source_fd, False)
        return Connection(ours, source_fd if has_input else None)

    def close(self) -> None:
        """See ``MonitorDriver.close``."""
        self._buffers.close()

    def resize(self, run_dir: Path, size: WindowSize) -> None:
        """See ``MonitorDriver.resize``. conmon takes a line ``1 ROWS COLUMNS`` on a FIFO, 1000 at most (ctrl.c)."""
        rows, columns = (max(0, min(number, _WINDOW_MAX)) for number in (size.rows, size.columns))
        with suppress(OSError):  # it has just ended
            _tell(run_dir, f"1 {rows} {columns}\n")

    def reopen_log(self, run_dir: Path, path: Path) -> None:
        """See ``MonitorDriver.reopen_log``. conmon takes a line ``2 0 0`` on the same FIFO, and opens the log anew."""
        deadline_mono_s = time.monotonic() + _REOPEN_LIMIT_S
        try:
            _tell(run_dir, "2 0 0\n")
        except OSError as error:
            raise WrongState("the log is written by nothing any more", hint="the container has ended") from error
        while not path.exists():  # it answers nothing
            if time.monotonic() > deadline_mono_s:
                raise WrongState(f"no new log has appeared at {path} in time", hint="try again")
            time.sleep(_REOPEN_LOOK_S)

    def launch_exec(self, launch: ExecLaunch) -> ExecLaunched:
        """See ``MonitorDriver.launch_exec``."""
        return conmon_exec.launch(self.path, launch)

    def exec_status(self, status_fd: int) -> int | None:
        """See ``MonitorDriver.exec_status``."""
        return conmon_exec.exit_status(status_fd)

    def _argv(self, launch: Launch) -> list[str]:
        run_dir = launch.run_dir
        argv = [*launch.words_before, str(self.path), "--api-version", "1", "-c", launch.container_id]
        argv += ["-u", launch.container_id, "-n", launch.name, "-r", str(launch.runtime.path)]
        for argument in launch.runtime.monitor_arguments():
            argv += ["--runtime-arg", argument]
        # The run directory is the bundle as conmon knows it, since that is where it makes its socket and FIFOs.
        argv += ["-b", str(run_dir), "--persist-dir", str(run_dir / "persist"), "--exit-dir", str(run_dir / "exit")]
        argv += ["-p", str(run_dir / _PID_FILE), "-P", str(run_dir / _MONITOR_PID_FILE), "--full-attach"]
        file = f"k8s-file:{launch.log_path}" if launch.log_path else "none"
        argv += ["-l", "journald" if launch.is_logged_to_journal else file]
        argv += ["--log-tag", launch.log_tag] if launch.log_tag else []
        argv += ["--no-sync-log", "--log-level", "error"]
        if launch.notify_socket:
            argv += ["--sdnotify-socket", launch.notify_socket]
        if launch.log_max_bytes:
            argv += ["--log-size-max", str(launch.log_max_bytes)]
        if launch.has_terminal:
            argv.append("-t")
        elif launch.has_input or launch.has_own_ids or not launch.runtime.shows_processes:
            # runsc changes the owner of its stdin, which without -i is the host's /dev/null; and others do where it is
            # in a user namespace, whose /dev/null is a bind mount of the host's.
            argv.append("-i")
        if launch.keeps_input:
            argv.append("--leave-stdin-open")
        if launch.exit_command:
            argv += ["--exit-command", launch.exit_command[0]]
            for argument in launch.exit_command[1:]:
                argv += ["--exit-command-arg", argument]
        return argv

    def _follow(self, launch: Launch, child: Child, read_fd: int, deadline_mono_s: float) -> Launched:
        is_over = False
        try:
            line = reports.read_line(read_fd, deadline_mono_s)
            if line is None:
                raise DeadlineExceeded(
                    f"{launch.runtime.name} did not create the container within {launch.timeout_s:g} s",
                    hint=f"to see why, run: {command.replay_line(self._argv(launch))}",
                )
            said = child.finish(reports.END_TIMEOUT_S).stderr
            report = reports.parse(line)
            if report is not None and report.data > 0:
                return self._launched(launch, report.data)
            # conmon has reported the last and ends by itself, and the runtime has cleaned up: the pipe closes.
            is_over = reports.reaches_end(read_fd, time.monotonic() + reports.END_TIMEOUT_S)
            if report is not None and report.message:
                raise launch.runtime.explain_create_failure(report.message, launch.command)
            words = " ".join(said.split())[-300:]
            raise RuntimeFailed(f"conmon ended before the container was created: {words or 'it gave no reason'}")
        except BaseException:
            if not is_over:
                child.kill()
                reports.kill_monitor(self.pids(launch.run_dir)[1])
            # Also after a failure that the runtime has reported: not all of them clean up after themselves.
            with suppress(BentoError):  # the error that led here is the one to report
                launch.runtime.discard(launch.container_id, launch.cgroup_parent)
            _remove_files(launch.run_dir, launch.container_id)
            raise

    def _launched(self, launch: Launch, init_pid: int) -> Launched:
        # conmon writes its own pid before it reports, so a missing file means that the run directory is unusable.
        monitor_pid = self.pids(launch.run_dir)[1]
        if monitor_pid is None:
            raise RuntimeFailed("conmon did not write its pid file", hint=f"is {launch.run_dir} full?")
        return Launched(init_pid=init_pid, monitor_pid=monitor_pid)


def find(path: str = "") -> ConmonMonitor:
    """Return the monitor at ``path``, or the one on PATH. Raises MissingTool naming the package."""
    if path and not os.access(path, os.X_OK):
        raise MissingTool(f"no conmon at {path}", hint=f"apt install {PACKAGE}")
    return ConmonMonitor(Path(path) if path else command.find_program("conmon", package=PACKAGE))


def _tell(run_dir: Path, line: str) -> None:
    fd = os.open(run_dir / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def _connect(run_dir: Path) -> int:
    try:
        return packets.connect(run_dir, "attach")
    except OSError as error:
        raise KernelError(
            "connect", error.errno or 0, error.strerror or "", path=str(run_dir / "attach"), hint="is it running?"
        ) from error


def _prepare(launch: Launch) -> None:
    """Make the run directory fresh: whatever a run before has left there would be taken for this one's."""
    run_dir = launch.run_dir
    for directory in (run_dir, run_dir / "exit", run_dir / "persist"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_files(run_dir, launch.container_id)
    (run_dir / "config.json").symlink_to(launch.bundle / "config.json")


def _remove_files(run_dir: Path, container_id: str) -> None:
    for name in ("attach", "ctl", "winsz", "oom", "config.json", _PID_FILE, _MONITOR_PID_FILE, f"exit/{container_id}"):
        (run_dir / name).unlink(missing_ok=True)


def _written_ns(path: Path) -> int:
    """Return when a file was written, which conmon does as soon as it has reaped; 0 where it has gone.

    Files have the time of the last tick of the clock: what was seen before by a finer one would seem to come after.
    """
    try:
        return os.stat(path).st_mtime_ns + round(time.clock_getres(_COARSE) * 1e9)
    except OSError:
        return 0
