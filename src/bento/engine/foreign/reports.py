"""The reports of stops of what Bento has not made: a file each below the root, of each name the last, and not many."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from bento.errors import NotFound
from bento.files.smallfile import read_small, write_small
from bento.model.stop import StopReport

if TYPE_CHECKING:
    from pathlib import Path

    from bento.engine.foreign.names import ForeignName

MOST: Final = 200
"""So many are kept; the oldest goes when another one comes."""


class _Kept(Struct, frozen=True):
    engine: str  # "" of a process
    report: StopReport


class Reports:
    """Below one root. A report that cannot be written, or read, is as one that is not there."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "foreign"

    def keep(self, engine: str, report: StopReport) -> None:
        """Keep a report in the place of an older one of the same container, or process."""
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            word = sha256(f"{engine}\0{report.id}\0{report.name}".encode()).hexdigest()[:32]
            write_small(self._directory / f"{word}.json", msgspec.json.encode(_Kept(engine, report)))
            for name in self._names()[MOST:]:
                (self._directory / name).unlink(missing_ok=True)

    def find(self, wanted: ForeignName) -> StopReport:
        """Return the last report of a container by its name, its id, or the beginning of that. Raises NotFound."""
        ref = wanted.ref.rpartition("/")[2]
        for name in self._names():
            try:
                kept = msgspec.json.decode(read_small(self._directory / name), type=_Kept)
            except (OSError, msgspec.DecodeError):
                continue
            report = kept.report
            is_it = report.name in (ref, str(wanted)) or (wanted.engine and report.id.startswith(ref))
            if kept.engine == wanted.engine and is_it:
                return report
        what = f"container {wanted.ref} of {wanted.engine}" if wanted.engine else str(wanted)
        raise NotFound(f"no report of a stop of {what} is kept", hint="one is left by bento stop --engine or --pid")

    def clear(self) -> tuple[int, int]:
        """Delete all of them; return how many those were, and how many bytes."""
        count = size = 0
        for name in self._names():
            with suppress(OSError):
                path = self._directory / name
                length = path.stat().st_size
                path.unlink()
                count, size = count + 1, size + length
        return count, size

    def _names(self) -> list[str]:
        """Return the files, the newest first."""
        found = []
        with suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.name.endswith(".json"):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        return [name for _, name in sorted(found, reverse=True)]
