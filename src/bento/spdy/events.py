"""What has come from the client."""

from __future__ import annotations

from msgspec import Struct

Headers = dict[str, str]
"""By name in small letters. Values of a name that has several are one text, with a null character between them."""


class StreamOpened(Struct, frozen=True):
    """The client has opened a stream, which is to be replied to, or reset."""

    stream_id: int
    headers: Headers


class DataReceived(Struct, frozen=True):
    """A piece of a stream, maybe of a frame that has not come whole; ``consumed`` is to be told of it."""

    stream_id: int
    data: bytes


class StreamEnded(Struct, frozen=True):
    """The client sends no more on a stream, and may still read."""

    stream_id: int


class StreamReset(Struct, frozen=True):
    """A stream is over in both directions, by the client, or by what it did wrong. ``status``: see ``Status``."""

    stream_id: int
    status: int


class WindowOpened(Struct, frozen=True):
    """More may be sent on a stream; ``stream_id`` 0: on any of them."""

    stream_id: int


class GoneAway(Struct, frozen=True):
    """The client opens no more streams; those that are open go on."""

    status: int


class ConnectionFailed(Struct, frozen=True):
    """What has come is no SPDY/3.1. GOAWAY is in the output, to be sent; nothing more is read."""

    reason: str


Event = StreamOpened | DataReceived | StreamEnded | StreamReset | WindowOpened | GoneAway | ConnectionFailed
