"""Rule S30: the program chooses its stop signal, where it is known and nothing else could be worse off for it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from bento.model.stop import Occasion, Scope, SignalFrom, StopRequest, Verdict
from bento.programs.facts import Effect, Program
from bento.programs.table import read
from bento.stop import own_signal
from bento.stop.actions import Look, Persist, SendSignal
from bento.stop.inputs import TimerFired
from bento.stop.invariants import check_invariants
from bento.stop.process import Disposition, Process
from bento.stop.states import Timer
from bento.stop.verdict import judge
from bento.units import SIGTERM

from support.looks import (
    BLOCKED,
    DEFAULT,
    DROPPED,
    HANDLED,
    IGNORED,
    UNKNOWN,
    WAITING,
    Stop,
    proc,
    serves,
    waits,
)

QUIT = 3
NGINX, POSTGRES, REDIS, TINI = read("nginx"), read("postgres"), read("redis"), read("tini")
WORKER = proc(3, HANDLED, "nginx", under=2)


def server(pid: int = 1, disposition: Disposition = HANDLED, *, under: int = 0, **more) -> Process:
    return proc(pid, disposition, "nginx", under=under, evidence=serves(), **more)


def chosen(
    *processes: Process,
    programs: Mapping[int, Program],
    at_first: Mapping[int, Disposition] | None = None,
    **request,
) -> StopRequest:
    """``at_first``: what the first signal would do, by pid, where that differs from what SIGTERM would."""
    asked = StopRequest(**({"signal_from": SignalFrom.AUTO} | request))
    shown = tuple(replace(one, disposition=(at_first or {}).get(one.pid, one.disposition)) for one in processes)
    if not own_signal.is_wanted(asked):
        return asked
    if why := own_signal.refusal(asked):
        return own_signal.as_it_is(asked, why)
    return own_signal.choose(asked, processes, programs, lambda number: shown)


def both(request: StopRequest) -> tuple[int, int]:
    return request.signal, request.last_signal


def test_s30_nginx_gets_quit_and_term_when_the_grace_is_nearly_over():
    found = chosen(server(), programs={1: NGINX})
    assert both(found) == (QUIT, SIGTERM)
    assert found.choice.startswith("stop signal auto: nginx (1) is nginx: SIGQUIT, at which it takes no new connection")
    assert "and SIGTERM when the grace is nearly over" in found.choice


def test_s30_postgres_may_wait_for_its_clients_first():
    assert both(chosen(proc(1, HANDLED, "postgres"), programs={1: POSTGRES})) == (SIGTERM, 2)


@pytest.mark.parametrize(
    "processes",
    [
        (proc(1, WAITING, "tini"), server(2, under=1), WORKER),
        (proc(1, BLOCKED, "tini"), server(2, under=1), WORKER),
        (proc(1, DROPPED, "sh", evidence=waits()), server(2, under=1), WORKER),
        (proc(1, WAITING, "tini"), server(2, under=1), proc(9, DEFAULT, "sh", under=777, is_entered=True)),
    ],
)
def test_s30_it_is_found_behind_what_passes_signals_on_and_behind_what_only_waits(processes):
    found = chosen(*processes, programs={1: TINI, 2: NGINX, 3: NGINX} if processes[0].comm == "tini" else {2: NGINX})
    assert both(found) == (QUIT, SIGTERM)
    assert "nginx (2) is nginx" in found.choice


@pytest.mark.parametrize(
    ("processes", "programs", "why"),
    [
        ((server(),), {}, "the program is not known"),
        ((proc(1, HANDLED, "redis"),), {1: REDIS}, "redis (1) is redis, and that is its own"),
        ((server(), proc(5, HANDLED, "cron", under=77)), {1: NGINX}, "other programs are beside it"),
        ((proc(1, HANDLED, "sh"), server(2, under=1)), {2: NGINX}, "the program is not known"),  # it has a trap
        ((proc(1, DROPPED, "sh"), server(2, under=1)), {2: NGINX}, "the program is not known"),  # it does not wait
        (
            (proc(1, WAITING, "tini"), server(2, under=1), server(4, under=1)),
            {1: TINI, 2: NGINX, 4: NGINX},
            "the program is not known",
        ),
        (
            (proc(1, WAITING, "dumb-init", kills_group=True), server(2, under=1)),
            {1: read("dumb-init"), 2: NGINX},
            "the program is not known",
        ),
        ((proc(1, WAITING, "tini"),), {1: TINI}, "the program is not known"),
        ((), {}, "the program is not known"),
    ],
)
def test_s30_where_that_is_not_certain_the_signal_stays(processes, programs, why):
    found = chosen(*processes, programs=programs)
    assert both(found) == (SIGTERM, 0)
    assert why in found.choice


@pytest.mark.parametrize("disposition", [DROPPED, IGNORED, DEFAULT, UNKNOWN])
def test_s30_a_program_that_has_no_handler_yet_does_not_get_it(disposition):
    found = chosen(server(), programs={1: NGINX}, at_first={1: disposition})
    assert both(found) == (SIGTERM, 0)
    assert "has no handler for SIGQUIT yet" in found.choice


def test_s30_what_is_on_the_way_is_to_take_both_signals_alike():
    way = (proc(1, DROPPED, "sh", evidence=waits()), server(2, under=1))
    assert chosen(*way, programs={2: NGINX}, at_first={1: HANDLED}).last_signal == 0  # a trap for SIGQUIT
    assert chosen(*way, programs={2: NGINX}, at_first={1: IGNORED}).last_signal == SIGTERM
    tini = (proc(1, WAITING, "tini"), server(2, under=1))
    assert chosen(*tini, programs={1: TINI, 2: NGINX}, at_first={1: DROPPED}).last_signal == 0


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"signal": QUIT}, "names it for its program"),
        ({"scope": Scope.MAIN}, "scope main is the plain stop"),
        ({"last_call_s": 0.0}, "there is no last call"),
    ],
)
def test_s30_what_was_said_otherwise_stays(request_, why):
    found = chosen(server(), programs={1: NGINX}, **request_)
    assert both(found) == (request_.get("signal", SIGTERM), 0)
    assert why in found.choice


@pytest.mark.parametrize("request_", [{"signal_from": SignalFrom.IMAGE}, {"grace_s": 0.0}, {"method": "systemd"}])
def test_s30_where_nothing_is_to_be_chosen_nothing_is_said(request_):
    found = chosen(server(), programs={1: NGINX}, **request_)
    assert (*both(found), found.choice) == (SIGTERM, 0, "")


def test_s30_each_file_that_chooses_is_one_that_can():
    assert {NGINX.auto, POSTGRES.auto} == {("QUIT", "TERM"), ("TERM", "INT")}
    assert NGINX.signals["QUIT"].effect is Effect.FINISHES


# -- the last signal ---------------------------------------------------------------------------------


def last_called(*processes: Process, **request) -> Stop:
    """A stop that has sent the first signal, and whose last call has been made."""
    stop = Stop(StopRequest(signal=QUIT, last_signal=SIGTERM, exit_hold_s=0.0, **request))
    for _ in range(2):
        if not stop.state.signalled:
            stop.look(*processes)
    assert [one.signal for one in stop.state.signalled] == ["SIGQUIT"]
    stop.now_s = 1008.0
    assert stop.give(TimerFired(Timer.LAST_CALL)) == (Look(examine=True),)
    before = stop.state
    stop.look(*processes)
    check_invariants(before, TimerFired(Timer.LAST_CALL), stop.state, stop.actions)
    return stop


def test_s30_shortly_before_the_end_it_gets_the_other_signal_once():
    main = server()
    stop = last_called(main)
    assert [action for action in stop.actions if isinstance(action, (Persist, SendSignal))] == [
        Persist(),
        SendSignal(1, main.start_ticks, SIGTERM, False),
    ]
    assert [(one.signal, one.occasion) for one in stop.state.hastened] == [("SIGTERM", Occasion.LAST_SIGNAL)]
    assert len(stop.state.signalled) == 1
    assert stop.look_until(9.9, main) == []
    judged = judge(stop.state, exit_code=0, oom_kills=0)
    assert judged.verdict is Verdict.LAST_CALL
    assert "was not through with its work at SIGQUIT" in judged.cause


def test_s30_without_another_signal_nothing_is_sent_again():
    stop = Stop(StopRequest(signal=QUIT, exit_hold_s=0.0))
    stop.look(server())
    stop.now_s = 1008.0
    stop.give(TimerFired(Timer.LAST_CALL))
    stop.look(server())
    assert stop.state.hastened == ()
