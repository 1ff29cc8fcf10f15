"""What a test left behind on the machine, found without asking the code under test.

Other engines, and other test runs, work on the same machine. A new thing therefore counts only when it can be laid
at this test's door: it names the test's directory or one of its roots, or descends from its processes. An empty cgroup
names a container: it counts when a root of this test has had that. Where none has a database, as with drivers that are
tested alone, it counts when no engine is at work that these tests have not started.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from zlib import crc32

from support import procs

CGROUP_ROOT = "/sys/fs/cgroup"
SETTLE_S = 20.0
"""How long the last processes of a container may take to go after all say that it is gone."""

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
_MADE_BY_TEST = re.compile(r"/bento-test-(\d+)-")  # the pid is that of its pytest


_OF_ENGINES = ("conmon", "crun", "runc", "runsc", "containerd-shim", "bento")


class Snapshot:
    """The things that do not name the test that has made them, now."""

    def __init__(self) -> None:
        self.processes = {process.key for process in procs.descendants()}
        self.cgroups = set(bento_cgroups())
        self.is_shared = is_shared()


class LeakWatch:
    """Compares the machine before and after one test."""

    def __init__(self, base: Path, *, beside: Path | None = None) -> None:
        self.base = base  # every path of this test begins with it, or with the one beside it
        self.places = (base,) if beside is None else (base, beside)
        self.before = Snapshot()
        self.roots: list[Path] = []
        self._of_others: set[str] = set()
        self._own: set[str] = set()  # containers that this test's roots have, or had

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
        ours = procs.descendants()
        holders = [os.getpid(), *(process.pid for process in ours)]
        return [
            *(
                f"process {process}"
                for process in ours
                if process.is_alive and process.key not in self.before.processes
            ),
            *(f"mount {line}" for line in mounts_naming(*map(str, self.places), holders=holders)),
            *(f"cgroup {path}" for path in self.new_cgroups()),
            *(f"network {name}" for name in self.network()),
            *device_damage(),
        ]

    def files(self) -> list[str]:
        """Return what still names a container below the test's roots; asked after every container was removed."""
        return [f"file {path}" for root in self.roots for path in _named_after_containers(root)]

    def network(self) -> list[str]:
        """Return the links and the firewall's tables that are named after an engine of this test."""
        marks = {engine_mark(root) for root in (*self.roots, *self.base.iterdir())}
        names = [f"link {name}" for _, name in socket.if_nameindex()] + tables()
        return sorted(name for name in names if any(mark in name for mark in marks))

    def new_cgroups(self) -> list[str]:
        """Return Bento's cgroups that were not there before and are not another's."""
        new = {path: _members(path) for path in bento_cgroups() if path not in self.before.cgroups}
        if not new:
            return []
        own, databases = _containers_below(self.base)
        self._own |= own
        self._of_others |= self._ids_of_siblings() - self._own
        for path, members in new.items():
            ids = _CONTAINER_ID.findall(path)
            is_of_another = any(procs.is_ours(pid) is False for pid in members)
            is_unknown = not members and (databases > 0 or self.before.is_shared or is_shared())
            if not self._own.intersection(ids) and (is_of_another or is_unknown):
                self._of_others |= {path, *ids}  # also when these have gone
        return [
            path for path in new
            if not self._of_others.intersection([path, *_CONTAINER_ID.findall(path)])
            and _MADE_BY_TEST.findall(path) in ([], [str(os.getpid())])
        ]  # fmt: skip

    def _ids_of_siblings(self) -> set[str]:
        """The containers of the test runs beside this one: an empty cgroup does not say whose it is."""
        session = self.base.parent  # the directory that conftest's ``scratch`` has made
        siblings = [Path(place) for place in glob(f"{session.parent}/bt-*/t*") if Path(place).parent != session]
        return set().union(*(_containers_below(place, is_anothers=True)[0] for place in siblings))

    def sweep(self) -> None:
        """Remove what was left, so that the next test starts clean."""
        cgroups = self.new_cgroups()
        for path in cgroups:
            _thaw(path)
        for _ in range(20):
            left = [p for p in procs.descendants() if p.is_alive and p.key not in self.before.processes]
            if not left:
                break
            for process in left:
                procs.kill(process)
        for path in cgroups:
            _remove_cgroup(path)
        for point in sorted((point for place in self.places for point in _mount_points_below(place)), reverse=True):
            os.system(f"umount -l '{point}' 2>/dev/null")
        for kind, name in (found.split(" ", 1) for found in self.network()):
            words = ["ip", "link", "del", name] if kind == "link" else ["nft", "delete", "table", *name.split()]
            subprocess.run(words, stderr=subprocess.DEVNULL, check=False)


def _containers_below(base: Path, *, is_anothers: bool = False) -> tuple[set[str], int]:
    """Return the containers that the roots in a test's directory have or had, and how many databases there are.

    The log of events names also those that were removed. What goes meanwhile is passed over, by glob.glob alone:
    Path.glob raises. ``is_anothers``: another run is at work on it, which would find a database held open by us.
    """
    found = {os.path.basename(path) for depth in ("*", "*/*") for path in glob(f"{base}/{depth}/containers/*")}
    databases = [Path(path) for depth in ("*", "*/*") for path in glob(f"{base}/{depth}/bento.db")]
    for path in databases:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_open_to_read(path, is_anothers)) as connection:
            for query in ("SELECT id FROM containers", "SELECT document FROM events"):
                with contextlib.suppress(sqlite3.Error):  # of another version
                    for (text,) in connection.execute(query):
                        found |= set(_CONTAINER_ID.findall(text if isinstance(text, str) else bytes(text).decode()))
    return found, len(databases)


def _open_to_read(path: Path, is_anothers: bool) -> sqlite3.Connection:
    """Without locks and shared memory where it is another's: what is being written is not seen then."""
    how = "immutable=1" if is_anothers else "mode=ro"
    return sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=1.0)


def mounts_naming(*texts: str, holders: Iterable[int] | None = None) -> list[str]:
    """Return the mountinfo lines that name one of these paths, each with a process that holds it.

    Looked at are the mount namespaces of all processes, or of these: a namespace that others make meanwhile has a copy
    of every mount that a test has made on the host, which is theirs.
    """
    found = []
    seen: set[str] = set()
    for pid in sorted(map(int, filter(str.isdigit, os.listdir("/proc")))) if holders is None else holders:
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace in seen:
                continue
            with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file if any(text in line for text in texts)]
            found += [f"{line} (held by {pid} {procs.cmdline(pid)})" for line in lines]
            seen.add(namespace)
    return found


def is_shared() -> bool:
    """Whether engines are at work here that neither this run of pytest nor one beside it (tools/test) has started."""
    top = int(os.environ.get("BENTO_TEST_TOP", 0)) or None
    return any(p.comm in _OF_ENGINES and procs.is_ours(p.pid, top) is False for p in procs.all_processes())


def engine_mark(root: Path) -> str:
    """Return what the names of an engine's links and tables have in common (tests/contract/test_leak_check.py)."""
    return f"{crc32(os.fsencode(root)):08x}"[:5]


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


def tables() -> list[str]:
    """Return the nftables tables of this namespace as ``table FAMILY NAME``, iptables' included."""
    if shutil.which("nft") is None:
        return []
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout.splitlines()


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
