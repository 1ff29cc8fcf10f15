"""Programs to be traced, as PID 1 of PID namespaces of their own, and what waits for a tracer's events."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from bento.drivers.tracer.base import Event, Released, Watched
from bento.drivers.tracer.process import ProcessTracer
from bento.kernel.process import proc, ptrace

from support import procs

_Event = TypeVar("_Event")
_WALL = 0x40000000  # wait(2): children of any kind, and what this thread traces


class Program:
    """One process under test, with whatever it starts. A context; all of it is killed in the end."""

    def __init__(self, argv: list[str], *, own_namespace: bool = True, stdin: int | None = subprocess.DEVNULL) -> None:
        words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *argv] if own_namespace else argv
        self.outer = subprocess.Popen(words, stdin=stdin, stdout=subprocess.PIPE, bufsize=0, start_new_session=True)
        self.pid = self.outer.pid
        if own_namespace:
            procs.wait_until(lambda: children(self.outer.pid), what="the program")
            self.pid = children(self.outer.pid)[0]
        self.pidfd = os.pidfd_open(self.pid)
        found = procs.read(self.pid)
        assert found is not None
        self.start_ticks = found.start_ticks

    @classmethod
    def python(cls, text: str, *arguments: str, own_namespace: bool = True) -> Program:
        return cls([sys.executable, "-I", "-S", "-c", text, *arguments], own_namespace=own_namespace)

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.start_ticks

    def line(self, timeout_s: float = 10.0) -> str:
        """Return the next line it writes."""
        assert self.outer.stdout is not None
        text = b""
        deadline = time.monotonic() + timeout_s
        while not text.endswith(b"\n"):
            if not select.select([self.outer.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no line within {timeout_s} s, only {text!r}")
            if not (byte := os.read(self.outer.stdout.fileno(), 1)):
                raise AssertionError(f"it has ended after {text!r}")
            text += byte
        return text.decode().strip()

    def is_silent(self, for_s: float = 0.2) -> bool:
        assert self.outer.stdout is not None
        return not select.select([self.outer.stdout], [], [], for_s)[0]

    def send(self, number: int) -> None:
        signal.pidfd_send_signal(self.pidfd, number)

    def has_ended(self, within_s: float = 0.0) -> bool:
        return bool(select.select([self.pidfd], [], [], within_s)[0])

    def code(self, timeout_s: float = 10.0) -> int:
        """Return how it has ended, as unshare passes it on: 128 and more for signals."""
        code = self.outer.wait(timeout_s)
        return code if code >= 0 else 128 - code

    def state(self) -> str:
        found = procs.read(self.pid)
        return found.state if found else ""

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        for process in procs.descendants(self.outer.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.outer.kill()
        self.outer.wait(10)
        assert self.outer.stdout is not None
        self.outer.stdout.close()
        os.close(self.pidfd)


class Tracing(ProcessTracer):
    """The real driver, with a way to wait for what it tells. A context."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Event] = []

    def wait_for(self, kind: type[_Event] | tuple[type[_Event], ...], timeout_s: float = 10.0) -> _Event:
        """Return the next event of a kind; others stay in ``seen``."""
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self.seen:
                if isinstance(event, kind):
                    self.seen.remove(event)
                    return event
            left_s = deadline - time.monotonic()
            if left_s < 0:
                raise AssertionError(f"no {kind} within {timeout_s} s, only {self.seen}")
            select.select([self.fileno()], [], [], left_s)
            self.seen += self.events()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def __enter__(self) -> Tracing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def let_go(tracer: Tracing, *keys: tuple[int, int]) -> None:
    """Have these let go, or all of the job; return once none is traced: it may be answered before."""
    tracer.release(1, keys or None)
    answer = tracer.wait_for(Released)
    assert answer.job == 1
    procs.wait_until(lambda: all(tracer_of(pid) != tracer.pid for pid in answer.unfinished), what="the last of them")


def watch(tracer: Tracing, program: Program, **wishes) -> Watched:
    """Have a program watched, and held at its exit; return the answer."""
    tracer.watch(1, program.pid, program.start_ticks, **{"hold_exit": True, **wishes})
    answer = tracer.wait_for(Watched)
    assert answer.pid == program.pid
    return answer


class Cgroup:
    """A cgroup of a test in one hierarchy, with what it is told by. A context."""

    def __init__(self, hierarchy: str, name: str) -> None:
        base = Path("/sys/fs/cgroup")
        if hierarchy == "freezer":
            self.path = base / "freezer" / name
        else:
            self.path = (base if (base / "cgroup.controllers").exists() else base / "unified") / name
        self.hierarchy = hierarchy

    @property
    def cgroups(self) -> dict[str, str]:
        return {self.hierarchy: str(self.path)}

    def add(self, pid: int) -> None:
        (self.path / "cgroup.procs").write_text(str(pid))

    def is_frozen(self) -> bool:
        if self.hierarchy == "freezer":
            return (self.path / "freezer.state").read_text().strip() == "FROZEN"
        return "frozen 1" in (self.path / "cgroup.events").read_text()

    def thaw(self) -> None:
        if self.hierarchy == "freezer":
            (self.path / "freezer.state").write_text("THAWED")
        else:
            (self.path / "cgroup.freeze").write_text("0")

    def __enter__(self) -> Cgroup:
        self.path.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        for pid in (self.path / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        procs.wait_until(lambda: not (self.path / "cgroup.procs").read_text(), what="an empty cgroup")
        self.path.rmdir()


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(word) for word in file.read().split()]
    return []


def tracer_of(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("TracerPid:"):
                return int(line.split()[1])
    return 0


@contextlib.contextmanager
def kept_in_exit(init: int, number: int = signal.SIGTERM) -> Iterator[None]:
    """End PID 1 of a PID namespace by a signal, and have it stay in the middle of its exit: it waits for its child.

    The kernel keeps a zombie for what traces it, which is this thread.
    """
    procs.wait_until(lambda: children(init), what="a child of PID 1")
    [child] = children(init)
    ptrace.seize(child, 0)
    try:
        os.kill(init, number)
        procs.wait_until(lambda: proc.is_exiting(init), what="the exit of PID 1")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, _WALL)
