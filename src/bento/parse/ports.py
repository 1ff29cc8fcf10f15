"""Ports: ``--publish``, ``--expose``, and what ``port`` is asked for."""

from __future__ import annotations

import _socket
from typing import Final

from bento.errors import UsageError
from bento.model.network import Port

PROTOCOLS: Final = ("tcp", "udp", "sctp")
_HINT: Final = "use [IP:]HOST:CONTAINER[/udp], [IP:]:CONTAINER for a free port, and FIRST-LAST for several"


def parse_port(text: str) -> str:
    """``CONTAINER[/PROTOCOL]``, one of them, as ``80/tcp``. Raises UsageError."""
    number, slash, protocol = text.partition("/")
    if not (number.isascii() and number.isdigit()) or (slash and protocol not in PROTOCOLS):
        raise UsageError(f"bad port {text!r}", hint="use a number, such as 80 or 53/udp")
    return f"{int(number[:6])}/{protocol or 'tcp'}"


def parse_expose(text: str) -> list[str]:
    """``CONTAINER[/PROTOCOL]``, or a range; as ``80/tcp`` each. Raises UsageError."""
    where, slash, protocol = text.partition("/")
    if slash and protocol not in PROTOCOLS:
        raise UsageError(f"bad port {text!r}", hint="use CONTAINER[/udp], or FIRST-LAST for several")
    return [f"{number}/{protocol or 'tcp'}" for number in _range(where, text)]


def parse_publish(text: str) -> list[Port]:
    """``[[IP:][HOST]:]CONTAINER[/PROTOCOL]``; both may be ranges of the same length. Raises UsageError.

    An IPv6 address stands in brackets. Of names only ``localhost`` stands for an address: others are for a resolver
    to say, and may change.
    """
    where, slash, protocol = text.partition("/")
    in_brackets, bracket, rest = where[1:].partition("]:") if where.startswith("[") else ("", "", where)
    words = [in_brackets, *rest.split(":")] if bracket else rest.split(":")
    if len(words) > 3 or (bracket and len(words) < 3) or rest.startswith("[") or (slash and protocol not in PROTOCOLS):
        raise UsageError(f"bad port {text!r}", hint=_HINT)
    inside = _range(words[-1], text)
    is_free = len(words) == 1 or words[-2] in ("", "0")
    outside = [0] * len(inside) if is_free else _range(words[-2], text)
    if len(inside) != len(outside):
        raise UsageError(f"bad port {text!r}: the ranges differ in length", hint=_HINT)
    host_ip = words[0] if len(words) == 3 else ""
    if host_ip == "localhost":
        host_ip = "127.0.0.1"
    if bracket:
        host_ip = _ipv6(in_brackets, text)
    return [
        Port(container_port=c, host_port=h, host_ip=host_ip, protocol=protocol or "tcp")
        for c, h in zip(inside, outside, strict=True)
    ]


def _ipv6(address: str, text: str) -> str:
    try:
        return _socket.inet_ntop(_socket.AF_INET6, _socket.inet_pton(_socket.AF_INET6, address))
    except (OSError, ValueError):
        raise UsageError(f"bad port {text!r}: no IPv6 address in brackets", hint=_HINT) from None


def is_ipv6(text: str) -> bool:
    """Whether this is an IPv6 address in its short form."""
    try:
        return _ipv6(text, text) == text
    except UsageError:
        return False


def is_ipv4(text: str) -> bool:
    """Whether this is an IPv4 address, all four numbers of it."""
    try:
        _socket.inet_pton(_socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _range(word: str, text: str) -> list[int]:
    first, dash, last = word.partition("-")
    numbers = [first, last if dash else first]
    if not all(number.isascii() and number.isdigit() and 1 <= int(number[:6]) <= 65535 for number in numbers):
        raise UsageError(f"bad port {text!r}", hint=_HINT)
    found = list(range(int(first), int(numbers[1]) + 1))
    if not found:
        raise UsageError(f"bad port {text!r}: the range ends before it begins", hint=_HINT)
    return found
