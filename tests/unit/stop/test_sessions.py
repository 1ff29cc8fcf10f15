"""Rule S16: exec sessions beside PID 1, in virtual time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bento.model.stop import StopRequest, Verdict
from bento.stop.actions import KillInit, Persist, RequestInit, SendSignal
from bento.stop.forecast import forecast
from bento.stop.inputs import InitAnswered, Looked, MainExited, TimerFired
from bento.stop.plan import entered
from bento.stop.process import Disposition, Process
from bento.stop.states import KillCause, Phase, StopState, Timer
from bento.stop.verdict import judge

from support.looks import BLOCKED, DEAF, DEFAULT, HANDLED, IGNORED, Stop, proc

SERVER = proc(1, HANDLED, "server")
DEAF_MAIN = proc(1, DEAF, "sleep")


def session(pid: int, disposition: Disposition, name: str = "prog", **more: Any) -> Process:
    """The first process of a session: its parent is none of the container."""
    return proc(pid, disposition, name, under=9999, is_entered=True, **more)


def tells(stop: Stop) -> list[tuple[int, int]]:
    return [(action.pid, action.signal) for action in stop.actions if isinstance(action, SendSignal)]


def of_sessions(stop: Stop) -> list[int]:
    return [telling.pid for telling in stop.state.signalled if telling.session]


def test_s16_a_session_is_whoever_entered_with_everybody_below():
    below = (proc(3, HANDLED, under=2), proc(4, DEFAULT, under=3))
    assert entered((SERVER, proc(9, HANDLED, under=1), session(2, DEFAULT), *below)) == {(2, 7), (3, 7), (4, 7)}
    assert entered((SERVER, proc(9, HANDLED, under=1))) == frozenset()


def test_s16_a_session_is_told_in_the_same_look_as_pid_1_and_written_down_once():
    stop = Stop()
    assert stop.look(SERVER, session(2, HANDLED)) == [1, 2]
    assert stop.actions == (Persist(), SendSignal(1, 7, 15, False), SendSignal(2, 7, 15, False))
    assert [(one.pid, one.session, one.wave) for one in stop.state.signalled] == [(1, False, 1), (2, True, 1)]
    assert stop.state.signalled[1].why == "exec session: the first on its way down that hears"


def test_s16_nobody_of_a_session_is_told_twice():
    stop = Stop()
    assert stop.look_until(7.0, SERVER, session(2, HANDLED), proc(3, HANDLED, under=2)) == [1, 2]


def test_s16_a_plain_session_does_not_wait_for_pid_1():
    """What PID 1 writes is not what a session reads."""
    stop = Stop()
    assert stop.look(SERVER, session(2, DEFAULT, "sleep")) == [1, 2]
    assert stop.state.signalled[1].wave == 2


def test_s16_within_the_sessions_readers_come_after_writers():
    stop = Stop()
    shell, writer, reader = session(2, DEFAULT, "sh"), proc(3, HANDLED, under=2), proc(4, DEFAULT, "tee", under=2)
    assert stop.look(SERVER, shell, writer, reader) == [1, 3]
    assert stop.look(SERVER, shell, reader, after_s=0.01) == []
    assert stop.look_until(0.5, SERVER, shell, reader) == [4]


def test_s16_a_session_does_not_make_pid_1_wait_for_its_wave():
    stop = Stop()
    assert stop.look(proc(1, DEAF, "sh"), proc(5, DEFAULT, "sleep", under=1), session(2, HANDLED)) == [5, 2]
    assert [telling.wave for telling in stop.state.signalled] == [2, 1]


def test_s16_sessions_get_sigterm_whatever_pid_1_gets():
    stop = Stop(StopRequest(signal=3))
    stop.look(SERVER, session(2, HANDLED))
    assert tells(stop) == [(1, 3), (2, 15)]


def test_s16_a_session_that_ignores_it_is_left_alone_and_holds_nothing_up():
    stop = Stop()
    assert stop.look(DEAF_MAIN, session(2, IGNORED, "bash")) == []
    assert stop.look(DEAF_MAIN, session(2, IGNORED, "bash"), after_s=0.06) == []
    assert KillInit() in stop.actions


def test_s16_a_later_session_is_left_to_work_until_the_last_call():
    stop = Stop()
    assert stop.look(SERVER) == [1]
    late = (session(2, HANDLED), proc(3, HANDLED, under=2))
    assert stop.look_until(7.5, SERVER, *late) == []
    assert stop.look_until(8.5, SERVER, *late) == [2]
    assert (stop.state.signalled[1].wave, stop.state.signalled[1].session) == (3, True)


def test_s16_so_is_a_session_that_began_after_another_was_told():
    stop = Stop()
    assert stop.look(DEAF_MAIN, session(2, HANDLED)) == [2]
    assert stop.look_until(1.0, DEAF_MAIN, session(2, HANDLED), session(3, HANDLED)) == []


def test_s16_before_anybody_was_told_it_belongs_to_the_beginning():
    stop = Stop()
    assert stop.look(proc(1, BLOCKED)) == []
    assert stop.look(proc(1, BLOCKED), session(2, HANDLED), after_s=0.005) == [2]


def test_s16_a_deaf_pid_1_is_ended_after_the_sessions_are_done():
    stop = Stop()
    assert stop.look_until(4.0, DEAF_MAIN, session(2, HANDLED)) == [2]
    assert stop.state.phase is Phase.GRACE
    stop.look(DEAF_MAIN, after_s=0.01)
    assert KillInit() in stop.actions
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_s16_it_waits_for_those_that_are_still_to_be_told_too():
    stop = Stop()
    shell, writer, reader = session(2, DEFAULT, "sh"), proc(3, HANDLED, under=2), proc(4, DEFAULT, "gzip", under=2)
    stop.look_until(1.0, DEAF_MAIN, shell, writer, reader)
    assert stop.look(DEAF_MAIN, shell, reader, after_s=0.01) == []
    assert stop.state.phase is Phase.GRACE


def test_s16_but_not_longer_than_the_grace():
    stop = Stop(StopRequest(grace_s=2.0))
    stop.look_until(2.1, DEAF_MAIN, session(2, HANDLED))
    assert stop.state.kill_cause is KillCause.GRACE_OVER


def test_s16_what_a_session_leaves_behind_is_not_told_again():
    stop = Stop()
    shell, server = session(2, DEFAULT, "sh"), proc(3, HANDLED, under=2)
    wrapper, sleep = proc(1, DEAF, "sh"), proc(5, DEFAULT, "sleep", under=1)
    assert stop.look(wrapper, sleep, shell, server) == [5, 3]
    orphan = proc(3, HANDLED, under=1)
    assert stop.look_until(9.0, wrapper, orphan) == []
    assert of_sessions(stop) == [3]


def test_s16_sessions_of_a_system_container_are_told_while_its_init_is_asked():
    stop = Stop(StopRequest(method="systemd", signal=37))
    assert stop.look(proc(1, HANDLED, "systemd"), session(2, HANDLED)) == [2]
    assert [type(action) for action in stop.actions] == [Persist, RequestInit, SendSignal]
    assert tells(stop) == [(2, 15)]
    stop.give(InitAnswered("systemd"))
    assert stop.look_until(5.0, proc(1, HANDLED, "systemd"), session(2, HANDLED)) == []


def test_s16_an_init_that_has_halted_is_ended_though_a_session_stays():
    stop = Stop(StopRequest(method="sysvinit"))
    init, shell = proc(1, IGNORED, "init"), session(2, IGNORED, "bash")
    stop.look(init, shell)
    stop.give(InitAnswered("sysvinit"))
    stop.look_until(5.0, init, shell)
    assert stop.state.kill_cause is KillCause.HALTED


def test_s16_a_new_driver_tells_no_session_again():
    stop = Stop()
    stop.look(SERVER, session(2, HANDLED))
    stop.state = msgspec.json.decode(msgspec.json.encode(stop.state), type=StopState)
    assert stop.look(SERVER, session(2, HANDLED), after_s=0.1) == []


def test_s16_at_a_grace_of_0_sessions_are_remembered_for_the_report():
    stop = Stop(StopRequest(grace_s=0.0))
    stop.look(SERVER, session(2, HANDLED))
    assert stop.state.phase is Phase.KILLING
    assert [process.pid for process in stop.state.first] == [1, 2]
    assert [process.pid for process in stop.state.sessions.first] == [2]


def test_s16_a_late_look_without_sessions_forgets_none():
    stop = Stop(StopRequest(grace_s=2.0))
    stop.look(SERVER, session(2, HANDLED))
    stop.give(TimerFired(Timer.DEADLINE), after_s=1.0)  # not yet
    stop.now_s = 1002.5
    stop.give(Looked((SERVER,)))
    assert stop.state.phase is Phase.KILLING
    assert of_sessions(stop) == [2]


@pytest.mark.parametrize("told", [HANDLED, DEFAULT])
def test_s16_sessions_have_no_part_in_the_verdict(told):
    stop = Stop()
    stop.look(SERVER, session(2, told))
    stop.give(MainExited(), after_s=0.1)
    assert judge(stop.state, exit_code=0, oom_kills=0).verdict is Verdict.GRACEFUL


def test_s16_a_last_call_to_sessions_alone_does_not_make_the_verdict():
    stop = Stop()
    stop.look(SERVER)
    stop.look_until(8.5, SERVER, session(2, HANDLED))
    stop.give(MainExited())
    assert judge(stop.state, exit_code=0, oom_kills=0).verdict is Verdict.GRACEFUL


def test_s16_a_forecast_names_sessions_and_their_signal():
    shell = (session(2, DEFAULT, "sh"), proc(3, HANDLED, "nginx", under=2))
    found = forecast("web", StopRequest(signal=3), (SERVER, *shell), age_s=100.0)
    by_pid = {process.pid: process for process in found.processes}
    assert [(pid, one.session) for pid, one in by_pid.items()] == [(1, False), (2, True), (3, True)]
    assert "SIGQUIT" in by_pid[1].why
    assert "SIGTERM" in by_pid[3].why
    assert (by_pid[2].part, by_pid[3].part) == ("looked through", "told in wave 1")
    texts = [step.text for step in found.steps]
    assert "wave 1: SIGQUIT to server (1): PID 1" in texts
    assert "wave 1: SIGTERM to nginx (3): exec session: the first on its way down that hears" in texts
    assert found.verdict is Verdict.GRACEFUL
    assert not found.advice  # --stop-signal is not for sessions
