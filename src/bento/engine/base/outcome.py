"""What a stop tells its caller: where it is, and what became of it."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from bento.errors import BentoError
from bento.model.stop import StopReport, Verdict


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
