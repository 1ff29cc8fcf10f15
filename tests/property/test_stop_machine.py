"""The promises of a stop, on generated containers, callers and accidents (part 7 of the stop contract)."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bento.model.stop import Hook, Occasion, OnDeaf, OnWrapper, StopRequest
from bento.stop.actions import Drain, Persist, RunHook, RunStep, SendSignal
from bento.stop.cleaning import STEP_LIMIT_S
from bento.stop.hooking import AFTERWARDS_S, LEFT_FOR_SIGNAL_S
from bento.stop.inputs import (
    DeadlineMoved,
    Drained,
    HeldBack,
    HookDone,
    Identified,
    InitAnswered,
    InitGaveUp,
    InitLeaving,
    Looked,
    MainExited,
    Resumed,
    SignalledExited,
    SignalNoted,
    StepDone,
    TimerFired,
    Traced,
    TracerLost,
)
from bento.stop.invariants import check_invariants
from bento.stop.machine import begin, step
from bento.stop.methods import METHODS
from bento.stop.process import Process
from bento.stop.rules.watching import FIRST_MAX, LATER_MAX
from bento.stop.states import FINAL, Phase, Step, Timer
from bento.stop.viewing import view_of
from bento.units import NO_LIMIT

from support.looks import DEFAULT, DROPPED, HANDLED, proc, serves, sleeps, waits
from support.sim import Does, Driver, World
from support.trees import ages, joins, leaf, needs, noise, requests, sessions, trees
from support.world import PIDS_LIMIT

STEPS: list[Step] = [step for step in Step if step is not Step.HOOKS]
STEPS_LIMIT_S = sum(STEP_LIMIT_S.values())
_QUIET_S = 100.0

_hooks = st.lists(st.sampled_from([Hook(kind="inside", command="a"), Hook(kind="sleep", seconds=1.0)]), max_size=3).map(
    tuple
)
hooked = st.builds(
    StopRequest,
    grace_s=st.sampled_from([0.0, 0.5, 2.0, 5.0, 10.0, NO_LIMIT]),
    last_call_s=st.sampled_from([None, 0.0, 5.0]),
    pre_stop=_hooks,
    post_stop=_hooks,
    hook_timeout_s=st.sampled_from([None, None, 0.5, 3.0, 100.0]),
)
draining = st.builds(
    StopRequest,
    drain=st.just(True),
    grace_s=st.sampled_from([0.0, 0.5, 2.0, 10.0, NO_LIMIT]),
    pre_stop=_hooks,
    on_deaf=st.sampled_from(OnDeaf),
)
_closings = st.one_of(
    st.none(), st.tuples(st.sampled_from([0.0, 0.01, 0.3, 2.0, 30.0]), st.sampled_from(["", "status 1"]))
)
_takes = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 1.0, 4.0, 7.9, 30.0]), st.sampled_from(["", "exit status 1"])), max_size=6
)


def _effective_deadline_s(driver: Driver) -> float | None:
    return None if None in driver.deadlines else max(d for d in driver.deadlines if d is not None)


def _never_twice(driver: Driver) -> None:
    assert len(driver.tells) == len(set(driver.tells)), driver.tells


def _lets_go(driver: Driver) -> None:
    """Nothing is held or frozen at the end, whatever has interrupted."""
    assert not driver.world.is_frozen or driver.state.had_exited
    assert not driver.world.tracer.is_holding


def _none_is_signalled_a_second_time(driver: Driver) -> None:
    """What was told by another process before PID 1 was at its exit is not told by Bento as well (rule S0)."""
    state = driver.state
    by_pid = {one.pid: one for one in state.signalled}
    for one in driver.world.procs.values():
        if "bento" not in one.got[1:] or one.does.kind not in ("works", "drops"):
            continue
        late = (Occasion.EXIT_HOLD, Occasion.LAST_CALL, Occasion.LEFT_BEHIND)
        assert by_pid[one.pid].occasion in late, (one, driver.world.history)


def _nothing_killed_early(driver: Driver) -> None:
    """What was told by us, and would have been ready before the deadline, was ready."""
    last_s = min((d for d in driver.deadlines if d is not None), default=float("inf"))
    for one in driver.world.procs.values():
        if one.does.kind not in ("works", "drops") or one.told_s is None or not one.is_busy:
            continue
        if one.told_s + one.does.needs_s + 0.1 < last_s and driver.world.main.ended != "own":
            assert one.ended in ("own", "quit"), (one, driver.state.signalled, driver.world.history)


@settings(max_examples=300)
@given(
    tree=trees,
    request=requests,
    events=st.lists(st.one_of(joins(), noise()), max_size=4),
    frozen=st.booleans(),
    age_s=ages,
)
def test_every_stop_ends_in_time_and_signals_no_process_twice(tree, request, events, frozen, age_s):
    world = World(tree, age_s=age_s, is_frozen=frozen)
    driver = Driver(world, request, inputs=events)
    state = driver.run(limit_s=60 + request.kill_timeout_s + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    assert world.main.ended
    _lets_go(driver)
    _never_twice(driver)
    deadline_s = _effective_deadline_s(driver)
    if deadline_s is not None and state.kill_cause is not None:
        assert state.exited_s is not None
        assert state.exited_s <= deadline_s + 0.2


_GROUP_ABOVE_A_SHELL = Does(
    "shell", jobs=(Does("group", runs=(Does("shell", jobs=(Does("works", needs_s=0.7),)),)),)
)  # the server has the signal from the group's forwarder, and loses both parents by it
_GROUP_AT_THE_LAST_CALL = Does(
    "shell",
    runs=(Does("drops", needs_s=0.0),),
    jobs=(
        Does(
            "group",
            runs=(
                Does(
                    "shell",
                    runs=(Does("works", needs_s=0.03, is_busy=False),),
                    jobs=(Does("works", needs_s=0.0, handler_after_s=2.0),),
                ),
            ),
        ),
    ),
)  # the same, where it is the last call that the forwarder passes on


@settings(max_examples=300)
@given(tree=trees, request=requests, events=st.lists(joins(), max_size=2), frozen=st.booleans(), age_s=ages)
@example(
    tree=_GROUP_AT_THE_LAST_CALL,
    request=StopRequest(grace_s=0.5, kill_timeout_s=1.0, last_call_s=None, exit_hold_s=None),
    events=[],
    frozen=False,
    age_s=0.05,
)
@example(tree=_GROUP_ABOVE_A_SHELL, request=StopRequest(grace_s=2.0), events=[], frozen=False, age_s=0.05)
def test_s13_what_shuts_down_properly_is_never_killed_early(tree, request, events, frozen, age_s):
    driver = Driver(World(tree, age_s=age_s, is_frozen=frozen), request, inputs=events)
    driver.run()
    _nothing_killed_early(driver)
    _none_is_signalled_a_second_time(driver)


@settings(max_examples=80)
@given(
    tree=trees,
    age_s=ages,
    on_deaf=st.sampled_from(OnDeaf),
    on_wrapper=st.sampled_from(OnWrapper),
    exit_hold_s=st.sampled_from([None, 0.0, NO_LIMIT]),
)
def test_s07_a_stop_without_a_limit_is_quiet_and_remembers_little(tree, age_s, on_deaf, on_wrapper, exit_hold_s):
    request = StopRequest(grace_s=NO_LIMIT, on_deaf=on_deaf, on_wrapper=on_wrapper, exit_hold_s=exit_hold_s)
    driver = Driver(World(tree, age_s=age_s), request, inputs=[(_QUIET_S, DeadlineMoved(0.0))])
    state = driver.run(limit_s=_QUIET_S + 100 + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    # A look each half a second at the most, but for the first moments of what is signalled, and of what is held.
    assert state.watch.looks <= 2 * _QUIET_S + 40 * (1 + len(state.signalled)), driver.world.history
    assert len(state.watch.first) <= FIRST_MAX
    assert len(state.watch.later) <= LATER_MAX
    assert max(len(state.notes), len(state.marks), len(state.held), len(state.hold.noted)) <= PIDS_LIMIT
    assert len(state.signalled) <= PIDS_LIMIT
    assert len(driver.actions) <= 2 * state.watch.looks + 20 * (1 + len(state.signalled)) + len(Step)


@settings(max_examples=200)
@given(
    tree=trees,
    request=requests,
    crashes=st.sets(st.integers(0, 40), max_size=4),
    down_s=st.sampled_from([0.001, 0.3, 3.0]),
    events=st.lists(joins(), max_size=2),
)
def test_s06_a_stop_survives_its_driver(tree, request, crashes, down_s, events):
    driver = Driver(World(tree, age_s=1.3), request, inputs=events, crashes=crashes, down_s=down_s)
    state = driver.run(limit_s=100 + request.kill_timeout_s + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    assert driver.steps_done[-1] is Step.RECORD
    _never_twice(driver)
    _lets_go(driver)


@settings(max_examples=200)
@given(
    tree=trees,
    request=requests,
    results=st.dictionaries(
        st.sampled_from(Step),
        st.lists(st.one_of(st.none(), st.tuples(st.sampled_from(["", "no"]), st.booleans())), max_size=6),
    ),
)
def test_s21_an_error_in_one_step_does_not_hide_the_others(tree, request, results):
    driver = Driver(World(tree), request, step_results=results)
    state = driver.run()
    tried = [action.step for action in driver.actions if isinstance(action, RunStep)]
    assert tried == [step for step in STEPS for _ in range(tried.count(step))]
    if state.phase is Phase.DONE:
        assert list(dict.fromkeys(tried)) == STEPS
    else:
        assert state.step in (Step.RUNTIME, Step.RECORD)
        assert state.errors


@settings(max_examples=200)
@given(
    tree=trees,
    entered=sessions,
    request=requests,
    events=st.lists(st.one_of(joins(), noise()), max_size=3),
    crashes=st.sets(st.integers(0, 40), max_size=3),
    frozen=st.booleans(),
)
def test_s16_sessions_are_never_signalled_twice(tree, entered, request, events, crashes, frozen):
    world = World(tree, age_s=1.3, is_frozen=frozen, sessions=entered)
    driver = Driver(world, request, inputs=events, crashes=crashes)
    state = driver.run(limit_s=100 + request.kill_timeout_s + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    _lets_go(driver)
    _never_twice(driver)
    deadline_s = _effective_deadline_s(driver)
    if deadline_s is not None and state.kill_cause is not None and not crashes:
        assert state.exited_s is not None
        assert state.exited_s <= deadline_s + 0.2
    for telling in state.signalled:
        told = world.procs[telling.pid]
        assert not (told.is_entered and not telling.session), (telling, world.history)
        assert not (told.is_main and telling.session), (telling, world.history)


_named = st.sampled_from(["auto", "systemd", "sysvinit", "exec"])
_inits = st.builds(
    Does,
    kind=st.just("init"),
    obeys=st.sampled_from(["systemd", "sysvinit", ""]),
    refuses=st.sampled_from([0, 0, 3, 100]),
    halts=st.booleans(),
    needs_s=needs,
    runs=st.lists(leaf, max_size=3).map(tuple),
)
_system_requests = st.builds(
    StopRequest,
    method=_named,
    grace_s=st.sampled_from([0.5, 2.0, 10.0]),
    last_call_s=st.just(0.0),
)


@settings(max_examples=200)
@given(
    init=_inits,
    request=_system_requests,
    age_s=st.sampled_from([0.1, 3.0, 100.0]),
    crashes=st.sets(st.integers(0, 20), max_size=3),
    events=st.lists(st.one_of(joins(), noise()), max_size=2),
    frozen=st.booleans(),
)
def test_s10_an_init_is_asked_once_and_ends_in_time(init, request, age_s, crashes, events, frozen):
    world = World(init, age_s=age_s, is_frozen=frozen)
    driver = Driver(world, request, crashes=crashes, inputs=events)
    state = driver.run(limit_s=100 + request.kill_timeout_s + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    assert len(driver.asks) <= 1
    _never_twice(driver)
    last_s = min((d for d in driver.deadlines if d is not None), default=float("inf"))
    asked_s = next((a.at_s + state.began_s for a in state.init_requests if a.error == ""), None)
    # Alone and idle for so long it is taken for halted: it has to be done, or at work, before.
    idle_s = METHODS[init.obeys].idle_s if init.obeys in METHODS else 0.0
    if asked_s is not None and not init.halts and init.needs_s < idle_s and asked_s + init.needs_s + 0.01 < last_s:
        assert world.main.ended == "own", (state, world.history)


@settings(max_examples=200)
@given(
    tree=trees,
    request=hooked,
    takes=_takes,
    events=st.lists(st.one_of(joins(), noise()), max_size=3),
    crashes=st.sets(st.integers(0, 30), max_size=3),
    down_s=st.sampled_from([0.001, 1.0]),
)
def test_s09_hooks_keep_to_their_time_and_none_is_begun_twice(tree, request, takes, events, crashes, down_s):
    driver = Driver(World(tree), request, inputs=events, crashes=crashes, down_s=down_s, hook_takes=takes)
    # Without a limit a stop that no process receives goes on: then a caller ends it.
    events.append((200.0, DeadlineMoved(0.0)))
    driver.inputs.append(events[-1])
    state = driver.run(limit_s=1000 + STEPS_LIMIT_S + AFTERWARDS_S * 3)
    assert state.phase is Phase.DONE
    begun = [number for number, _, _ in driver.hook_runs]
    assert begun == sorted(set(begun))
    assert not driver.hook_is_running
    assert [result.when for result in state.hooks] == ["pre-stop"] * len(request.pre_stop) + ["post-stop"] * len(
        request.post_stop
    )


@settings(max_examples=300)
@given(tree=trees, request=hooked, takes=_takes, events=st.lists(joins(), max_size=2))
def test_s09_the_signal_gets_its_time_and_no_hook_cancels_the_stop(tree, request, takes, events):
    driver = Driver(World(tree), request, inputs=[*events, (200.0, DeadlineMoved(0.0))], hook_takes=takes)
    state = driver.run(limit_s=1000.0)
    before = [run for run in driver.hook_runs if run[0] < len(request.pre_stop)]
    deadlines = [deadline_s for deadline_s in driver.deadlines if deadline_s is not None]
    if before and request.may_kill and not events:
        kept_s = min(LEFT_FOR_SIGNAL_S, request.grace_s)
        assert before[-1][2] is not None
        assert before[-1][2] <= driver.began_s + request.grace_s - kept_s + 1e-6
    told_s = [mark.at_s for mark in state.marks if mark.name == "signal"]
    assert told_s or state.kill_cause is not None or driver.world.main.ended
    assert all(at_s >= ended_s for at_s in told_s for _, _, ended_s in before if ended_s is not None)
    if state.kill_cause is not None and deadlines and state.exited_s is not None and request.may_kill:
        assert state.exited_s <= max(deadlines) + 0.2
    if request.hook_timeout_s is not None:
        assert all(
            ended_s - began_s <= request.hook_timeout_s + 1e-6 for _, began_s, ended_s in driver.hook_runs if ended_s
        )
    written = False
    for action in driver.actions:
        assert not isinstance(action, RunHook) or written
        written = isinstance(action, Persist)


@settings(max_examples=200)
@given(
    tree=trees,
    request=draining,
    takes=_closings,
    events=st.lists(st.one_of(joins(), noise()), max_size=3),
    crashes=st.sets(st.integers(0, 20), max_size=3),
    down_s=st.sampled_from([0.001, 0.5]),
)
def test_s17a_the_ports_are_closed_first_and_that_cancels_nothing(tree, request, takes, events, crashes, down_s):
    events = [*events, (200.0, DeadlineMoved(0.0))]  # without a limit a caller has to end it
    driver = Driver(World(tree), request, inputs=events, crashes=crashes, down_s=down_s, drain_takes=takes)
    state = driver.run(limit_s=1000 + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    assert len(driver.drains) <= 1 + len(crashes)
    assert bool(driver.drains) <= (request.grace_s != 0)
    if driver.tells or driver.hook_runs:
        assert driver.drains
    first = next((action for action in driver.actions if isinstance(action, (SendSignal, RunHook, Drain))), None)
    assert first is None or isinstance(first, Drain)
    if driver.drains and not crashes:
        begun = driver.actions.index(Drain())
        assert driver.actions[begun - 1] == Persist()
    phases = [mark.name for mark in state.marks]
    assert phases.count("drain") == (request.grace_s != 0 and not state.had_exited)
    if (
        state.kill_cause is not None
        and request.may_kill
        and not crashes
        and not any(isinstance(e, DeadlineMoved) for _, e in events[:-1])
    ):
        assert state.exited_s is not None
        assert state.exited_s <= driver.began_s + request.grace_s + 0.6  # all of it out of the grace


@settings(max_examples=200)
@given(tree=trees, request=requests)
def test_s04_everything_that_matters_is_written_before_it_is_done(tree, request):
    driver = Driver(World(tree), request)
    driver.run()
    is_written = False
    for action in driver.actions:
        assert not isinstance(action, SendSignal) or is_written
        is_written = isinstance(action, Persist) or (is_written and isinstance(action, SendSignal))


_keys = st.lists(st.sampled_from([(1, 7), (2, 7), (3, 7)]), unique=True, max_size=2).map(tuple)
LOOKS = (
    (proc(1, HANDLED), proc(2, HANDLED, under=1, evidence=serves())),
    (proc(1, DROPPED, evidence=waits()), proc(2, HANDLED, under=1, evidence=serves())),
    (proc(1, DROPPED, evidence=waits()), proc(2, DEFAULT, under=1, evidence=sleeps())),
    (
        proc(1, HANDLED, evidence=waits()),
        proc(2, DEFAULT, under=1, evidence=waits()),
        proc(3, HANDLED, under=2, evidence=serves()),
    ),
    (proc(2, HANDLED, under=1, evidence=serves()),),
)
_inputs = st.one_of(
    st.just(MainExited()),
    st.builds(Identified, st.sampled_from(["signal", "systemd", "runit"]), st.just("why")),
    st.builds(InitAnswered, st.sampled_from(["systemd", "runit", "exec"]), st.sampled_from(["", "no"]), st.booleans()),
    st.builds(Looked, st.sampled_from([(), *LOOKS]), st.booleans()),
    st.builds(Traced, st.sampled_from(["", "no"])),
    st.builds(HeldBack, _keys, _keys, st.sampled_from(["", "no"])),
    st.builds(SignalNoted, st.sampled_from([(1, 7), (2, 7)]), st.booleans()),
    st.just(InitLeaving()),
    st.just(InitGaveUp()),
    st.just(TracerLost("died")),
    st.sampled_from(Timer).map(TimerFired),
    st.builds(SignalledExited, st.integers(2, 9)),
    st.builds(DeadlineMoved, st.one_of(st.none(), st.floats(0, 100)), st.booleans()),
    st.builds(StepDone, st.sampled_from(Step), st.sampled_from(["", "no"]), st.booleans()),
    st.builds(Drained, st.sampled_from(["", "no"])),
    st.builds(HookDone, st.integers(0, 5), st.sampled_from(["", "no"])),
    st.builds(Resumed, st.one_of(st.none(), st.floats(0, 100))),
)


@settings(max_examples=200)
@given(
    request=st.one_of(requests, _system_requests, hooked, draining),
    events=st.lists(st.tuples(st.floats(0, 5), _inputs), max_size=40),
)
def test_no_order_of_inputs_breaks_an_invariant(request, events):
    now_s = 10.0
    seen: tuple[Process, ...] = ()
    state, actions = begin(request, now_s=now_s, born_s=0.0)
    for pause_s, event in events:
        now_s += pause_s
        before = state
        state, actions = step(before, event, now_s)
        check_invariants(before, event, state, actions)
        gone, seen = seen, event.processes if isinstance(event, Looked) else seen
        view = view_of(
            "web", state, seen, tuple(one for one in gone if one not in seen), {one.key: one for one in gone}
        )
        assert len(view.processes) >= len(seen)
        assert bool(view.waits) is (state.phase not in (Phase.REQUESTED, *FINAL))
        if before.phase in FINAL and not isinstance(event, Resumed):
            assert state == before
            assert not actions
