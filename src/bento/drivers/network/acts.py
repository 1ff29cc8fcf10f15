"""How the network's driver has things done: by programs that read words, and by the kernel."""

from __future__ import annotations

import binascii
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento import command
from bento.errors import Conflict, KernelError, RuntimeFailed
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.command import Child
    from bento.kernel.net import links
else:  # mostly the kernel has deleted them by itself
    links = LazyModule("bento.kernel.net.links")

_CALL_TIMEOUT_S: Final = 20.0  # milliseconds, but on a machine that is busy with links of others
_NO_LINK: Final = ("Cannot find device", "No such device")  # one by its name, those of a group


def ip() -> Path:
    """Return where ip(8) is. Raises MissingTool."""
    return command.find_program("ip", package="iproute2")


def nft() -> Path:
    """Return where nft(8) is. Raises MissingTool."""
    return command.find_program("nft", package="nftables")


@contextmanager
def locked(*, wait: bool = True) -> Iterator[None]:
    """See ``NetworkDriver.locked``. The lock is on the namespace's own inode: it needs no file that would stay."""
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("another process changes networks", hint="try again when it is done") from error
        yield
    finally:
        os.close(fd)


@contextmanager
def network_errors() -> Iterator[None]:
    """Say that it was the network, where the kernel has refused something."""
    try:
        yield
    except KernelError as error:
        raise RuntimeFailed(f"the network failed: {error.message}", hint=error.hint) from error


def spawn(argv: list[str], text: str) -> Child:
    """Start a program that reads ``text`` from its standard input."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        return command.spawn(argv, stdin_fd=fd)
    finally:
        os.close(fd)


def together(names: Sequence[str]) -> list[str]:
    """Return words for links that are to be deleted: all at once take the kernel as long as one."""
    if len(names) == 1:
        return list(names)
    group = 1 << 29 | binascii.crc32(names[0].encode()) & (1 << 29) - 1
    with network_errors():
        for name in names:
            links.set_group(name, group)
    return ["group", str(group)]


def ruleset(text: str) -> Child:
    """Start nft(8) with these words."""
    return spawn([str(nft()), "-f", "-"], text)


def end(child: Child) -> str:
    """See ``NetworkDriver.end``."""
    done = child.finish(_CALL_TIMEOUT_S)
    if done.returncode == 0:
        return ""
    words = " ".join(done.stderr.split())[:300]
    return f"{os.path.basename(done.argv[0])}: {words or f'status {done.returncode}'}"


def do(child: Child) -> None:
    """Wait for a child. Raises RuntimeFailed when it has failed."""
    for _ in steps(child):
        pass


def steps(child: Child) -> Iterator[Child]:
    """Yield a child to be waited for. Raises RuntimeFailed when it has failed."""
    try:
        yield from _step(child)
    finally:
        child.kill()


def meanwhile(starts: Iterable[Callable[[], Child]], act: Callable[[], None]) -> Iterator[Child]:
    """Do the rest while the kernel removes links, which takes it tens of milliseconds."""
    children: list[Child] = []
    try:
        children.extend(start() for start in starts)
        with network_errors():
            act()
        for child in children:
            yield from _step(child)
    finally:
        for child in children:
            child.kill()


def _step(child: Child) -> Iterator[Child]:
    yield child
    reason = end(child)
    if reason and not any(words in reason for words in _NO_LINK):
        raise RuntimeFailed(f"the network failed: {reason}")
