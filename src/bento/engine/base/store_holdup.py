"""A process that stands still in the middle of a transaction, or of opening the store: it would stop every verb.

SQLite undoes what a process has not committed, so one of Bento's own that stands still is ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento import clock, log, own
from bento.engine.base.holdup import Stillness, end

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.engine.base.drivers import Drivers
    from bento.model.container import ProcessIdentity


class StoreHoldup:
    """What keeps this process from the store. Called after each vain wait of some seconds."""

    def __init__(self, drivers: Drivers) -> None:
        self._drivers = drivers
        self._seen: dict[ProcessIdentity, Stillness] = {}
        self._ended: set[ProcessIdentity] = set()

    def __call__(self, holders: Callable[[], list[int]]) -> str:
        """Return "" when it is worth trying again, else the holders' names. ``holders`` returns their pids."""
        names, is_worth = [], False
        for pid in holders():
            process = self._drivers.processes.identify(pid)
            if process is None or pid not in holders():  # of the very process that has it
                is_worth = True
                continue
            names.append(f"process {pid} ({self._drivers.processes.comm(pid) or 'gone'})")
            if own.is_own(self._drivers.run_root, pid) and process not in self._ended:
                is_worth = self._look(process, names[-1]) or is_worth
        return "" if is_worth else " and ".join(names) or "another process"

    def _look(self, process: ProcessIdentity, name: str) -> bool:
        is_new = process not in self._seen
        stillness = self._seen.setdefault(process, Stillness(self._drivers.processes))
        if not stillness.look(process, clock.mono_s()):
            return is_new
        self._ended.add(process)
        if end(self._drivers, process, log.warning):
            log.warning(f"{name} stood still with the lock of {self._drivers.root}/bento.db and was ended")
        return True
