"""One call of stop: what all its containers have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bento.engine.base.background import Background
from bento.engine.base.outcome import StopOutcome, StopProgress
from bento.engine.stop.deletions import Deletions
from bento.engine.stop.releases import Releases
from bento.engine.stop.request import StopOptions
from bento.engine.stop.tracing import Tracing
from bento.model.container import Status

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Loop
    from bento.engine.base.order import Schedule


class StopBatch:
    """What all containers of one call have in common."""

    def __init__(
        self,
        drivers: Drivers,
        loop: Loop,
        *,
        on_begun: Callable[[str], None] | None = None,
        on_outcome: Callable[[StopOutcome], None] | None = None,
        on_phase: Callable[[StopProgress], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self.drivers, self.loop = drivers, loop
        self.on_begun, self.on_outcome, self.on_phase, self.on_notice = on_begun, on_outcome, on_phase, on_notice
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
