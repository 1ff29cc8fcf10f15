"""The CNI networks of a host: a directory of lists of plugins, which others write. Pure but for reading it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from bento.drivers.network.base import Plugins
from bento.errors import NotFound, UsageError
from bento.files.smallfile import read_small

_OLDEST: Final = (0, 3, 0)  # before, a result had another form
_CHECKS: Final = (0, 4, 0)  # the first with CHECK
_BIGGEST: Final = 1 << 20
_ENDINGS: Final = (".conflist", ".conf", ".json")


def first(directory: Path) -> str:
    """Return the name of the first network by the file's name; "" where there is none."""
    try:
        files = sorted(one for one in os.listdir(directory) if one.endswith(_ENDINGS))
    except OSError:
        return ""
    names = (said.get("name") for one in files if (said := _read(directory / one)) is not None)
    return next((name for name in names if isinstance(name, str) and name), "")


def load(directory: Path, name: str) -> Plugins:
    """Return the network of this name; of several files that have it the first by the file's name.

    A file that is no list spoils none of the others. Raises NotFound, UsageError for a list that cannot be used.
    """
    try:
        files = sorted(one for one in os.listdir(directory) if one.endswith(_ENDINGS))
    except OSError as error:
        raise NotFound(f"there are no CNI networks: {directory}: {error.strerror}", hint="see cni_directory") from error
    for path in (directory / one for one in files):
        said = _read(path)
        if said is not None and said.get("name") == name:
            return _parse(path, name, said)
    raise NotFound(f"there is no CNI network {name!r} in {directory}", hint="its .conflist files have the names")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        said = json.loads(read_small(path, limit_bytes=_BIGGEST))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _parse(path: Path, name: str, said: dict[str, Any]) -> Plugins:
    plugins: object = said.get("plugins", [said])
    if not isinstance(plugins, list) or not plugins or not all(map(_has_type, plugins)):
        raise UsageError(f"{path} names no plugins", hint='each is an object with a "type", the name of a program')
    version = str(said.get("cniVersion", "0.2.0"))
    number = tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
    if number < _OLDEST:
        raise UsageError(f"{path} is of CNI {version}", hint="Bento speaks 0.3.0 and newer")
    # A boolean since 1.0.0; before, a word.
    is_disabled = str(said.get("disableCheck", "")).lower() == "true"
    return Plugins(name, version, tuple(plugins), has_check=number >= _CHECKS and not is_disabled)


def _has_type(plugin: object) -> bool:
    kind = plugin.get("type") if isinstance(plugin, dict) else None
    return isinstance(kind, str) and "/" not in kind and kind not in ("", ".", "..")
