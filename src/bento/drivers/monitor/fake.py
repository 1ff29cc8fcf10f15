"""A monitor without a process: for tests of the engine, without root."""

from __future__ import annotations

import os
from pathlib import Path

from bento.drivers.monitor.base import ExitStatus, Launch, Launched
from bento.errors import BentoError


class FakeMonitor:
    """Implements ``MonitorDriver`` on the same files as the real one; a test plays the container's part.

    Attributes:
        launches: what was asked for, in order.
        launched: the pids that the next launch reports; a test gives those of processes it has started.
        launch_error: raised by ``launch`` when set.
    """

    def __init__(self, launched: Launched | None = None) -> None:
        self.launches: list[Launch] = []
        self.launched = launched or Launched(init_pid=os.getpid(), monitor_pid=os.getpid())
        self.launch_error: BentoError | None = None

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

    def pids(self, run_dir: Path) -> tuple[int | None, int | None]:
        """See ``MonitorDriver.pids``."""
        return _number(run_dir / "pidfile"), _number(run_dir / "conmon.pid")

    def exit_status(self, run_dir: Path, container_id: str) -> ExitStatus | None:
        """See ``MonitorDriver.exit_status``."""
        code = _number(run_dir / "exit" / container_id)
        return None if code is None else ExitStatus(code)

    def attach(self, run_dir: Path) -> int:
        """Return a descriptor that is at its end already."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.close(writer)
        return reader


def _number(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() else None
