"""Rule S10 in virtual time: which method is tried when, what it falls back to, and what counts as halted."""

from __future__ import annotations

import msgspec
import pytest

from bento.errors import UsageError
from bento.model.stop import UNSEEN, ProcessEnd, StopRequest, Verdict
from bento.stop.actions import Action, Identify, KillInit, Look, Persist, RequestInit, SendSignal
from bento.stop.inputs import DeadlineMoved, Identified, InitAnswered, Input, Looked, MainExited, Resumed, TimerFired
from bento.stop.invariants import check_invariants
from bento.stop.methods import AUTO, METHODS, SIGNAL, choose, describe
from bento.stop.states import KillCause, Phase, StopState, Timer
from bento.stop.verdict import judge

from support.looks import BLOCKED, DROPPED, HANDLED, Stop, pauses, proc

INIT = proc(1, BLOCKED, "init")
RECEIVES = proc(1, HANDLED, "init")
SERVICE = proc(2, HANDLED, "service", under=1)


def begun(method: str = AUTO, *, age_s: float = 100.0, **request) -> Stop:
    stop = Stop(StopRequest(method=method, last_call_s=0.0, **request), age_s=age_s)
    stop.look(INIT, SERVICE)
    return stop


def asked(method: str = "systemd", **request) -> Stop:
    """A stop whose init has the request."""
    stop = begun(method, **request)
    stop.give(InitAnswered(method))
    return stop


def asks(actions: tuple[Action, ...]) -> list[str]:
    return [action.method for action in actions if isinstance(action, RequestInit)]


# -- the table ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_carries_the_wish(name):
    assert bool(METHODS[name].signal) == describe(name).startswith("SIG")


@pytest.mark.parametrize(
    ("method", "command", "is_system", "chosen"),
    [
        (None, "", False, SIGNAL),
        (None, "", True, AUTO),
        (None, "halt", True, "exec"),
        ("runit", "halt", False, "runit"),
        ("exec", "halt", False, "exec"),
    ],
)
def test_what_was_said_decides_the_method(method, command, is_system, chosen):
    assert choose(method=method, command=command, is_system=is_system) == chosen


def test_exec_needs_a_command():
    with pytest.raises(UsageError):
        choose(method="exec", command="", is_system=True)


# -- asking -------------------------------------------------------------------------------------------


def test_s10_the_method_that_was_named_is_tried_after_it_was_recorded():
    stop = begun("runit")
    assert stop.actions == (Persist(), RequestInit("runit", is_patient=False))
    assert stop.state.timers.keys() >= {Timer.LOOK, Timer.DEADLINE}


def test_s10_auto_looks_at_pid_1_first():
    stop = begun()
    assert stop.actions == (Identify(),)
    stop.give(Identified("sysvinit", "PID 1 runs /sbin/init"))
    assert asks(stop.actions) == ["sysvinit"]
    stop.give(InitAnswered("sysvinit"))
    assert stop.state.notes == ("method sysvinit: PID 1 runs /sbin/init",)


def test_s10_an_init_is_asked_once_and_no_other_process_is_signalled():
    stop = asked()
    assert stop.look_until(9.9, INIT, SERVICE) == []
    assert [asking.method for asking in stop.state.init_requests] == ["systemd"]
    assert stop.state.timers.get(Timer.LAST_CALL) is None


def test_s10_a_failure_falls_back_to_what_pid_1_is_and_then_to_the_signal():
    stop = begun("exec", command="halt")
    stop.give(InitAnswered("exec", "it failed"))
    assert Look() in stop.actions
    stop.look(INIT)
    assert Identify() in stop.actions
    stop.give(Identified("runit", "why"))
    assert asks(stop.actions) == ["runit"]
    stop.give(InitAnswered("runit", "PID 1 does not receive SIGPWR"))
    assert stop.look(RECEIVES) == [1]
    assert stop.state.notes == (
        "method exec: asked for",
        "method exec failed: it failed",
        "method runit: why",
        "method runit failed: PID 1 does not receive SIGPWR",
    )


def test_s10_the_same_method_is_not_tried_again_by_another_way():
    stop = begun("sysvinit")
    stop.give(InitAnswered("sysvinit", "there is no initctl FIFO"))
    stop.look(INIT)
    stop.give(Identified("sysvinit", "why"))
    assert stop.look(RECEIVES) == [1]
    assert [asking.method for asking in stop.state.init_requests] == ["sysvinit"]


def test_s10_what_is_no_init_is_signalled_like_an_application():
    stop = begun()
    stop.give(Identified(SIGNAL, "PID 1 runs sleep"))
    assert stop.look(RECEIVES) == [1]
    assert stop.state.method == SIGNAL


def test_s10_a_young_container_may_yet_execute_its_init():
    stop = begun(age_s=0.2)
    stop.give(Identified(SIGNAL, "PID 1 runs sh"))
    assert stop.look_until(0.3, INIT) == []
    assert stop.actions == (Identify(),)
    stop.give(Identified("systemd", "PID 1 runs systemd"))
    assert asks(stop.actions) == ["systemd"]


def test_s10_an_init_that_still_boots_is_asked_when_it_can_receive_it():
    stop = begun("finit", age_s=1.0)
    assert stop.actions[-1] == RequestInit("finit", is_patient=True)
    for _ in range(3):
        stop.give(InitAnswered("finit", "it is still booting", retry=True))
        assert stop.actions == (Persist(),)
        stop.give(TimerFired(Timer.LOOK), after_s=0.2)
        stop.look(INIT)
        assert asks(stop.actions) == ["finit"]
    stop.give(InitAnswered("finit"))
    assert len(stop.state.init_requests) == 1


@pytest.mark.parametrize(("age_s", "after_s"), [(20.0, 0.0), (1.0, 5.0)])
def test_s10_it_is_not_waited_for_when_it_is_old_or_half_of_the_grace_is_over(age_s, after_s):
    stop = begun(age_s=age_s)
    stop.give(Identified("finit", "why"), after_s=after_s)
    assert stop.actions[-1] == RequestInit("finit", is_patient=False)
    stop.give(InitAnswered("finit", "PID 1 does not receive SIGUSR2", retry=True))
    assert stop.state.method == SIGNAL


def test_s10_without_a_limit_only_the_age_counts():
    stop = begun("finit", age_s=1.0, grace_s=-1.0)
    stop.give(InitAnswered("finit", "not yet", retry=True), after_s=8.0)
    assert stop.state.method == "finit"
    stop.give(InitAnswered("finit", "too late", retry=True))  # nothing was asked meanwhile
    assert stop.state.init_requests[0].error == "not yet"


def test_s11_an_init_is_asked_before_it_is_thawed_but_a_command_would_hang():
    stop = Stop(StopRequest(method="systemd"))
    stop.look(INIT, is_frozen=True)
    assert asks(stop.actions) == ["systemd"]
    stop = Stop(StopRequest(method="exec", command="halt"))
    stop.look(INIT, is_frozen=True)
    assert asks(stop.actions) == []
    stop.look(INIT, after_s=0.2)
    assert asks(stop.actions) == ["exec"]


def test_s23_the_reaction_of_an_init_is_marked_once():
    stop = asked()
    for _ in range(2):
        stop.look(INIT, after_s=0.3)
    stop.look(after_s=0.3)
    assert [mark.name for mark in stop.state.marks] == ["signal", "reaction"]


# -- halted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_s10_pid_1_alone_and_idle_has_halted(method):
    stop = asked(method, command="halt")
    stop.look(INIT, after_s=0.5)
    idle_s = METHODS[method].idle_s
    stop.look_until(0.5 + idle_s - 0.1, INIT)
    assert stop.state.phase is Phase.GRACE
    stop.look_until(0.5 + idle_s + 0.6, INIT)
    assert stop.state.kill_cause is KillCause.HALTED
    judgement = judge(stop.state, exit_code=137, oom_kills=0)
    assert judgement.verdict is Verdict.GRACEFUL
    assert "left alone" in judgement.cause


def test_s10_a_moment_alone_in_the_middle_of_a_shutdown_is_not_the_end():
    stop = asked("sysvinit")
    stop.look(INIT, after_s=0.01)
    stop.look_until(1.5, INIT)
    stop.look(INIT, SERVICE, after_s=0.1)
    stop.look_until(3.0, INIT, SERVICE)
    assert stop.state.phase is Phase.GRACE


def test_s10_what_works_or_is_frozen_is_not_idle():
    stop = asked("sysvinit")
    for ticks in range(40):
        stop.look(proc(1, BLOCKED, "init", cpu_ticks=ticks), after_s=0.1)
    assert stop.state.phase is Phase.GRACE
    stop.look(proc(1, BLOCKED, "init", cpu_ticks=39), after_s=3.0, is_frozen=True)
    assert stop.state.phase is Phase.GRACE


def test_s10_before_it_was_asked_an_idle_pid_1_is_left_alone():
    stop = begun()
    for _ in range(5):
        stop.look(INIT, after_s=1.0)
        assert stop.actions == (Identify(),)


def test_s19_a_pid_1_that_does_not_end_after_it_halted_is_killed_again():
    stop = asked("sysvinit")
    stop.look(INIT)
    stop.look(INIT, after_s=2.5)
    assert stop.actions == (Persist(), KillInit())
    assert Timer.KILL_AGAIN in stop.state.timers


# -- late and strange inputs; other hands -------------------------------------------------------------


def test_answers_that_nothing_waits_for_change_nothing():
    late: list[tuple[Stop, Input]] = [
        (asked(), InitAnswered("systemd", "late")),
        (asked(), InitAnswered("runit")),
        (asked(), Identified("runit", "late")),
        (Stop(StopRequest(method=AUTO)), Identified("runit", "too early")),
        (Stop(StopRequest(method="runit")), InitAnswered("runit")),
    ]
    for stop, event in late:
        before = stop.state
        assert stop.give(event) == ()
        assert stop.state == before
    plain = Stop()
    plain.look(INIT)
    for event in (Identified("runit", "nobody asked"), InitAnswered("runit")):
        before = plain.state
        assert plain.give(event) == ()
        assert plain.state == before


def test_s05_a_kill_that_joins_does_not_wait_for_an_answer():
    stop = begun("exec", command="halt")
    stop.give(DeadlineMoved(stop.now_s))
    assert stop.state.phase is Phase.KILLING


def test_s06_after_a_change_of_drivers_no_init_is_asked_again():
    for stop in (begun("systemd"), asked()):
        stop.state = msgspec.json.decode(msgspec.json.encode(stop.state), type=StopState)
        stop.give(Resumed(stop.state.deadline_s))
        assert stop.actions == (Look(examine=True),)
        stop.look(INIT, SERVICE)
        assert asks(stop.actions) == []


def test_s06_a_failure_is_tried_again_by_the_next_driver():
    stop = begun("systemd", age_s=1.0)
    stop.give(InitAnswered("systemd", "not yet", retry=True))
    stop.give(Resumed(stop.state.deadline_s))
    stop.look(INIT)
    assert asks(stop.actions) == ["systemd"]


# -- verdicts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [(130, "and halted"), (129, "wanted to reboot"), (0, "ended by itself"), (None, "ended by itself")],
)
def test_s10_whatever_the_init_ends_with_is_its_own_way(code, words):
    stop = asked()
    stop.give(MainExited(), after_s=1.0)
    judgement = judge(stop.state, exit_code=code, oom_kills=0)
    assert judgement.verdict is Verdict.GRACEFUL
    assert words in judgement.cause
    assert "systemd (SIGRTMIN+3)" in judgement.cause


def test_s24_an_init_that_needs_too_long_is_killed_and_that_is_said():
    stop = asked()
    stop.give(TimerFired(Timer.DEADLINE), after_s=10.0)
    judgement = judge(stop.state, exit_code=137, oom_kills=0)
    assert judgement.verdict is Verdict.KILLED
    assert "by method systemd" in judgement.cause
    assert "--stop-method" in judgement.remedy


def test_s24_an_init_that_ended_before_it_could_be_asked():
    stop = begun()
    stop.give(MainExited())
    assert judge(stop.state, exit_code=0, oom_kills=0).cause == "it ended by itself before it could be signalled"
    stop = begun()
    stop.give(TimerFired(Timer.DEADLINE), after_s=10.0)
    assert judge(stop.state, exit_code=137, oom_kills=0).verdict is Verdict.KILLED


def test_s14_after_a_fallback_a_pid_1_that_receives_nothing_is_judged_by_the_signal_alone():
    sleep = proc(1, DROPPED, "sleep", evidence=pauses())
    stop = Stop(StopRequest(method="systemd"))
    stop.look(sleep)
    stop.give(InitAnswered("systemd", "PID 1 does not receive SIGRTMIN+3"), after_s=1.0)
    stop.look(sleep)
    stop.give(Identified(SIGNAL, "PID 1 runs sleep"))
    assert not stop.look(sleep)
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_an_asking_must_be_written_before_it_is_done():
    stop = begun()
    after = msgspec.structs.replace(stop.state)
    with pytest.raises(AssertionError, match="before it was written"):
        check_invariants(stop.state, Looked(()), after, (RequestInit("runit", is_patient=False),))
    assert not any(isinstance(action, SendSignal) for action in stop.actions)


@pytest.mark.parametrize("code", [129, 130])
def test_s23_what_an_init_begins_to_shut_down_goes_with_its_halt(code):
    stop = asked("sysvinit")
    stop.look(INIT, SERVICE, proc(9, HANDLED, "sh", under=1), after_s=0.2)
    stop.give(MainExited(), after_s=0.1)
    halting = ProcessEnd(pid=9, comm="sh", how="killed-with-pid-1", code=9, receives="handled")
    unseen = ProcessEnd(pid=10, comm=UNSEEN, how="killed-with-pid-1", code=9, receives=UNSEEN)
    assert judge(stop.state, exit_code=code, oom_kills=0, ends=(halting, unseen)).is_graceful
    service = ProcessEnd(pid=2, comm="service", how="killed-with-pid-1", code=9, receives="handled")
    assert judge(stop.state, exit_code=code, oom_kills=0, ends=(service,)).verdict is Verdict.CUT_SHORT
    assert judge(stop.state, exit_code=0, oom_kills=0, ends=(halting,)).verdict is Verdict.CUT_SHORT
