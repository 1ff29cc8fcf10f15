"""Callers that join a stop that goes on: what they may ask for, and what they are answered."""

from __future__ import annotations

import pytest

from bento.config import Settings
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import Stopper, stop_containers
from bento.errors import (
    StuckProcess,
)
from bento.model.container import Status
from bento.model.stop import (
    OnDeaf,
    Scope,
    StopRules,
    Verdict,
)
from bento.stop.process import Disposition

from support.observed import Observed
from support.stopping import report_of, stop, stop_in_thread

NOW = StopOptions(grace_s=0.0)


def test_s05_a_second_caller_joins_and_gets_the_same_answer(drivers):
    container, main = drivers.stubborn()
    main.disposition = Disposition.HANDLED
    outcomes: list = []
    first, begun = stop_in_thread(drivers, StopOptions(grace_s=60.0), outcomes)
    assert begun.wait(10)
    second, joined = stop_in_thread(drivers, StopOptions(), outcomes)
    assert joined.wait(10)
    drivers.monitor.write_exit(drivers.run_dir(container.id), container.id, 0)
    drivers.processes.end(main, 0)
    first.join(10)
    second.join(10)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert outcomes[0].report == outcomes[1].report
    assert main.signals == [15]


def test_s08_a_stop_signal_of_kill_is_bentos_own_kill(drivers):
    _, main = drivers.stubborn()
    assert stop(drivers, options=StopOptions(signal=9, grace_s=60.0)).error is None
    assert (main.signals, drivers.processes.kills) == ([], 1)
    report = report_of(drivers)
    assert (report.verdict, report.signal, report.exit_code) == (Verdict.KILLED, "SIGKILL", 137)
    assert report.cause == "the stop signal is SIGKILL: Bento killed it, which no program can handle"
    assert report.signalled == ()


def test_s05_what_joins_and_names_kill_means_now(drivers):
    drivers.stubborn()
    first, begun = stop_in_thread(drivers, StopOptions(grace_s=60.0), [])
    assert begun.wait(10)
    observed = Observed()
    outcome = stop_containers(drivers, ["web"], StopOptions(signal=9), observed)[0]
    first.join(10)
    assert outcome.error is None
    assert report_of(drivers).cause == "a kill was asked for"
    assert observed.notices == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (StopOptions(signal=2, grace_s=0.01), "by SIGTERM: SIGINT is not sent"),
        (StopOptions(method="exec", command="halt", grace_s=0.01), "by SIGTERM: method exec (halt) is not sent"),
        (StopOptions(signal=15, grace_s=0.01), ""),
        (StopOptions(grace_s=0.01), ""),
    ],
)
def test_s05_a_caller_that_joins_learns_that_the_stop_has_its_own_signal(drivers, options, words):
    drivers.stubborn()
    first, begun = stop_in_thread(drivers, StopOptions(grace_s=60.0), [])
    assert begun.wait(10)
    observed = Observed()
    assert stop_containers(drivers, ["web"], options, observed)[0].error is None
    first.join(10)
    expected = f"a stop of container web is under way already, {words} (to end it now: stop --force)"
    assert observed.notices == ([expected] if words else [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (StopOptions(scope=Scope.MAIN, exit_hold_s=0.0, grace_s=0.01), "--scope, --exit-hold"),
        (StopOptions(on_deaf=OnDeaf.WAIT, last_call_all=True, grace_s=0.01), "--deaf, --last-call-all"),
        (StopOptions(scope=Scope.AUTO, start_window_s=10.0, grace_s=0.01), ""),
    ],
)
def test_s05_a_caller_that_joins_learns_what_comes_too_late(drivers, options, words):
    drivers.stubborn()
    first, begun = stop_in_thread(drivers, StopOptions(grace_s=60.0), [])
    assert begun.wait(10)
    observed = Observed()
    assert stop_containers(drivers, ["web"], options, observed)[0].error is None
    first.join(10)
    assert observed.notices == (
        [f"a stop of container web is under way already: too late for {words}"] if words else []
    )


def test_s00_the_configuration_says_how_far_a_stop_goes(drivers):
    _, main = drivers.stubborn()
    drivers.settings = Settings(stop_rules=StopRules(scope=Scope.MAIN))
    child = drivers.processes.add("child", under=main)
    assert stop(drivers, options=StopOptions(grace_s=0.05)).error is None
    assert [one.comm for one in report_of(drivers).signalled] == ["stubborn"]
    assert child.signals == []


def test_s05_it_brings_the_deadline_nearer(drivers):
    _, main = drivers.stubborn()
    outcomes: list = []
    first, begun = stop_in_thread(drivers, StopOptions(grace_s=60.0), outcomes)
    assert begun.wait(10)
    assert stop(drivers, options=NOW).error is None
    first.join(10)
    assert report_of(drivers).verdict is Verdict.KILLED
    assert report_of(drivers).cause == "a kill was asked for"
    assert main.signals == []


def test_s05_a_caller_that_leaves_changes_nothing(drivers):
    container, main = drivers.stubborn()
    outcomes: list = []
    first, begun = stop_in_thread(drivers, StopOptions(grace_s=60.0), outcomes)
    assert begun.wait(10)
    joiner = Stopper(drivers)
    joiner.add(["web"], StopOptions())
    assert joiner.stops[0].joiner is not None
    joiner.close()
    assert first.is_alive()
    drivers.processes.end(main, 0)
    first.join(10)
    assert drivers.store.get(container.id).status is Status.STOPPED


def test_s06_a_joined_driver_that_dies_is_succeeded(drivers):
    """Its socket and its lock go together; the process that had joined drives on."""
    container, main = drivers.stubborn()
    main.disposition = Disposition.HANDLED
    driver = Stopper(drivers)
    driver.add(["web"], StopOptions())
    assert main.signals == [15]
    outcomes: list = []
    second, joined = stop_in_thread(drivers, StopOptions(), outcomes)
    assert joined.wait(10)
    driver.close()  # as the kernel does it for a process that was killed
    drivers.processes.end(main, 0)
    second.join(10)
    assert outcomes[0].error is None
    assert main.signals == [15]
    assert drivers.store.get(container.id).status is Status.STOPPED


def test_s05_a_stuck_stop_is_stuck_for_every_caller(drivers):
    _, main = drivers.stubborn()
    main.is_immortal = True
    outcomes: list = []
    first, begun = stop_in_thread(drivers, StopOptions(grace_s=60.0, kill_timeout_s=0.05), outcomes)
    assert begun.wait(10)
    outcome = stop(drivers, options=NOW)
    first.join(10)
    assert isinstance(outcome.error, StuckProcess)
    assert isinstance(outcomes[0].error, StuckProcess)


def test_s05_one_that_ended_before_it_could_answer_was_a_success(drivers, monkeypatch):
    _, main = drivers.server()
    driver = Stopper(drivers)
    leave = main.on_signal
    main.on_signal = lambda number: None
    driver.add(["web"], StopOptions())
    late = Stopper(drivers)
    late.add(["web"], StopOptions())
    assert late.stops[0].joiner is not None
    monkeypatch.setattr(driver.stops[0].server, "publish", lambda outcome: None)  # the answer is lost
    leave(15)
    driver.run()
    outcome = late.run()[0]
    assert outcome.error is None
    assert outcome.report == report_of(drivers)
