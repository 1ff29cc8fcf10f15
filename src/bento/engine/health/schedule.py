"""When the next check is due, and what a result makes of a container's health. Pure: no clock, no process.

The rules are Docker's (docs.docker.com, Dockerfile reference, HEALTHCHECK; moby, daemon/health.go). Times are seconds
on one clock, whichever the caller uses.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bento.model.health import Health, HealthResult, HealthStatus
from bento.model.image import Healthcheck

INTERVAL_S: Final = 30.0
TIMEOUT_S: Final = 30.0
START_PERIOD_S: Final = 0.0
START_INTERVAL_S: Final = 5.0
RETRIES: Final = 3
LOG_MAX: Final = 5
OUTPUT_MAX: Final = 4096
"""Bytes that are kept of a check's output, the first ones."""


class Timing(Struct, frozen=True, kw_only=True):
    """A check's times, with Docker's defaults for what was not given."""

    interval_s: float = INTERVAL_S
    timeout_s: float = TIMEOUT_S
    start_period_s: float = START_PERIOD_S
    start_interval_s: float = START_INTERVAL_S
    retries: int = RETRIES


def timing(check: Healthcheck) -> Timing:
    """Return the times of a check; what is 0 or less has its default."""

    def seconds(given_ns: int, default_s: float) -> float:
        return given_ns / 1e9 if given_ns > 0 else default_s

    return Timing(
        interval_s=seconds(check.interval_ns, INTERVAL_S),
        timeout_s=seconds(check.timeout_ns, TIMEOUT_S),
        start_period_s=seconds(check.start_period_ns, START_PERIOD_S),
        start_interval_s=seconds(check.start_interval_ns, START_INTERVAL_S),
        retries=check.retries if check.retries > 0 else RETRIES,
    )


def pause_s(times: Timing, status: HealthStatus, *, started_s: float, now_s: float) -> float:
    """Return how long after ``now_s``, the end of the last check or the start, the next one is due."""
    is_young = now_s - started_s < times.start_period_s
    return times.start_interval_s if is_young and status is HealthStatus.STARTING else times.interval_s


def after(health: Health, result: HealthResult, times: Timing, *, age_s: float) -> Health:
    """Return the health after one more result. ``age_s``: how long the container ran when the check began.

    A failure within the start period does not count while no check has succeeded yet.
    """
    log = (*health.log, result)[-LOG_MAX:]
    if result.exit_code == 0:
        return Health(status=HealthStatus.HEALTHY, log=log)
    if health.status is HealthStatus.STARTING and age_s < times.start_period_s:
        return replace(health, log=log)
    streak = health.failing_streak + 1
    status = HealthStatus.UNHEALTHY if streak >= times.retries else health.status
    return Health(status=status, failing_streak=streak, log=log)


def output_text(kept: bytes, *, is_cut: bool) -> str:
    """Return what is recorded of a check's output; one that was longer ends in dots, as Docker has it."""
    if is_cut:
        kept = kept[: OUTPUT_MAX - 3] + b"..."
    return kept.decode(errors="replace")


def timeout_text(timeout_s: float, output: str) -> str:
    """Return what is recorded as the output of a check that took too long, in Docker's words."""
    said = f"Health check exceeded timeout ({span(timeout_s)})"
    return f"{said}: {output}" if output else said


def span(seconds: float) -> str:
    """Return a duration as Go writes it: ``1m30s``, ``500ms``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest_s = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}h{minutes}m{rest_s:g}s" if hours else f"{minutes}m{rest_s:g}s" if minutes else f"{rest_s:g}s"
