"""The facade's methods for systemd, where containers are units of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.lifecycle.start import Started
    from bento.engine.systemd import generate, notifying, unit_stop
else:  # systemd alone asks
    generate, notifying = LazyModule("bento.engine.systemd.generate"), LazyModule("bento.engine.systemd.notifying")
    unit_stop = LazyModule("bento.engine.systemd.unit_stop")


class UnitVerbs:
    """A part of ``EngineFacade``."""

    drivers: Drivers

    def generate_systemd(self, ref: str, restart: str = "on-failure") -> str:
        """Return the text of a unit of systemd's that starts a container, and whose stop is Bento's.

        ``restart``: what systemd does at its end: "no", "on-failure" or "always". Raises NotFound, and UsageError for a
        container that Bento restarts, or deletes at its end. Writes nothing.
        """
        return generate.systemd(self.drivers, ref, restart)

    def notify_by(self, address: str, mode: str = "") -> None:
        """Have starts from now on tell systemd, as NOTIFY_SOCKET names it, what ``sdnotify`` of the container says.

        For a program that is a service of type notify, and starts one container. "": they tell nothing. ``mode``: in
        the place of an ``sdnotify`` of "ignore".
        """
        self.drivers.notify_socket, self.drivers.notify_mode = address, mode

    def _tell_started(self, started: Started) -> Started:
        if self.drivers.notify_socket:
            notifying.tell_started(self.drivers, started.container)
        return started

    def unit_stop(self, container_id: str, run: int) -> unit_stop.UnitStop:
        """Return what is to be stopped, and how, when systemd stops the unit of a container; no ids: it has ended.

        ``run``: the number of its run. A stop while the machine goes down counts as one of the shutdown. Blocks for
        10 s at most, while systemd is asked. Changes nothing.
        """
        return unit_stop.wanted(self.drivers, container_id, run)
