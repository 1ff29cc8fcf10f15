"""What no move of the machine may break, as part 7 of the stop contract says it. Pure; for tests."""

from __future__ import annotations

from bento.stop.actions import (
    Action,
    HoldBack,
    KillAll,
    KillInit,
    LetGo,
    Look,
    Persist,
    RequestInit,
    RunHook,
    RunStep,
    SendSignal,
    Thaw,
)
from bento.stop.inputs import DeadlineMoved, HeldBack, Input, Looked, MainExited, Resumed, TracerLost
from bento.stop.states import FINAL, MOVES, Hold, Phase, StopState, Timer, Trace


def check_invariants(before: StopState, event: Input, after: StopState, actions: tuple[Action, ...]) -> None:
    """Raise AssertionError where a move breaks a rule."""
    _check_phases(before, event, after)
    _check_deadline(before, event, after)
    _check_written(before, after, actions)
    _check_holds(before, event, after, actions)
    waits = after.timers or after.is_hooking or any(isinstance(action, (Look, RunStep)) for action in actions)
    waited = not before.timers and not isinstance(event, Looked)  # for the look that is on its way
    assert after.phase in FINAL or waits or waited or after.step is not None, "nothing is waited for"
    if isinstance(event, Looked) and event.is_frozen and after.phase is Phase.GRACE:
        assert Thaw() in actions or _is_thawed_soon(after, actions), "left frozen"


def _check_phases(before: StopState, event: Input, after: StopState) -> None:
    if after.phase is not before.phase:
        assert after.phase in MOVES[before.phase], f"{before.phase} -> {after.phase}"
    if after.phase is Phase.CLEANING and before.phase is not Phase.CLEANING:
        assert isinstance(event, MainExited) or before.exited_s is not None, "cleaning without an observed exit"


def _check_deadline(before: StopState, event: Input, after: StopState) -> None:
    extends = isinstance(event, DeadlineMoved) and event.extend
    if before.deadline_s is not None and not extends:
        assert after.deadline_s is not None, "the deadline was dropped"
        assert after.deadline_s <= before.deadline_s, "the deadline moved later"


def _check_written(before: StopState, after: StopState, actions: tuple[Action, ...]) -> None:
    """What must not happen twice is written down before it is done."""
    assert len(after.signalled_keys) == len(after.signalled), "a process was signalled twice"
    tried = [one.method for one in after.init_requests]
    assert len(tried) == len(set(tried)), "a method was tried twice"
    for number, action in enumerate(actions):
        if isinstance(action, (RequestInit, SendSignal)):
            assert Persist() in actions[:number], "done before it was written"
        if isinstance(action, SendSignal):
            key = (action.pid, action.start_ticks)
            told = {(one.pid, one.start_ticks) for one in before.hastened}
            is_last = action.signal == before.request.last_signal and key in before.signalled_keys - told
            assert is_last or key not in before.signalled_keys, "a process was signalled twice"
    begun = [action.number for action in actions if isinstance(action, RunHook)]
    assert all(number >= before.hooks_begun for number in begun), "a hook was begun twice"
    assert all(after.is_hooking and number == after.hooks_begun - 1 for number in begun), "a hook was not written down"


def _check_holds(before: StopState, event: Input, after: StopState, actions: tuple[Action, ...]) -> None:
    """What is held is let go: before a kill that would not wake it; else not before PID 1 has gone or all are killed.

    Nothing is held outside the grace but until then.
    """
    kills = [n for n, action in enumerate(actions) if isinstance(action, (KillAll, KillInit))]
    lets_go = [n for n, action in enumerate(actions) if isinstance(action, LetGo)]
    if before.hold.at_exit_s is not None and kills:
        assert lets_go, "PID 1 is killed at its exit"
        assert lets_go[0] < kills[0], "PID 1 is killed at its exit"
    if _is_holding(before.hold) and not _is_holding(after.hold):
        assert lets_go or isinstance(event, (TracerLost, Resumed, HeldBack)), "held, and forgotten"
    if any(isinstance(action, KillInit) for action in actions):
        assert LetGo() not in actions, "let go beside a PID 1 that has not ended"
    if after.phase is not Phase.GRACE:
        is_ending = after.phase is Phase.KILLING and after.kill_rounds == 0 and Timer.KILL_AGAIN in after.timers
        assert is_ending or not _is_holding(after.hold), "held outside the grace"
    if after.hold.at_exit_s is not None:  # then PID 1 is let go at some time
        ends = after.timers.keys() & {Timer.DEADLINE, Timer.EXIT_HOLD}
        assert ends, "PID 1 is held at its exit without an end"
    if any(isinstance(action, HoldBack) for action in actions):
        assert Timer.TRACER_LIMIT in after.timers, "the tracer may never answer"
        assert Persist() in actions, "held before it was written"


def _is_holding(hold: Hold) -> bool:
    return bool(hold.held or hold.asked) or hold.at_exit_s is not None


def _is_thawed_soon(after: StopState, actions: tuple[Action, ...]) -> bool:
    """Whether a look or the signal that comes before the thaw is on its way, or the tracer thaws what it froze."""
    is_for_exit = after.hold.at_exit_s is not None and not after.hold.is_settled
    is_before_signal = after.hold.trace is Trace.ASKED and after.hold.thaws
    return is_for_exit or is_before_signal or any(isinstance(action, Look) for action in actions)
