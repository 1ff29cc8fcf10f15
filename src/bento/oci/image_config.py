"""Configurations of images: foreign JSON, checked and brought into our words. Pure.

Formats: OCI image-spec (config.md) and Docker's "Image Specification v1.2". Whatever the bytes are, ``parse_config``
returns or raises UsageError with one line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct, field

from bento.errors import UsageError
from bento.model.image import Healthcheck, HistoryEntry, ImageConfig
from bento.oci.image import check_digest, decode
from bento.oci.platform import Platform

CONFIG_MAX_BYTES: Final = 8 << 20
"""Real ones are a few KiB; those with long histories some hundred."""
_TIME_MAX_NS: Final = (1 << 63) - 1
"""The year 2262: what 64 bits hold, in our records and in Go's time.UnixNano."""
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)")


class ParsedConfig(Struct, frozen=True, kw_only=True):
    """An image's configuration in our words. ``created_unix_ns`` 0: not said."""

    config: ImageConfig
    diff_ids: tuple[str, ...]
    platform: Platform
    author: str
    created_unix_ns: int
    history: tuple[HistoryEntry, ...]


class _RawHealth(Struct, rename="pascal"):
    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class _RawRuntime(Struct, rename="pascal"):
    """A null among words is an empty one, as for programs that read this in Go."""

    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    env: list[str | None] | None = None
    entrypoint: list[str | None] | str | None = None
    cmd: list[str | None] | str | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str | None = None
    labels: dict[str, str | None] | None = None
    stop_signal: str | None = None
    healthcheck: _RawHealth | None = None


class _RawHistory(Struct):
    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class _RawRootfs(Struct):
    type: str = ""
    diff_ids: list[str] | None = None


class _RawConfig(Struct):
    architecture: str = ""
    os: str = ""
    variant: str | None = None
    author: str | None = None
    created: str | None = None
    config: _RawRuntime | None = None
    rootfs: _RawRootfs | None = None
    history: list[_RawHistory | None] | None = field(default=None)


def parse_config(content: bytes) -> ParsedConfig:
    """Return what an image's configuration says. Raises UsageError."""
    raw = decode(content, _RawConfig, "image configuration")
    if raw.rootfs is None or raw.rootfs.type != "layers":
        raise UsageError("the image configuration has no rootfs of type layers", hint="it is of no container image")
    diff_ids = tuple(raw.rootfs.diff_ids or ())
    for diff_id in diff_ids:
        check_digest(diff_id)
    if raw.os not in ("", "linux"):
        raise UsageError(f"the image is for {raw.os[:150]!r}, not for linux")
    return ParsedConfig(
        config=_runtime_config(raw.config or _RawRuntime()),
        diff_ids=diff_ids,
        platform=Platform(raw.os or "linux", raw.architecture, raw.variant or ""),
        author=raw.author or "",
        created_unix_ns=parse_time(raw.created),
        history=tuple(_history(each or _RawHistory()) for each in raw.history or ()),
    )


def parse_time(text: str | None) -> int:
    """Return a time of RFC 3339 in ns since 1970; 0 when there is none, or none that a clock could show."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return 0
    zone = "+00:00" if match[3] in "Zz" else match[3]
    try:
        moment = datetime.fromisoformat(match[1].upper() + zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return 0
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    unix_ns = (since.days * 86400 + since.seconds) * 10**9 + int((match[2] or "0").ljust(9, "0"))
    return unix_ns if 0 < unix_ns <= _TIME_MAX_NS else 0


def _runtime_config(raw: _RawRuntime) -> ImageConfig:
    env = tuple(entry for entry in raw.env or () if entry and "=" in entry[1:])  # others set nothing
    workdir = raw.working_dir or ""
    config = ImageConfig(
        entrypoint=_words(raw.entrypoint),
        command=_words(raw.cmd),
        env=env,
        workdir=posixpath.normpath(f"/{workdir}").replace("//", "/") if workdir else "",
        user=raw.user or "",
        stop_signal=raw.stop_signal or "",
        labels={key: value or "" for key, value in (raw.labels or {}).items()},
        exposed_ports=tuple(sorted(raw.exposed_ports or ())),  # a set: its order says nothing
        volumes=tuple(_paths(raw.volumes or ())),
        healthcheck=_healthcheck(raw.healthcheck),
    )
    _refuse_nul(config)
    return config


def _words(raw: list[str | None] | str | None) -> tuple[str, ...]:
    """Docker's engines once wrote a string where a shell was meant."""
    return ("/bin/sh", "-c", raw) if isinstance(raw, str) else tuple(word or "" for word in raw or ())


def _paths(volumes: Iterable[str]) -> list[str]:
    return sorted({posixpath.normpath(f"/{path}").replace("//", "/") for path in volumes if path})


def _healthcheck(raw: _RawHealth | None) -> Healthcheck | None:
    if raw is None:
        return None
    said = Healthcheck(
        test=tuple(raw.test or ()),
        interval_ns=raw.interval,
        timeout_ns=raw.timeout,
        start_period_ns=raw.start_period,
        start_interval_ns=raw.start_interval,
        retries=raw.retries,
    )
    return said if said != Healthcheck() else None  # what says nothing is none


def _refuse_nul(config: ImageConfig) -> None:
    """A NUL byte ends a string for the kernel: what was checked would not be what is run."""
    texts = (
        *config.entrypoint, *config.command, *config.env, config.workdir, config.user, config.stop_signal,
        *config.volumes,
    )  # fmt: skip
    if any("\0" in text for text in texts):
        raise UsageError("the image configuration has a NUL character in it", hint="it is damaged")


def _history(raw: _RawHistory) -> HistoryEntry:
    return HistoryEntry(
        created_unix_ns=parse_time(raw.created),
        created_by=raw.created_by or "",
        author=raw.author or "",
        comment=raw.comment or "",
        is_empty_layer=bool(raw.empty_layer),
    )
