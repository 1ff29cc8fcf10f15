"""The engine drives the machine: on fakes, with a real loop, real locks and real sockets."""

from __future__ import annotations

import os
import threading
import time

import msgspec
import pytest
from msgspec.structs import replace

from bento import clock
from bento.config import Settings
from bento.drivers.storage.base import Holder
from bento.drivers.tracer.messages import Hold
from bento.engine.lifecycle import after_exit, reconcile
from bento.engine.lifecycle.remove import remove
from bento.engine.lifecycle.start import start
from bento.engine.stop.request import StopOptions, deadline_of, request_for
from bento.engine.stop.stop import Stopper, stop_containers
from bento.engine.views import inspect
from bento.errors import (
    AlreadyStopped,
    CleanupFailed,
    Conflict,
    DeadlineExceeded,
    NotFound,
    StorageUnusable,
    StuckProcess,
    WrongState,
)
from bento.model.container import Container, Exit, Namespaces, RestartPolicy, Status
from bento.model.stop import (
    AskedBy,
    Occasion,
    OnDeaf,
    OnPaused,
    OnWrapper,
    Scope,
    StopIntent,
    StopReport,
    StopRequest,
    StopRules,
    StopSettings,
    Verdict,
)
from bento.stop import cleaning, machine
from bento.stop.inputs import Looked
from bento.stop.process import Disposition
from bento.stop.states import Step, StopState
from bento.testing.drivers import FakeDrivers
from bento.testing.processes import LISTENS, SLEEPS, WAITS
from bento.units import NO_LIMIT

from support.observed import Observed

NOW = StopOptions(grace_s=0.0)


def stop(drivers: FakeDrivers, ref: str = "web", options: StopOptions | None = None):
    return stop_containers(drivers, [ref], options or StopOptions())[0]


def report_of(drivers: FakeDrivers, name: str = "web") -> StopReport:
    report = drivers.store.find(name).report
    assert report is not None
    return report


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
    thread, begun = _in_thread(drivers, StopOptions(grace_s=60.0), [])
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


# -- clean-up (S21, S22) ------------------------------------------------------------------------------


def test_s20_a_runtime_that_says_still_running_is_asked_again(drivers):
    drivers.server()
    drivers.fake_runtime.refusals = ["still running", "still running"]
    assert stop(drivers).error is None
    assert [verb for verb, _ in drivers.fake_runtime.calls] == ["delete"] * 3


@pytest.mark.parametrize("half", ["begin_error", "end_error"])
def test_s21_an_error_of_the_runtime_does_not_hide_the_rest(drivers, half):
    container, _ = drivers.server()
    setattr(drivers.fake_runtime, half, DeadlineExceeded("no answer"))
    outcome = stop(drivers)
    assert isinstance(outcome.error, CleanupFailed)
    assert "runtime: no answer" in outcome.error.message
    assert outcome.report is not None
    assert outcome.report.errors == ("runtime: no answer",)
    after = drivers.store.get(container.id)
    assert after.status is Status.STOPPED
    assert after.exit is not None
    assert after.exit.is_released


def test_s21_a_refusal_that_will_not_pass_is_reported(drivers):
    drivers.server()
    drivers.fake_runtime.refusals = ["permission denied"] * 2  # the first may have been an accident
    outcome = stop(drivers)
    assert isinstance(outcome.error, CleanupFailed)
    assert "permission denied" in outcome.error.message


def test_s20_what_a_runtime_says_that_never_says_stopped_is_quoted(drivers, monkeypatch):
    monkeypatch.setitem(cleaning.STEP_LIMIT_S, Step.RUNTIME, 0.05)
    container, _ = drivers.server()
    drivers.fake_runtime.refusals = ["it is still running, says the runtime"] * 99
    outcome = stop(drivers)
    assert isinstance(outcome.error, StuckProcess)
    said = "runtime: not done after 0.05 s: it is still running, says the runtime"
    assert outcome.error.message == f"container web ({container.id}) has ended, but its clean-up is stuck: {said}"
    assert outcome.report == report_of(drivers)
    assert outcome.report.verdict is Verdict.STUCK  # S23: nothing graceful beside an error
    assert outcome.report.cause == f"it was signalled and ended by itself, but its clean-up failed ({said})"
    assert outcome.report.remedy == "stop it again later"
    assert outcome.report.errors == (said,)
    assert outcome.report.exit_code == 0
    assert drivers.store.get(container.id).status is Status.STOPPING
    drivers.fake_runtime.refusals = ["it is still running, says the runtime"]
    again = stop(drivers)
    assert again.error is None
    assert again.report.verdict is Verdict.GRACEFUL
    assert again.report.errors == ()


def test_s21_cgroups_that_are_busy_are_tried_again(drivers):
    drivers.server()
    drivers.processes.cgroups_left = [["/fake"], ["/fake"]]
    assert stop(drivers).error is None
    assert drivers.processes.kills == 2


def test_s22_a_root_filesystem_that_is_held_is_waited_for_then_named(drivers, monkeypatch):
    monkeypatch.setitem(cleaning.STEP_LIMIT_S, Step.OVERLAY, 0.02)
    container, _ = drivers.server()
    drivers.storage.held[container.id] = [Holder(77, "nosy")]
    outcome = stop(drivers)
    assert isinstance(outcome.error, CleanupFailed)
    said = "unmount: not done after 0.02 s: the root filesystem is still held"
    held = "the root filesystem is held by nosy (77)"
    assert outcome.error.message == f"container web ({container.id}) has stopped, but: {said}; {held}"
    assert outcome.report.verdict is Verdict.STUCK
    assert outcome.report.notes == (held,)
    assert drivers.store.get(container.id).exit.is_released is False


@pytest.mark.parametrize("status", [Status.STOPPED, Status.RESTARTING])
def test_s21_a_root_filesystem_that_is_held_is_not_handed_to_the_next_start(drivers, status):
    container = drivers.add("web", None, status=status)
    ended = Exit(code=0, finished_unix_ns=1, is_released=False)
    before = drivers.store.modify(container.id, lambda c: replace(c, exit=ended))
    drivers.storage.held[container.id] = [Holder(77, "nosy")]
    for attempt in (lambda: start(drivers, container.id), lambda: remove(drivers, "web", force=True)):
        with pytest.raises(Conflict, match=rf"web \({container.id}\) is still in use by nosy \(77\)"):
            attempt()
        if status is Status.RESTARTING:
            break  # a removal calls the restart off first
    assert drivers.store.get(container.id) == before
    assert drivers.monitor.launches == []


def test_s21_a_restart_that_fails_does_not_forget_what_holds_the_root_filesystem(drivers):
    container = drivers.add("web", None, status=Status.RESTARTING, restart=RestartPolicy(name="always"))
    ended = Exit(code=1, finished_unix_ns=1, is_released=False)
    drivers.store.modify(container.id, lambda c: replace(c, exit=ended))
    after_exit._note_failure(drivers, container.id, 1, Conflict("held"))
    assert drivers.store.get(container.id).exit.is_released is False


def test_s21_a_monitor_that_hangs_is_killed_and_the_rest_is_done(drivers, monkeypatch):
    monkeypatch.setitem(cleaning.STEP_LIMIT_S, Step.MONITOR, 0.02)
    monitor = drivers.processes.add("conmon")
    drivers.server(monitor=monitor)
    outcome = stop(drivers)
    assert isinstance(outcome.error, CleanupFailed)
    assert monitor.signals == [9]
    assert drivers.store.find("web").status is Status.STOPPED


def test_s21_a_record_that_cannot_be_written_stays_as_it_was(drivers, monkeypatch):
    container, _ = drivers.server()
    modify = drivers.store.modify

    def failing(container_id, change, **more):
        if change(drivers.store.get(container_id)).status is Status.STOPPED:
            raise StorageUnusable("disk full")
        return modify(container_id, change, **more)

    monkeypatch.setattr(drivers.store, "modify", failing)
    outcome = stop(drivers)
    assert isinstance(outcome.error, StuckProcess)
    assert "disk full" in outcome.error.message
    assert drivers.store.get(container.id).status is Status.STOPPING
    monkeypatch.undo()
    again = stop(drivers)
    assert again.error is None
    assert drivers.store.get(container.id).status is Status.STOPPED
    assert report_of(drivers).verdict is Verdict.GRACEFUL


# -- stuck (S19) ----------------------------------------------------------------------------------------


def test_s19_a_process_that_does_not_die_keeps_the_record_open(drivers):
    container, main = drivers.stubborn()
    main.is_immortal = True
    outcome = stop(drivers, options=StopOptions(grace_s=0.0, kill_timeout_s=0.05))
    assert isinstance(outcome.error, StuckProcess)
    assert f"{main.identity.pid} stubborn (state D, in fake_wait, read)" in outcome.error.message
    assert outcome.report.verdict is Verdict.STUCK
    assert outcome.report.notes == (f"{main.identity.pid} stubborn (state D, in fake_wait, read)",)
    after = drivers.store.get(container.id)
    assert after.status is Status.STOPPING
    assert after.intent is not None
    assert drivers.run_dir(container.id).exists()
    assert drivers.fake_runtime.calls == []
    assert drivers.locks.try_stop(container.id) is not None


def test_s19_and_a_later_stop_goes_on(drivers):
    container, main = drivers.stubborn()
    main.is_immortal = True
    stop(drivers, options=StopOptions(grace_s=0.0, kill_timeout_s=0.05))
    main.is_immortal = False
    assert stop(drivers).error is None
    assert drivers.store.get(container.id).status is Status.STOPPED
    assert report_of(drivers).verdict is Verdict.KILLED


# -- surviving (S6) ---------------------------------------------------------------------------------------


def _abandoned(drivers: FakeDrivers, container: Container, *, grace_s: float, told: bool) -> None:
    """Leave the record as a driver that was killed does."""
    request = StopRequest(grace_s=grace_s)
    now_s = clock.mono_s()
    state, _ = machine.begin(request, now_s=now_s, born_s=now_s - 100)
    if told:
        assert container.run is not None
        processes = drivers.processes.look(container.run, 15)
        state, _ = machine.step(state, Looked(processes), now_s)
    intent = StopIntent(
        run=1,
        request=request,
        deadline_boot_s=clock.boot_s() + grace_s,
        boot_id="fake-boot",
        asked_unix_ns=5,
        journal=msgspec.json.encode(state),
    )
    drivers.store.modify(container.id, lambda c: replace(c, status=Status.STOPPING, stop_asked=True, intent=intent))


def test_s06_the_next_stop_goes_on_and_signals_nothing_again(drivers):
    container, main = drivers.stubborn()
    main.disposition = Disposition.HANDLED
    _abandoned(drivers, container, grace_s=0.05, told=True)
    outcome = stop(drivers)
    assert outcome.error is None
    assert main.signals == []
    assert report_of(drivers).verdict is Verdict.KILLED
    assert report_of(drivers).started_unix_ns == 5
    assert report_of(drivers).grace_s == 0.05


def test_s06_one_that_has_signalled_nothing_signals(drivers):
    container, main = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=False)
    assert stop(drivers).error is None
    assert main.signals == [15]


def test_s06_what_left_meanwhile_was_not_killed(drivers):
    container, main = drivers.server(code=7)
    _abandoned(drivers, container, grace_s=0.0, told=True)
    main.on_signal(15)
    assert stop(drivers).error is None
    assert drivers.processes.kills == 0
    assert report_of(drivers).verdict is Verdict.GRACEFUL
    assert report_of(drivers).exit_code == 7


def test_s06_a_look_at_the_container_gives_it_a_new_driver(drivers):
    container, _ = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=True)
    reconcile.refresh(drivers, [drivers.store.get(container.id)])
    assert drivers.detached == [("/nonexistent", "finish-stop", container.id)]


def test_s06_but_not_a_second_one(drivers):
    container, _ = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=True)
    lock = drivers.locks.try_stop(container.id)
    assert lock is not None
    reconcile.refresh(drivers, [drivers.store.get(container.id)])
    lock.release()
    assert drivers.detached == []


@pytest.mark.parametrize(("ahead_s", "count"), [(0.0, 1), (1000.0, 2)])
def test_s06_a_helper_on_its_way_is_waited_for_a_clock_that_went_back_is_not(drivers, monkeypatch, ahead_s, count):
    container, _ = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=True)
    wall_ns, boot_s = time.time_ns(), clock.boot_s()
    monkeypatch.setattr("bento.clock.wall_ns", lambda: wall_ns + int(ahead_s * 1e9))
    monkeypatch.setattr("bento.clock.boot_s", lambda: boot_s + ahead_s)
    reconcile.refresh(drivers, [drivers.store.get(container.id)])
    monkeypatch.undo()
    reconcile.refresh(drivers, [drivers.store.get(container.id)])
    assert drivers.detached == [("/nonexistent", "finish-stop", container.id)] * count


def test_s06_the_new_driver_finishes_it(drivers):
    container, main = drivers.server()
    _abandoned(drivers, container, grace_s=10.0, told=False)
    reconcile.finish_stop(drivers, container.id)
    assert drivers.store.get(container.id).status is Status.STOPPED
    reconcile.finish_stop(drivers, container.id)
    reconcile.finish_stop(drivers, "0" * 64)
    assert main.signals == [15]


# -- settling what has ended by itself (S2) -----------------------------------------------------------------


def test_s02_a_record_that_says_running_is_settled_without_a_report(drivers):
    container = drivers.add("web", None)
    drivers.monitor.write_exit(drivers.run_dir(container.id), container.id, 4)
    fresh = reconcile.refresh(drivers, [container])[0]
    assert fresh.status is Status.STOPPED
    assert fresh.exit is not None
    assert fresh.exit.code == 4
    assert fresh.report is None
    assert not fresh.stop_asked


def test_s02_one_that_lives_is_left_alone(drivers):
    container, _ = drivers.server()
    assert reconcile.refresh(drivers, [container]) == [container]


def test_s11_paused_is_what_the_freezer_says(drivers):
    container, main = drivers.server()
    drivers.processes.frozen.add(main.identity.pid)
    assert reconcile.refresh(drivers, [container])[0].status is Status.PAUSED
    assert drivers.store.get(container.id).status is Status.RUNNING


# -- joining (S5) ---------------------------------------------------------------------------------------------


def _in_thread(drivers: FakeDrivers, options: StopOptions, outcomes: list) -> tuple[threading.Thread, threading.Event]:
    begun = threading.Event()

    def drive() -> None:
        outcomes.extend(stop_containers(drivers, ["web"], options, Observed(on_begun=lambda _: begun.set())))

    thread = threading.Thread(target=drive)
    thread.start()
    return thread, begun


def test_s05_a_second_caller_joins_and_gets_the_same_answer(drivers):
    container, main = drivers.stubborn()
    main.disposition = Disposition.HANDLED
    outcomes: list = []
    first, begun = _in_thread(drivers, StopOptions(grace_s=60.0), outcomes)
    assert begun.wait(10)
    second, joined = _in_thread(drivers, StopOptions(), outcomes)
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
    first, begun = _in_thread(drivers, StopOptions(grace_s=60.0), [])
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
    first, begun = _in_thread(drivers, StopOptions(grace_s=60.0), [])
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
    first, begun = _in_thread(drivers, StopOptions(grace_s=60.0), [])
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
    first, begun = _in_thread(drivers, StopOptions(grace_s=60.0), outcomes)
    assert begun.wait(10)
    assert stop(drivers, options=NOW).error is None
    first.join(10)
    assert report_of(drivers).verdict is Verdict.KILLED
    assert report_of(drivers).cause == "a kill was asked for"
    assert main.signals == []


def test_s05_a_caller_that_leaves_changes_nothing(drivers):
    container, main = drivers.stubborn()
    outcomes: list = []
    first, begun = _in_thread(drivers, StopOptions(grace_s=60.0), outcomes)
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
    second, joined = _in_thread(drivers, StopOptions(), outcomes)
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
    first, begun = _in_thread(drivers, StopOptions(grace_s=60.0, kill_timeout_s=0.05), outcomes)
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


# -- many (S26, S28) -------------------------------------------------------------------------------------------


def test_s28_one_failure_does_not_stop_the_others(drivers):
    drivers.server("a")
    _, stuck = drivers.stubborn("b")
    stuck.is_immortal = True
    drivers.server("c")
    outcomes = stop_containers(drivers, ["a", "b", "nobody", "c"], StopOptions(grace_s=0.1, kill_timeout_s=0.05))
    assert [type(outcome.error) for outcome in outcomes] == [type(None), StuckProcess, NotFound, type(None)]
    assert [drivers.store.find(name).status for name in "abc"] == [Status.STOPPED, Status.STOPPING, Status.STOPPED]


def test_s28_a_store_that_fails_ends_one_session_only(drivers, monkeypatch):
    failing, _ = drivers.server("a")
    drivers.server("b")
    modify = drivers.store.modify

    def broken(container_id, change, **more):
        if container_id == failing.id:
            raise StorageUnusable("disk full")
        return modify(container_id, change, **more)

    monkeypatch.setattr(drivers.store, "modify", broken)
    outcomes = stop_containers(drivers, ["a", "b"], StopOptions())
    assert isinstance(outcomes[0].error, StorageUnusable)
    assert outcomes[0].error.message == f"the stop of container a ({failing.id}) failed (requested): disk full"
    assert outcomes[1].error is None


def test_s23_a_removal_that_fails_leaves_no_graceful_verdict(drivers, monkeypatch):
    drivers.server(auto_remove=True)

    def failing(container_id):
        raise StorageUnusable("read-only")

    monkeypatch.setattr(drivers.storage, "remove", failing)
    outcome = stop(drivers)
    assert isinstance(outcome.error, StorageUnusable)
    assert outcome.report.verdict is Verdict.STUCK
    assert outcome.report.cause == "it was signalled and ended by itself, but its removal failed (read-only)"
    assert outcome.report.errors == ("removal: read-only",)


def test_s26_outcomes_are_given_as_they_come(drivers):
    drivers.server("a")
    drivers.server("b")
    observed = Observed()
    stop_containers(drivers, ["a", "b"], StopOptions(), observed)
    assert observed.names_begun == ["a", "b"]
    assert sorted(observed.names_ended) == ["a", "b"]


# -- the report (S23, S24) ----------------------------------------------------------------------------------------


def test_s23_the_report_says_what_was_signalled_and_how_each_process_ended(drivers):
    shell = drivers.processes.add("sh", Disposition.DROPPED)
    server = drivers.processes.add("server", under=shell)
    reader = drivers.processes.add("sleep", Disposition.DEFAULT, under=shell)
    shell.evidence, server.evidence, reader.evidence = WAITS, LISTENS, SLEEPS
    drivers.add("web", shell)
    server.on_signal = lambda number: server.end(3 << 8)
    stop(drivers, options=StopOptions(signal=2))
    report = report_of(drivers)
    assert (report.signal, report.method, report.disposition) == ("SIGINT", "signal", "dropped")
    assert (report.exit_code, report.grace_s, report.is_slow) == (3, 10.0, False)
    assert [(one.comm, one.occasion) for one in report.signalled] == [("server", Occasion.PROGRAM)]
    ends = {end.pid: (end.comm, end.how, end.code) for end in report.processes}
    assert ends == {
        shell.identity.pid: ("sh", "killed-by-us", 9),
        server.identity.pid: ("server", "exited", 3),
        reader.identity.pid: ("sleep", "killed-with-pid-1", 9),
    }
    names = [phase.name for phase in report.phases]
    assert [names[0], names[-6:]] == ["signal", ["log drain", "runtime", "cgroup", "network", "unmount", "record"]]
    assert all(phase.duration_s >= 0 for phase in report.phases)
    assert report.duration_s >= report.phases[-1].start_s


@pytest.mark.parametrize(("is_shared", "verdict"), [(False, Verdict.CUT_SHORT), (True, Verdict.GRACEFUL)])
def test_s23_what_began_and_was_killed_between_two_looks_is_no_graceful_end(drivers, is_shared, verdict):
    _, main = drivers.server(
        code=0, namespaces=Namespaces(pid="host" if is_shared else "")
    )  # there PID 1's end kills nothing
    drivers.fake_births.unseen[main.identity.pid] = [4711]
    stop(drivers)
    assert report_of(drivers).verdict is verdict
    assert (
        [(end.pid, end.how) for end in report_of(drivers).processes[1:]] == [(4711, "killed-with-pid-1")]
    ) is not is_shared


def test_s24_the_oom_killer_is_known_by_the_change_of_its_count(drivers):
    drivers.processes.oom_count = 2
    container, main = drivers.server(code=137)
    answer = main.on_signal

    def told(number):
        drivers.processes.oom_count = 3
        answer(number)

    main.on_signal = told
    stop(drivers)
    assert "OOM" in report_of(drivers).cause
    assert drivers.store.get(container.id).exit.oom_killed


def test_s24_a_kill_for_want_of_memory_that_did_not_end_it_is_noted(drivers):
    container, main = drivers.server(code=0, command=("app",))
    drivers.processes.oom_count = 2
    assert inspect.inspect(drivers, container)["State"]["OOMKilled"] is True
    answer = main.on_signal

    def told(number):
        drivers.processes.oom_count = 3
        answer(number)

    main.on_signal = told
    stop(drivers)
    report = report_of(drivers)
    assert report.verdict is Verdict.GRACEFUL
    assert [note for note in report.notes if "memory" in note] == [
        "the kernel killed 2 of its processes for want of memory before the stop",
        "the kernel killed 1 of its processes for want of memory during the stop",
    ]
    assert drivers.store.get(container.id).exit.oom_killed


@pytest.mark.parametrize("is_marked", [True, False])
def test_s24_the_monitor_remembers_it_when_the_cgroup_has_gone(drivers, is_marked):
    container, main = drivers.server(code=137)
    run_dir = drivers.run_dir(container.id)
    run_dir.mkdir(parents=True, exist_ok=True)
    if is_marked:
        (run_dir / "oom").touch()
    drivers.processes.oom_count = None
    drivers.processes.end(main, 9)
    ended = reconcile.find(drivers, container.id).exit
    assert ended is not None
    assert ended.oom_killed is is_marked


def test_s25_a_stop_that_took_over_half_of_its_grace_is_slow(drivers):
    drivers.stubborn()
    stop(drivers, options=StopOptions(grace_s=0.05))
    assert report_of(drivers).is_slow
    assert "stubborn ignores SIGTERM" in report_of(drivers).cause


def test_s23_a_stop_that_failed_leaves_a_report_of_its_own(drivers):
    container, main = drivers.stubborn()
    main.is_immortal = True
    drivers.store.modify(container.id, lambda c: replace(c, report=_old_report()))
    report = stop(drivers, options=StopOptions(grace_s=0.0, kill_timeout_s=0.02)).report
    assert report.verdict is Verdict.STUCK
    assert report == drivers.store.get(container.id).report


def _old_report() -> StopReport:
    return StopReport(
        asked_by=AskedBy.USER,
        method="signal",
        signal="SIGTERM",
        grace_s=1.0,
        started_unix_ns=1,
        duration_s=1.0,
        verdict=Verdict.GRACEFUL,
        cause="",
        remedy="",
        exit_code=0,
        disposition="handled",
    )


def test_s21_nothing_of_a_stop_stays_open(drivers):
    before = set(os.listdir("/proc/self/fd"))
    for number in range(3):
        name = f"web{number}"
        _, main = drivers.server(name)
        stop(drivers, name)
        os.close(main.reader)
        drivers.processes._all.clear()
    assert set(os.listdir("/proc/self/fd")) == before


def test_s02_a_stop_of_what_has_stopped_removes_what_a_killed_driver_has_left(drivers):
    container, _ = drivers.server()
    assert stop(drivers).error is None
    run_dir = drivers.run_dir(container.id)
    run_dir.mkdir()
    (run_dir / "pidfile").touch()
    assert isinstance(stop(drivers).error, AlreadyStopped)
    assert not run_dir.exists()
