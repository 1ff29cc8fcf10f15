"""The engine drives the machine: on fakes, with a real loop, real locks and real sockets."""

from __future__ import annotations

import threading

import msgspec
import pytest
from msgspec.structs import replace

from bento import clock
from bento.config import Settings
from bento.drivers.tracer.messages import Hold
from bento.engine.stop.request import StopOptions, deadline_of, request_for
from bento.errors import (
    AlreadyStopped,
    NotFound,
    WrongState,
)
from bento.model.container import Container, Status
from bento.model.stop import (
    AskedBy,
    OnPaused,
    OnWrapper,
    StopRequest,
    StopSettings,
    Verdict,
)
from bento.stop.process import Disposition
from bento.stop.states import StopState
from bento.testing.processes import LISTENS, SLEEPS, WAITS
from bento.units import NO_LIMIT

from support.stopping import report_of, stop, stop_in_thread

NOW = StopOptions(grace_s=0.0)


# -- states (S1, S2, S11) --------------------------------------------------------------------------


def test_s01_a_running_container_is_stopped(drivers):
    container, main = drivers.server()
    outcome = stop(drivers)
    assert outcome.error is None
    assert main.signals == [15]
    after = drivers.store.get(container.id)
    assert after.status is Status.STOPPED
    assert after.run is not None
    assert (after.run.init, after.run.monitor, after.run.cgroups) == (None, None, {})
    assert after.exit is not None
    assert after.exit.code == 0
    assert after.intent is None
    assert after.stop_asked
    assert not drivers.run_dir(container.id).exists()
    assert drivers.fake_runtime.calls == [("delete", container.id)]


@pytest.mark.parametrize(
    ("status", "words"), [(Status.CREATED, "was never started"), (Status.STOPPED, "is already stopped")]
)
def test_s01_what_does_not_run_is_refused_and_left_alone(drivers, status, words):
    drivers.add("web", None, status=status)
    before = drivers.store.find("web")
    outcome = stop(drivers)
    assert isinstance(outcome.error, AlreadyStopped)
    assert words in outcome.error.message
    assert drivers.store.find("web") == before


def test_s01_an_unknown_container(drivers):
    assert isinstance(stop(drivers, "nobody").error, NotFound)


def test_s02_a_process_that_has_gone_is_cleaned_up(drivers):
    container = drivers.add("web", None)
    drivers.monitor.write_exit(drivers.run_dir(container.id), container.id, 3)
    outcome = stop(drivers)
    assert outcome.error is None
    assert report_of(drivers).verdict is Verdict.ALREADY_EXITED
    assert report_of(drivers).exit_code == 3
    assert drivers.store.get(container.id).status is Status.STOPPED


def test_s11_a_paused_container_is_refused_and_nothing_is_changed(drivers):
    container, main = drivers.server()
    drivers.processes.frozen.add(main.identity.pid)
    outcome = stop(drivers)
    assert isinstance(outcome.error, WrongState)
    assert "--paused thaw" in str(outcome.error)
    assert drivers.store.get(container.id) == container
    assert main.signals == []
    assert main.identity.pid in drivers.processes.frozen


@pytest.mark.parametrize("on_paused", [OnPaused.THAW, OnPaused.KILL])
def test_s11_or_thawed_or_killed(drivers, on_paused):
    _, main = drivers.server()
    drivers.processes.frozen.add(main.identity.pid)
    assert stop(drivers, options=StopOptions(on_paused=on_paused)).error is None
    assert not drivers.processes.frozen
    assert main.signals == ([15] if on_paused is OnPaused.THAW else [])


@pytest.mark.parametrize("options", [NOW, StopOptions(signal=9), StopOptions(signal=9, grace_s=NO_LIMIT)])
def test_s11_a_kill_of_a_paused_container_is_not_refused(drivers, options):
    _, main = drivers.server()
    drivers.processes.frozen.add(main.identity.pid)
    assert stop(drivers, options=options).error is None
    assert not drivers.processes.frozen
    assert main.signals == []
    assert report_of(drivers).verdict is Verdict.KILLED


@pytest.mark.parametrize("spec", [StopSettings(timeout_s=0.0), StopSettings(signal=9)])
def test_s11_nor_one_that_the_container_asks_for(drivers, spec):
    _, main = drivers.server(stop=spec)
    drivers.processes.frozen.add(main.identity.pid)
    assert stop(drivers).error is None
    assert not drivers.processes.frozen


# -- intent and options (S4, S7, S8) -----------------------------------------------------------------


def test_s04_the_record_says_stopping_before_the_first_signal(drivers):
    container, main = drivers.server()
    seen: list[Container] = []
    answer = main.on_signal

    def told(number):
        seen.append(drivers.store.get(container.id))
        answer(number)

    main.on_signal = told
    stop(drivers, options=StopOptions(asked_by=AskedBy.API))
    assert seen[0].status is Status.STOPPING
    assert seen[0].stop_asked
    intent = seen[0].intent
    assert intent is not None
    assert intent.run == 1
    assert intent.request.asked_by is AskedBy.API
    assert intent.deadline_boot_s == pytest.approx(clock.boot_s() + 10, abs=5)
    state = msgspec.json.decode(intent.journal, type=StopState)
    assert [telling.pid for telling in state.signalled] == [main.identity.pid]


def test_s05_the_containers_lock_is_free_while_the_stop_goes_on(drivers):
    container, main = drivers.stubborn()
    thread, begun = stop_in_thread(drivers, StopOptions(grace_s=60.0), [])
    assert begun.wait(10)
    with drivers.locks.hold(container.id, 5.0):
        assert drivers.locks.is_stop_held(container.id)
    drivers.processes.end(main, 0)
    thread.join(10)


def test_s07_s08_what_is_said_now_wins_over_the_container_and_that_over_the_default(drivers):
    plain, _ = drivers.server("plain")
    own, _ = drivers.server("own", stop=StopSettings(timeout_s=3.0, signal=3))
    for container, options, expected in [
        (plain, StopOptions(), (10.0, 15)),
        (own, StopOptions(), (3.0, 3)),
        (own, StopOptions(grace_s=1.0, signal=2), (1.0, 2)),
    ]:
        request = request_for(container, options, Settings())
        assert (request.grace_s, request.signal) == expected
    assert request_for(own, StopOptions(on_paused=OnPaused.KILL), Settings()).grace_s == 0.0


@pytest.mark.parametrize(
    ("system", "configured", "own", "said", "expected"),
    [
        (False, None, None, None, 10.0),
        (True, None, None, None, 90.0),
        (True, 30.0, None, None, 30.0),
        (True, 30.0, 45.0, None, 45.0),
        (True, 30.0, 45.0, 0.0, 0.0),
        (True, None, None, NO_LIMIT, NO_LIMIT),
    ],
)
def test_s07_system_containers_have_a_longer_grace_unless_something_is_said(
    drivers, system, configured, own, said, expected
):
    container, _ = drivers.server(system=system, stop=StopSettings(timeout_s=own))
    assert request_for(container, StopOptions(grace_s=said), Settings(stop_timeout_s=configured)).grace_s == expected


def test_s23_the_report_names_its_container(drivers):
    container, _ = drivers.server()
    report = stop(drivers).report
    assert (report.id, report.name) == (container.id, "web")


def test_s07_a_grace_of_0_kills(drivers):
    container, main = drivers.stubborn()
    assert stop(drivers, options=NOW).error is None
    assert main.signals == []
    assert drivers.processes.kills == 1
    assert report_of(drivers).verdict is Verdict.KILLED
    assert drivers.store.get(container.id).exit == replace(
        drivers.store.get(container.id).exit, code=137, note="", oom_killed=False
    )


def test_s05_what_a_caller_that_joins_asks_of_the_deadline():
    request = StopRequest(grace_s=4.0)
    assert deadline_of(request, StopOptions()).deadline_s is None
    moved = deadline_of(request, StopOptions(grace_s=4.0, extend=True))
    assert moved.extend
    assert moved.deadline_s == pytest.approx(clock.mono_s() + 4.0, abs=1.0)
    assert deadline_of(StopRequest(grace_s=NO_LIMIT), StopOptions(grace_s=NO_LIMIT)).deadline_s is None


# -- the program's end (S13, S14, S20) ----------------------------------------------------------------


def test_s13_the_wrapped_program_is_signalled_and_the_shell_held_until_it_is_ended(drivers):
    shell = drivers.processes.add("sh", Disposition.DROPPED)
    server = drivers.processes.add("server", under=shell)
    shell.evidence, server.evidence = WAITS, LISTENS
    container = drivers.add("web", shell)
    server.on_signal = lambda number: server.end(3 << 8)
    assert stop(drivers).error is None
    assert (shell.signals, server.signals) == ([9], [15])
    report = report_of(drivers)
    assert (report.verdict, report.exit_code) == (Verdict.FORWARDED, 3)
    assert [one.comm for one in report.held] == ["sh"]
    assert drivers.store.get(container.id).exit.code == 3
    key = (shell.identity.pid, shell.identity.start_ticks)
    assert drivers.tracers[0].requests[0] == Hold(job=1, keys=(key,))


def test_s13_the_shell_may_continue(drivers):
    shell = drivers.processes.add("sh", Disposition.DROPPED)
    server = drivers.processes.add("server", under=shell)
    shell.evidence, server.evidence = WAITS, LISTENS
    container = drivers.add("web", shell)

    def told(number):
        server.end(0)
        drivers.monitor.write_exit(drivers.run_dir(container.id), container.id, 0)
        drivers.processes.end(shell, 0)

    server.on_signal = told
    assert stop(drivers, options=StopOptions(on_wrapper=OnWrapper.CONTINUE)).error is None
    assert (shell.signals, server.signals) == ([], [15])
    assert report_of(drivers).verdict is Verdict.FORWARDED
    assert drivers.tracers == []


def test_s14_a_program_that_does_not_receive_the_signal_is_ended_alone(drivers):
    main = drivers.processes.add("sleep", Disposition.DROPPED)
    main.evidence = SLEEPS
    drivers.add("web", main)
    assert stop(drivers).error is None
    assert main.signals == [9]
    assert report_of(drivers).verdict is Verdict.DEFAULT_ACTION
    assert [(end.how, end.code) for end in report_of(drivers).processes] == [("killed-by-us", 9)]


def test_s20_a_monitor_that_is_there_is_waited_for(drivers):
    monitor = drivers.processes.add("conmon")
    container, main = drivers.server(monitor=monitor)
    answer = main.on_signal

    def told(number):
        answer(number)
        threading.Timer(0.05, lambda: monitor.end(0)).start()

    main.on_signal = told
    assert stop(drivers).error is None
    assert monitor.signals == []
    phases = {phase.name: phase.duration_s for phase in report_of(drivers).phases}
    assert phases["log drain"] >= 0.03
    assert drivers.store.get(container.id).exit.code == 0


def test_s20_an_exit_that_was_not_seen_is_unknown_and_said_to_be(drivers):
    container = drivers.add("web", None)
    assert stop(drivers).error is None
    ended = drivers.store.get(container.id).exit
    assert ended.code is None
    assert "unknown" in ended.note
    assert report_of(drivers).exit_code is None


@pytest.mark.parametrize(("status", "code"), [(5 << 8, 5), (15, 143)])
def test_s20_without_a_monitor_the_kernel_may_still_know(drivers, status, code):
    main = drivers.processes.add("server", exits=status)
    drivers.add("web", main)
    stop(drivers)
    assert report_of(drivers).exit_code == code


def test_s20_or_not_on_an_older_kernel(drivers):
    drivers.processes.can_read_status = False
    drivers.add("web", drivers.processes.add("server", exits=0))
    stop(drivers)
    assert report_of(drivers).exit_code is None
    assert [end.how for end in report_of(drivers).processes] == ["unknown"]
