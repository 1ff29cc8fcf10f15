"""Rules S23 and S24: each verdict, with its cause in a sentence and a remedy."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.model.stop import Signalled, StopRequest, Verdict
from bento.stop import machine
from bento.stop.inputs import DeadlineMoved, MainExited, StepDone, TimerFired
from bento.stop.states import KillCause, Phase, Step, Timer
from bento.stop.verdict import judge

from support.looks import BLOCKED, DEAF, DEFAULT, HANDLED, IGNORED, WAITING, Stop, proc


def ended(*looks, code=0, oom_kills=0, age_s=100.0, **request):
    """Show one look after the other, 0.2 s apart; then PID 1 leaves."""
    stop = Stop(StopRequest(**request), age_s=age_s)
    for look in looks:
        stop.look(*look, after_s=0.2)
    stop.give(MainExited(), after_s=0.1)
    return judge(stop.state, exit_code=code, oom_kills=oom_kills)


def killed(*look, then=None, code: int | None = 137, oom_kills=0, **request):
    """Show the same until the deadline."""
    stop = Stop(StopRequest(**request))
    stop.look(*look)
    stop.look_until(stop.state.request.grace_s + 0.01, *(then or look))
    stop.give(MainExited(), after_s=0.01)
    return judge(stop.state, exit_code=code, oom_kills=oom_kills)


def test_s23_graceful():
    judgement = ended([proc(1, HANDLED)])
    assert judgement == type(judgement)(Verdict.GRACEFUL, "it was told and ended by itself")


def test_s23_graceful_also_when_an_init_was_told():
    assert ended([proc(1, WAITING, "tini"), proc(2, HANDLED, under=1)], code=143).verdict is Verdict.GRACEFUL


def test_s23_it_may_end_before_it_is_told():
    assert ended(code=0).cause == "it ended by itself before it could be told"
    assert ended([proc(1, IGNORED)], code=3).verdict is Verdict.GRACEFUL


def test_s23_forwarded_names_who_was_told_and_says_how_to_mend_it():
    judgement = ended([proc(1, DEAF, "sh"), proc(2, DEFAULT, "sleep", under=1)], code=143)
    assert judgement.verdict is Verdict.FORWARDED
    assert judgement.cause == "sh does not pass signals on; sleep was told instead"
    assert judgement.remedy.startswith("start the program with exec in the script")


def test_s23_forwarded_by_something_that_is_no_shell():
    judgement = ended([proc(1, DEAF, "runner"), proc(2, HANDLED, "web", under=1), proc(3, HANDLED, "web", under=1)])
    assert judgement.cause == "runner does not pass signals on; web was told instead"
    assert judgement.remedy == "run with --init, or have it pass signals on"


def test_s23_a_trap_that_waits_for_its_child_needs_no_advice():
    shell, child = proc(1, HANDLED, "bash"), proc(2, HANDLED, "web", under=1)
    judgement = ended(*[[shell, child]] * 6)
    assert judgement.verdict is Verdict.FORWARDED
    assert judgement.remedy == ""


def test_s23_last_call():
    shell, busy, tee = proc(1, DEAF, "sh"), proc(2, HANDLED, "web", under=1), proc(3, DEFAULT, "tee", under=1)
    stop = Stop()
    stop.look(shell, busy, tee)
    stop.look_until(9.0, shell, busy, tee)
    stop.give(MainExited())
    judgement = judge(stop.state, exit_code=0, oom_kills=0)
    assert judgement.verdict is Verdict.LAST_CALL
    assert judgement.cause == "it ended only after the last call had told tee"
    assert judgement.remedy


def test_s23_last_call_to_pid_1_itself():
    init, shell = proc(1, WAITING, "tini"), proc(2, IGNORED, "sh", under=1)
    busy = proc(3, IGNORED, "web", under=2)
    stop = Stop()
    stop.look(init, shell, busy)
    assert stop.look_until(9.0, init, shell, busy) == [1]
    stop.give(MainExited())
    assert "told tini" in judge(stop.state, exit_code=143, oom_kills=0).cause


def test_s14_default_action_of_a_program():
    judgement = ended([proc(1, DEAF, "sleep")], [proc(1, DEAF, "sleep")], code=137)
    assert judgement.verdict is Verdict.DEFAULT_ACTION
    assert judgement.cause.startswith("sleep has no handler for SIGTERM, and as PID 1 the kernel keeps")
    assert judgement.remedy == "run with --init, or install a handler for SIGTERM"


def test_s14_default_action_of_a_shell():
    judgement = ended([proc(1, DEAF, "sh")], [proc(1, DEAF, "sh")], code=137)
    assert "exec" in judgement.remedy


def test_s12_default_action_of_a_program_that_swallowed_the_signal():
    looks = [[proc(1, HANDLED, "node")], *[[proc(1, DEAF, "node")]] * 8]
    judgement = ended(*looks, code=137, signal=2)
    assert judgement.verdict is Verdict.DEFAULT_ACTION
    assert judgement.cause.startswith("node dropped its handler when SIGINT came")


def test_s14_default_action_when_nobody_was_seen():
    state = replace(Stop().state, kill_cause=KillCause.DEFAULT_ACTION)
    assert judge(state, exit_code=137, oom_kills=0).cause.startswith("the program has no handler")


def test_s24_killed_because_it_was_asked_for():
    judgement = ended([proc(1, HANDLED)], code=137, grace_s=0.0)
    assert judgement.verdict is Verdict.KILLED
    assert judgement.cause == "a kill was asked for"
    assert judgement.remedy


def test_s24_killed_because_somebody_joined_with_a_kill():
    stop = Stop()
    stop.look(proc(1, HANDLED))
    stop.give(DeadlineMoved(stop.now_s + 1.0), after_s=1.0)
    stop.give(MainExited())
    assert judge(stop.state, exit_code=137, oom_kills=0).cause == "a kill was asked for"


@pytest.mark.parametrize(
    ("process", "then", "cause"),
    [
        (proc(1, HANDLED, "web"), None, "web was told and was still alive after the grace of 2.5 s"),
        (proc(1, IGNORED, "web"), None, "web ignores SIGTERM; still alive after the grace of 2.5 s"),
        (
            proc(1, BLOCKED, "web"),
            proc(1, BLOCKED, "web", is_pending=True),
            "web blocks SIGTERM and does not read it; still alive after the grace of 2.5 s",
        ),
        (proc(1, BLOCKED, "web"), None, "web was told and was still alive after the grace of 2.5 s"),
    ],
)
def test_s24_killed_says_why_and_what_to_do(process, then, cause):
    judgement = killed(process, then=[then] if then else None, grace_s=2.5)
    assert judgement.verdict is Verdict.KILLED
    assert judgement.cause == cause
    assert judgement.remedy


def test_s24_killed_because_nothing_below_ended():
    judgement = killed(proc(1, DEAF, "sh"), proc(2, IGNORED, "web", under=1))
    assert judgement.cause == "sh does not hear SIGTERM; still alive after the grace of 10 s"


def test_s24_killed_before_anybody_was_seen():
    stop = Stop()
    stop.give(TimerFired(Timer.DEADLINE), after_s=10.0)
    stop.give(MainExited())
    assert judge(stop.state, exit_code=137, oom_kills=0).cause.startswith("the program was told")


def test_s24_without_an_exit_code_our_own_record_decides():
    assert killed(proc(1, IGNORED), code=None).verdict is Verdict.KILLED
    assert ended([proc(1, HANDLED)], code=None).verdict is Verdict.GRACEFUL


def test_s24_who_left_before_sigkill_arrived_was_not_killed():
    assert killed(proc(1, HANDLED), code=0).verdict is Verdict.GRACEFUL
    assert ended([proc(1, DEAF)], [proc(1, DEAF)], code=1).verdict is Verdict.GRACEFUL


def test_s24_137_alone_is_not_a_cause():
    assert "OOM" in ended([proc(1, HANDLED)], code=137, oom_kills=1).cause
    judgement = ended([proc(1, HANDLED)], code=137)
    assert judgement.verdict is Verdict.KILLED
    assert judgement.cause.startswith("somebody else sent SIGKILL")


def test_s02_already_exited():
    state, _ = machine.begin(StopRequest(), now_s=1.0, born_s=0.0, has_exited=True)
    judgement = judge(state, exit_code=137, oom_kills=0)
    assert judgement.verdict is Verdict.ALREADY_EXITED
    assert judgement.cause == "the process had already exited"


def test_s19_stuck():
    stop = Stop(StopRequest(grace_s=0.0))
    stop.look(proc(1, HANDLED))
    stop.give(TimerFired(Timer.KILL_LIMIT), after_s=30.0)
    judgement = judge(stop.state, exit_code=None, oom_kills=0)
    assert judgement.verdict is Verdict.STUCK
    assert judgement.remedy == "stop it again later"


def test_s24_sigkill_as_the_stop_signal_is_bentos_own():
    stop = Stop(StopRequest(signal=9, grace_s=60.0))
    stop.look(proc(1, HANDLED))
    assert stop.state.phase is Phase.KILLING
    stop.give(MainExited(), after_s=0.01)
    judgement = judge(stop.state, exit_code=137, oom_kills=0)
    assert judgement.verdict is Verdict.KILLED
    assert judgement.cause == "the stop signal is SIGKILL: Bento killed it, as no program can hear that signal"
    assert judgement.remedy == "name a signal that it handles (stop -s, --stop-signal)"


def test_s24_also_where_it_is_sent_after_another_method_has_failed():
    main = proc(1, HANDLED)
    stop = Stop(StopRequest(signal=9, method="exec", command="halt"))
    stop.look(main)
    told = Signalled(pid=main.pid, start_ticks=main.start_ticks, comm="x", at_s=0.1, why="", receives="handled")
    state = replace(stop.state, signalled=(told,), watch=replace(stop.state.watch, first=(main,)), exited_s=stop.now_s)
    assert judge(state, exit_code=137, oom_kills=0).cause.startswith("the stop signal is SIGKILL: Bento killed it")


def cleaned_up(*said: StepDone, code=0):
    """A program that ended as it should; then the clean-up."""
    stop = Stop(StopRequest())
    stop.look(proc(1, HANDLED))
    stop.give(MainExited(), after_s=0.1)
    for done in said:
        stop.give(done)
    return judge(stop.state, exit_code=code, oom_kills=0)


def test_s23_a_stop_whose_clean_up_failed_is_not_called_graceful():
    judgement = cleaned_up(StepDone(Step.MONITOR), StepDone(Step.RUNTIME, "no"))
    assert judgement.verdict is Verdict.STUCK
    assert judgement.cause == "it was told and ended by itself, but its clean-up failed (runtime: no)"
    assert judgement.remedy == "see bento doctor"
    assert cleaned_up(StepDone(Step.MONITOR), StepDone(Step.RUNTIME)).verdict is Verdict.GRACEFUL


def test_s23_another_verdict_stays_beside_what_the_clean_up_said():
    stop = Stop(StopRequest(grace_s=0.0))
    stop.look(proc(1, HANDLED))
    stop.give(MainExited(), after_s=0.1)
    stop.give(StepDone(Step.MONITOR, "no"))
    assert judge(stop.state, exit_code=137, oom_kills=0).verdict is Verdict.KILLED


@pytest.mark.parametrize("verdict", Verdict)
def test_s25_which_verdicts_are_graceful(verdict):
    graceful = {Verdict.GRACEFUL, Verdict.FORWARDED, Verdict.ALREADY_EXITED}
    assert verdict.is_graceful is (verdict in graceful)


def test_s23_what_pid_1_left_behind_and_had_to_be_killed_is_no_graceful_end():
    left = proc(2, IGNORED, "stray", under=4711)
    judgement = killed(proc(1, HANDLED), left, then=[left], code=0)
    assert judgement.verdict is Verdict.KILLED
    assert "left behind" in judgement.cause
    assert killed(proc(1, HANDLED), proc(2, HANDLED, under=1), code=0).verdict is Verdict.GRACEFUL
