"""The only reader of the configuration file and the environment.

What is said on the command line wins, then the environment (``BENTO_`` and the key in capitals, such as
``BENTO_STOP_TIMEOUT``), then the file, then the default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bento import log
from bento.config import CGROUP_MANAGERS, CONFIG_FILE, Settings
from bento.errors import UsageError
from bento.lazy import LazyModule
from bento.model.stop import StopRules
from bento.model.stop_words import WORDS, key_of
from bento.units import parse_log_size, parse_number, parse_seconds

if TYPE_CHECKING:
    import tomllib
else:  # only a command that has a file pays for its parser
    tomllib = LazyModule("tomllib")

_Reader = Callable[[str, str], Any]
"""From a key and its text to the value; raises UsageError."""


def _text(_: str, text: str) -> str:
    return text


def _directory(_: str, text: str) -> Path:
    return Path(os.path.abspath(text))


def _words(_: str, text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _one_of(words: Iterable[str], make: Callable[[str], Any] = str) -> _Reader:
    *others, last = words

    def read(key: str, text: str) -> Any:
        if text not in (*others, last):
            raise UsageError(f"bad {key} {text!r}", hint=f"use {', '.join(others)} or {last}")
        return make(text)

    return read


def _limit(key: str, text: str) -> float:
    return parse_seconds(text, what=key, allow_no_limit=False)


_SETTINGS: Final[dict[str, tuple[str, _Reader]]] = {
    "root": ("root", _directory),
    "run_root": ("run_root", _directory),
    "runtime": ("runtime", _text),
    "runtime_args": ("runtime_args", lambda _, text: tuple(text.split())),
    "cgroup_manager": ("cgroup_manager", _one_of(CGROUP_MANAGERS)),
    "network": ("network", _one_of(("bridge", "host", "none"))),
    "cni_directory": ("cni_directory", _directory),
    "cni_plugins": ("cni_plugins", _words),
    "cdi_directories": ("cdi_directories", _words),
    "log_level": ("log_level", _one_of(log.LEVELS)),
    "stop_timeout": ("stop_timeout_s", lambda key, text: parse_seconds(text, what=key)),
    "stop_of_stopped": ("stop_of_stopped_is_ok", _one_of(("error", "ok"), lambda text: text == "ok")),
    "log_max_size": ("log_max_bytes", lambda _, text: parse_log_size(text)),
    "events_max": ("events_max", lambda key, text: parse_number(text, what=key)),
    "absolute_names": ("takes_absolute_names", _one_of(("refuse", "take"), lambda text: text == "take")),
    "bridge_names": ("bridge_has_names", _one_of(("none", "resolve"), lambda text: text == "resolve")),
    "zygote": ("starts_zygote", _one_of(("off", "on"), lambda text: text == "on")),
    "userns_ids": ("userns_ids", _text),
    "registries": ("registries", _words),
    "insecure_registries": ("insecure_registries", _words),
}
_STOP_RULES: Final[dict[str, tuple[str, _Reader]]] = {
    key_of(field): (field, _limit if row.kind is float else _one_of(row.choices, row.kind))
    for field, row in WORDS.items()
    if row.is_setting
}
"""By key: the field of ``Settings``, and of its ``stop_rules``, and what reads its text. A setting is declared there
and here, a rule of stop in ``stop_words``."""

KEYS: Final = (*_SETTINGS, *_STOP_RULES)


def load(
    given: Mapping[str, str | None], *, environ: Mapping[str, str] | None = None, file: Path = CONFIG_FILE
) -> Settings:
    """Merge the sources. ``given`` holds the same keys as the file. Raises UsageError for a bad value."""
    environ = os.environ if environ is None else environ
    from_file = _read_file(file)
    merged: dict[str, str] = {}
    for key in KEYS:
        value = given.get(key) or environ.get(f"BENTO_{key.upper()}") or from_file.get(key)
        if value:
            merged[key] = value
    rules = StopRules(**_values(merged, _STOP_RULES))
    return Settings(**_values(merged, _SETTINGS), stop_rules=rules)


def _values(merged: Mapping[str, str], readers: dict[str, tuple[str, _Reader]]) -> dict[str, Any]:
    return {field: read(key, merged[key]) for key, (field, read) in readers.items() if key in merged}


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
        if isinstance(value, list) and _takes_words(key) and all(isinstance(each, str) for each in value):
            values[key] = " ".join(value)
        elif key not in KEYS or isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise UsageError(f"{file}: bad setting {key!r}", hint=f"the settings are {', '.join(KEYS)}")
    return {key: str(value) for key, value in values.items()}


def _takes_words(key: str) -> bool:
    return key in _SETTINGS and _SETTINGS[key][1] is _words
