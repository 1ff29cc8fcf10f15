"""TLS on a connection, with an end of each direction by itself.

asyncio's own closes a connection whole when the other side has ended its sending (close_notify). Docker's clients end
theirs when their input ends, and read on; Go's servers go on writing then, and so does this.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final

from bento.api_docker.http.duplex import READ_BYTES

_LINGER_S: Final = 2.0


class TlsStream:
    """The server's side, by the methods of StreamReader and StreamWriter that a connection uses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self) -> str:
        """Have both sides look at the other's certificate; return the subject of the client's.

        Raises ConnectionError, also when the client has no certificate that is accepted: it gets an alert.
        """
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLError as error:
                self._flush()
                await self._linger()
                raise ConnectionAbortedError(error.reason or str(error)) from None
        self._flush()
        await self.drain()
        names: Any = (self._tls.getpeercert() or {}).get("subject", ())
        return ",".join(f"{_SHORT.get(key, key)}={value}" for part in names for key, value in part)

    async def _linger(self) -> None:
        """Let the client read its alert: what it has sent, and nothing reads, would have the kernel take that back."""
        with suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(_LINGER_S):
                while await self._reader.read(READ_BYTES):
                    pass

    async def read(self, n: int) -> bytes:
        """Return what the client has sent; b"": it sends no more. Raises ConnectionError."""
        while True:
            try:
                return self._tls.read(n)
            except ssl.SSLWantReadError:
                await self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise ConnectionAbortedError(error.reason or str(error)) from None

    async def _fill(self) -> None:
        self._flush()
        if data := await self._reader.read(READ_BYTES):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._writer.write(data)

    @property
    def transport(self) -> asyncio.WriteTransport:
        """The connection below."""
        return self._writer.transport

    def write(self, data: bytes) -> None:
        """Send; see ``drain``. Raises ConnectionError."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise ConnectionAbortedError(error.reason or str(error)) from None
        self._flush()

    async def drain(self) -> None:
        """Wait while the client does not read. Raises ConnectionError."""
        await self._writer.drain()

    def write_eof(self) -> None:
        """Send no more (close_notify); the client may still send. Idempotent."""
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def close(self) -> None:
        """Close both directions once what was written is sent."""
        self.write_eof()
        self._writer.close()

    async def wait_closed(self) -> None:
        """Wait for that. Raises ConnectionError."""
        await self._writer.wait_closed()

    def get_extra_info(self, name: str) -> Any:
        """Return what is known of the connection below, such as its socket."""
        return self._writer.get_extra_info(name)


_SHORT: Final = {
    "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "localityName": "L", "stateOrProvinceName": "ST",
}  # fmt: skip
