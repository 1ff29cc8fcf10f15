"""The clocks: one to decide by, one to write down, one to show."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def mono_s() -> float:
    """CLOCK_MONOTONIC, seconds: what every timer and deadline is decided by. Same for all processes of a boot."""
    return time.monotonic()


def boot_s() -> float:
    """CLOCK_BOOTTIME, seconds: what a deadline is written as; it goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_ns() -> int:
    """Wall time in nanoseconds since the epoch: for records and people, never for deciding."""
    return time.time_ns()


def utc() -> datetime:
    """Wall time as a moment, for what is shown as a date."""
    return datetime.now(UTC)
