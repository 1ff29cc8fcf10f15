"""One call of stop: what all its containers have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bento.engine.background import Background
from bento.engine.deletions import Deletions
from bento.engine.outcome import StopOutcome, StopProgress
from bento.engine.releases import Releases
from bento.engine.request import StopOptions
from bento.engine.tracing import Tracing
from bento.model.container import Status

if TYPE_CHECKING:
    from bento.engine.loop import Loop
    from bento.engine.order import Schedule
    from bento.engine.parts import Parts


class Call:
    """What all containers of one call have in common."""

    def __init__(
        self,
        parts: Parts,
        loop: Loop,
        *,
        on_begun: Callable[[str], None] | None = None,
        on_outcome: Callable[[StopOutcome], None] | None = None,
        on_phase: Callable[[StopProgress], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self.parts, self.loop = parts, loop
        self.on_begun, self.on_outcome, self.on_phase, self.on_notice = on_begun, on_outcome, on_phase, on_notice
        self.options = StopOptions()
        self.only_if: Status | None = None  # those in another state are left alone
        self.schedule: Schedule | None = None  # shares the budget, where there is one
        self.releases = Releases(parts, loop)
        self.deletions = Deletions(parts, loop)
        self.background = Background(loop)
        self.tracing = Tracing(parts, loop)
        self.births = parts.births()

    def close(self) -> None:
        """Let go of what the containers share. Idempotent."""
        self.background.close()
        self.tracing.close()
        self.births.close()
        self.releases.close()
        self.deletions.close()
