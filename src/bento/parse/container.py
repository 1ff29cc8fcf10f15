"""What a container is to be: its program's words, limits, restart policy, what it requires, labels."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

import msgspec

from bento.errors import UsageError
from bento.model.container import RestartPolicy, Ulimit

_HOSTNAME: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")


def parse_hostname(text: str) -> str:
    """A name that a host may have. Raises UsageError."""
    if not _HOSTNAME.fullmatch(text):
        raise UsageError(f"bad hostname {text!r}", hint="use letters, digits, '.' and '-'; 64 at most")
    return text


def parse_workdir(text: str) -> str | None:
    """An absolute path; None for "", which leaves it to the image. Raises UsageError."""
    if text and not text.startswith("/"):
        raise UsageError(f"working directory {text!r} is not an absolute path")
    return text or None


def parse_entrypoint(text: str) -> tuple[str, ...]:
    """A word, "" for none, or several as a JSON array, as Podman has it. What is no such array is a word."""
    if text.startswith("["):
        with suppress(msgspec.DecodeError):
            return tuple(msgspec.json.decode(text, type=list[str]))
    return (text,) if text else ()


def parse_ulimit(text: str) -> Ulimit:
    """``NAME=SOFT[:HARD]``; -1 is unlimited. Raises UsageError."""
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        limit = Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
    except ValueError:
        raise UsageError(f"bad limit {text!r}", hint="use NAME=SOFT[:HARD], such as nofile=1024:4096") from None
    return limit


def parse_restart(text: str) -> RestartPolicy:
    """``no``, ``on-failure[:N]``, ``always`` or ``unless-stopped``. Raises UsageError."""
    name, colon, count = text.partition(":")
    is_count_bad = bool(colon) and not (name == "on-failure" and count.isascii() and count.isdigit())
    if name not in ("no", "on-failure", "always", "unless-stopped") or is_count_bad:
        raise UsageError(f"bad restart policy {text!r}", hint="use no, on-failure[:N], always or unless-stopped")
    return RestartPolicy(name=name, limit=int(count or 0))


def parse_requirement(text: str) -> tuple[str, bool]:
    """Return the container of ``NAME[:healthy]``, and whether it is to be healthy. Raises UsageError."""
    ref, colon, condition = text.partition(":")
    if colon and condition != "healthy":
        raise UsageError(f"bad --requires {text!r}", hint="use NAME, or NAME:healthy")
    return ref, bool(colon)


def parse_label(text: str) -> tuple[str, str]:
    """``K=V`` or ``K``. Raises UsageError."""
    key, _, value = text.partition("=")
    if not key:
        raise UsageError(f"bad label {text!r}", hint="use KEY=VALUE")
    return key, value
