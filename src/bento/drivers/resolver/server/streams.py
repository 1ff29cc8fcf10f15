"""Messages of DNS over TCP: each with its length in two bytes before it (RFC 1035, RFC 7766)."""

from __future__ import annotations

from bento.kernel.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from bento.kernel.loop import Loop

_CHUNK_BYTES = 1 << 14
_WAITING_BYTES = 1 << 18


class Stream:
    """A connection that never waits. ``on_end`` is called when the other side has ended it, or it has failed; not
    after ``close``.
    """

    def __init__(
        self, loop: Loop, sock: socket, on_message: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        self._loop, self._socket, self._on_message, self._on_end = loop, sock, on_message, on_end
        self._fd = sock.fileno()
        self._in, self._out = bytearray(), bytearray()
        loop.watch(self._fd, self._ready)

    def send(self, message: bytes) -> None:
        """Have a message sent. One that is not read keeps no more than some: then the connection is ended."""
        if self._fd < 0:
            return
        self._out += len(message).to_bytes(2, "big") + message
        self._loop.watch(self._fd, self._ready, READ | WRITE)

    def close(self) -> None:
        """End the connection. Idempotent."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            self._socket.close()
            self._fd = -1

    def _ready(self, events: int) -> None:
        try:
            if self._out:
                del self._out[: self._socket.send(self._out)]
                if not self._out:
                    self._loop.watch(self._fd, self._ready)
            if events & ~WRITE:
                self._receive()
        except BlockingIOError:
            pass
        except OSError:
            self._end()

    def _receive(self) -> None:
        data = self._socket.recv(_CHUNK_BYTES)
        self._in += data
        while (
            self._fd >= 0 and len(self._in) >= 2 and len(self._in) >= (end := 2 + int.from_bytes(self._in[:2], "big"))
        ):
            message = bytes(self._in[2:end])
            del self._in[:end]
            self._on_message(message)
        if not data or len(self._out) > _WAITING_BYTES:
            self._end()

    def _end(self) -> None:
        if self._fd >= 0:
            self.close()
            self._on_end()
