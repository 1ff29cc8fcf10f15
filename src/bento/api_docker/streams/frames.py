"""How output is told apart on one connection: raw from a terminal, else in frames with the number of the stream."""

from __future__ import annotations

import struct
from typing import Final

RAW: Final = "application/vnd.docker.raw-stream"
MULTIPLEXED: Final = "application/vnd.docker.multiplexed-stream"
_SAID_SINCE: Final = (1, 42)
"""Before this version both were called raw."""
STDOUT: Final = 1
STDERR: Final = 2
_HEAD: Final = struct.Struct(">BxxxI")


class Frames:
    """Which streams a client wants, and how it gets them."""

    def __init__(self, *, is_terminal: bool, stdout: bool = True, stderr: bool = True, is_framed: bool = True) -> None:
        """``is_framed`` False: the streams come as they are, one after the other."""
        self._is_terminal, self._is_framed = is_terminal, is_framed
        self._wanted = {STDOUT: stdout, STDERR: stderr}

    def pack(self, stream: int, data: bytes) -> bytes:
        """Return what is sent; b"": this stream is not wanted. A terminal has one stream."""
        if self._is_terminal:
            return data
        if not self._wanted[stream]:
            return b""
        return _HEAD.pack(stream, len(data)) + data if self._is_framed else data

    def content_type(self, version: tuple[int, int]) -> str:
        """Return the name of it in this version of the API."""
        return RAW if self._is_terminal or version < _SAID_SINCE else MULTIPLEXED
