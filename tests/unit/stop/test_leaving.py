"""Rule S13a: PID 1 is held at its exit until what it leaves behind has ended."""

from __future__ import annotations

import pytest

from bento.model.stop import Occasion, StopRequest
from bento.stop.actions import HoldBack, KillAll, LetGo, Look, Persist, SendSignal, Thaw
from bento.stop.inputs import DeadlineMoved, HeldBack, InitLeaving, Looked, MainExited, Resumed, TimerFired, Traced
from bento.stop.states import KillCause, Phase, Timer

from support.looks import BLOCKED, DEFAULT, HANDLED, Stop, pauses, polls, proc, runs, serves, sleeps, thread, waits

MAIN = proc(1, HANDLED, "web", evidence=serves())
AGENT = proc(2, HANDLED, "agent", under=1, evidence=serves(connected=1))
SHELL = proc(3, DEFAULT, "sh", under=1, evidence=waits(4))
DUMP = proc(4, DEFAULT, "dump", under=3, evidence=runs())


def leaving(*others, **request) -> Stop:
    """PID 1 has come to its exit 0.1 s after its signal."""
    stop = Stop(StopRequest(**request))
    stop.look(MAIN, *others)
    stop.give(Traced())
    stop.give(InitLeaving(), after_s=0.1)
    assert stop.did(Persist(), Look())
    return stop


def settled(*others, **request) -> Stop:
    stop = leaving(*others, **request)
    stop.give(Looked((MAIN, *others), is_frozen=True))
    (asked,) = [action for action in stop.actions if isinstance(action, HoldBack)]
    assert asked.thaw
    stop.give(HeldBack(asked.keys))
    return stop


def test_s13a_what_would_go_on_is_held_before_the_container_is_thawed():
    stop = leaving(AGENT, SHELL, DUMP)
    stop.give(Looked((MAIN, AGENT, SHELL, DUMP), is_frozen=True))
    assert stop.did(Persist(), HoldBack((SHELL.key,), thaw=True))
    assert stop.look(MAIN, AGENT, SHELL, DUMP, after_s=0.01) == []  # it has not answered
    stop.give(HeldBack((SHELL.key,)))
    assert stop.state.hold.is_settled
    assert [one.why for one in stop.state.held] == ["it would have gone on to its next command"]


def test_s13a_where_nothing_is_left_pid_1_is_let_go_at_once():
    idle = proc(5, DEFAULT, "sleep", under=1)
    for left in ((), (idle,)):
        stop = leaving(AGENT)
        stop.give(Looked((MAIN, *left), is_frozen=True))
        assert stop.did(LetGo(), Thaw())


def test_s13a_what_is_left_is_looked_at_with_evidence_before_it_is_judged():
    stop = leaving(AGENT)
    stop.give(Looked((proc(1, HANDLED, "web"), proc(2, HANDLED, "agent", under=1)), is_frozen=True))
    assert stop.did(Look(examine=True))


def test_s13a_also_a_shell_whose_child_has_ended_meanwhile():
    stop = leaving(AGENT, SHELL, DUMP)
    alone = proc(3, DEFAULT, "sh", under=1, evidence=waits())
    stop.give(Looked((MAIN, AGENT, alone), is_frozen=True))
    assert stop.actions[1] == HoldBack((SHELL.key,), thaw=True)


def test_s13a_what_cannot_have_been_signalled_is_so_at_once_and_pid_1_let_go_after_it():
    stop = settled(AGENT)
    assert stop.look(MAIN, AGENT) == [2]
    assert stop.state.signalled[-1].occasion is Occasion.EXIT_HOLD
    assert stop.look_until(3.0, MAIN, AGENT) == []
    stop.look(MAIN)
    assert stop.did(LetGo((MAIN.key,)))
    assert stop.state.hold.at_exit_s is None
    stop.give(MainExited())
    assert stop.state.phase is Phase.CLEANING


def test_s13a_what_has_run_since_is_signalled_after_half_a_second_of_rest():
    stop = settled(AGENT)
    told = proc(2, HANDLED, "agent", under=1, evidence=serves(), switches=9)
    assert stop.look(MAIN, told) == []
    assert stop.look(MAIN, told, after_s=0.4) == []
    assert stop.look(MAIN, told, after_s=0.2) == [2]


def test_s13a_a_tick_now_and_then_is_no_work():
    """A program that waits for its next turn every 0.2 s would else be signalled at the last call only."""
    stop = settled(AGENT)
    told = []
    for turn in range(1, 8):
        told += stop.look(MAIN, proc(2, HANDLED, under=1, evidence=sleeps(0.2), switches=turn // 2), after_s=0.1)
    assert told == [2]
    assert stop.state.signalled[-1].occasion is Occasion.EXIT_HOLD


def test_s13a_a_held_shell_that_its_supervisor_has_signalled_is_let_go_and_dies():
    """runsv waits for the end of its service's shell, and that for nothing: it is held. The program is below it."""
    runsv = proc(2, HANDLED, "runsv", under=1, evidence=polls("pipe"))
    shell = proc(3, DEFAULT, "sh", under=2, evidence=waits(4))
    program = proc(4, HANDLED, "app", under=3, evidence=serves())
    stop = settled(runsv, shell, program)
    assert stop.look(MAIN, runsv, shell, program) == [2]
    dying = proc(3, DEFAULT, "sh", under=2, evidence=waits(4), is_pending=True)
    stop.look(MAIN, runsv, dying, program, after_s=0.1)
    assert LetGo((shell.key,)) in stop.actions
    assert stop.look(MAIN, runsv, dying, program, after_s=0.1) == []  # it is not held once more
    assert not any(isinstance(action, HoldBack) for action in stop.actions)
    assert stop.look(MAIN, proc(4, HANDLED, "app", under=1, evidence=serves()), after_s=0.1) == [4]


@pytest.mark.parametrize(
    ("before", "now", "is_told"),
    [
        ("read", "read", True),
        ("read", "", True),
        ("", "clock_nanosleep", True),
        ("poll", "restart_syscall", True),  # it was frozen with the container
        ("restart_syscall", "poll", True),
        ("read", "clock_nanosleep", False),
    ],
)
def test_s13a_what_sleeps_while_it_saves_is_not_signalled_again(before, now, is_told):
    """`trap 'kill $P; exit'`: PID 1 has signalled it, and it ticks as an idle program does, but elsewhere."""
    stop = settled(proc(2, HANDLED, "saver", under=1, evidence=serves(), call=before))
    told = []
    for turn in range(1, 10):
        told += stop.look(MAIN, proc(2, HANDLED, under=1, evidence=sleeps(0.1), switches=turn, call=now), after_s=0.1)
    assert told == [2] * is_told


@pytest.mark.parametrize("work", [{"switches": 9}, {"cpu_ticks": 1}])
def test_s13a_what_never_rests_is_signalled_at_the_last_call(work):
    stop = settled(AGENT)
    for turn in range(1, 80):
        more = {name: turn * much for name, much in work.items()}
        busy = proc(2, HANDLED, under=1, evidence=runs(), **{"switches": turn} | more)
        assert stop.look(MAIN, busy, after_s=0.1) == []
    stop.now_s = stop.state.timers[Timer.LAST_CALL]
    stop.give(TimerFired(Timer.LAST_CALL))
    assert stop.look(MAIN, proc(2, HANDLED, under=1, evidence=runs(), switches=99)) == [2]
    assert stop.state.signalled[-1].occasion is Occasion.LAST_CALL


def test_s00_nothing_below_a_shell_that_cannot_be_held_is_signalled():
    inner = proc(4, HANDLED, under=3, evidence=serves())
    stop = leaving(AGENT, SHELL, inner)
    stop.give(Looked((MAIN, AGENT, SHELL, inner), is_frozen=True))
    stop.give(HeldBack((), (SHELL.key,), "no"))
    assert stop.look(MAIN, AGENT, SHELL, inner) == [2]
    stop.look(MAIN, SHELL, inner, after_s=0.2)
    assert stop.did(LetGo((MAIN.key,)))


def test_s00_what_becomes_a_parent_later_is_held_then():
    stop = settled(AGENT)
    assert stop.look(MAIN, AGENT) == [2]
    stop.look(MAIN, AGENT, SHELL, DUMP, after_s=0.2)
    assert stop.actions[1] == HoldBack((SHELL.key,), thaw=False)


@pytest.mark.parametrize(
    ("evidence", "is_given_up"),
    [
        (polls("tty"), True),
        (polls("pipe"), True),
        (pauses(), True),
        (polls("socket"), False),
        (runs(), False),
        (thread("flock"), False),
        (None, False),
    ],
)
def test_s13a_a_shell_at_its_prompt_is_not_waited_for(evidence, is_given_up):
    prompt = proc(2, HANDLED, "bash", under=1, evidence=evidence)
    stop = settled(AGENT)
    assert stop.look(MAIN, prompt) == [2]
    stop.look(MAIN, prompt, after_s=0.5)
    assert not any(isinstance(action, LetGo) for action in stop.actions)
    stop.look(MAIN, prompt, after_s=0.6)
    assert any(isinstance(action, LetGo) for action in stop.actions) is is_given_up


def test_s13a_the_hold_ends_with_its_own_limit_and_the_rest_stays_held():
    stop = settled(AGENT, SHELL, DUMP, exit_hold_s=3.0)
    assert stop.look(MAIN, AGENT, SHELL, DUMP) == [2]
    stop.now_s = stop.state.timers[Timer.EXIT_HOLD]
    assert stop.give(TimerFired(Timer.EXIT_HOLD)) == (LetGo((MAIN.key,)),)
    assert stop.state.hold.held == {SHELL.key}
    assert stop.give(MainExited())[0] == LetGo()
    assert stop.state.hold.held == frozenset()


def test_s13a_a_limit_before_it_is_settled_lets_everything_go_and_thaws():
    stop = leaving(AGENT, SHELL, DUMP, exit_hold_s=0.001)
    assert stop.give(TimerFired(Timer.EXIT_HOLD), after_s=0.001) == (LetGo(),)
    assert stop.state.hold.at_exit_s is None


def test_s13a_without_a_deadline_it_is_the_default_grace_also_when_that_is_taken_away():
    assert leaving(AGENT, grace_s=-1.0).state.timers[Timer.EXIT_HOLD] == pytest.approx(1010.1)
    stop = leaving(AGENT)
    assert Timer.EXIT_HOLD not in stop.state.timers
    stop.give(DeadlineMoved(None, extend=True), after_s=1.0)
    assert stop.state.timers[Timer.EXIT_HOLD] == pytest.approx(1011.1)
    stop.give(DeadlineMoved(1050.0, extend=True), after_s=1.0)
    assert stop.state.timers[Timer.EXIT_HOLD] == pytest.approx(1011.1)


@pytest.mark.parametrize("is_settled", [True, False])
def test_s13a_pid_1_is_let_go_before_a_kill(is_settled):
    stop = settled(AGENT, SHELL, DUMP) if is_settled else leaving(AGENT, SHELL, DUMP)
    actions = stop.give(DeadlineMoved(stop.now_s))
    assert stop.state.kill_cause is KillCause.ASKED
    lets_go = [action for action in actions if isinstance(action, LetGo)]
    assert actions.index(lets_go[0]) < actions.index(KillAll())
    assert lets_go[0] == (LetGo((MAIN.key,)) if is_settled else LetGo())


def test_s13a_a_hold_that_is_never_answered_is_let_go():
    stop = leaving(AGENT, SHELL, DUMP)
    stop.give(Looked((MAIN, AGENT, SHELL, DUMP), is_frozen=True))
    stop.now_s = stop.state.timers[Timer.TRACER_LIMIT]
    assert stop.give(TimerFired(Timer.TRACER_LIMIT))[0] == LetGo()
    assert stop.state.hold.at_exit_s is None
    before = stop.state
    stop.give(HeldBack((SHELL.key,)))
    assert stop.state == before


def test_s13a_when_the_driver_dies_pid_1_ends_and_that_is_said():
    stop = settled(AGENT)
    stop.give(Resumed(1010.0))
    assert stop.state.notes == ("the process that drove this stop ended: PID 1 had been held at its exit and ended",)
    stop.give(Looked((), is_frozen=True))
    assert Thaw() in stop.actions


def test_s13a_a_process_that_never_reads_the_signal_is_not_waited_for():
    stop = settled(AGENT)
    assert stop.look(MAIN, AGENT) == [2]
    stop.look(MAIN, proc(2, BLOCKED, under=1, is_pending=True, evidence=serves()), after_s=0.6)
    assert stop.did(LetGo((MAIN.key,)))


# -- a guest in another PID namespace ---------------------------------------------------------------


GUEST = proc(1, HANDLED, "web", is_namespace_init=False, evidence=serves())
LEFT = proc(2, HANDLED, "agent", under=99, is_main=False, evidence=serves(connected=1))


def test_s13a_what_a_guest_leaves_behind_is_signalled_and_the_rest_ended_after_it():
    stop = Stop()
    stop.look(GUEST)
    stop.look(GUEST, proc(2, HANDLED, under=1, evidence=serves()), after_s=0.5)
    assert stop.look(LEFT, after_s=0.1) == []
    assert stop.look(LEFT, after_s=0.5) == [2]
    assert stop.state.signalled[-1].occasion is Occasion.LEFT_BEHIND
    stop.look(after_s=0.1)
    assert stop.state.kill_cause is KillCause.LEFT_BEHIND
    assert KillAll() in stop.actions


def test_s13a_and_what_would_go_on_there_is_held_first():
    shell = proc(3, DEFAULT, "sh", under=99, is_main=False, evidence=waits(4))
    inner = proc(4, HANDLED, under=3, evidence=serves())
    stop = Stop()
    stop.look(GUEST)
    stop.look(shell, inner, after_s=0.5)
    assert stop.did(Persist(), HoldBack((shell.key,)))
    stop.give(HeldBack((shell.key,)))
    stop.look(shell, inner)
    assert stop.look(shell, inner, after_s=0.6) == [4]
    assert any(isinstance(action, SendSignal) for action in stop.actions)
