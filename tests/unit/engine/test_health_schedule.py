"""When a health check is due, and what becomes of the status: Docker's rules, on a clock of the test."""

from __future__ import annotations

from typing import Any

import pytest

from bento.engine.health import schedule
from bento.engine.health.schedule import Timing, after, pause_s, timing
from bento.model.health import Health, HealthResult, HealthStatus
from bento.model.image import Healthcheck

STARTING, HEALTHY, UNHEALTHY = HealthStatus


def result(code: int, number: int = 0) -> HealthResult:
    return HealthResult(start_unix_ns=number, end_unix_ns=number + 1, exit_code=code, output=f"{number}")


def health_after(codes: str, *, ages_s: tuple[float, ...] = (), **times: Any) -> Health:
    """``codes``: a letter for each result, + or -."""
    found = Health()
    for number, code in enumerate(codes):
        age_s = ages_s[number] if ages_s else 100.0
        found = after(found, result(0 if code == "+" else 1, number), Timing(**times), age_s=age_s)
    return found


def test_what_is_not_given_has_dockers_defaults():
    assert timing(Healthcheck(test=("CMD", "x"))) == Timing(
        interval_s=30.0, timeout_s=30.0, start_period_s=0.0, start_interval_s=5.0, retries=3
    )
    assert timing(Healthcheck(interval_ns=-5, retries=-1)) == Timing()


def test_what_is_given_counts():
    given = Healthcheck(
        interval_ns=10**9, timeout_ns=2 * 10**9, start_period_ns=3 * 10**9, start_interval_ns=5 * 10**8, retries=7
    )
    assert timing(given) == Timing(interval_s=1.0, timeout_s=2.0, start_period_s=3.0, start_interval_s=0.5, retries=7)


@pytest.mark.parametrize(
    ("codes", "status", "streak"),
    [
        ("", STARTING, 0),
        ("+", HEALTHY, 0),
        ("-", STARTING, 1),
        ("--", STARTING, 2),
        ("---", UNHEALTHY, 3),
        ("----", UNHEALTHY, 4),
        ("--+", HEALTHY, 0),
        ("+--", HEALTHY, 2),
        ("+---", UNHEALTHY, 3),
        ("+---+", HEALTHY, 0),
        ("+---+-", HEALTHY, 1),
    ],
)
def test_so_many_failures_in_a_row_are_unhealthy(codes, status, streak):
    found = health_after(codes)
    assert (found.status, found.failing_streak) == (status, streak)


def test_failures_in_the_start_period_do_not_count():
    found = health_after("----", ages_s=(1, 2, 9.9, 10), start_period_s=10.0, retries=2)
    assert (found.status, found.failing_streak) == (STARTING, 1)
    assert len(found.log) == 4


def test_after_a_success_the_start_period_excuses_nothing():
    found = health_after("+--", ages_s=(1, 2, 3), start_period_s=10.0, retries=2)
    assert (found.status, found.failing_streak) == (UNHEALTHY, 2)


def test_the_last_five_results_are_kept():
    assert [entry.output for entry in health_after("++++++-").log] == ["2", "3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("status", "now_s", "pause"),
    [(STARTING, 100.0, 2.0), (STARTING, 109.9, 2.0), (STARTING, 110.0, 30.0), (HEALTHY, 100.0, 30.0)],
)
def test_checks_are_more_frequent_until_the_first_success_in_the_start_period(status, now_s, pause):
    times = Timing(start_period_s=10.0, start_interval_s=2.0)
    assert pause_s(times, status, started_s=100.0, now_s=now_s) == pause


def test_without_a_start_period_the_first_check_comes_after_an_interval():
    assert pause_s(Timing(interval_s=7.0), STARTING, started_s=5.0, now_s=5.0) == 7.0


def test_output_is_cut_as_dockers():
    whole = b"x" * schedule.OUTPUT_MAX
    assert schedule.output_text(whole, is_cut=False) == whole.decode()
    cut = schedule.output_text(whole, is_cut=True)
    assert len(cut) == schedule.OUTPUT_MAX
    assert cut.endswith("x...")
    assert schedule.output_text(b"\xff", is_cut=False) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "500ms"), (30, "30s"), (1.5, "1.5s"), (90, "1m30s"), (3601, "1h0m1s"), (60, "1m0s")]
)
def test_times_are_written_as_go_writes_them(seconds, text):
    assert schedule.span(seconds) == text
    assert schedule.timeout_text(seconds, "") == f"Health check exceeded timeout ({text})"
    assert schedule.timeout_text(seconds, "so far").endswith(": so far")
