"""The options of ``run`` and ``create`` about health checks, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from bento import clock
from bento.cli.options.switches import Arguments
from bento.errors import UsageError
from bento.lazy import LazyModule
from bento.model.container import HealthSettings
from bento.model.health import OnUnhealthy
from bento.model.image import NO_CHECK, Healthcheck
from bento.units import parse_retries, parse_seconds, parse_span_ns

if TYPE_CHECKING:
    from bento.parse import health
else:  # most containers have none
    health = LazyModule("bento.parse.health")

_SPANS = {
    "interval": "time between two checks (default 30s)",
    "timeout": "a check that takes longer has failed (default 30s)",
    "start-period": "failures do not count for so long, until one check succeeds (default 0s)",
    "start-interval": "time between two checks in the start period (default 5s)",
}


def configure(group: Arguments) -> None:
    """Add the options."""
    add = group.add_argument
    add(
        "--health-cmd",
        type=lambda text: health.parse_command(text),
        metavar="CMD",
        help="what is run inside to see whether it is healthy: for a shell, or a JSON array; none: no check",
    )
    for name, about in _SPANS.items():
        add(f"--health-{name}", type=_span(name), metavar="TIME", help=about)
    add(
        "--health-retries",
        type=parse_retries,
        metavar="N",
        help="so many failures in a row make it unhealthy (default 3)",
    )
    add("--no-healthcheck", action="store_true", help="carry out no check, not the image's either")
    add(
        "--health-on-failure",
        type=lambda text: health.parse_on_failure(text),
        metavar="ACTION",
        help="what is done when it is unhealthy: none, kill, restart or stop (default none)",
    )


def _span(name: str) -> Callable[[str], int]:
    return lambda text: parse_span_ns(text, what=f"--health-{name}")


def read(args: argparse.Namespace) -> HealthSettings:
    """Return what was said. Raises UsageError."""
    return HealthSettings(check=_check(args), on_failure=args.health_on_failure or OnUnhealthy.NONE)


def _check(args: argparse.Namespace) -> Healthcheck | None:
    """Return what was said of the check; None: nothing."""
    said = Healthcheck(
        test=args.health_cmd or (),
        interval_ns=args.health_interval or 0,
        timeout_ns=args.health_timeout or 0,
        start_period_ns=args.health_start_period or 0,
        start_interval_ns=args.health_start_interval or 0,
        retries=args.health_retries or 0,
    )
    if not args.no_healthcheck:
        return said if said != Healthcheck() else None
    if said != Healthcheck():
        raise UsageError("--no-healthcheck and --health-* exclude each other", hint="omit one of them")
    return Healthcheck(test=(NO_CHECK,))


def configure_wait(group: Arguments) -> None:
    """Add the options of ``run`` and ``start``."""
    add = group.add_argument
    add(
        "--wait",
        action="store_true",
        help="come back when it is healthy; exit status 1 when it becomes unhealthy or ends",
    )
    add("--wait-timeout", type=_wait_timeout, metavar="S", help="wait so many seconds at most (default: no limit)")


def _wait_timeout(text: str) -> float:
    return parse_seconds(text, what="--wait-timeout", allow_no_limit=False)


class Waiting:
    """What was said of waiting, and for how long at most, counted from when that is first asked."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Raises UsageError."""
        if args.wait_timeout is not None and not args.wait:
            raise UsageError("--wait-timeout needs --wait", hint="add --wait")
        self.is_wanted: bool = args.wait
        self._limit_s: float | None = args.wait_timeout
        self._since_s: float | None = None

    def left_s(self) -> float | None:
        """Return how long it may still be waited; None: there is no limit."""
        if self._limit_s is None:
            return None
        now_s = clock.mono_s()
        self._since_s = now_s if self._since_s is None else self._since_s
        return max(0.0, self._since_s + self._limit_s - now_s)
