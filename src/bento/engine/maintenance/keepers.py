"""What ``doctor`` finds of the process that carries out health checks: none where one is needed, or one too many."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bento import clock
from bento.engine.base.place import elsewhere
from bento.engine.health import presence
from bento.errors import BentoError, StateCorrupt

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.locks import Holder
    from bento.model.container import ProcessIdentity

STARTS_WITHIN_S: Final = 5.0
"""By then a keeper that was started has its lock, or has found that another one has it."""

_LOOK_EVERY_S: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Trouble(Struct, frozen=True):
    """One thing that is wrong. ``process``: the keeper that is to end; None: one is missing."""

    what: str
    process: ProcessIdentity | None = None


def look(drivers: Drivers) -> list[Trouble]:
    """Return what is wrong. Blocks for some seconds where a keeper is needed and none comes."""
    found = []
    is_needed = _is_needed(drivers)
    keeper = _awaited(drivers) if is_needed else drivers.locks.keeper()
    if keeper is None and is_needed:
        found.append(Trouble("no process carries out the health checks"))
    if keeper is not None and not is_needed:
        found.append(Trouble(f"{_name(keeper.process)} has no container to check", keeper.process))
    elif keeper is not None and drivers.processes.progress(keeper.process.pid)[1]:
        found.append(Trouble(f"{_name(keeper.process)} is stopped", keeper.process))
    for process in drivers.processes.find_by_arguments(presence.PROGRAM, str(drivers.run_root)):
        is_young = clock.boot_s() - process.start_ticks / _TICKS < STARTS_WITHIN_S
        if not is_young and (keeper is None or process != keeper.process):
            found.append(Trouble(f"{_name(process)} is of a run root that was deleted", process))
    return found


def mend(drivers: Drivers, trouble: Trouble) -> bool:
    """End what is to end, and have a keeper come where one is needed; return whether that was done. Blocks."""
    if trouble.process is not None:
        presence.end(drivers, trouble.process)
    if not _is_needed(drivers):
        return True
    presence.began(drivers)  # whatever was on its way has not come
    with suppress(BentoError, OSError):
        presence.ensure(drivers)
        return _awaited(drivers) is not None
    return False


def _name(process: ProcessIdentity) -> str:
    return f"process {process.pid}, which carries out health checks,"


def _is_needed(drivers: Drivers) -> bool:
    ignored: list[StateCorrupt] = []
    records = drivers.store.list(on_unreadable=ignored.append)
    return any(presence.needs_keeper(one) and elsewhere(drivers, one) is None for one in records)


def _awaited(drivers: Drivers) -> Holder | None:
    """Return the keeper; wait for one that is on its way."""
    until_s = clock.mono_s() + STARTS_WITHIN_S
    while (keeper := drivers.locks.keeper()) is None and clock.mono_s() < until_s:
        time.sleep(_LOOK_EVERY_S)
    return keeper
