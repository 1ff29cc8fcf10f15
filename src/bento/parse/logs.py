"""``--log-driver`` and ``--log-opt``: where a container's output is kept, and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from bento.errors import UsageError
from bento.model.container import LOG_DRIVERS
from bento.units import parse_log_size, parse_number

FILES_MAX: Final = 1000
_OPTIONS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "max-size": ("max_bytes", parse_log_size),
    "max-file": ("max_files", lambda text: parse_number(text, what="max-file")),
    "tag": ("tag", str),
}


def parse_log_driver(text: str) -> str:
    """One of LOG_DRIVERS. Raises UsageError."""
    if text == "passthrough":
        raise UsageError(
            "there is no log driver passthrough: it would hand this machine's own descriptors into the container",
            hint="run it in the foreground with --log-driver none",
        )
    if text not in LOG_DRIVERS:
        raise UsageError(f"unknown log driver {text!r}", hint=f"use one of {', '.join(LOG_DRIVERS)}")
    return text


def parse_log_options(words: Iterable[str]) -> dict[str, Any]:
    """Return the fields of LogSettings that ``KEY=VALUE`` stand for, those alone that were given. Raises UsageError.

    ``max_bytes``: 0 is no limit.
    """
    found: dict[str, Any] = {}
    for text in words:
        key, equals, value = text.partition("=")
        if key not in _OPTIONS or not equals:
            raise UsageError(f"unknown log option {text!r}", hint=f"use {', '.join(_OPTIONS)}, as in max-size=10m")
        field, read = _OPTIONS[key]
        found[field] = read(value)
    return found
