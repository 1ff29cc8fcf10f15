"""What of a log or a listing is wanted: ``--since``, ``--filter until=``, ``--tail``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from bento.errors import UsageError

_UNITS_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SECOND_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SPAN: Final = r"(\d+(?:\.\d+)?)(ms|[smhd])"


def parse_since(text: str, now: datetime) -> datetime:
    """Return the moment that ``--since`` names: RFC 3339, Unix seconds, or a time before ``now``, as ``90s``.

    Raises UsageError.
    """
    try:
        if re.fullmatch(rf"(?:{_SPAN})+", text, re.ASCII):
            return now - timedelta(seconds=sum(float(n) * _UNITS_S[u] for n, u in re.findall(_SPAN, text, re.ASCII)))
        if text.isascii() and text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"bad time {text!r}", hint="use 2026-01-31T12:00:00Z, Unix seconds, or 10m for ten minutes ago"
        ) from None


def parse_moment_ns(text: str, now: datetime) -> int:
    """As ``parse_since``, in ns since 1970: Unix seconds lose nothing of their nine digits. Raises UsageError."""
    seconds, _, rest = text.partition(".")
    if seconds.isascii() and seconds.isdigit() and (not rest or (rest.isascii() and rest.isdigit())):
        return int(seconds) * _SECOND_NS + int(f"{rest:0<9}"[:9])
    moment = parse_since(text, now) - _EPOCH
    return ((moment.days * 86400 + moment.seconds) * 1_000_000 + moment.microseconds) * 1000


def parse_tail(text: str) -> int | None:
    """Return how many last lines ``--tail`` names; None: all. Raises UsageError."""
    if text in ("all", "-1"):
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"bad number of lines {text!r}", hint="give a number, or all")
    return int(text)
