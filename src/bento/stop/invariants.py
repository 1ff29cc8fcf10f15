"""What no move of the machine may break, as part 7 of the stop contract says it. Pure; for tests."""

from __future__ import annotations

from bento.stop.actions import Action, Look, Persist, RequestInit, RunHook, RunStep, Thaw
from bento.stop.inputs import DeadlineMoved, Input, Looked, MainExited
from bento.stop.states import FINAL, MOVES, Phase, StopState


def check_invariants(before: StopState, event: Input, after: StopState, actions: tuple[Action, ...]) -> None:
    """Raise AssertionError where a move breaks a rule."""
    if after.phase is not before.phase:
        assert after.phase in MOVES[before.phase], f"{before.phase} -> {after.phase}"
    if after.phase is Phase.CLEANING and before.phase is not Phase.CLEANING:
        assert isinstance(event, MainExited) or before.exited_s is not None, "cleaning without an observed exit"
    extends = isinstance(event, DeadlineMoved) and event.extend
    if before.deadline_s is not None and not extends:
        assert after.deadline_s is not None, "the deadline was dropped"
        assert after.deadline_s <= before.deadline_s, "the deadline moved later"
    assert len(after.told) == len(after.signalled), "somebody was told twice"
    tried = [one.method for one in after.init_requests]
    assert len(tried) == len(set(tried)), "a method was tried twice"
    assert not any(isinstance(action, RequestInit) for action in actions) or Persist() in actions, (
        "asked before it was written"
    )
    begun = [action.number for action in actions if isinstance(action, RunHook)]
    assert all(number >= before.hooks_begun for number in begun), "a hook was begun twice"
    assert all(after.is_hooking and number == after.hooks_begun - 1 for number in begun), "a hook was not written down"
    waits = after.timers or after.is_hooking or any(isinstance(action, (Look, RunStep)) for action in actions)
    waited = not before.timers and not isinstance(event, Looked)  # for the look that is on its way
    assert after.phase in FINAL or waits or waited or after.step is not None, "nothing is waited for"
    if isinstance(event, Looked) and event.is_frozen and after.phase is Phase.GRACE:
        assert Thaw() in actions, "left frozen"
