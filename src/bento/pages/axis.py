"""The time axis of a picture: from seconds to places, with ticks at round times."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

_BELOW_A_MINUTE: Final = tuple(
    digit * 10.0**power for power in range(-6, 2) for digit in (1, 2, 5) if digit * 10.0**power < 60
)
_ABOVE: Final = (60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


class Tick(NamedTuple):
    """A round time, its place, and what stands there."""

    at_s: float
    x: float
    label: str


class Axis:
    """Seconds from 0 to ``duration_s`` on the places from ``left`` to ``right``; the rest is put to the edges."""

    def __init__(self, duration_s: float, left: float, right: float) -> None:
        self.duration_s = max(0.0, duration_s)
        self.left, self.right = left, right

    def x(self, at_s: float) -> float:
        """Return the place of a time."""
        if self.duration_s <= 0:
            return self.left
        share = min(1.0, max(0.0, at_s / self.duration_s))
        return self.left + share * (self.right - self.left)

    def ticks(self, least_gap: float) -> list[Tick]:
        """Return round times that are at least so far from each other; 0 is one of them."""
        if self.duration_s <= 0:
            return [Tick(0.0, self.left, "0")]
        step_s = self._step_s(least_gap)
        count = min(1000, math.floor(self.duration_s / step_s + 1e-9))
        return [
            Tick(number * step_s, self.x(number * step_s), _label(number * step_s, step_s))
            for number in range(count + 1)
        ]

    def _step_s(self, least_gap: float) -> float:
        least_s = self.duration_s * least_gap / max(1e-9, self.right - self.left)
        for step_s in (*_BELOW_A_MINUTE, *_ABOVE):
            if step_s >= least_s:
                return step_s
        return 86400.0 * math.ceil(least_s / 86400)


def _label(at_s: float, step_s: float) -> str:
    if at_s == 0:
        return "0"
    if step_s >= 3600:
        return f"{at_s / 3600:g} h"
    if step_s >= 60:
        return f"{at_s / 60:g} min"
    if step_s >= 0.1 or at_s >= 10:
        digits = max(0, -math.floor(math.log10(step_s) + 1e-9))
        return f"{at_s:.{digits}f} s"
    digits = max(0, -math.floor(math.log10(step_s * 1000) + 1e-9))
    return f"{at_s * 1000:.{digits}f} ms"


def rows(spans: list[tuple[float, float]], gap: float) -> list[int]:
    """Return a row for each span, in its order, so that none meets another one in its row within ``gap``."""
    ends: list[float] = []
    found = [0] * len(spans)
    for index in sorted(range(len(spans)), key=lambda one: spans[one]):
        begin, end = spans[index]
        row = next((number for number, taken in enumerate(ends) if begin >= taken + gap), len(ends))
        ends[row:] = [end, *ends[row + 1 :]]
        found[index] = row
    return found
