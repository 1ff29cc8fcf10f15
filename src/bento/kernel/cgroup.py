"""The cgroups of one container: the processes in them, freezing, killing, removing.

Version 1 has a tree per controller, version 2 ("" here) one for all; a hybrid host has both.
Facts are from the kernel's admin-guide: cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst and pids.rst.
Every call is short; all treat a cgroup that is gone as empty.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import time
from collections.abc import Iterator
from typing import Final, Literal, Self

from bento.errors import DeadlineExceeded, InternalError, is_shortage
from bento.kernel import mountinfo
from bento.kernel.process import pidfd, proc
from bento.kernel.pseudofile import read_whole

_FREEZE_LIMIT_S: Final = 2.0
_KILL_FREEZE_LIMIT_S: Final = 0.1
_LEAF_LINKS: Final = 2
"""Of a directory of kernfs: each directory in it adds one (kernfs_refresh_inode), so that nothing has to be listed."""
_BATCH: Final = 256
"""Pidfds held at once: the usual limit of open files is 1024."""


def mode(root: str = "/sys/fs/cgroup") -> Literal["v1", "v2", "hybrid"]:
    """Return how this host's cgroups are mounted, as the calling thread sees it."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        return "v2"
    return "hybrid" if os.path.exists(f"{root}/unified/cgroup.controllers") else "v1"


def has_version2() -> bool:
    """Whether version 2 is mounted somewhere, be it below something that hides it."""
    return any(entry.fstype == "cgroup2" for entry in mountinfo.mount_table())


def hierarchies() -> list[str]:
    """Return where cgroup hierarchies are mounted, as the calling thread sees them."""
    mounts = mountinfo.mount_table(os.getpid())
    return sorted({entry.target for entry in mounts if entry.fstype in ("cgroup", "cgroup2")})


def named(name: str) -> dict[str, str]:
    """Return by controller the directories of this name directly below the roots of hierarchies."""
    places = _places(mountinfo.mount_table(os.getpid()))
    known = {word for word, _ in _memberships(read_control("/proc/self/cgroup"))}
    found = {word: f"{places[word].target}/{name}" for word in known if word in places}
    return {word: path for word, path in found.items() if os.path.isdir(path)}


class Cgroups:
    """The cgroups of one container.

    ``paths``: absolute directory by controller, "" for version 2. The directories are used as
    the calling thread sees them: where a hierarchy is hidden, it counts as gone.
    """

    def __init__(self, paths: dict[str, str]) -> None:
        """Take the directories as they were recorded. Refuses a hierarchy's root with InternalError: all is in it."""
        for path in paths.values():
            if _is_root(path):
                raise InternalError(f"{path} is the root of a cgroup hierarchy, not a container's")
        self.paths = paths

    @classmethod
    def of_process(cls, pid: int) -> Self:
        """Return the cgroups of a process, without those that are not its own.

        Left out: hierarchies in which it is where this process is, or above (a runtime does not
        place a container in every hierarchy). Empty when the process is gone.
        """
        mounts = mountinfo.mount_table(os.getpid())
        own = locate(read_control("/proc/self/cgroup"), mounts)
        theirs = locate(read_control(f"/proc/{proc.live_tid(pid)}/cgroup"), mounts)
        return cls({name: path for name, path in theirs.items() if not f"{own.get(name, '')}/".startswith(f"{path}/")})

    def exists(self) -> bool:
        """Whether any of the directories is there."""
        return any(os.path.isdir(path) for path in self.paths.values())

    def pids(self) -> list[int]:
        """Return the processes in it and below. Those that have ended but are not reaped are not listed."""
        home = self._home()
        return sorted({pid for path in _tree(home) for pid in _numbers(f"{path}/cgroup.procs")}) if home else []

    def is_populated(self) -> bool:
        """Whether a process is in it or below, as the kernel counts: also those that this PID namespace does not show.

        cgroup.procs leaves such processes out in version 1, and has a zero for each in version 2.
        """
        if self.pids():
            return True
        v2 = self.paths.get("")
        if v2 is not None and _field(f"{v2}/cgroup.events", "populated"):
            return True
        return any(read_control(f"{path}/pids.current").strip() not in ("", "0") for path in {*self.paths.values()})

    def is_frozen(self) -> bool:
        """Whether the container is frozen, by its user or by another program. Nested cgroups do not count."""
        v2, v1 = self.paths.get(""), self.paths.get("freezer")
        if v2 is not None and read_control(f"{v2}/cgroup.freeze").strip() == "1":
            return True
        return v1 is not None and read_control(f"{v1}/freezer.state").strip() in ("FROZEN", "FREEZING")

    def freeze(self) -> None:
        """Freeze all processes; return when they are. Idempotent.

        Blocks for 2 s at most; then thaws and raises DeadlineExceeded (a process in an
        uninterruptible sleep cannot be frozen).
        """
        if not self._freeze(_FREEZE_LIMIT_S):
            self.thaw()
            raise DeadlineExceeded(
                f"the container's processes could not be frozen within {_FREEZE_LIMIT_S:g} s",
                hint="one of them is in an uninterruptible sleep, usually waiting for a disk or a network file system",
            )

    def thaw(self) -> None:
        """Thaw it, whatever has frozen it, in every hierarchy, and all nested cgroups. Idempotent."""
        for path in _tree(self.paths.get("")):
            write_control(f"{path}/cgroup.freeze", "0")
        for path in _tree(self.paths.get("freezer")):
            write_control(f"{path}/freezer.state", "THAWED")

    def kill(self) -> int:
        """Kill everything in it, once; return how many processes were seen alive.

        One round: a caller that needs certainty calls again until it returns 0, and waits for the pids.
        Fork-safe: by cgroup.kill (Linux 5.14) where there is version 2; else no process may fork any
        more, all are frozen for at most 0.1 s, killed, and thawed, because version 1 delivers
        no SIGKILL to the frozen. A container that was paused is thawed too.
        """
        seen = self.pids()
        v2 = self.paths.get("")
        if v2 is not None and self._home() == v2 and write_control(f"{v2}/cgroup.kill", "1"):
            self.thaw()
            return len(seen)
        # With seen empty too: a process on its way through fork may appear after the list was read.
        for name in ("pids", ""):
            if name in self.paths:
                write_control(f"{self.paths[name]}/pids.max", "0")
        try:
            if seen:
                self._freeze(_KILL_FREEZE_LIMIT_S)
                seen = self.pids()
                self._signal_all(seen)
        finally:
            self.thaw()
        return len(seen)

    def oom_kills(self) -> int | None:
        """Return how many of its processes the kernel has killed for want of memory; None when unknown."""
        if memory := self.paths.get("memory"):
            counts = [_field(f"{path}/memory.oom_control", "oom_kill") for path in _tree(memory)]
            return sum(counts) if counts else None
        v2 = self.paths.get("")
        is_counted = v2 is not None and os.path.exists(f"{v2}/memory.events")
        return _field(f"{v2}/memory.events", "oom_kill") if is_counted else None

    def remove(self) -> list[str]:
        """Remove the directories, nested ones first; return those that could not be. Idempotent.

        Blocks for about 20 ms at most: a cgroup stays busy for a moment after its last process.
        """
        left = [path for path in sorted(set(self.paths.values())) if os.path.isdir(path)]
        for pause_s in (0.001, 0.002, 0.005, 0.01, 0.0):
            left = [path for path in left if not _remove_tree(path)]
            if not left:
                break
            time.sleep(pause_s)
        return left

    def _home(self) -> str | None:
        """Return the directory to read processes from: version 2 where it is, else the freezer's tree, else any."""
        for name in ("", "freezer", "pids", *self.paths):
            path = self.paths.get(name)
            if path is not None and os.path.isdir(path):
                return path
        return None

    def _freeze(self, limit_s: float) -> bool:
        """Ask for it and wait until it is done; True also when there is nothing to freeze."""
        deadline_mono_s = time.monotonic() + limit_s
        v2, v1 = self.paths.get(""), self.paths.get("freezer")
        # On a hybrid host by version 1, as the runtimes do: what is frozen there never gets frozen by version 2 as
        # well.
        if v1 is not None and write_control(f"{v1}/freezer.state", "FROZEN"):
            name, wanted, again = f"{v1}/freezer.state", "FROZEN", "FROZEN"
        elif v2 is not None and write_control(f"{v2}/cgroup.freeze", "1"):
            name, wanted, again = f"{v2}/cgroup.events", "frozen 1", ""
        else:
            return True
        while (text := read_control(name)) and wanted not in text.splitlines():
            if time.monotonic() > deadline_mono_s:
                return False
            time.sleep(0.0005)
            if again:  # version 1 can miss a process that forks just then; writing again makes it look again
                write_control(name, again)
        return True

    def _signal_all(self, pids: list[int]) -> None:
        for start in range(0, len(pids), _BATCH):
            held = {}
            try:
                for pid in pids[start : start + _BATCH]:
                    try:
                        held[pid] = os.pidfd_open(pid)
                    except OSError:  # gone
                        continue
                # A number read a moment ago may be another process's now. Still listed after its pidfd was opened:
                # ours.
                members = set(self.pids())
                for pid, fd in held.items():
                    if pid in members:
                        pidfd.send(fd, signal.SIGKILL)
            finally:
                for fd in held.values():
                    os.close(fd)


def locate(membership: str, mounts: list[mountinfo.MountEntry]) -> dict[str, str]:
    """Return directory by controller from the text of /proc/PID/cgroup and the caller's mounts.

    Hierarchies that are not mounted, or in which the path lies outside the mounted part
    (another cgroup namespace's, cgroup_namespaces(7)), are left out.
    """
    places = _places(mounts)
    found = {}
    for name, path in _memberships(membership):
        place = places.get(name)
        if place is None or path.startswith("/.."):
            continue
        base = place.root.rstrip("/")
        if path == place.root or path.startswith(f"{base}/"):
            found[name] = (place.target + path[len(base) :]).rstrip("/")
    return found


def roots(membership: str) -> list[str]:
    """Return the roots of the hierarchies in which a process is elsewhere, from its /proc/PID/cgroup."""
    away = [name for name, path in _memberships(membership) if path != "/"]
    places = _places(mountinfo.mount_table(os.getpid())) if away else {}
    return sorted({places[name].target for name in away if name in places})


def _places(mounts: list[mountinfo.MountEntry]) -> dict[str, mountinfo.MountEntry]:
    """Return by controller where its hierarchy is mounted."""
    places: dict[str, mountinfo.MountEntry] = {}
    for entry in mounts:
        if entry.fstype == "cgroup2":
            places.setdefault("", entry)
        elif entry.fstype == "cgroup":
            # Controllers are among the superblock's options; others there ("rw", "xattr") are no controller's name.
            for option in entry.options.split(","):
                places.setdefault(option, entry)
    return places


def _memberships(membership: str) -> Iterator[tuple[str, str]]:
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            yield name, path


@functools.lru_cache(1 << 15)
def _is_root(path: str) -> bool:
    """Whether a directory is a mount's. Remembered for a stop of thousands: they ask again at each look."""
    try:
        return os.stat(path).st_dev != os.stat(f"{path}/..").st_dev
    except OSError:
        return False


def _tree(path: str | None) -> Iterator[str]:
    """Yield a directory and all below, parents first; nothing when there is none."""
    if path is None:
        return
    nested: list[str] = []
    try:
        if os.stat(path).st_nlink != _LEAF_LINKS:
            with os.scandir(path) as entries:
                nested = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if is_shortage(error):
            raise
        return
    yield path
    for directory in nested:
        yield from _tree(directory)


def _remove_tree(path: str) -> bool:
    gone = True
    for directory in reversed(list(_tree(path))):
        try:
            os.rmdir(directory)
        except OSError as error:
            gone = error.errno == errno.ENOENT
    return gone


def read_control(path: str) -> str:
    try:
        return read_whole(path).decode(errors="replace")
    except OSError as error:
        if is_shortage(error):  # a cgroup that is there must not be taken for an empty one
            raise
        return ""


def write_control(path: str, text: str) -> bool:
    """Write to a control file; False when it, or its cgroup, is not there."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, text.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _numbers(path: str) -> list[int]:
    return [int(word) for word in read_control(path).split()]


def _field(path: str, name: str) -> int:
    for line in read_control(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
