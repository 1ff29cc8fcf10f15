"""The facade's methods for systemd, where containers are units of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.lifecycle import unit_stop
else:  # systemd alone asks
    unit_stop = LazyModule("bento.engine.lifecycle.unit_stop")


class UnitVerbs:
    """A part of ``EngineFacade``."""

    drivers: Drivers

    def unit_stop(self, container_id: str, run: int) -> unit_stop.UnitStop:
        """Return what is to be stopped, and how, when systemd stops the unit of a container; no ids: it has ended.

        ``run``: the number of its run. A stop while the machine goes down counts as one of the shutdown. Blocks for
        10 s at most, while systemd is asked. Changes nothing.
        """
        return unit_stop.wanted(self.drivers, container_id, run)
