"""A zygote of a test's own, and commands that have to be carried out by it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bento
from bento.zygote import client, handover

from support import procs
from support.cli import BentoCli

PLAIN = "the plain way is taken"

# Under load five milliseconds are no time; and a command that is to be carried out by the zygote has no other way.
_PROGRAM = f"""\
#!{sys.executable} -IS
import sys
sys.path.insert(0, {str(Path(bento.__file__).parents[1])!r})
from bento.zygote import client, handover
handover.PATIENCE_S = 30.0
client._carry_out = lambda: sys.exit({PLAIN!r})
client.main()
"""


def clean_env(**more: str) -> dict[str, str]:
    """The environment without what a zygote does not take."""
    foreign = tuple(os.fsdecode(word) for word in handover._FOREIGN)
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | more


def leads_a_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


class Zygote:
    """One of these roots, and the command line by it alone: a command that it refuses fails, and says PLAIN."""

    process: subprocess.Popen[bytes]

    def __init__(
        self, plain: BentoCli, directory: Path, *, is_started: bool = True, idle_s: float = 60.0, isolation: str = "-I"
    ) -> None:
        roots = plain.roots
        self._roots = ["--root", str(roots.root), "--run-root", str(roots.run_root)]
        self._words = plain.prefix[plain.prefix.index("--root") :]
        self.program = directory / "bento"
        self.program.write_text(_PROGRAM.replace("-IS", "-PS" if isolation == "-P" else "-IS"))
        self.program.chmod(0o755)
        self.socket = roots.run_root / client.DIRECTORY / client.name()
        self._idle_s = idle_s
        if is_started:
            self.begin()

    def begin(self, launcher: Iterable[str] = (), stdin: Any = subprocess.DEVNULL) -> None:
        """Start it, and wait for its socket."""
        set_idle = f"process.IDLE_S = {self._idle_s}"
        main = f"import sys; from bento.zygote import process; {set_idle}; sys.exit(process.main(sys.argv[1:]))"
        self.process = subprocess.Popen(
            [*launcher, sys.executable, "-I", "-c", main, *self._roots], env=clean_env(), stdin=stdin
        )
        procs.wait_until(self.socket.exists, what="the zygote's socket")

    @property
    def prefix(self) -> list[str]:
        return [str(self.program), *self._words]

    def by(self, *args: str | Path, launcher: Iterable[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command, by another program in front of it where that is given."""
        words = [*launcher, *self.prefix, *map(str, args)]
        options = {"env": clean_env(), "input": ""} | options
        return subprocess.run(words, text=True, capture_output=True, timeout=100, check=False, **options)

    def start(self, *args: str | Path, **options: Any) -> Any:
        """Start a command and return it while it runs."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen([*self.prefix, *map(str, args)], text=True, env=clean_env(), **options)

    def is_refused(self, *args: str, **options: Any) -> bool:
        """Run a command; return whether it was refused, and nothing was done."""
        done = self.by(*args, **options)
        assert done.returncode == (1 if PLAIN in done.stderr else 0), done
        return PLAIN in done.stderr

    def children(self) -> list[procs.Process]:
        """The commands that are carried out now: they have the name of their program, not the interpreter's."""
        return [
            each
            for each in procs.descendants(self.process.pid)
            if each.is_alive and each.ppid == self.process.pid and each.comm == self.program.name
        ]

    def child(self) -> procs.Process:
        """The one that carries out the command that is at work now; one before it may be ending still."""
        procs.wait_until(lambda: len(self.children()) == 1, what="one command at work")
        [child] = self.children()
        return child

    def worker(self) -> procs.Process:
        """The one that waits for a job, once it does: it leads a session, and has the interpreter's name still."""

        def waiting() -> list[procs.Process]:
            return [
                each
                for each in procs.descendants(self.process.pid)
                if each.state == "S" and each.ppid == self.process.pid and leads_a_session(each.pid)
                and each.comm != self.program.name
            ]  # fmt: skip

        procs.wait_until(waiting, what="a worker that waits")
        [worker] = waiting()
        return worker

    def end(self) -> None:
        """End it, as systemd does; it has to do so by itself."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        assert not self.socket.exists()
        self.wait_until_gone()

    def left(self) -> list[procs.Process]:
        """The zygote of these roots, and its children that wait for a command or carry one out."""
        run_root = self._roots[-1]
        return [
            each
            for each in procs.descendants()
            if each.is_alive and {"--run-root", run_root} <= set(words := procs.whole_cmdline(each.pid).split("\0"))
            and any("bento.zygote" in word for word in words)
        ]  # fmt: skip

    def wait_until_gone(self) -> None:
        """A child that waits ends when it sees that the zygote has."""
        procs.wait_until(lambda: not self.left(), what="the zygote and its children to be gone")
