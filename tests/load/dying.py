"""``bento serve`` that kills itself before one of its actions on the world: dying.py FILE WORDS...

It counts its actions from the moment on that FILE is there. FILE has the number of the one that is not done; 0: none,
and FILE.count gets a byte at each. With "records" before the number only what is before a change of a record, and what
is behind it, are counted, which are as many each time. Nothing of this is in the product.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from bento.drivers.state.sqlite import SqliteStore
from bento.serve.process import main

_ACTIONS = {
    "os.posix_spawn", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.chown",
    "os.truncate", "os.kill", "socket.connect", "socket.sendmsg",
}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_RECORDS = (
    "add", "_modify", "_remove", "put_image", "_log", "_unname_image", "_remove_image", "add_pod", "_modify_pod",
    "_remove_pod",
)  # fmt: skip

_file = sys.argv[1]
_lock = threading.Lock()
_count = 0
_armed = ""


def act(*, is_record: bool = False) -> None:
    """Count one more, or die before it."""
    global _count, _armed
    with _lock:
        try:
            fd = os.open(_file, os.O_RDONLY)
        except FileNotFoundError:
            return
        armed = os.read(fd, 200).decode()
        os.close(fd)
        if armed != _armed:
            _armed, _count = armed, 0
        words = armed.split()
        if words[0] == "records" and not is_record:
            return
        limit = int(next(word for word in words if word.isdigit()))
        _count += 1
        if _count == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        if not limit:
            fd = os.open(f"{_file}.count", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(fd, b".")
            os.close(fd)


def hook(event: str, args: tuple[Any, ...]) -> None:
    """Audit: see sys.addaudithook."""
    if _lock.locked():  # of our own, or of another thread, which is not missed: there are many
        return
    if event in _ACTIONS or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES):
        act()


def counted(record: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a change of a record: what is before it and what is behind it are two moments."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act(is_record=True)
        try:
            return record(*args, **kwargs)
        finally:
            act(is_record=True)

    return wrapped


for name in _RECORDS:
    setattr(SqliteStore, name, counted(getattr(SqliteStore, name)))
sys.addaudithook(hook)
sys.exit(main(sys.argv[2:]))
