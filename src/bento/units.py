"""Words that users and records write, parsed once: signals, seconds, names and ids."""

from __future__ import annotations

import math
import os
import re
import signal
from datetime import UTC, datetime
from typing import Final

from bento.errors import UsageError

NO_LIMIT: Final = -1.0
"""A grace of this many seconds never ends in a kill (``-t -1``)."""

SIGHUP: Final = 1
SIGTERM: Final = 15
SIGKILL: Final = 9
"""A plain number, as records and reports keep it; the standard library's is an enum."""

RTMIN: Final = 34
"""libc's SIGRTMIN: the kernel's 32 and 33 belong to the C library (signal(7))."""
RTMAX: Final = 64

LOG_BYTES_MIN: Final = 16 * 1024
"""conmon begins a new file before a line that does not fit, and a line may have 8 KiB and its head."""

_UNITS_NS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SPAN: Final = r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|ms|s|m|h)"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SIGNALS: Final = {s.name.removeprefix("SIG"): int(s) for s in signal.Signals} | {"IOT": 6, "POLL": 29, "CLD": 17}


def parse_signal(text: str | int) -> int:
    """Return the number of a signal given as ``TERM``, ``SIGTERM``, ``15`` or ``RTMIN+3``.

    Raises UsageError for unknown names, for 0 (which only probes, kill(2)) and for numbers
    that Linux does not have.
    """
    word = str(text).strip().upper().removeprefix("SIG")
    number = int(word) if word.isascii() and word.isdigit() else _named_signal(word)
    if not 1 <= number <= RTMAX or number in (32, 33):
        raise UsageError(
            f"unknown signal {text!r}", hint="use a name such as SIGTERM, RTMIN+3, or a number from 1 to 64"
        )
    return number


def _named_signal(word: str) -> int:
    if match := re.fullmatch(r"(RTMIN|RTMAX)(?:([+-])(\d{1,2}))?", word):
        base, sign, offset = match.groups()
        number = (RTMIN if base == "RTMIN" else RTMAX) + int(f"{sign or '+'}{offset or 0}")
        return number if RTMIN <= number <= RTMAX else 0
    return _SIGNALS.get(word, 0)


def signal_name(number: int) -> str:
    """Return ``SIGTERM`` for 15 and ``SIGRTMIN+3`` for 37."""
    if RTMIN <= number <= RTMAX:
        return "SIGRTMIN" if number == RTMIN else f"SIGRTMIN+{number - RTMIN}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def parse_seconds(text: str | float, *, what: str = "time", allow_no_limit: bool = True) -> float:
    """Return seconds, fractions allowed; -1 is NO_LIMIT where that is allowed.

    Raises UsageError for anything else: text, NaN, infinity, other negative numbers.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if allow_no_limit and seconds == NO_LIMIT:
        return NO_LIMIT
    if not math.isfinite(seconds) or seconds < 0:
        or_never = ", or -1 for no limit" if allow_no_limit else ""
        raise UsageError(f"bad {what} {str(text)!r}", hint=f"give seconds, such as 10 or 0.5{or_never}")
    return seconds


def parse_span_ns(text: str, *, what: str) -> int:
    """Return the nanoseconds of a health check's time: ``30s``, ``1m30s``, ``500ms``, or seconds without a unit.

    0 is not given; what is not 0 has a millisecond at least, as in Docker. Raises UsageError.
    """
    span_ns = -1
    if re.fullmatch(rf"(?:{_SPAN})+", text, re.ASCII):
        span_ns = round(sum(float(n) * _UNITS_NS[unit] for n, unit in re.findall(_SPAN, text, re.ASCII)))
    elif re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text, re.ASCII):
        span_ns = round(float(text) * 10**9)
    if not (span_ns == 0 or 10**6 <= span_ns < 2**63):
        raise UsageError(f"bad {what} {text!r}", hint="give a time such as 30s, 1m30s or 500ms; 1ms is the least")
    return span_ns


def parse_retries(text: str) -> int:
    """Return after how many failures a health check has failed for good; 0 is not given. Raises UsageError."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"bad number of retries {text!r}", hint="give a number from 1")
    return int(text)


def parse_bytes(text: str, *, what: str = "size") -> int:
    """Return bytes: a number, or one with ``k``, ``m``, ``g`` or ``t`` behind it, powers of 1024. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,6})?)([kmgt]?)(?:i?b)?", text.lower(), re.ASCII)
    if match is None:
        raise UsageError(f"bad amount of {what} {text!r}", hint="give bytes, or a number such as 512m or 2g")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))


def parse_number(text: str, *, what: str) -> int:
    """Return a whole number from 1. Raises UsageError."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10) or int(text) < 1:
        raise UsageError(f"bad {what} {text!r}", hint="give a number from 1")
    return int(text)


def parse_log_size(text: str) -> int:
    """Return the most that a log file may hold, in bytes; 0 for ``-1``, which is no limit. Raises UsageError."""
    if text == "-1":
        return 0
    size_bytes = parse_bytes(text, what="max-size")
    check_log_size(size_bytes)
    if not size_bytes:
        raise UsageError("a log of 0 bytes holds nothing", hint="-1 is no limit; --log-driver none keeps no log")
    return size_bytes


def check_log_size(size_bytes: int) -> None:
    """Raise UsageError for what is too little to hold the longest line of a log; 0 is no limit."""
    if size_bytes and size_bytes < LOG_BYTES_MIN:
        raise UsageError(f"bad limit of a log: {size_bytes} bytes", hint=f"{LOG_BYTES_MIN // 1024}k is the least")


def parse_name(text: str) -> str:
    """Return a container or image name that Docker would accept too; else UsageError."""
    if not _NAME.fullmatch(text) or len(text) > 128:
        raise UsageError(
            f"invalid name {text!r}",
            hint="start with a letter or digit; then letters, digits, '_', '.', '-'; 128 at most",
        )
    return text


def new_id() -> str:
    """Return a fresh container id: 64 hexadecimal digits."""
    while True:
        candidate = os.urandom(32).hex()
        # Docker's rule: an id whose short form is a plain number would be taken for one by tools that parse numbers.
        if not candidate[:12].isdigit():
            return candidate


def short_id(full: str) -> str:
    """Return the 12 digits people read."""
    return full[:12]


def rfc3339(unix_ns: int) -> str:
    """Return a time as Docker writes it; Go's zero time for 0."""
    if not unix_ns:
        return "0001-01-01T00:00:00Z"
    return utc_text(unix_ns)


def utc_text(unix_ns: int) -> str:
    """Return a time as Docker writes it; 0 is in 1970, as for files."""
    seconds, rest_ns = divmod(unix_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"
