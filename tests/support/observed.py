"""What stops have told their caller."""

from __future__ import annotations

from collections.abc import Callable

from bento.engine.base.outcome import StopObserver, StopOutcome


class Observed(StopObserver):
    """Keeps what it is told, and calls back where a test wants to do something at that moment."""

    def __init__(
        self,
        on_begun: Callable[[str], object] | None = None,
        on_outcome: Callable[[StopOutcome], object] | None = None,
    ) -> None:
        self.names_begun: list[str] = []
        self.names_ended: list[str] = []
        self.notices: list[str] = []
        self._on_begun, self._on_outcome = on_begun, on_outcome

    def begun(self, name: str) -> None:
        self.names_begun.append(name)
        if self._on_begun is not None:
            self._on_begun(name)

    def outcome(self, outcome: StopOutcome) -> None:
        self.names_ended.append(outcome.name)
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def notice(self, text: str) -> None:
        self.notices.append(text)
