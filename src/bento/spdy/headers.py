"""Header blocks: names and values, compressed by one zlib stream for all blocks of a direction (SPDY/3.1, 2.6.10)."""

from __future__ import annotations

import zlib
from typing import Final

from bento.spdy.dictionary import DICTIONARY
from bento.spdy.events import Headers
from bento.spdy.frames import ProtocolError

BLOCK_MAX_BYTES: Final = 64 * 1024
"""Of a block when it is decompressed: a client cannot have the server hold more."""


class BadBlock(Exception):
    """A block that was decompressed, and holds names or values that are not allowed: its stream cannot be had."""


class Reader:
    """Reads the blocks of the client, all of them and in order."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def read(self, block: bytes) -> Headers:
        """Return the headers of a block. Raises BadBlock, and ProtocolError when no later one can be read either."""
        try:
            plain = self._zlib.decompress(block, BLOCK_MAX_BYTES + 1)
        except zlib.error as error:
            raise ProtocolError(f"a header block that is not compressed as it should be: {error}") from None
        if len(plain) > BLOCK_MAX_BYTES or self._zlib.unconsumed_tail:
            raise ProtocolError(f"a header block of more than {BLOCK_MAX_BYTES} bytes")
        if self._zlib.eof:
            raise ProtocolError("header blocks that have come to an end")
        return _parse(plain)


class Writer:
    """Makes the blocks of the server."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def write(self, headers: Headers) -> bytes:
        """Return a block. It is to be sent, and before any later one."""
        words = [word.encode("latin-1") for item in headers.items() for word in item]
        plain = len(headers).to_bytes(4, "big") + b"".join(len(word).to_bytes(4, "big") + word for word in words)
        return self._zlib.compress(plain) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


def _parse(plain: bytes) -> Headers:
    at = 4
    count = int.from_bytes(plain[:4], "big")
    if len(plain) < 4 or count > len(plain) // 8:
        raise BadBlock("a count of headers that cannot be")
    found: Headers = {}
    for _ in range(count):
        name, at = _word(plain, at)
        value, at = _word(plain, at)
        if not name or name != name.lower() or name in found:
            raise BadBlock("the name of a header that is empty, has capitals, or is there twice")
        found[name] = value
    if at != len(plain):
        raise BadBlock("bytes behind the last header")
    return found


def _word(plain: bytes, at: int) -> tuple[str, int]:
    start = at + 4
    end = start + int.from_bytes(plain[at:start], "big")
    if start > len(plain) or end > len(plain):
        raise BadBlock("a header that is cut short")
    return plain[start:end].decode("latin-1"), end
