"""What a stop does when PID 1 has ended: clean-up, what holds it up, and what cannot be ended."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace

from bento.drivers.storage.base import Holder
from bento.engine.lifecycle import after_exit
from bento.engine.lifecycle.remove import remove
from bento.engine.lifecycle.start import start
from bento.engine.stop.request import StopOptions
from bento.errors import (
    AlreadyStopped,
    CleanupFailed,
    Conflict,
    DeadlineExceeded,
    StorageUnusable,
    StuckProcess,
)
from bento.model.container import Exit, RestartPolicy, Status
from bento.model.stop import (
    Verdict,
)
from bento.stop import cleaning
from bento.stop.states import Step

from support.stopping import report_of, stop

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


# -- the report (S23, S24) ----------------------------------------------------------------------------------------


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
