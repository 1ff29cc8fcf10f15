"""The engine under stress: its roots, its processes as /proc shows them, and what the kernel has of its containers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from support import leaks, procs
from support.cli import BentoCli, Roots
from support.procs import Process

RUNTIMES = ("crun", "runc")
OP_VARIABLE = "STRESS_OP"
_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r" -n (\S+) ")


class Ours(NamedTuple):
    """A process of the engine. ``kind``: verb, monitor or runtime; ``op``: the command it descends from, "" of none."""

    process: Process
    kind: str
    op: str
    container: str  # its id, "" when the command line has none
    words: str


class World:
    """One root, with everything below ``base``."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.roots = Roots(base / "l", base / "r")
        self.files = base / "f"
        self.files.mkdir(exist_ok=True)
        self.watch = leaks.LeakWatch(base)
        self.watch.roots += self.roots
        self._names: dict[str, str] = {}

    def cli(self, number: int) -> BentoCli:
        """Return a command line; those with odd numbers have the other runtime."""
        return BentoCli(self.roots, RUNTIMES[number % len(RUNTIMES)])

    def ours(self) -> list[Ours]:
        """Return the engine's processes, but not those inside containers."""
        found = []
        for process in procs.descendants():
            words = _words(process.pid)
            if str(self.roots.run_root) not in words or not process.is_alive:
                continue
            program = os.path.basename(words.split()[0])
            kind = "monitor" if program == "conmon" else "runtime" if program in RUNTIMES else "verb"
            container = next(iter(_ID.findall(words)), "")
            if kind == "monitor" and (name := _NAME.search(words)):
                self._names[container] = name[1]
            found.append(Ours(process, kind, _variable(process.pid, OP_VARIABLE), container, words))
        return found

    def name_of(self, container: str) -> str:
        """Return the name under which a container was last started; "" when it is not known."""
        return self._names.get(container, "")

    def at_work(self) -> list[Ours]:
        """Return the engine's processes that are to end soon: all but the monitors."""
        return [one for one in self.ours() if one.kind != "monitor"]

    def kernel_leaks(self, live: set[str]) -> list[str]:
        """Return what there is of containers beside these, which run."""
        runtime = [path for name in RUNTIMES for path in _listed(self.roots.run_root / "runtime" / name)]
        found = [f"runtime state {path}" for path in runtime if path.name not in live]
        found += [f"run directory {path}" for path in _listed(self.roots.run_root / "containers")
                  if path.name not in live]  # fmt: skip
        known = {path.name for path in _listed(self.roots.root / "containers")}
        for cgroup in leaks.bento_cgroups():
            ids = set(_ID.findall(cgroup))
            if ids & known and not ids & live:
                found.append(f"cgroup {cgroup}")
        if not live:
            found += [f"network {name}" for name in self.watch.network()]
        found += leaks.device_damage()
        return found

    def flows(self, addresses: set[str]) -> list[str]:
        """Return the kernel's tracked connections of these addresses."""
        with contextlib.suppress(OSError), open("/proc/net/nf_conntrack", encoding="ascii") as file:
            return [line.strip() for line in file if addresses & set(re.findall(r"(?:src|dst)=(\S+)", line))]
        return []


def send(process: Process, number: int) -> bool:
    """Signal exactly this process; False when it has gone."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = procs.read(process.pid)
        if now is None or now.key != process.key:
            return False
        signal.pidfd_send_signal(pidfd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


def end(process: subprocess.Popen[Any]) -> None:
    """End a child of ours."""
    if process.poll() is None:
        process.kill()
    process.communicate()


def _listed(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if _ID.fullmatch(path.name)]
    except FileNotFoundError:
        return []


def _words(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _variable(pid: int, name: str) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            if entry.startswith(name.encode() + b"="):
                return entry.partition(b"=")[2].decode()
    return ""
