"""What the descriptors of processes are of, and whether only the container can make them ready.

Everything is read by the directory of a live thread (/proc/PID/task/TID): that of a process is empty once its leader
has ended. No file is touched but those of /proc: stat(2) on what a descriptor is of would hang with a dead network
disk, or a stopped FUSE server. A :class:`Look` holds what was read once for all processes of one look.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

from bento.kernel import sockets
from bento.kernel.process import proc
from bento.lazy import LazyModule
from bento.model.waits import Descriptor, Kind

if TYPE_CHECKING:
    from bento.kernel.process import terminals
else:  # few containers have one
    terminals = LazyModule("bento.kernel.process.terminals")

MAX_DESCRIPTORS: Final = 4096
"""Of one process; what is beyond it is not known."""
MAX_OF_A_CALL: Final = 64

Peer = Literal["listen", "connected", "unnamed", "none"]
"""``unnamed``: connected, and of UNIX without a name: as both ends of a socketpair(2) are; or in no table."""

_ANONYMOUS: Final[dict[str, Kind]] = {
    "[eventfd]": "eventfd",
    "[signalfd]": "signalfd",
    "[timerfd]": "timerfd",
    "inotify": "inotify",
    "[pidfd]": "pidfd",
    "[eventpoll]": "epoll",
}
# Rings whose completions the kernel may write to any eventfd; the older kind is a mapping.
_IO_URING: Final = "anon_inode:[io_uring]"
_AIO: Final = b"/[aio]"
_TERMINALS: Final = re.compile(r"/dev/(?:tty|pts/|console|ptmx|hvc)")

# include/net/tcp_states.h; datagram and raw sockets use two of them.
_ESTABLISHED: Final = b"01"
_LISTEN: Final = b"0A"
# include/uapi/linux/net.h, include/linux/net.h
_UNIX_UNCONNECTED: Final = b"01"
_UNIX_ACCEPTS: Final = 0x10000  # __SO_ACCEPTCON


def slurp(path: str) -> bytes:
    """Return a whole file; empty when it is gone or may not be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:  # ESRCH too: the process went between open and read
        return b""


def link(path: str) -> str:
    """Return what a link of /proc says; empty when it is gone."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def entries(directory: str) -> list[str]:
    """Return the names in a directory; none when it is gone."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def parse_inet(table: bytes, *, is_stream: bool, is_loose: bool) -> dict[int, Peer]:
    """Return the sockets of /proc/net/{tcp,udp,raw} and their kin by inode (proc_pid_net(5)).

    ``is_loose``: a socket without a peer is none's: true of datagrams, not of raw sockets, which ping(8) waits on.
    """
    found: dict[int, Peer] = {}
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 10:
            continue
        state = words[3]
        if is_stream:
            found[int(words[9])] = "listen" if state == _LISTEN else "connected"
        else:
            found[int(words[9])] = "connected" if state == _ESTABLISHED or not is_loose else "none"
    return found


def parse_unix(table: bytes) -> dict[int, Peer]:
    """Return the sockets of /proc/net/unix by inode: Num RefCount Protocol Flags Type St Inode Path."""
    found: dict[int, Peer] = {}
    for line in table.splitlines()[1:]:
        words = line.split(None, 7)
        if len(words) < 7:
            continue
        peer: Peer = "connected" if len(words) > 7 else "unnamed"
        if int(words[3], 16) & _UNIX_ACCEPTS:
            peer = "listen"
        elif words[5] == _UNIX_UNCONNECTED:
            peer = "none"
        found[int(words[6])] = peer
    return found


def parse_epoll(info: bytes) -> list[tuple[int, int]]:
    """Return (descriptor, inode) of what an epoll watches, from its fdinfo: ``tfd: 4 events: 19 ... ino:2185 sdev:f``.

    proc_pid_fdinfo(5), fs/eventpoll.c. The inode is 0 where the kernel does not say.
    """
    return [
        (int(match[1]), int(match[2] or b"0", 16))
        for match in re.finditer(rb"^tfd:\s*(\d+)(?:.*?\bino:([0-9a-f]+))?", info, re.MULTILINE)
    ]


def parse_timer(info: bytes) -> float | None:
    """Return in how many seconds a timerfd is ready, from its fdinfo; None: it is not armed; 0 also where unknown."""
    ticks = re.search(rb"^ticks:\s*(\d+)", info, re.MULTILINE)
    value = re.search(rb"^it_value:\s*\((\d+), (\d+)\)", info, re.MULTILINE)
    if ticks is None or value is None or int(ticks[1]):
        return 0.0
    return int(value[1]) + int(value[2]) / 1e9 or None


def parse_pidfd(info: bytes) -> int:
    """Return the process of a pidfd as this /proc numbers it; 0: it has ended, or is of another namespace."""
    match = re.search(rb"^Pid:\s*(-?\d+)", info, re.MULTILINE)
    return max(int(match[1]), 0) if match else 0


class Look:
    """What is shared by all processes of one look: their tables of descriptors, pipes, and sockets by namespace."""

    def __init__(self, tasks: dict[int, str], outsiders: Iterable[int]) -> None:
        """``tasks``: the container's processes, each with the directory of a live thread of it."""
        self._tasks = tasks
        self._outsiders = tuple(outsiders)
        self._links: dict[str, dict[int, str]] = {}
        self._sockets: dict[str, dict[int, Peer]] = {}
        self._pipes: dict[str, int] | None = None  # link -> bits of the ends open inside: 4 to read, 2 to write
        self._holders: dict[str, set[str]] = {}  # which of the container's processes have an end of a pipe
        self._outer: set[str] = set()
        self._rings: dict[str, bool] = {}
        self._pairs: dict[str, bool] = {}

    def links(self, task: str) -> dict[int, str]:
        """Return the open descriptors of a process and what each is of, by their links."""
        found = self._links.get(task)
        if found is None:
            names = entries(f"{task}/fd")[: MAX_DESCRIPTORS + 1]
            found = self._links[task] = {int(name): link(f"{task}/fd/{name}") for name in names}
        return found

    def count_sockets(self, task: str) -> tuple[int, int]:
        """Return how many sockets listen, and how many others have, or may have, a peer."""
        links = self.links(task)
        peers = [self._peer(task, link) for fd, link in links.items() if self._is_counted(task, fd, link)]
        connected = sum(peer in ("connected", "unnamed") for peer in peers)
        return peers.count("listen"), connected + (len(links) > MAX_DESCRIPTORS)

    def standard_input(self, task: str) -> str:
        """Return what descriptor 0 is and how it was opened; "" where it cannot be read."""
        target = self.links(task).get(0, "")
        info = re.search(rb"^flags:\s*0?(\d+)\nmnt_id:\s*(\d+)", slurp(f"{task}/fdinfo/0"), re.MULTILINE)
        if not target or info is None:
            return ""
        mode = {os.O_RDONLY: "r", os.O_WRONLY: "w"}.get(int(info[1], 8) & os.O_ACCMODE, "rw")
        return f"{target} {mode} {info[2].decode()}"

    def feeds(self, task: str) -> bool:
        """Whether another process of the container has the other end of a process's standard output, a pipe."""
        target = self.links(task).get(1, "")
        return target.startswith("pipe:[") and self._is_inside(task, 1, target) and self._holders[target] != {task}

    def is_async(self, task: str) -> bool:
        """Whether a descriptor sends a signal when it is ready (O_ASYNC of open(2)); true where there are too many."""
        fds = self.links(task)
        flags = (re.search(rb"^flags:\s*(\d+)", slurp(f"{task}/fdinfo/{fd}"), re.MULTILINE) for fd in fds)
        return len(fds) > MAX_DESCRIPTORS or any(found and int(found[1], 8) & os.O_ASYNC for found in flags)

    def describe(self, task: str, fd: int) -> tuple[Descriptor, ...]:
        """Return what a call waits on when it waits on this descriptor: an epoll stands for what it holds."""
        target = self.links(task).get(fd, "")
        if target != "anon_inode:[eventpoll]":
            return (self._describe(task, fd, target),)
        return self._epoll(task, fd, is_nested=False)

    def process_of(self, task: str, fd: int) -> int:
        """Return the process of a pidfd; 0 when it is none, or its process has ended."""
        is_pidfd = self.links(task).get(fd) == "anon_inode:[pidfd]"
        return parse_pidfd(slurp(f"{task}/fdinfo/{fd}")) if is_pidfd else 0

    def _epoll(self, task: str, fd: int, *, is_nested: bool) -> tuple[Descriptor, ...]:
        info = slurp(f"{task}/fdinfo/{fd}")
        if not info:
            return (Descriptor("unknown"),)
        held = parse_epoll(info)
        links = self.links(task)
        found: list[Descriptor] = []
        for number, inode in held[: MAX_OF_A_CALL + 1]:
            target = links.get(number, "")
            is_numbered = target.startswith(("socket:[", "pipe:["))
            if is_numbered and inode and _inode(target) != inode:
                # Closed here and open elsewhere: the number is another's by now, the epoll still has what it was.
                found.append(Descriptor("unknown"))
            elif target == "anon_inode:[eventpoll]" and not is_nested:
                found += self._epoll(task, number, is_nested=True)
            else:
                found.append(self._describe(task, number, target))
        return tuple(found) if len(found) <= MAX_OF_A_CALL else (Descriptor("unknown"),)

    def _describe(self, task: str, fd: int, target: str) -> Descriptor:
        if target.startswith("pipe:["):
            is_inside = self._is_inside(task, fd, target)
            return Descriptor("pipe", is_inside=is_inside, is_own=is_inside and self._holders[target] == {task})
        if target.startswith("socket:["):
            is_listening = self._peer(task, target) == "listen"
            return Descriptor("listen") if is_listening else Descriptor("socket", self._is_pair(task, fd, target))
        if target.startswith("/dev/pts/"):
            return Descriptor("tty", terminal=terminals.mode(int(task.rpartition("/")[2]), fd))
        if target.startswith("/"):
            return Descriptor("tty" if _TERMINALS.match(target) else "file")
        kind = _ANONYMOUS.get(target.partition(":")[2], "unknown") if target.startswith("anon_inode:") else "unknown"
        if kind == "timerfd":
            return Descriptor(kind, wakes_in_s=parse_timer(slurp(f"{task}/fdinfo/{fd}")))
        if kind == "pidfd":
            return Descriptor(kind, is_inside=parse_pidfd(slurp(f"{task}/fdinfo/{fd}")) in self._tasks)
        return Descriptor(kind, is_inside=kind == "eventfd" and not self._has_ring(task))

    def _is_counted(self, task: str, fd: int, target: str) -> bool:
        """Whether a socket is counted: not one end of a pair that only the container has."""
        return target.startswith("socket:") and not self._is_pair(task, fd, target)

    def _is_pair(self, task: str, fd: int, target: str) -> bool:
        found = self._pairs.get(target)
        if found is None:
            may_be = self._peer(task, target) == "unnamed"  # of all others no copy has to be made
            tid = int(task.rpartition("/")[2])
            found = self._pairs[target] = may_be and sockets.is_pair(tid, fd, self._tasks)
        return found

    def _has_ring(self, task: str) -> bool:
        # maps is dear: it is read of those alone that wait on an eventfd.
        found = self._rings.get(task)
        if found is None:
            is_open = _IO_URING in self.links(task).values()
            found = self._rings[task] = is_open or _AIO in slurp(f"{task}/maps")
        return found

    def _is_inside(self, task: str, fd: int, target: str) -> bool:
        """Whether the other end of a pipe is open in the container, and neither end in a process outside.

        An end that is open nowhere in the container is outside, whether or not the process that has it was named: the
        reader of a pipe without a writer would have seen its end.
        """
        if self._pipes is None:
            self._pipes = {}
            for other in self._tasks.values():
                for number, name in self.links(other).items():
                    if name.startswith("pipe:["):
                        self._pipes[name] = self._pipes.get(name, 0) | _access(other, number)
                        self._holders.setdefault(name, set()).add(other)
            for pid in self._outsiders:
                self._outer.update(self.links(f"/proc/{proc.live_tid(pid)}").values())
        own = _access(task, fd)
        needed = 6 if own in (0, 6) else 6 ^ own
        return target not in self._outer and self._pipes.get(target, 0) & needed == needed

    def _peer(self, task: str, target: str) -> Peer:
        namespace = link(f"{task}/ns/net")
        table = self._sockets.get(namespace)
        if table is None:
            table = self._sockets[namespace] = read_sockets(task)
        known = table.get(_inode(target))
        if known is None:  # of no table, made after it was read, or of another namespace
            known = table[_inode(target)] = "none" if self._is_netlink(task, target) else "unnamed"
        return known

    def _is_netlink(self, task: str, target: str) -> bool:
        fd = next((number for number, name in self.links(task).items() if name == target), -1)
        try:  # net/socket.c, sockfs_xattr_handlers: the protocol's name
            return os.getxattr(f"{task}/fd/{fd}", "system.sockprotoname").startswith(b"NETLINK")
        except OSError:
            return False


def read_sockets(task: str) -> dict[int, Peer]:
    """Return the sockets of a process's network namespace by inode: one that listens, one with a peer, one without."""
    found: dict[int, Peer] = {}
    for name in ("udp", "udp6", "udplite", "udplite6"):
        found |= parse_inet(slurp(f"{task}/net/{name}"), is_stream=False, is_loose=True)
    for name in ("raw", "raw6"):
        found |= parse_inet(slurp(f"{task}/net/{name}"), is_stream=False, is_loose=False)
    for name in ("tcp", "tcp6"):
        found |= parse_inet(slurp(f"{task}/net/{name}"), is_stream=True, is_loose=False)
    found |= parse_unix(slurp(f"{task}/net/unix"))
    found.pop(0, None)  # connections that no process has yet, or any more
    return found


def _inode(target: str) -> int:
    number = target.partition("[")[2].rstrip("]")
    return int(number) if number.isdigit() else 0


def _access(task: str, fd: int) -> int:
    """Return what an open descriptor may do: 4 to read, 2 to write; the link's own mode says it (proc_pid_fd(5))."""
    try:
        return os.lstat(f"{task}/fd/{fd}").st_mode >> 6 & 6
    except OSError:
        return 0
