"""An exec session's conmon: it has the runtime bring a process into a container, and reaps it.

That it reaps is what it is there for: PID 1 of a container cannot end while a process that came in from outside has
ended and is not reaped (kernel/pid_namespace.c, zap_pid_ns_processes). So that must depend neither on the command that
asked for the exec, nor on the reader of its output: attached, the process has its caller's pipes themselves (``-l
passthrough``). A conmon that copies stands still, and reaps nothing, as long as its output is not read. Detached, it
reads the output, to drop it; its input is a pipe as well, at its end: without ``-i`` that would be the host's
/dev/null, and runtimes give what a process has as its standard streams to the process's user. A terminal that is
attached to is the caller's, too: the runtime sends it (``--runtime-opt``, conmon(8)), and conmon does not know of it.
Its protocol is that of a container's conmon, with a second line on the sync pipe: the exit status.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento import command
from bento.command import Child
from bento.drivers.monitor import reports
from bento.drivers.monitor.base import ExecLaunch, ExecLaunched, Streams
from bento.errors import BentoError, DeadlineExceeded, RuntimeFailed
from bento.files.smallfile import read_number
from bento.kernel.net.consoles import ConsoleSocket

_PID_FILE: Final = "pidfile"
_MONITOR_PID_FILE: Final = "conmon.pid"
_WORDS_MAX: Final = 1 << 16
_AT_END: Final = 'exec 2>/dev/null; mv -T -- "$1" "$2" && : >> "$3"'
"""What the monitor runs at the end. Silent, as its stderr may be the process's: the caller may be sooner, and have
taken the directory."""


def launch(path: Path, launch: ExecLaunch) -> ExecLaunched:
    """See ``MonitorDriver.launch_exec``."""
    for name in ("exit", "persist"):
        (launch.directory / name).mkdir(mode=0o700)
    return _Conmon(path, launch).start()


def exit_status(status_fd: int) -> int | None:
    """See ``MonitorDriver.exec_status``."""
    poller = select.poll()
    poller.register(status_fd, select.POLLIN)
    said = bytearray()
    while True:
        poller.poll()
        chunk = os.read(status_fd, 4096)
        if not chunk:
            break
        said += chunk
    lines = bytes(said).splitlines()
    report = reports.parse(lines[-1]) if lines else None
    return report.data if report is not None and report.data >= 0 else None


class _Conmon:
    """One conmon on its way, with the ends of its pipes."""

    def __init__(self, path: Path, launch: ExecLaunch) -> None:
        self._path, self._launch = path, launch
        self._deadline_s = time.monotonic() + launch.timeout_s
        self._fds: set[int] = set()
        self._stderr_fd: int | None = None
        self._console: ConsoleSocket | None = None

    def start(self) -> ExecLaunched:
        """Return the running process; leave nothing behind when that comes to nothing."""
        launch = self._launch
        child: Child | None = None
        try:
            status_fd, report_fd = self._pipe()
            streams, theirs = self._streams() if launch.is_attached else (None, None)
            if launch.is_attached and launch.has_terminal:
                self._console = ConsoleSocket(launch.directory)
            child = self._spawn(status_fd, report_fd, theirs)
            self._close(report_fd, *(theirs or ()))
            pid = self._pid(child, status_fd)
            if streams is None and not launch.has_terminal:
                reports.end_input(launch.directory)
            if self._console is not None:
                streams = self._terminal(self._console)
            # Written before the child ended, and removed with all else once a command that is over at once has ended.
            monitor_pid = read_number(launch.directory / _MONITOR_PID_FILE)
            self._fds.difference_update(
                (status_fd, *((streams.stdin_fd, streams.stdout_fd, streams.stderr_fd) if streams else ()))
            )
            return ExecLaunched(pid=pid, monitor_pid=monitor_pid, status_fd=status_fd, streams=streams)
        except BaseException:
            if child is not None:
                child.kill()
            reports.kill_monitor(read_number(launch.directory / _MONITOR_PID_FILE))
            raise
        finally:
            self._close(*self._fds)
            if self._console is not None:
                self._console.close()

    def _terminal(self, console: ConsoleSocket) -> Streams:
        """Return the master's side of the terminal that the runtime has sent before it ended."""
        fd = console.receive()
        if fd is None:
            raise RuntimeFailed(f"{self._launch.runtime.name} made no terminal")
        master = command.above_standard(fd)
        writer = command.above_standard(os.dup(master))
        self._fds.update((master, writer))
        return Streams(stdin_fd=writer, stdout_fd=master, stderr_fd=None)

    def _spawn(self, status_fd: int, report_fd: int, streams: tuple[int, int, int] | None) -> Child:
        """Start conmon, in the cgroup it is to be in before it does anything.

        It gets the read end of its reports, too: where nothing can read them it gives up, and lets the process go on
        without the reaping that it is there for. So the pipe must not break when this process is killed.
        """
        launch = self._launch
        wait_fd, go_fd = self._pipe()
        stdin_fd, stdout_fd, stderr_fd = streams or (None, None, None)
        child = command.spawn(
            self._argv(),
            env=command.clean_environment() | {"_OCI_SYNCPIPE": str(report_fd), "_OCI_STARTPIPE": str(wait_fd)},
            stdin_fd=stdin_fd,
            stdout_fd=stdout_fd,
            stderr_fd=stderr_fd,
            pass_fds=(status_fd, report_fd, wait_fd),
            new_session=True,  # Ctrl-C is passed on to the process, and is not for its monitor
        )
        try:
            if launch.enter is not None:
                launch.enter(child.pid)
        except BaseException:
            child.kill()
            raise
        self._close(wait_fd, go_fd)  # conmon waits for a byte, or for this
        return child

    def _streams(self) -> tuple[Streams, tuple[int, int, int]]:
        """Return our ends, and those of the process. Pipes in any case: runtimes give them to the process's user."""
        their_input, stdin_fd = self._pipe()
        stdout_fd, their_output = self._pipe()
        stderr_fd, their_errors = self._pipe()
        self._stderr_fd = stderr_fd
        if self._launch.has_own_ids:
            for fd in (their_input, their_output, their_errors):
                os.fchmod(fd, 0o666)
        return Streams(stdin_fd, stdout_fd, stderr_fd), (their_input, their_output, their_errors)

    def _pipe(self) -> tuple[int, int]:
        """Return (read end, write end), both above 2: the numbers below become the child's streams."""
        reader, writer = map(command.above_standard, os.pipe2(os.O_CLOEXEC))
        self._fds.update((reader, writer))
        return reader, writer

    def _close(self, *fds: int) -> None:
        for fd in fds:
            self._fds.discard(fd)
            os.close(fd)

    def _pid(self, child: Child, status_fd: int) -> int:
        launch = self._launch
        line = reports.read_line(status_fd, self._deadline_s, at_once=1)
        if line is None:
            raise self._too_slow()
        said = child.finish(reports.END_TIMEOUT_S).stderr
        report = reports.parse(line)
        if report is not None and report.data > 0:
            return report.data
        reports.reaches_end(status_fd, time.monotonic() + reports.END_TIMEOUT_S)  # it tidies up after itself
        words = (report.message if report is not None else "") or self._said() or said
        if words:
            raise launch.runtime.explain_exec_failure(words, launch.command)
        raise RuntimeFailed("conmon ended before the command ran, and gave no reason")

    def _said(self) -> str:
        """What conmon, or the runtime, has written on the stderr that was to be the process's."""
        if self._stderr_fd is None:
            return ""
        os.set_blocking(self._stderr_fd, False)
        with suppress(BlockingIOError):
            return os.read(self._stderr_fd, _WORDS_MAX).decode(errors="replace")
        return ""

    def _too_slow(self) -> BentoError:
        return DeadlineExceeded(
            f"{self._launch.runtime.name} did not run the command within {self._launch.timeout_s:g} s",
            hint=f"to see why, run: {command.replay_line(self._argv())}",
        )

    def _argv(self) -> list[str]:
        launch, directory = self._launch, self._launch.directory
        argv = [str(self._path), "--api-version", "1", "-e", "--exec-process-spec", str(launch.process_spec)]
        argv += ["-c", launch.container_id, "-u", launch.exec_id, "-n", launch.name, "-r", str(launch.runtime.path)]
        for argument in launch.runtime.monitor_arguments():
            argv += ["--runtime-arg", argument]
        argv += ["-b", str(directory), "--persist-dir", str(directory / "persist")]
        argv += ["--exit-dir", str(directory / "exit"), "-p", str(directory / _PID_FILE)]
        argv += ["-P", str(directory / _MONITOR_PID_FILE), "--full-attach", "--log-level", "error"]
        argv += ["-l", "passthrough" if launch.is_attached else "none"]
        if self._console is not None:
            argv += ["--runtime-opt=--console-socket", f"--runtime-opt={self._console.path}"]
        elif not launch.is_attached:
            argv.append("-t" if launch.has_terminal else "-i")
        words = ("/bin/sh", "-c", _AT_END, "sh", str(directory), str(launch.ended), str(launch.wakes))
        for number, word in enumerate(words):
            argv += ["--exit-command-arg" if number else "--exit-command", word]
        return argv
