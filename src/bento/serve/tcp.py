"""TCP, by mutual TLS alone: what may connect is root on this machine."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from bento.api_docker import server
from bento.errors import StorageUnusable, UsageError
from bento.serve.sockets import BACKLOG

_PORT_MAX: Final = 0xFFFF
NEEDED: Final = "give --tls-cert, --tls-key and --tls-ca: over TCP both sides have a certificate"


def listen(text: str) -> socket.socket:
    """Listen at ``HOST:PORT``; port 0 is a free one. Raises UsageError, StorageUnusable."""
    host, colon, port = text.removeprefix("tcp://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not colon or not (port.isascii() and port.isdigit() and int(port) <= _PORT_MAX):
        raise UsageError(f"bad address {text!r}", hint="give HOST:PORT, such as 127.0.0.1:2376")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise StorageUnusable(f"cannot listen on {text}: {error.strerror or error}") from None
    return listener


def place(listener: socket.socket) -> str:
    """Return where clients find it, as they write it."""
    if listener.family == socket.AF_UNIX:
        return f"unix://{listener.getsockname()}"
    return f"tcp://{server.place(listener.getsockname())}"


def context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """Return what a server needs that takes clients of one authority alone. Raises UsageError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_REQUIRED
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    made.num_tickets = 0  # each connection is judged by its own certificate
    try:
        made.load_verify_locations(cafile=ca)
    except OSError as error:
        raise UsageError(f"--tls-ca {ca}: {_reason(error)}") from None
    try:
        made.load_cert_chain(cert, key, password=lambda: "")  # never asks the terminal for one
    except OSError as error:
        raise UsageError(f"--tls-cert {cert}, --tls-key {key}: {_reason(error)}") from None
    return made


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no usable PEM file ({error.reason or 'unreadable'})"
    return error.strerror or str(error)
