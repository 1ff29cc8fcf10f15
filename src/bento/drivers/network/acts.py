"""How the network's driver has things done: by programs that read words, and by the kernel."""

from __future__ import annotations

import binascii
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bento import command
from bento.command import Child
from bento.errors import KernelError, RuntimeFailed
from bento.kernel.net import links


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
