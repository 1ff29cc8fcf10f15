"""What a stop reports to its caller: where it is, and what became of it."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from bento import log
from bento.errors import BentoError
from bento.model.stop import StopReport, StopView, Verdict


class StopOutcome(Struct, frozen=True, kw_only=True):
    """What became of one container of a stop. Exactly one of ``report`` and ``error`` says more; both when
    it stopped but something of it could not be released."""

    id: str
    name: str
    report: StopReport | None = None
    error: BentoError | None = None

    def failed(self, error: BentoError) -> StopOutcome:
        """Return it with an error of what followed: no verdict beside it is graceful then (rule S23)."""
        report = self.report
        if report is not None and report.verdict.is_graceful:
            cause = f"{report.cause}, but its removal failed ({error.message})"
            errors = (*report.errors, f"removal: {error.message}")
            report = replace(report, verdict=Verdict.STUCK, cause=cause, remedy="remove it again", errors=errors)
        return replace(self, report=report, error=error)


class StopProgress(Struct, frozen=True):
    """Where one stop is, whenever that changes."""

    name: str
    phase: str
    until_s: float | None = None  # the latest end of this phase, CLOCK_MONOTONIC


class StopObserver:
    """What a caller learns of its stops while they go on, in its own thread. Override what is of interest."""

    wants_views: bool = False
    """Whether ``view`` is to be called."""

    def begun(self, name: str) -> None:
        """The stop of this container is recorded, or joined: it happens now, whatever becomes of the caller."""

    def phase(self, progress: StopProgress) -> None:
        """It gets on, or is given more or less time."""

    def view(self, view: StopView) -> None:
        """It, or a process of it, has changed; at most ten times a second for each stop."""

    def outcome(self, outcome: StopOutcome) -> None:
        """It has ended, or could not be begun."""

    def notice(self, text: str) -> None:
        """A line for people that is no error; here it is logged as a warning."""
        log.warning(text)
