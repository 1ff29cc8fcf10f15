"""For what a stop is said to wait, and what each process is said to do, in the middle of it (rule S26)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.model.stop import Hook, Signalled, StopRequest
from bento.stop.machine import begin
from bento.stop.states import Hold, InitRequest, Phase, Step, StopState
from bento.stop.viewing import view_of

from support.looks import DEFAULT, DROPPED, HANDLED, proc, sleeps

MAIN, PROGRAM, OTHER = proc(1, HANDLED, "sh"), proc(2, HANDLED, "server", under=1), proc(3, DEFAULT, "cat", under=2)
DEAF = proc(1, DROPPED, "sh")


def state(phase: Phase = Phase.GRACE, **fields) -> StopState:
    request = StopRequest(pre_stop=(Hook(kind="inside", command="a"), Hook(kind="sleep", seconds=1.0)))
    begun, _ = begin(request, now_s=10.0, born_s=0.0, has_exited=False)
    return replace(begun, phase=phase, **fields)


def waits(state_: StopState, *alive) -> str:
    return view_of("web", state_, alive, (), {}).waits


def told(process, signal: str = "SIGTERM") -> Signalled:
    return Signalled(pid=process.pid, start_ticks=7, comm="x", at_s=1.5, why="", receives="handled", signal=signal)


@pytest.mark.parametrize(
    ("phase", "fields", "words"),
    [
        (Phase.REQUESTED, {}, ""),
        (Phase.DRAINING, {}, "until new connections are refused"),
        (Phase.HOOKING, {"hooks_begun": 2}, "for hook 2 of 2: nothing is signalled before it has ended"),
        (Phase.KILLING, {}, "for sh (1), server (2), cat (3) to die of SIGKILL"),
        (Phase.CLEANING, {}, "for the clean-up"),
        (Phase.CLEANING, {"step": Step.OVERLAY}, "for the clean-up: unmount"),
    ],
)
def test_s26_each_phase_waits_for_something_else(phase, fields, words):
    assert waits(state(phase, **fields), MAIN, PROGRAM, OTHER) == words


def test_s26_a_kill_of_what_is_not_seen():
    assert waits(state(Phase.KILLING)) == "for what is left to die of SIGKILL"


@pytest.mark.parametrize(
    ("fields", "alive", "words"),
    [
        ({}, (), "for PID 1 to be ready for the signal"),
        ({}, (MAIN,), "for PID 1 to be ready for the signal"),
        ({"signalled": (told(MAIN),)}, (MAIN, PROGRAM), "for sh (1): PID 1 has got the signal, and ends by itself"),
        (
            {"init_requests": (InitRequest(method="systemd", at_s=1.0, error=""),)},
            (MAIN,),
            "for sh (1): PID 1 has been asked, and ends by itself",
        ),
        (
            {"signalled": (told(PROGRAM),)},
            (DEAF, PROGRAM),
            "for server (2): PID 1 does not receive the signal, and waits for it",
        ),
        (
            {"signalled": (told(PROGRAM), told(OTHER))},
            (DEAF, PROGRAM, OTHER),
            "for server (2), cat (3): PID 1 does not receive the signal, and waits for them",
        ),
        (
            {"hold": Hold(at_exit_s=11.0), "signalled": (told(MAIN),)},
            (MAIN, PROGRAM),
            "for server (2), and PID 1 is held at its exit until then",
        ),
        ({"hold": Hold(at_exit_s=11.0)}, (MAIN,), "for a last look, and PID 1 is held at its exit until then"),
        (
            {},
            (replace(DEAF, age_s=1.0),),
            "for sh (1): it does not receive the signal, but was started only now, and may yet",
        ),
        ({}, (DEAF,), "for sh (1): it does not receive the signal; is anything at work that may end by itself?"),
    ],
)
def test_s26_for_which_process_the_grace_goes_on_and_why(fields, alive, words):
    assert waits(state(**fields), *alive) == words


def test_s26_of_many_names_some_are_said():
    many = tuple(proc(number, HANDLED, "worker", under=1) for number in range(2, 8))
    assert waits(state(Phase.KILLING), *many) == "for worker (2), worker (3), worker (4) and 3 more to die of SIGKILL"


@pytest.mark.parametrize(
    ("now", "before", "does"),
    [
        (replace(MAIN, is_halted=True), None, "is halted"),
        (replace(MAIN, evidence=sleeps(5.0)), None, "sleeps, for 5.0 s more at least"),
        (MAIN, None, ""),
        (replace(MAIN, cpu_ticks=2), MAIN, "works"),
        (replace(MAIN, switches=2), MAIN, "runs now and then"),
        (MAIN, MAIN, "sleeps"),
    ],
)
def test_s26_what_a_process_does(now, before, does):
    view = view_of("web", state(), (now,), (), {} if before is None else {before.key: before})
    assert view.processes[0].does == does


def test_s26_what_was_told_to_which_and_when():
    asked = (InitRequest(method="systemd", at_s=1.0, error="no"), InitRequest(method="runit", at_s=2.0, error=""))
    view = view_of("web", state(signalled=(told(PROGRAM, ""),), init_requests=asked), (MAIN, PROGRAM), (OTHER,), {})
    main, program, ended = view.processes
    assert (main.told_s, program.told, program.told_s) == (12.0, "SIGTERM", 11.5)
    assert main.told
    assert (ended.told, ended.has_ended) == ("", True)


def test_s26_parents_stand_before_their_children_whatever_a_look_says():
    late, circle = proc(9, HANDLED, under=8), proc(8, HANDLED, under=9)
    view = view_of("web", state(), (OTHER, PROGRAM, late, MAIN, circle), (), {})
    assert [one.pid for one in view.processes] == [1, 2, 3, 9, 8]


def test_s26_what_is_held():
    held = Hold(held=frozenset({PROGRAM.key}), at_exit_s=11.0)
    view = view_of("web", state(hold=held, method="systemd"), (MAIN, PROGRAM), (OTHER,), {})
    assert [one.is_held for one in view.processes] == [True, True, False]
    assert view.signal != "SIGTERM"
