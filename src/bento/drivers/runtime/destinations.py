"""Where the mounts of a container come to lie, once the links of its image are followed.

A destination is a name, and what it leads to is the image's to say: ``/x -> /proc`` with a volume at /x would cover
/proc, ``/etc/resolv.conf -> /dev/null`` would have every masked path show a file of the engine's. So each is followed,
in the order in which they will be mounted, through the root filesystem and through what is mounted before it: names one
by one, no link by the kernel, so that none leads out. What a container changes between this and the runtime's own look
is the runtime's to refuse.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct

from bento.errors import KernelError, UsageError
from bento.files.rootfs import open_without_links
from bento.model.container import Mount
from bento.oci import defaults, etc

_LINKS_MAX: Final = 40  # as the kernel's own (path_resolution(7))
_KERNELS: Final = ("/proc", "/dev", "/sys")
_OUTSIDE: Final = r"/proc/[^/]+/(task/[^/]+/)?(fd|cwd|root)(/|$)"
"""Links of the kernel's that lead to what a process has open: with a runtime of old, the host's (CVE-2024-21626)."""
_OWN_FILES: Final = frozenset(f"/etc/{name}" for name in etc.ETC_FILES)
_HINT: Final = "what an image has there is not to be trusted"


class Place(Struct, frozen=True):
    """Where a path leads: ``real`` has no links; ``proc`` is the first place in /proc on the way, "" where none is."""

    real: str
    proc: str

    def is_below(self, *directories: str) -> bool:
        """Whether it is one of these directories, or in one."""
        return any(self.real == one or self.real.startswith(f"{one}/") for one in directories)


class Tree:
    """A root filesystem with mounts on it. Use it as a context: it holds what they are made from."""

    def __init__(self, root: Path) -> None:
        self._stack = ExitStack()
        self._mounts: list[tuple[str, int | None]] = [("", self._opened(str(root)))]

    def mount(self, real: str, source: str | None) -> None:
        """Put a bind mount of ``source`` at a place; None: a filesystem of which nothing is known, and has no links."""
        self._mounts.append((real, None if source is None else self._opened(source)))

    def follow(self, path: str) -> Place:
        """Return where a path leads. What is not there is taken for a name. Raises UsageError for too many links."""
        done: list[str] = []
        pending = path.split("/")[::-1]
        links, proc = 0, ""
        while pending:
            name = pending.pop()
            if name == "..":
                done = done[:-1]  # no link is in it
            if name in ("", ".", ".."):
                continue
            target = self._link([*done, name])
            if target is None:
                done.append(name)
                proc = f"/{'/'.join(done)}" if done[0] == "proc" and len(done) > proc.count("/") else proc
                continue
            links += 1
            if links > _LINKS_MAX:
                raise UsageError(f"{path} in the container is a link that leads back to itself", hint=_HINT)
            done = [] if target.startswith("/") else done
            pending += target.split("/")[::-1]
        return Place(f"/{'/'.join(done)}", proc)

    def mode(self, real: str) -> int | None:
        """Return the mode of what is at a place that was followed; None when nothing is, or nothing is known."""
        found = self._look(real)
        try:
            return None if found is None else os.fstat(found).st_mode
        finally:
            if found is not None:
                os.close(found)

    def _link(self, names: Sequence[str]) -> str | None:
        found = self._look(f"/{'/'.join(names)}")
        try:
            is_link = found is not None and stat.S_ISLNK(os.fstat(found).st_mode)
            return os.readlink("", dir_fd=found) if is_link else None
        finally:
            if found is not None:
                os.close(found)

    def _look(self, real: str) -> int | None:
        above = (each for each in reversed(self._mounts) if f"{real}/".startswith(f"{each[0]}/"))
        at, fd = max(above, key=lambda each: each[0].count("/"))  # of several at one place the last one
        if fd is None:
            return None
        below = real[len(at) :].lstrip("/")
        try:
            return open_without_links(fd, below, os.O_PATH | os.O_NOFOLLOW) if below else os.dup(fd)
        except KernelError:  # not there
            return None

    def _opened(self, path: str) -> int:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"cannot mount {path}: {error.strerror}", hint="make it first") from error
        self._stack.callback(os.close, fd)
        return fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def check(
    mounts: Sequence[dict[str, Any]], *, root: Path, asked: Sequence[Mount], workdir: str
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return config.json's mounts without those of Bento's own files that have no place, and notes on these.

    ``asked``: those that the user and the image want; all others are Bento's own. Raises UsageError for one, or a
    working directory, that leads where nothing is to be.
    """
    wanted = {mount.destination: mount for mount in asked}
    kept, notes = [], []
    with Tree(root) as tree:
        for entry in mounts:
            destination = entry["destination"]
            place = tree.follow(destination)
            if destination not in wanted and destination in _OWN_FILES:
                if not _is_regular(tree, place):
                    notes.append(f"no {destination} of Bento's: the image has something else there than a file")
                    continue
            elif not _may_be(place, destination, wanted.get(destination)):
                raise UsageError(
                    f"cannot mount {_what(wanted.get(destination))} at {destination}: in the container that leads to"
                    f" {place.proc or place.real}",
                    hint=_HINT,
                )
            kept.append(entry)
            if "remount" not in entry["options"]:
                tree.mount(place.real, entry["source"] if entry["type"] == "bind" else None)
        check_workdir(tree, workdir)
    return kept, tuple(notes)


def check_workdir(tree: Tree, path: str) -> None:
    """Raise UsageError for a working directory by way of what a process has open."""
    proc = tree.follow(path).proc
    if re.match(_OUTSIDE, proc):
        raise UsageError(f"bad working directory {path}: it leads to {proc}", hint="use a directory of the container's")


def _is_regular(tree: Tree, place: Place) -> bool:
    """Whether a file may be bound there: over another one, or where one is to be made."""
    mode = tree.mode(place.real)
    return not place.proc and not place.is_below(*_KERNELS) and (mode is None or stat.S_ISREG(mode))


def _may_be(place: Place, destination: str, asked: Mount | None) -> bool:
    if asked is None and destination in _KERNELS:
        return place.real == destination
    if place.proc:
        is_file = place.real == place.proc and place.real in defaults.PROC_FILES
        return is_file and asked is not None and asked.kind == "bind"
    if asked is not None and not asked.of_image:
        return True
    below = [one for one in ("/dev", "/sys") if asked is not None or not Place(destination, "").is_below(one)]
    return not place.is_below(*below)


def _what(asked: Mount | None) -> str:
    if asked is None:
        return "what a container needs"
    return "a volume of the image" if asked.of_image else asked.source or asked.kind
