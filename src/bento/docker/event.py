"""An event as Docker's API and its command line have it (moby, api/types/events)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from bento.model.event import CONTAINER, IMAGE, Event

_SCOPE: Final = "local"
_SECOND_NS: Final = 1_000_000_000


def document(event: Event, *, is_whole: bool = False) -> dict[str, object]:
    """Return the JSON of ``GET /events``. The three fields of old are there where Docker has them, or ``is_whole``."""
    old = {"status": "", "id": "", "from": ""}
    if event.type in (CONTAINER, IMAGE):
        old |= {"status": event.action, "id": event.actor}
    if event.type == CONTAINER:
        old["from"] = event.attributes.get("image", "")
    return {
        **{key: text for key, text in old.items() if text or is_whole},
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": event.attributes},
        "scope": _SCOPE,
        "time": event.unix_ns // _SECOND_NS,
        "timeNano": event.unix_ns,
    }


def line(event: Event) -> str:
    """Return the line that ``docker events`` prints, in the time zone of this machine."""
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(event.attributes.items()))
    words = f"{_local(event.unix_ns)} {event.type} {event.action} {event.actor}"
    return f"{words} ({attributes})" if attributes else words


def _local(unix_ns: int) -> str:
    """RFC 3339 with nine digits, as Go writes it: UTC is ``Z``."""
    seconds, rest_ns = divmod(unix_ns, _SECOND_NS)
    moment = datetime.fromtimestamp(seconds).astimezone()
    zone = f"{moment:%z}"
    zone = "Z" if zone in ("+0000", "") else f"{zone[:3]}:{zone[3:5]}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}{zone}"
