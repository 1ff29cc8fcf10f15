"""What runtimes keep of containers: files or directories named after them, in a directory of each runtime.

crun and runc have a directory ``ID``, runsc files ``ID_sandbox:ID.state`` and ``.lock``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_ID_CHARS: Final = 64


def of(state_root: Path, container_id: str) -> list[Path]:
    """Return what one runtime keeps of a container."""
    return [state_root / name for name in _names(state_root) if name.startswith(container_id)]


def known(state_root: Path, container_ids: Iterable[str]) -> list[str]:
    """Return those of which one runtime keeps something: one look for all."""
    kept = {name[:_ID_CHARS] for name in _names(state_root)}
    return [container_id for container_id in container_ids if container_id in kept]


def every(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield the id of a container with what a runtime keeps of it, for all runtimes below a directory."""
    for runtime in _names(directory):
        for name in _names(directory / runtime):
            container_id = name[:_ID_CHARS]
            if len(container_id) == _ID_CHARS and set(container_id) <= set("0123456789abcdef"):
                yield container_id, directory / runtime / name


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
