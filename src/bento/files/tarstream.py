"""Reading an archive: one pass over a stream of unknown worth, hashed on its way.

The headers are read by Python's tarfile (ustar, pax, GNU long names, base-256 numbers, every sparse format). The
stream, what is skipped and where an archive ends are ours, because tarfile takes a damaged header in the middle for the
end. Whatever the bytes are: an archive is read, or UsageError is raised.
"""

from __future__ import annotations

import hashlib
import io
import queue
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Self

from bento import quiet_threads
from bento.errors import UsageError

CHUNK_BYTES: Final = 256 << 10
HEADER_MAX_BYTES: Final = 4 << 20
"""One file's headers: attributes have 64 KiB each at most (xattr(7)), names 4 KiB; real ones are below 100 KiB."""
ENTRIES_MAX: Final = 4_000_000
"""Entries of one layer. The largest images that are used have some hundred thousand files."""
STREAM_MAX_BYTES: Final = 1 << 40
"""Of one layer, uncompressed: more than any image has, and what a file of a few hundred MB can claim to be."""
_SIZE_MAX: Final = 2**63 - 1
"""Bytes of a file: what a sparse one says of itself may be any number."""
_GLOBAL_MAX: Final = 256
"""What an archive may say of all its entries: tarfile keeps all of it, and copies it for each. git says one thing."""

_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(_BLOCK)
_QUEUED_CHUNKS: Final = 16
_UNREADABLE: Final = (
    tarfile.TarError, ValueError, OverflowError, IndexError, KeyError, TypeError, AttributeError, RecursionError,
    EOFError,
)  # fmt: skip
"""What tarfile raises for headers that make no sense."""


def _ignore(_: int) -> None:
    """Watch nothing."""


class Hashing:
    """A digest computed in a thread of its own: hashing lets go of the interpreter, and so does reading."""

    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm)
        self._algorithm = algorithm
        self._chunks: queue.Queue[bytes] = queue.Queue(_QUEUED_CHUNKS)
        self._thread = quiet_threads.start(self._work, "bento-hash")

    def update(self, chunk: bytes) -> None:
        """Take the next bytes, which are not empty."""
        self._chunks.put(chunk)

    def digest(self) -> str:
        """Return ``ALGORITHM:HEX`` of all of it; nothing more may follow. Must be called, or the thread stays."""
        self._chunks.put(b"")
        self._thread.join()
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def _work(self) -> None:
        while chunk := self._chunks.get():
            self._hash.update(chunk)


class Stream:
    """Bytes as they come, forward only. Keeps to what tarfile asks of a file; a context that ends the hashing."""

    def __init__(
        self, read: Callable[[int], bytes], algorithm: str = "", watch: Callable[[int], None] = _ignore,
        *, head: bytes = b"",
    ) -> None:  # fmt: skip
        """``read`` returns some bytes, at most so many, and b"" at the end.

        ``watch`` is called with the number of bytes so far, now and then; it raises when that is too much.
        ``algorithm`` "" computes no digest. ``head`` was read before.
        """
        self._take = read
        self._hashing = Hashing(algorithm) if algorithm else None
        self._watch = watch
        self._chunk = head
        self._at = 0  # in the chunk
        self._before = 0  # of the stream, up to the chunk
        self._is_at_end = False
        self._header_bytes = 0
        self.digest = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """End the hashing. Idempotent."""
        if self._hashing is not None:
            self.digest = self.digest or self._hashing.digest()

    def tell(self) -> int:
        """Return how much was read."""
        return self._before + self._at

    def read(self, size: int) -> bytes:
        """Return so many bytes of headers; fewer at the end of the stream."""
        self._header_bytes += size
        if not 0 <= size <= HEADER_MAX_BYTES or self._header_bytes > HEADER_MAX_BYTES:
            raise UsageError(f"a header in the archive is larger than {HEADER_MAX_BYTES >> 20} MiB")
        data = self._chunk[self._at : self._at + size]
        self._at += len(data)
        while len(data) < size and self._fill():
            more = self._chunk[: size - len(data)]
            self._at = len(more)
            data += more
        return data

    def seek(self, position: int) -> None:
        """Skip to a position. Raises UsageError when it is behind, or behind the end."""
        left = position - self.tell()
        if left < 0:
            raise UsageError("the archive is damaged: an entry overlaps the one before")
        while left > len(self._chunk) - self._at:
            left -= len(self._chunk) - self._at
            if not self._fill():
                raise UsageError("the archive ends in the middle of a file")
        self._at += left

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Yield the next ``size`` bytes, piece by piece. Raises UsageError when there are fewer."""
        while size:
            if self._at == len(self._chunk) and not self._fill():
                raise UsageError("the archive ends in the middle of a file")
            piece = memoryview(self._chunk)[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def begin_header(self) -> bool:
        """Whether another entry follows; False at the zeros that end an archive, or where it just ends."""
        self._header_bytes = 0
        block = self._peek(_BLOCK)
        return bool(block) and block != _END

    def drain(self) -> None:
        """Read to the end: what follows the archive belongs to the stream that was hashed."""
        self._at = len(self._chunk)
        while self._fill():
            self._at = len(self._chunk)

    def _peek(self, size: int) -> bytes:
        if len(self._chunk) - self._at < size:
            rest = self._chunk[self._at :]
            self._before += self._at
            self._at = 0
            while len(rest) < size and (more := self._read()):
                rest += more
            self._chunk = rest
        return self._chunk[self._at : self._at + size]

    def _fill(self) -> bool:
        """Take the next chunk, in place of one that was read to its end."""
        self._before += len(self._chunk)
        self._at = 0
        self._chunk = self._read()
        return bool(self._chunk)

    def _read(self) -> bytes:
        if self._is_at_end:
            return b""
        chunk = self._take(CHUNK_BYTES)
        if chunk:
            if self._hashing is not None:
                self._hashing.update(chunk)
            self._watch(self._before + len(self._chunk) + len(chunk))
        self._is_at_end = not chunk
        return chunk


def entries(stream: Stream) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of an archive; the stream stands at the entry's content then. Reads to the stream's end."""
    tar = tarfile.TarFile(fileobj=io.BytesIO(_END * 2), encoding="utf-8", errors="surrogateescape")
    tar.fileobj = stream  # type: ignore[assignment]  # all that tarfile uses of it to read headers
    tar.offset = 0
    count = 0
    while stream.begin_header():
        count += 1
        if count > ENTRIES_MAX:
            raise UsageError(f"the archive has more than {ENTRIES_MAX} entries")
        try:
            entry = tarfile.TarInfo.fromtarfile(tar)
        except _UNREADABLE as error:
            raise UsageError(f"this is no tar archive, or a damaged one: {_words(error)}") from None
        if not 0 <= entry.size <= _SIZE_MAX or entry.offset_data < 0:
            raise UsageError("the archive is damaged: an entry has a size that cannot be")
        if tar.pax_headers:
            _check_global(tar.pax_headers)
        yield entry
        stream.seek(tar.offset)
    if not count and not stream.tell() and not stream.read(1):
        raise UsageError("this is no tar archive: it is empty")
    stream.drain()


def _check_global(headers: Mapping[str, str]) -> None:
    if len(headers) > _GLOBAL_MAX or sum(map(len, headers.values())) > HEADER_MAX_BYTES:
        raise UsageError(f"the archive says more than {_GLOBAL_MAX} things, or too much, of all its entries")


def _words(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
