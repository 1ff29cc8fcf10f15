"""The socket by which an OCI runtime hands over the terminal that it has made (runc's docs/terminals.md)."""

from __future__ import annotations

import _socket
import os
import struct
from contextlib import suppress
from pathlib import Path

NAME = "console"
_NAME_BYTES = 4096
_FD = struct.Struct("i")


class ConsoleSocket:
    """A listening socket below a directory. The runtime connects, and sends the terminal's master side (SCM_RIGHTS)."""

    def __init__(self, directory: Path) -> None:
        """Listen there. Raises OSError."""
        self._at = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            self._socket.bind(f"/proc/self/fd/{self._at}/{NAME}")
            self._socket.listen(1)
            self._socket.setblocking(False)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        """Its path for another process, as long as this one has it open: an address holds 108 bytes, a path more."""
        return f"/proc/{os.getpid()}/fd/{self._at}/{NAME}"

    def receive(self) -> int | None:
        """Return the descriptor that was sent, the caller's to close; None when none was. Does not block."""
        with suppress(BlockingIOError, ConnectionError):
            fd, _ = self._socket._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
            connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
            try:
                connection.setblocking(False)
                space = _socket.CMSG_SPACE(_FD.size)
                _, ancillary, _, _ = connection.recvmsg(_NAME_BYTES, space, _socket.MSG_CMSG_CLOEXEC)
            finally:
                connection.close()
            for level, kind, data in ancillary:
                if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                    return int(_FD.unpack(data[: _FD.size])[0])
        return None

    def close(self) -> None:
        """Close it. Idempotent."""
        self._socket.close()
        at, self._at = self._at, -1
        if at >= 0:
            os.close(at)
