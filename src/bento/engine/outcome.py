"""What a stop tells its caller: where it is, and what became of it."""

from __future__ import annotations

from msgspec import Struct

from bento.errors import BentoError
from bento.model.stop import StopReport


class StopOutcome(Struct, frozen=True, kw_only=True):
    """What became of one container of a stop. Exactly one of ``report`` and ``error`` says more; both when
    it stopped but something of it could not be released."""

    id: str
    name: str
    report: StopReport | None = None
    error: BentoError | None = None


class StopProgress(Struct, frozen=True):
    """Where one stop is, whenever that changes."""

    name: str
    phase: str
    until_s: float | None = None  # the latest end of this phase, CLOCK_MONOTONIC
