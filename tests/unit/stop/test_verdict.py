"""Rules S23 and S24: each verdict, with its cause in a sentence and a remedy."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.model.stop import UNSEEN, Occasion, ProcessEnd, Scope, Signalled, StopRequest, Verdict
from bento.stop import machine
from bento.stop.inputs import DeadlineMoved, MainExited, StepDone, TimerFired
from bento.stop.rules import holding
from bento.stop.states import Hold, KillCause, Phase, Step, Timer
from bento.stop.verdict import judge

from support.looks import BLOCKED, DEFAULT, DROPPED, HANDLED, IGNORED, WAITING, Stop, pauses, proc


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
    assert judgement == type(judgement)(Verdict.GRACEFUL, "it was signalled and ended by itself", is_graceful=True)


def test_s23_graceful_also_when_an_init_was_asked():
    assert ended([proc(1, WAITING, "tini"), proc(2, HANDLED, under=1)], code=143).verdict is Verdict.GRACEFUL


def test_s23_it_may_end_before_it_is_signalled():
    assert ended(code=0).cause == "it ended by itself before it could be signalled"
    assert ended([proc(1, IGNORED)], code=3).verdict is Verdict.GRACEFUL


def test_s24_one_that_the_oom_killer_had_ended_already_is_said_to_be_so():
    stop = Stop()
    stop.give(MainExited())
    gone = replace(stop.state, had_exited=True)
    assert judge(gone, exit_code=137, oom_kills=1).cause == "the kernel's OOM killer had already ended it"
    for code, kills in ((137, 0), (0, 1)):
        assert judge(gone, exit_code=code, oom_kills=kills).cause == "the process had already exited"


def told(main, *others, occasion=Occasion.PROGRAM, code=0, kill_cause=None, ends=(), first=()):
    """PID 1 and what it has started, these of them signalled; then PID 1 has gone."""
    stop = Stop()
    stop.look(main, *others)
    signalled = tuple(
        Signalled(pid=one.pid, start_ticks=7, comm=one.comm, at_s=0.1, why="", receives="handled", occasion=occasion)
        for one in others
    )
    watch = replace(stop.state.watch, first=(main, *others, *first))
    state = replace(stop.state, signalled=stop.state.signalled + signalled, kill_cause=kill_cause, watch=watch)
    return judge(replace(state, exited_s=stop.now_s), exit_code=code, oom_kills=0, ends=ends)


SHELL, RUNNER, WEB = proc(1, DROPPED, "sh"), proc(1, DROPPED, "runner"), proc(2, HANDLED, "web", under=1)


@pytest.mark.parametrize("kill_cause", [None, KillCause.WRAPPED])
def test_s23_forwarded_names_what_was_signalled_and_says_how_to_mend_it(kill_cause):
    judgement = told(SHELL, WEB, kill_cause=kill_cause)
    assert judgement.verdict is Verdict.FORWARDED
    assert judgement.cause.startswith("sh does not pass signals on; web was signalled instead")
    assert judgement.remedy.startswith("start the program with exec in the script")
    assert judgement.is_graceful
    judgement = told(RUNNER, WEB, proc(3, HANDLED, "web", under=1), kill_cause=kill_cause)
    assert judgement.cause.startswith("runner does not pass signals on; web was signalled instead")
    assert judgement.remedy == "run with --init, or have it pass signals on"


def test_s23_forwarded_by_the_default_action_is_not_graceful_to_strict():
    judgement = told(SHELL, WEB, occasion=Occasion.DEFAULT_ACTION, kill_cause=KillCause.WRAPPED)
    assert judgement.verdict is Verdict.FORWARDED
    assert not judgement.is_graceful


def test_s23_forwarded_by_one_that_would_have_ended_itself_says_so():
    def one(pid: int, comm: str, occasion: Occasion) -> Signalled:
        return Signalled(pid=pid, start_ticks=7, comm=comm, at_s=0.1, why="", receives="handled", occasion=occasion)

    stop = Stop()
    stop.look(proc(1, HANDLED, "make"))
    signalled = (one(1, "make", Occasion.INIT), one(2, "web", Occasion.PROGRAM))
    state = replace(stop.state, signalled=signalled, kill_cause=KillCause.WRAPPED, gave_up=True)
    judgement = judge(state, exit_code=0, oom_kills=0)
    assert judgement.verdict is Verdict.FORWARDED
    assert judgement.cause == (
        "make does not end by its signal, for it is PID 1; web was signalled instead, and make went no further"
    )


def test_s23_forwarded_before_any_process_was_seen():
    state = replace(Stop().state, kill_cause=KillCause.WRAPPED)
    assert judge(state, exit_code=137, oom_kills=0).cause.startswith("PID 1 does not pass signals on; the program")


def test_s23_a_shell_that_runs_its_trap_late_is_graceful_and_gets_advice():
    judgement = told(proc(1, HANDLED, "bash"), proc(2, DEFAULT, "sleep", under=1), occasion=Occasion.FOREGROUND)
    assert judgement.verdict is Verdict.GRACEFUL
    assert judgement.cause == "bash runs its trap only when sleep has ended; sleep was signalled as well"
    assert judgement.remedy == "start sleep with & in the script, and wait for it"


def test_s23_what_was_held_back_for_is_named():
    judgement = told(proc(1, HANDLED, "web"), WEB, occasion=Occasion.EXIT_HOLD)
    assert judgement.verdict is Verdict.GRACEFUL
    assert "web, which it did not wait for, was signalled and ended before it was let go" in judgement.cause


@pytest.mark.parametrize("kill_cause", [None, KillCause.WRAPPED])
def test_s23_last_call(kill_cause):
    judgement = told(SHELL, WEB, occasion=Occasion.LAST_CALL, kill_cause=kill_cause)
    assert judgement.verdict is Verdict.LAST_CALL
    assert judgement.remedy
    assert not judgement.is_graceful


def test_s23_what_a_guest_left_behind():
    guest = proc(1, HANDLED, "web", is_namespace_init=False)
    judgement = told(guest, WEB, occasion=Occasion.LEFT_BEHIND, kill_cause=KillCause.LEFT_BEHIND)
    assert judgement == type(judgement)(
        Verdict.GRACEFUL, "PID 1 ended by itself, and web, which it left behind, after it", is_graceful=True
    )
    assert told(guest, kill_cause=KillCause.LEFT_BEHIND).cause == "PID 1 ended by itself"


@pytest.mark.parametrize(
    ("end", "is_cut"),
    [
        (ProcessEnd(pid=2, comm="web", how="killed-with-pid-1", receives="handled"), True),
        (ProcessEnd(pid=2, comm="web", how="signalled", code=1, receives="waiting"), True),
        (ProcessEnd(pid=2, comm="web", how="signalled", code=15, receives="handled"), False),
        (ProcessEnd(pid=2, comm="tee", how="killed-with-pid-1", receives="default"), False),
        (ProcessEnd(pid=1, comm="web", how="killed-with-pid-1", receives="handled"), False),
    ],
)
def test_s23_cut_short_where_a_program_that_receives_the_signal_was_killed_along(end, is_cut):
    judgement = told(proc(1, HANDLED, "web"), ends=(end,))
    assert (judgement.verdict is Verdict.CUT_SHORT) is is_cut
    assert judgement.is_graceful is not is_cut
    assert ("web" in judgement.cause) is is_cut


def test_s23_cut_short_where_something_began_late_and_was_not_waited_for():
    unseen = ProcessEnd(pid=9, comm=UNSEEN, how="killed-with-pid-1", code=9, receives=UNSEEN)
    judgement = told(proc(1, HANDLED, "main"), ends=(unseen,))
    assert judgement.verdict is Verdict.CUT_SHORT
    assert judgement.cause.startswith("a process that began after PID 1 had its signal was still running")
    assert told(proc(1, HANDLED, "main"), ends=(replace(unseen, how="killed-by-us"),)).is_graceful


CUT = (ProcessEnd(pid=2, comm="web", how="killed-with-pid-1", receives="handled"),)


def test_s23_cut_short_says_what_became_of_the_program():
    judgement = told(proc(1, HANDLED, "main"), ends=CUT)
    assert judgement.cause == (
        "web was still running when PID 1 ended, and was killed with it or by the loss of its terminal"
    )
    assert judgement.remedy == "have the main process wait for what it starts"
    two = (*CUT, replace(CUT[0], pid=3, comm="db"))
    assert told(proc(1, HANDLED, "main"), ends=two).cause.startswith("web, db were still running when PID 1 ended")


@pytest.mark.parametrize("hold", [Hold(at_exit_s=1.0), Hold(held=frozenset({(2, 7)})), Hold(asked=((2, 7),))])
def test_s23_cut_short_after_a_lost_hold_has_no_remedy_for_the_program(hold):
    stop = Stop()
    stop.look(proc(1, HANDLED, "main"), WEB)
    lost = holding.lost(replace(stop.state, hold=hold), "the tracer ended")
    assert "the tracer ended" in lost.notes[-1]
    judgement = judge(replace(lost, exited_s=stop.now_s), exit_code=0, oom_kills=0, ends=CUT)
    assert (judgement.verdict, judgement.remedy) == (Verdict.CUT_SHORT, "")


def test_s23_cut_short_after_a_tracer_that_held_nothing_keeps_its_remedy():
    stop = Stop()
    stop.look(proc(1, HANDLED, "main"), WEB)
    lost = holding.lost(stop.state, "the tracer ended")
    judgement = judge(replace(lost, exited_s=stop.now_s), exit_code=0, oom_kills=0, ends=CUT)
    assert judgement.remedy


def test_s23_cut_short_after_a_driver_that_died_has_no_remedy_for_the_program():
    stop = Stop()
    stop.look(proc(1, HANDLED, "main"), WEB)
    state = replace(stop.state, ended_unseen=True, exited_s=stop.now_s)
    judgement = judge(state, exit_code=0, oom_kills=0, ends=CUT)
    assert (judgement.verdict, judgement.remedy) == (Verdict.CUT_SHORT, "")
    assert "the process that drove this stop had died" in judgement.cause


def test_s14_default_action_of_a_program():
    sleep = proc(1, DROPPED, "sleep", evidence=pauses())
    judgement = ended([sleep], [sleep], code=137)
    assert judgement.verdict is Verdict.DEFAULT_ACTION
    assert judgement.cause.startswith("sleep has no handler for SIGTERM, and as PID 1 the kernel keeps")
    assert judgement.remedy == "run with --init, or install a handler for SIGTERM"


def test_s14_default_action_of_a_shell():
    shell = proc(1, DROPPED, "sh", evidence=pauses())
    assert "exec" in ended([shell], [shell], code=137).remedy


def test_s12_default_action_of_a_program_that_swallowed_the_signal():
    node = proc(1, DROPPED, "node", evidence=pauses())
    judgement = ended([proc(1, HANDLED, "node")], *[[node]] * 4, code=137, signal=2)
    assert judgement.verdict is Verdict.DEFAULT_ACTION
    assert judgement.cause.startswith("node dropped its handler when SIGINT came")


@pytest.mark.parametrize(
    ("main", "words"), [(proc(1, DROPPED, "web"), "does not receive"), (proc(1, IGNORED, "web"), "ignores")]
)
def test_s24_the_plain_stop_says_why_its_signal_was_in_vain(main, words):
    assert f"web {words} SIGTERM" in killed(main, scope=Scope.MAIN).cause


def test_s14_default_action_when_no_process_was_seen():
    state = replace(Stop().state, kill_cause=KillCause.DEFAULT_ACTION)
    assert judge(state, exit_code=137, oom_kills=0).cause.startswith("the program has no handler")


def test_s24_killed_because_it_was_asked_for():
    judgement = ended([proc(1, HANDLED)], code=137, grace_s=0.0)
    assert judgement.verdict is Verdict.KILLED
    assert judgement.cause == "a kill was asked for"
    assert judgement.remedy


def test_s24_killed_because_a_caller_joined_with_a_kill():
    stop = Stop()
    stop.look(proc(1, HANDLED))
    stop.give(DeadlineMoved(stop.now_s + 1.0), after_s=1.0)
    stop.give(MainExited())
    assert judge(stop.state, exit_code=137, oom_kills=0).cause == "a kill was asked for"


@pytest.mark.parametrize(
    ("process", "then", "cause"),
    [
        (proc(1, HANDLED, "web"), None, "web was signalled and was still alive after the grace of 2.5 s"),
        (proc(1, IGNORED, "web"), None, "web ignores SIGTERM; still alive after the grace of 2.5 s"),
        (
            proc(1, BLOCKED, "web"),
            proc(1, BLOCKED, "web", is_pending=True),
            "web blocks SIGTERM and does not read it; still alive after the grace of 2.5 s",
        ),
        (proc(1, BLOCKED, "web"), None, "web was signalled and was still alive after the grace of 2.5 s"),
    ],
)
def test_s24_killed_says_why_and_what_to_do(process, then, cause):
    judgement = killed(process, then=[then] if then else None, grace_s=2.5)
    assert judgement.verdict is Verdict.KILLED
    assert judgement.cause == cause
    assert judgement.remedy


def test_s24_killed_because_nothing_below_ended():
    judgement = killed(proc(1, DROPPED, "sh"), proc(2, IGNORED, "web", under=1))
    assert judgement.cause == "sh does not receive SIGTERM; still alive after the grace of 10 s"


def test_s24_killed_before_any_process_was_seen():
    stop = Stop()
    stop.give(TimerFired(Timer.DEADLINE), after_s=10.0)
    stop.give(MainExited())
    assert judge(stop.state, exit_code=137, oom_kills=0).cause.startswith("the program was signalled")


def test_s24_without_an_exit_code_our_own_record_decides():
    assert killed(proc(1, IGNORED), code=None).verdict is Verdict.KILLED
    assert ended([proc(1, HANDLED)], code=None).verdict is Verdict.GRACEFUL


def test_s24_what_left_before_sigkill_arrived_was_not_killed():
    assert killed(proc(1, HANDLED), code=0).verdict is Verdict.GRACEFUL
    assert ended([proc(1, DROPPED)], [proc(1, DROPPED)], code=1).verdict is Verdict.GRACEFUL


def test_s24_137_alone_is_not_a_cause():
    assert "OOM" in ended([proc(1, HANDLED)], code=137, oom_kills=1).cause
    judgement = ended([proc(1, HANDLED)], code=137)
    assert judgement.verdict is Verdict.KILLED
    assert judgement.cause.startswith("another process sent SIGKILL")


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
    assert judgement.cause == "the stop signal is SIGKILL: Bento killed it, which no program can handle"
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
    assert judgement.cause == "it was signalled and ended by itself, but its clean-up failed (runtime: no)"
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


def test_s24_a_kill_that_was_asked_for_is_not_blamed_on_the_grace():
    stray = proc(2, HANDLED, "stray", under=1)
    stop = Stop()
    stop.look(proc(1, HANDLED), stray)
    state = replace(stop.state, kill_cause=KillCause.ASKED)
    ends = (ProcessEnd(pid=2, comm="stray", how="killed-by-us", code=137, receives="handled"),)
    assert judge(state, exit_code=0, oom_kills=0, ends=ends).remedy == "give it a grace (stop -t SECONDS)"
    state = replace(state, kill_cause=KillCause.GRACE_OVER)
    assert "more time" in judge(state, exit_code=0, oom_kills=0, ends=ends).remedy
