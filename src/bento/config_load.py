"""The only reader of the configuration file and the environment. What is said on the command line wins,
then the environment (BENTO_ROOT, BENTO_RUN_ROOT, BENTO_RUNTIME,
BENTO_RUNTIME_ARGS, BENTO_LOG_LEVEL, BENTO_STOP_TIMEOUT, BENTO_STOP_SCOPE, BENTO_STOP_WRAPPER, BENTO_STOP_DEAF,
BENTO_STOP_EXIT_HOLD, BENTO_STOP_LAST_CALL, BENTO_STOP_START_WINDOW, BENTO_LOG_MAX_SIZE, BENTO_REGISTRIES,
BENTO_INSECURE_REGISTRIES, BENTO_ABSOLUTE_NAMES), then the file, then the default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bento import log
from bento.config import CONFIG_FILE, DEFAULT_ROOT, DEFAULT_RUN_ROOT, Settings
from bento.errors import UsageError
from bento.lazy import LazyModule
from bento.model.stop import OnDeaf, OnWrapper, Scope, StopRules
from bento.units import parse_log_size, parse_seconds

if TYPE_CHECKING:
    import tomllib
else:  # only who has a file pays for its parser
    tomllib = LazyModule("tomllib")

_Choice = TypeVar("_Choice", Scope, OnWrapper, OnDeaf)
_LISTS = ("registries", "insecure_registries")
_RULES = ("stop_scope", "stop_wrapper", "stop_deaf", "stop_exit_hold", "stop_last_call", "stop_start_window")
_KEYS = (
    "root", "run_root", "runtime", "runtime_args", "log_level", "stop_timeout", *_RULES, "log_max_size",
    "absolute_names", *_LISTS,
)  # fmt: skip
_ABSOLUTE_NAMES = ("refuse", "take")


def load(
    given: Mapping[str, str | None], *, environ: Mapping[str, str] | None = None, file: Path = CONFIG_FILE
) -> Settings:
    """Merge the sources. ``given`` holds the same keys as the file. Raises UsageError for a bad value."""
    environ = os.environ if environ is None else environ
    from_file = _read_file(file)
    merged: dict[str, str] = {}
    for key in _KEYS:
        value = given.get(key) or environ.get(f"BENTO_{key.upper()}") or from_file.get(key)
        if value:
            merged[key] = value
    level = merged.get("log_level", "warning")
    if level not in log.LEVELS:
        raise UsageError(f"unknown log level {level!r}", hint=f"use one of {', '.join(log.LEVELS)}")
    absolute_names = merged.get("absolute_names", "refuse")
    if absolute_names not in _ABSOLUTE_NAMES:
        raise UsageError(f"bad absolute_names {absolute_names!r}", hint=f"use {' or '.join(_ABSOLUTE_NAMES)}")
    return Settings(
        root=_directory(merged.get("root"), DEFAULT_ROOT),
        run_root=_directory(merged.get("run_root"), DEFAULT_RUN_ROOT),
        runtime=merged.get("runtime", ""),
        runtime_args=tuple(merged.get("runtime_args", "").split()),
        log_level=level,
        stop_timeout_s=parse_seconds(merged["stop_timeout"], what="stop_timeout") if "stop_timeout" in merged else None,
        stop_rules=_stop_rules(merged),
        log_max_bytes=parse_log_size(merged.get("log_max_size", "-1")),
        registries=_words(merged.get("registries", "docker.io")),
        insecure_registries=_words(merged.get("insecure_registries", "")),
        takes_absolute_names=absolute_names == "take",
    )


def _stop_rules(merged: Mapping[str, str]) -> StopRules:
    """Read what a stop does that nothing else is said of. ``--last-call-all`` is no choice for a whole machine."""
    return StopRules(
        scope=_choice(Scope, merged, "stop_scope"),
        on_wrapper=_choice(OnWrapper, merged, "stop_wrapper"),
        on_deaf=_choice(OnDeaf, merged, "stop_deaf"),
        exit_hold_s=_seconds(merged, "stop_exit_hold"),
        last_call_s=_seconds(merged, "stop_last_call"),
        start_window_s=_seconds(merged, "stop_start_window"),
    )


def _choice(kind: type[_Choice], merged: Mapping[str, str], key: str) -> _Choice | None:
    if key not in merged:
        return None
    try:
        return kind(merged[key])
    except ValueError:
        *words, last = (each.value for each in kind)
        raise UsageError(f"bad {key} {merged[key]!r}", hint=f"use {', '.join(words)} or {last}") from None


def _seconds(merged: Mapping[str, str], key: str) -> float | None:
    return parse_seconds(merged[key], what=key, allow_no_limit=False) if key in merged else None


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _directory(value: str | None, default: Path) -> Path:
    return Path(os.path.abspath(value)) if value else default


def _read_file(file: Path) -> dict[str, str]:
    try:
        content = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    try:
        values = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not valid TOML: {error}") from None
    for key, value in values.items():
        if key in _LISTS and isinstance(value, list) and all(isinstance(each, str) for each in value):
            values[key] = " ".join(value)
        elif key not in _KEYS or isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise UsageError(f"{file}: bad setting {key!r}", hint=f"the settings are {', '.join(_KEYS)}")
    return {key: str(value) for key, value in values.items()}
