"""One call of stop: what all its containers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.engine.base.background import Background
from bento.engine.stop.deletions import Deletions
from bento.engine.stop.releases import Releases
from bento.engine.stop.request import StopOptions
from bento.engine.stop.tracing import Tracing
from bento.model.container import Status

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Loop
    from bento.engine.base.order import Schedule
    from bento.engine.base.outcome import StopObserver


class StopBatch:
    """What all containers of one call have in common."""

    def __init__(
        self,
        drivers: Drivers,
        loop: Loop,
        observer: StopObserver,
    ) -> None:
        self.drivers, self.loop, self.observer = drivers, loop, observer
        self.options = StopOptions()
        self.only_if: Status | None = None  # those in another state are left alone
        self.schedule: Schedule | None = None  # shares the budget, where there is one
        self.releases = Releases(drivers, loop)
        self.deletions = Deletions(drivers, loop)
        self.background = Background(loop)
        self.tracing = Tracing(drivers, loop)
        self.births = drivers.births()

    def close(self) -> None:
        """Let go of what the containers share. Idempotent."""
        self.background.close()
        self.tracing.close()
        self.births.close()
        self.releases.close()
        self.deletions.close()
