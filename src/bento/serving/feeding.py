"""From what a client sends to the input of a container, or of an exec session."""

from __future__ import annotations

from typing import Protocol

from bento.parse.detach_keys import KeyFilter
from bento.serving.readiness import writable


class Source(Protocol):
    """A client's end of it."""

    async def read(self) -> bytes:
        """Return what has come; b"": the client sends no more."""


class Input(Protocol):
    """What takes a client's input."""

    @property
    def input_fd(self) -> int | None:
        """What to poll for writing; None: it takes none."""

    def write(self, data: bytes) -> int:
        """Take some of it; return how much. Raises BlockingIOError, BrokenPipeError."""

    def end_input(self) -> None:
        """Let it come to its end."""


async def copy_input(source: Source, target: Input, keys: bytes = b"") -> bool:
    """Pass on what the client sends, up to its end; return whether it ended by the detach keys.

    A client that ends its input still gets the output.
    """
    typed = KeyFilter(keys)
    while data := await source.read():
        left = typed.feed(data)
        while left:
            try:
                left = left[target.write(left) :]
            except BlockingIOError:
                if target.input_fd is not None:
                    await writable(target.input_fd)
            except (BrokenPipeError, ConnectionResetError):
                left = b""  # nothing reads it any more; what the client sends is read to its end
        if typed.is_complete:
            return True
    target.end_input()
    return False
