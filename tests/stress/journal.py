"""What was done, by which worker, to which container; and how a failure shows it."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple


class StressError(Exception):
    """Something was wrong. ``names``: of the containers whose history tells more."""

    def __init__(self, message: str, *names: str) -> None:
        super().__init__(message)
        self.names = names


class Entry(NamedTuple):
    """One line of the history. ``names``: of the containers it is about; none: of all."""

    at_s: float
    by: str
    names: frozenset[str]
    text: str


class Journal:
    """Safe between threads."""

    def __init__(self) -> None:
        self._begun_s = time.monotonic()
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self.failures: list[StressError] = []

    def add(self, by: str, text: str, *names: str) -> None:
        with self._lock:
            self._entries.append(Entry(time.monotonic() - self._begun_s, by, frozenset(names), text))

    def fail(self, error: StressError) -> None:
        with self._lock:
            self.failures.append(error)

    def history(self, names: tuple[str, ...], last: int = 80) -> str:
        """Return what was done to these containers, oldest first, and what was done to all."""
        with self._lock:
            chosen = [one for one in self._entries if not one.names or not names or one.names & set(names)]
        return "\n".join(f"  {one.at_s:8.3f}  {one.by:<5} {one.text}" for one in chosen[-last:])

    def entries(self) -> list[Entry]:
        """Return all of it."""
        with self._lock:
            return list(self._entries)
