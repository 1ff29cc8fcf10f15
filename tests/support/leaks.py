"""What a test left behind on the machine, found without asking the code under test.

Other programs, and other test runs, work on the same machine. A new thing therefore counts only when it can be laid
at this test's door: it names the test's directory, descends from its processes, or stays after all of them are gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from support import procs

CGROUP_ROOT = "/sys/fs/cgroup"
SETTLE_S = 3.0
"""How long the last processes of a container may take to go after everybody says it is gone."""

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
_MADE_BY_TEST = re.compile(r"/bento-test-(\d+)-")  # the pid is that of its pytest


class Snapshot:
    """The things a container engine could leave, now."""

    def __init__(self) -> None:
        self.processes = {process.key for process in procs.descendants()}
        self.cgroups = set(bento_cgroups())
        self.links = set(os.listdir("/sys/class/net"))
        self.netns_names = set(_listdir("/run/netns"))
        self.rules = set(rules())


class LeakWatch:
    """Compares the machine before and after one test."""

    def __init__(self, base: Path, session: Path | None = None) -> None:
        self.base = base  # every path of this test begins with it
        self.session = session or base.parent  # the directory that conftest's ``scratch`` has made
        self.before = Snapshot()
        self.roots: list[Path] = []

    def leaks(self, *, settle_s: float = SETTLE_S) -> list[str]:
        """Return one line per leak. Waits for what is on its way out; returns as soon as all is clean."""
        deadline = time.monotonic() + settle_s
        while True:
            found = self.look()
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def look(self) -> list[str]:
        """Return what there is at this moment, files of known containers aside."""
        return [
            *(f"process {process}" for process in self.new_processes()),
            *(f"mount {line}" for line in mounts_naming(str(self.base))),
            *(f"cgroup {path}" for path in self.new_cgroups()),
            *(f"network link {name}" for name in sorted(set(os.listdir("/sys/class/net")) - self.before.links)),
            *(f"network namespace {name}" for name in sorted(set(_listdir("/run/netns")) - self.before.netns_names)),
            *(f"firewall {line}" for line in rules() if line not in self.before.rules),
            *device_damage(),
        ]

    def files(self) -> list[str]:
        """Return what still names a container below the test's roots; asked after every container was removed."""
        return [f"file {path}" for root in self.roots for path in _named_after_containers(root)]

    def new_processes(self) -> list[procs.Process]:
        return [p for p in procs.descendants() if p.is_alive and p.key not in self.before.processes]

    def new_cgroups(self) -> list[str]:
        """Return Bento's cgroups that were not there before and are not another run's."""
        ours = {process.pid for process in procs.descendants()}
        new = [path for path in bento_cgroups() if path not in self.before.cgroups and _members(path) <= ours]
        theirs = self._ids_of_others() if new else set()
        return [
            path for path in new
            if not theirs.intersection(_CONTAINER_ID.findall(path))
            and _MADE_BY_TEST.findall(path) in ([], [str(os.getpid())])
        ]  # fmt: skip

    def _ids_of_others(self) -> set[str]:
        """The containers of test runs beside this one: an empty cgroup does not say whose it is."""
        found: set[str] = set()
        for session in self.session.parent.glob("bt-*"):
            for place in ("t*/*/containers/*", "t*/*/*/containers/*") if session != self.session else ():
                found |= {path.name for path in session.glob(place)}
        return found

    def sweep(self) -> None:
        """Remove what was left, so that the next test starts clean."""
        cgroups = self.new_cgroups()
        for path in cgroups:
            _thaw(path)
        for _ in range(20):
            left = self.new_processes()
            if not left:
                break
            for process in left:
                procs.kill(process)
        for path in cgroups:
            _remove_cgroup(path)
        for point in sorted(_mount_points_below(self.base), reverse=True):
            os.system(f"umount -l '{point}' 2>/dev/null")


def mounts_naming(text: str) -> list[str]:
    """Return the mountinfo lines of all mount namespaces that name a path, with a process that holds each."""
    found = []
    seen: set[str] = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"/proc/{name}/ns/mnt")
            if namespace in seen:
                continue
            with open(f"/proc/{name}/mountinfo", encoding="utf-8", errors="replace") as file:
                found += [
                    f"{line.strip()} (held by {name} {procs.cmdline(int(name))})" for line in file if text in line
                ]
            seen.add(namespace)
    return found


def bento_cgroups() -> list[str]:
    """Return the directories named bento-* in every hierarchy, nested at most three deep."""
    found = []
    queue = [(CGROUP_ROOT, 0)]
    while queue:
        directory, depth = queue.pop()
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    continue
                if entry.name.startswith("bento-"):
                    found.append(entry.path)
                elif depth < 4:
                    queue.append((entry.path, depth + 1))
    return found


def rules() -> list[str]:
    """Return the nftables tables of this namespace, iptables' included, and their chains."""
    if shutil.which("nft") is None:
        return []
    listed = subprocess.run(["nft", "list", "chains"], capture_output=True, text=True, check=False).stdout
    return [line.strip() for line in listed.splitlines() if line.strip() != "}"]


def _look_at_devices() -> dict[str, tuple[int, int, int]]:
    found = {}
    for name in ("null", "zero", "full", "tty", "urandom"):
        info = os.stat(f"/dev/{name}")
        found[f"/dev/{name}"] = (info.st_mode, info.st_uid, info.st_gid)
    return found


_DEVICES = _look_at_devices()
"""As the suite has found them."""


def device_damage() -> list[str]:
    """Return a complaint for each of the machine's own device nodes that has another mode or owner by now.

    A runtime, or a program in a container, changes them where a descriptor of the host's was handed in.
    """
    return [
        f"{path} had mode {before[0]:o}, owner {before[1]}:{before[2]}; now {now[0]:o}, {now[1]}:{now[2]}"
        for (path, before), now in zip(_DEVICES.items(), _look_at_devices().values(), strict=True)
        if before != now
    ]


def remove_tree(path: Path) -> None:
    """Delete a test's directory, read-only ones in it too."""
    shutil.rmtree(path, ignore_errors=True)


_OF_IMAGES = ("blobs", "layers")  # these are named by 64 digits too, and may stay


def _named_after_containers(root: Path) -> list[str]:
    found = []
    for directory, names, files in os.walk(root):
        if Path(directory) == root:
            names[:] = [name for name in names if name not in _OF_IMAGES]
        hits = [name for name in names + files if _CONTAINER_ID.search(name)]
        found += [os.path.join(directory, name) for name in hits]
        names[:] = [name for name in names if name not in hits]
    return found


def _members(cgroup: str) -> set[int]:
    pids: set[int] = set()
    for directory, _, _ in os.walk(cgroup):
        with contextlib.suppress(OSError), open(f"{directory}/cgroup.procs", encoding="ascii") as file:
            pids |= {int(line) for line in file}
    return pids


def _thaw(cgroup: str) -> None:
    for directory, _, _ in os.walk(cgroup):
        for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            with contextlib.suppress(OSError), open(f"{directory}/{name}", "w", encoding="ascii") as file:
                file.write(value)


def _remove_cgroup(cgroup: str) -> None:
    for directory, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _mount_points_below(base: Path) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        points = [line.split()[4] for line in file]
    return [point for point in points if point.startswith(f"{base}/")]


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []
