"""Processes as /proc shows them, independent of the code under test."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import NamedTuple

from support.reaper import reaper_pid


class Process(NamedTuple):
    """One process; with its start time, so that a reused pid is not taken for the old one."""

    pid: int
    start_ticks: int
    ppid: int
    state: str
    comm: str

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.start_ticks

    @property
    def is_alive(self) -> bool:
        return self.state not in ("Z", "X")

    def __str__(self) -> str:
        return f"{self.pid} {self.comm} ({self.state}): {cmdline(self.pid)}"


def read(pid: int) -> Process | None:
    """Return the process, or None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    # The name stands in brackets and may hold any character, so cut at the last one (proc_pid_stat(5)).
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Process(pid, int(fields[19]), int(fields[1]), fields[0], head.partition("(")[2])


def cmdline(pid: int) -> str:
    return whole_cmdline(pid).replace("\0", " ").strip()[:160]


def whole_cmdline(pid: int) -> str:
    """Return it with its NULs; empty for what has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().decode(errors="replace")
    return ""


def with_word(word: str) -> list[Process]:
    """Return the living processes of this test run that have this very word among their arguments."""
    return [one for one in descendants() if one.is_alive and word in whole_cmdline(one.pid).split("\0")]


def all_processes() -> list[Process]:
    return [found for name in os.listdir("/proc") if name.isdigit() and (found := read(int(name))) is not None]


def descendants(of: int | None = None) -> list[Process]:
    """Return everything below a process; by default below the reaper, without pytest itself."""
    top = of or reaper_pid()
    by_parent: dict[int, list[Process]] = {}
    for process in all_processes():
        by_parent.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    queue = [top]
    while queue:
        for process in by_parent.get(queue.pop(), ()):
            queue.append(process.pid)
            if process.pid != os.getpid():
                found.append(process)
    return found


def is_ours(pid: int, top: int | None = None) -> bool | None:
    """Whether a process descends from this one, or the reaper; None: it, or one above it, has ended meanwhile."""
    while pid != (top or reaper_pid()):
        process = read(pid)
        if process is None:
            return None if pid else False  # 0: of another PID namespace, or nothing is above
        pid = process.ppid
    return True


def kill(process: Process, *, timeout_s: float = 5.0) -> None:
    """SIGKILL exactly this process and wait until it is gone. Never raises for one that is gone already."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        now = read(process.pid)
        if now is None or now.key != process.key:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], timeout_s)
    finally:
        os.close(pidfd)


def wait_until(condition, *, timeout_s: float = 40.0, what: str = "", every_s: float = 0.01) -> None:
    """Poll for something that no descriptor announces; fail with ``what`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain: {what or condition}")
        time.sleep(every_s)
