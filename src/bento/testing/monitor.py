"""A monitor without a process: for tests of the engine, without root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bento import packets
from bento.drivers.monitor.base import (
    Connection,
    ExecLaunch,
    ExecLaunched,
    ExitStatus,
    JournalEntry,
    Launch,
    Launched,
    Streams,
)
from bento.errors import BentoError
from bento.model.container import ProcessIdentity
from bento.model.terminal import WindowSize


class FakeMonitor:
    """Implements ``MonitorDriver`` on the same files as the real one; a test plays the container's part.

    Attributes:
        launches: what was asked for, in order.
        connected: what connections were made for, in order: "output", or "end of input".
        launched: the pids that the next launch reports; a test gives those of processes it has started.
        launch_error: raised by ``launch`` when set.
        exec_launches, exec_error, exec_pid: the same for ``launch_exec``.
        kept_logs: the bundles of logs of several files, and how many; resumed: how often these were asked for again.
        journal: what the journal has, as ``read_journal`` yields it.
        input_fd: the other end of the last input that was attached to; a test reads and closes it.
        sizes: what ``resize`` was asked for, in order.
        exec_status_fd: where the end of the last exec session is to be reported; a test writes to it, and closes it.
    """

    def __init__(self, launched: Launched | None = None) -> None:
        self.launches: list[Launch] = []
        self.connected: list[str] = []
        self.launched = launched or Launched(init_pid=os.getpid(), monitor_pid=os.getpid())
        self.launch_error: BentoError | None = None
        self.exec_launches: list[ExecLaunch] = []
        self.exec_error: BentoError | None = None
        self.exec_pid = os.getpid()
        self.exec_status_fd = -1
        self.kept_logs: list[tuple[Path, int]] = []
        self.resumed = 0
        self.journal: list[JournalEntry | None] = []
        self.input_fd = -1
        self.sizes: list[WindowSize] = []

    def launch(self, launch: Launch) -> Launched:
        """Remember; report ``launched`` or raise ``launch_error``."""
        self.launches.append(launch)
        if self.launch_error is not None:
            raise self.launch_error
        (launch.run_dir / "exit").mkdir(parents=True, exist_ok=True)
        (launch.run_dir / "pidfile").write_text(f"{self.launched.init_pid}\n")
        (launch.run_dir / "conmon.pid").write_text(f"{self.launched.monitor_pid}\n")
        return self.launched

    def write_exit(self, run_dir: Path, container_id: str, code: int) -> None:
        """What a monitor does when its container has ended."""
        draft = run_dir / "exit" / f"{container_id}.draft"
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(str(code))
        draft.replace(run_dir / "exit" / container_id)

    def keep_log(self, announcements: Path, bundle: Path, files: int, monitor: ProcessIdentity) -> None:
        """Remember."""
        self.kept_logs.append((bundle, files))

    def resume_logs(self, announcements: Path, containers: Path) -> None:
        """Count it."""
        self.resumed += 1

    def read_journal(self, container_id: str, monitor_fd: int | None) -> Iterator[JournalEntry | None]:
        """Yield ``journal``."""
        yield from self.journal

    def pids(self, run_dir: Path) -> tuple[int | None, int | None]:
        """See ``MonitorDriver.pids``."""
        return _number(run_dir / "pidfile"), _number(run_dir / "conmon.pid")

    def launch_exec(self, launch: ExecLaunch) -> ExecLaunched:
        """Remember; report ``exec_pid``. Attached, what is written to its stdin comes back on its stdout."""
        self.exec_launches.append(launch)
        if self.exec_error is not None:
            raise self.exec_error
        reader, self.exec_status_fd = os.pipe2(os.O_CLOEXEC)
        (launch.directory / "pidfile").write_text(str(self.exec_pid))
        (launch.directory / "conmon.pid").write_text(str(self.exec_pid))
        streams = None
        if launch.is_attached:
            stdout_fd, stdin_fd = os.pipe2(os.O_CLOEXEC)
            stderr_fd, writer = os.pipe2(os.O_CLOEXEC)
            os.close(writer)
            streams = Streams(stdin_fd, stdout_fd, stderr_fd)
        return ExecLaunched(self.exec_pid, self.exec_pid, reader, streams)

    def end_exec(self, code: int) -> None:
        """End the last exec session with an exit code, as its monitor does."""
        launch = self.exec_launches[-1]
        self.write_exit(launch.directory, launch.container_id, code)
        with suppress(BrokenPipeError):  # detached
            os.write(self.exec_status_fd, b"%d" % code)
        os.close(self.exec_status_fd)
        launch.directory.rename(launch.ended)
        launch.wakes.touch()
        os.close(os.open(launch.wakes, os.O_WRONLY))

    def exec_status(self, status_fd: int) -> int | None:
        """Return the number written to ``exec_status_fd``, None when there is none. Blocks until its end."""
        text = os.read(status_fd, 16)
        return int(text) if text else None

    def exit_status(self, run_dir: Path, container_id: str) -> ExitStatus | None:
        """See ``MonitorDriver.exit_status``."""
        code = _number(run_dir / "exit" / container_id)
        return None if code is None else ExitStatus(code)

    def saw_oom(self, run_dir: Path) -> bool:
        """See ``MonitorDriver.saw_oom``: whether there is a file ``oom``."""
        return (run_dir / "oom").exists()

    def reopen_log(self, run_dir: Path, path: Path) -> None:
        """Make the file, as one that writes to it does."""
        path.touch()

    def end_input(self, run_dir: Path) -> None:
        """Remember."""
        self.connected.append("end of input")

    def attach(self, run_dir: Path, spool: Path, *, has_input: bool = False, stays: bool = False) -> Connection:
        """Return an output that is at its end already, and an input whose other end is ``input_fd``."""
        self.connected.append("output")
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.close(writer)
        if not has_input:
            return Connection(reader)
        ours, self.input_fd = packets.pair()
        os.set_blocking(ours, False)
        return Connection(reader, ours)

    def close(self) -> None:
        """Nothing is open."""

    def resize(self, run_dir: Path, size: WindowSize) -> None:
        """Remember it in ``sizes``."""
        self.sizes.append(size)


def _number(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() else None
