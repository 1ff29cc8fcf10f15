"""The names of protocols, and which of them a client gets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

PORT_FORWARD: Final = "portforward.k8s.io"
TUNNEL: Final = f"SPDY/3.1+{PORT_FORWARD}"
"""Of a WebSocket in which SPDY is spoken."""


class Remote(Struct, frozen=True):
    """A version of remotecommand, as exec and attach are called in Kubernetes.

    Attributes:
        has_status: the error stream ends with a document that has the exit status; else it has words, or nothing.
        has_resize: the client has a stream for the sizes of its terminal.
        is_base64: over WebSocket alone: messages are text, and digits stand for the numbers of streams.
    """

    name: str
    has_status: bool = False
    has_resize: bool = False
    is_base64: bool = False


_V1: Final = Remote("channel.k8s.io")
_V2: Final = Remote("v2.channel.k8s.io")
_V3: Final = Remote("v3.channel.k8s.io", has_resize=True)
_V4: Final = Remote("v4.channel.k8s.io", has_status=True, has_resize=True)
_V5: Final = Remote("v5.channel.k8s.io", has_status=True, has_resize=True)

SPDY: Final = {each.name: each for each in (_V4, _V3, _V2, _V1)}
WEBSOCKET: Final = {
    each.name: each
    for each in (
        _V5,
        _V4,
        Remote("v4.base64.channel.k8s.io", has_status=True, has_resize=True, is_base64=True),
        Remote("channel.k8s.io", has_resize=True),
        Remote("base64.channel.k8s.io", has_resize=True, is_base64=True),
        Remote("", has_resize=True),
    )
}
"""There "" is a client that names none."""


def split(values: Iterable[str]) -> list[str]:
    """Return the words of a header that may be there several times, and have several words each."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


def choose(wanted: Iterable[str], known: Iterable[str]) -> str | None:
    """Return the first of what a client wants that is known here; None: nothing is."""
    spoken = set(known)
    return next((name for name in wanted if name in spoken), None)
