"""The start of a zygote, a process that carries commands out faster (docs/decisions/0043-zygote.md)."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress

from bento import __version__, command
from bento.config import Settings
from bento.errors import BentoError

DIRECTORY = "zygote"


def argv(settings: Settings) -> list[str]:
    """Return how one is started for these roots: by the interpreter that runs here, and isolated where this is."""
    isolation = "-I" if sys.flags.isolated else "-P"
    roots = {"--root": settings.root, "--run-root": settings.run_root}
    return [
        sys.executable, isolation, "-m", "bento.zygote",
        *(word for name, path in roots.items() for word in (name, os.path.abspath(path))),
    ]  # fmt: skip


def socket_path(settings: Settings) -> str:
    """Return where it listens."""
    return f"{os.path.abspath(settings.run_root)}/{DIRECTORY}/{__version__}-{os.geteuid()}"


def start(settings: Settings) -> None:
    """Start one, unless one is there, and do not wait for it. Where that fails commands are as fast as without one."""
    if os.geteuid() == 0 and not _is_there(settings):
        with suppress(BentoError):
            command.spawn_detached(argv(settings))


def _is_there(settings: Settings) -> bool:
    """Whether one has its lock, or listens at a socket of systemd, which starts it."""
    path = socket_path(settings)
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return os.path.exists(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
