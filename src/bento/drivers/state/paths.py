"""What is below the root is written down as seen from the root: a root that is moved, or copied, finds its own layers.

In memory such a path is absolute, as all code uses it; in the file it is not. What is not below the root, such as
the machine's own ``/``, is kept as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from bento.model.container import Container
from bento.model.image import Image

if TYPE_CHECKING:
    from pathlib import Path

_Record = TypeVar("_Record")

_LAYERS = "layers"
"""The directory of the root that all layers of schema 3 and older were in, wherever the root was then."""


class Below:
    """The paths below one root. Pure."""

    def __init__(self, root: Path) -> None:
        self._prefix = f"{root}".rstrip("/") + "/"

    def written(self, record: _Record) -> _Record:
        """Return a record as it is written down."""
        return _with_layers(record, self._relative)

    def used(self, record: _Record) -> _Record:
        """Return a record as it is used."""
        return _with_layers(record, self._absolute)

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._prefix) or path

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else self._prefix + path


def _with_layers(record: _Record, change: Callable[[str], str]) -> _Record:
    if isinstance(record, Image):
        layers = tuple(map(change, record.layers))
        return record if layers == record.layers else replace(record, layers=layers)
    if isinstance(record, Container):
        layers = tuple(map(change, record.spec.layers))
        return record if layers == record.spec.layers else replace(record, spec=replace(record.spec, layers=layers))
    return record


def without_old_paths(document: bytes) -> bytes:
    """Return a record of schema 3 as schema 4 has it. What cannot be read is left as it is: every verb says so."""
    try:
        record: Any = msgspec.json.decode(document)
        holder = record.get("spec", record)
        holder["layers"] = [_without_root(layer) for layer in holder["layers"]]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, KeyError, TypeError):
        return document
    return msgspec.json.encode(record)


def _without_root(layer: str) -> str:
    directory, name = os.path.split(layer)
    return f"{_LAYERS}/{name}" if os.path.basename(directory) == _LAYERS and name else layer
