"""The promises of a stop, on generated containers, callers and accidents (part 7 of the stop contract)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bento.model.stop import Hook, OnDeaf, StopRequest
from bento.stop.actions import Drain, Persist, RunHook, RunStep, SendSignal
from bento.stop.cleaning import STEP_LIMIT_S
from bento.stop.hooking import AFTERWARDS_S, LEFT_FOR_SIGNAL_S
from bento.stop.inputs import (
    DeadlineMoved,
    Drained,
    HookDone,
    Identified,
    InitAnswered,
    Input,
    Looked,
    MainExited,
    Resumed,
    SignalledExited,
    StepDone,
    TimerFired,
)
from bento.stop.invariants import check_invariants
from bento.stop.machine import begin, step
from bento.stop.methods import METHODS
from bento.stop.states import FINAL, Phase, Step, Timer
from bento.units import NO_LIMIT

from support.sim import Does, Driver, Proc, World

STEPS: list[Step] = [step for step in Step if step is not Step.HOOKS]
STEPS_LIMIT_S = sum(STEP_LIMIT_S.values())
_LONG = 1000.0

_needs = st.sampled_from([0.0, 0.03, 0.2, 0.7, 1.5, 3.0, 6.0])
_hidden = st.sampled_from([0, 0, 0, 1])

leaf = st.one_of(
    st.builds(Does, kind=st.just("works"), needs_s=_needs, cpu=st.booleans(), hidden_looks=_hidden),
    st.builds(Does, kind=st.just("drops"), needs_s=_needs, cpu=st.just(True)),
    st.builds(Does, kind=st.sampled_from(["plain", "ignores", "blocks", "swallows"]), is_halted=st.booleans()),
    st.builds(Does, kind=st.just("plain"), lasts_s=st.sampled_from([0.01, 0.3, 2.0, 8.0]), cpu=st.booleans()),
    st.builds(Does, kind=st.just("works"), needs_s=_needs, hears_after_s=st.sampled_from([0.3, 2.0])),
)


def _inner(children):
    some = st.lists(children, min_size=1, max_size=3).map(tuple)
    few = st.lists(children, max_size=2).map(tuple)
    one = st.tuples(children)
    return st.one_of(
        st.builds(Does, kind=st.just("shell"), runs=some, jobs=few, loops=st.booleans()),
        st.builds(Does, kind=st.just("trap"), runs=one, jobs=few, trap_runs=few),
        st.builds(Does, kind=st.just("trap"), jobs=some, trap_forwards=st.just(True), trap_runs=few),
        st.builds(Does, kind=st.just("supervisor"), runs=some, needs_s=_needs),
        st.builds(Does, kind=st.just("works"), runs=some, needs_s=_needs),
        st.builds(Does, kind=st.just("plain"), runs=some),
        st.builds(Does, kind=st.just("forwarder"), runs=one, name=st.sampled_from(["tini", "catatonit", "npm"])),
        st.builds(Does, kind=st.just("group"), runs=one),
    )


trees = st.recursive(leaf, _inner, max_leaves=8)

requests = st.builds(
    StopRequest,
    grace_s=st.sampled_from([0.0, 0.5, 2.0, 10.0]),
    kill_timeout_s=st.sampled_from([1.0, 30.0]),
    last_call_s=st.sampled_from([None, None, 0.0, 1.0]),
    on_deaf=st.sampled_from(OnDeaf),
)

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


@st.composite
def joins(draw) -> tuple[float, Input]:
    """A caller who joins at some time; the world's clock begins at 1000."""
    at_s = draw(st.sampled_from([0.0, 0.1, 0.6, 1.5, 4.0]))
    deadline_s = draw(st.one_of(st.none(), st.sampled_from([0.0, 1.0, 5.0, 20.0]).map(lambda s: 1000.0 + at_s + s)))
    return at_s, DeadlineMoved(deadline_s, extend=draw(st.booleans()) and deadline_s is not None)


@st.composite
def noise(draw) -> tuple[float, Input]:
    """What comes at the wrong time."""
    event: Input = draw(
        st.one_of(
            st.sampled_from(Timer).map(TimerFired),
            st.builds(SignalledExited, st.integers(100, 110)),
            st.builds(StepDone, st.sampled_from(Step), st.sampled_from(["", "no"]), st.booleans()),
        )
    )
    return draw(st.sampled_from([0.0, 0.05, 0.3, 1.0, 2.5])), event


def _effective_deadline_s(driver: Driver) -> float | None:
    return None if None in driver.deadlines else max(d for d in driver.deadlines if d is not None)


def _was_asked_of(world: World, proc: Proc) -> bool:
    """Whether it was there at the beginning, hears, and nobody above it is in charge of it."""
    does = proc.does
    if proc.pid not in world.present or does.kind not in ("works", "drops") or does.hears_after_s or does.hidden_looks:
        return False
    while proc.ppid in world.procs:
        proc = world.procs[proc.ppid]
        if proc.does.kind in ("works", "drops", "supervisor", "trap", "group", "blocks", "swallows"):
            return False
    return True


def _never_twice(driver: Driver) -> None:
    assert len(driver.tells) == len(set(driver.tells)), driver.tells
    for proc in driver.world.procs.values():
        if "bento" in proc.got:
            told_by_parents = [by for by in proc.got if by != "bento"]
            is_theirs = proc.does.kind in ("works", "drops") and told_by_parents and not proc.does.hidden_looks
            assert not is_theirs, (proc, driver.world.history)


def _nobody_killed_early(driver: Driver) -> None:
    """Who was told by us, and would have been ready before the deadline, was ready."""
    last_s = min((d for d in driver.deadlines if d is not None), default=float("inf"))
    for proc in driver.world.procs.values():
        if proc.does.kind not in ("works", "drops") or proc.told_s is None or not proc.is_busy:
            continue
        if proc.does.hidden_looks:  # an orphan that no look has seen below its parent passes for a restarted program
            continue
        if proc.told_s + proc.does.needs_s + 0.01 < last_s:
            assert proc.ended == "own", (proc, driver.state.signalled, driver.world.history)


@settings(max_examples=600)
@given(tree=trees, request=requests, events=st.lists(st.one_of(joins(), noise()), max_size=4), frozen=st.booleans())
def test_every_stop_ends_in_time_and_tells_nobody_twice(tree, request, events, frozen):
    world = World(tree, is_frozen=frozen)
    driver = Driver(world, request, inputs=events)
    state = driver.run(limit_s=60 + request.kill_timeout_s + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    assert world.main.ended
    assert not world.is_frozen
    _never_twice(driver)
    deadline_s = _effective_deadline_s(driver)
    if deadline_s is not None and state.kill_cause is not None:
        assert state.exited_s is not None
        assert state.exited_s <= deadline_s + 0.2


@settings(max_examples=600)
@given(tree=trees, request=requests, events=st.lists(joins(), max_size=2), frozen=st.booleans())
def test_s13_who_shuts_down_properly_is_never_killed_early(tree, request, events, frozen):
    driver = Driver(World(tree, is_frozen=frozen), request, inputs=events)
    driver.run()
    _nobody_killed_early(driver)
    assert not [p for p in driver.world.procs.values() if p.ended == "quit" and "bento" in p.got]


@settings(max_examples=400)
@given(tree=trees)
def test_s13_who_hears_and_is_quick_is_told_and_not_killed(tree):
    driver = Driver(World(tree), StopRequest())
    driver.run()
    for proc in driver.world.procs.values():
        if _was_asked_of(driver.world, proc) and not proc.is_halted:
            # Who has ended before its turn came has not been killed by us either.
            assert proc.got or proc.ended in ("own", "killed-with-main"), (proc, driver.world.history)
            if "bento" in proc.got and proc.does.needs_s < 9 and driver.state.kill_cause is None:
                assert proc.ended == "own", (proc, driver.world.history)


@settings(max_examples=400)
@given(
    tree=trees,
    request=requests,
    crashes=st.sets(st.integers(0, 40), max_size=4),
    down_s=st.sampled_from([0.001, 0.3, 3.0]),
    events=st.lists(joins(), max_size=2),
)
def test_s06_a_stop_survives_its_driver(tree, request, crashes, down_s, events):
    driver = Driver(World(tree), request, inputs=events, crashes=crashes, down_s=down_s)
    state = driver.run(limit_s=100 + request.kill_timeout_s + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    assert driver.steps_done[-1] is Step.RECORD
    _never_twice(driver)


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


sessions = st.lists(trees, min_size=1, max_size=2).map(tuple)


@settings(max_examples=400)
@given(
    tree=trees,
    entered=sessions,
    request=requests,
    events=st.lists(st.one_of(joins(), noise()), max_size=3),
    crashes=st.sets(st.integers(0, 40), max_size=3),
    frozen=st.booleans(),
)
def test_s16_sessions_are_told_by_the_same_rules_and_never_twice(tree, entered, request, events, crashes, frozen):
    world = World(tree, is_frozen=frozen, sessions=entered)
    driver = Driver(world, request, inputs=events, crashes=crashes)
    state = driver.run(limit_s=100 + request.kill_timeout_s + STEPS_LIMIT_S)
    assert state.phase is Phase.DONE
    assert not world.is_frozen
    _never_twice(driver)
    deadline_s = _effective_deadline_s(driver)
    if deadline_s is not None and state.kill_cause is not None and not crashes:
        assert state.exited_s is not None
        assert state.exited_s <= deadline_s + 0.2
    for telling in state.signalled:
        told = world.procs[telling.pid]
        assert not (told.is_entered and not telling.session), (telling, world.history)
        assert not (told.is_main and telling.session), (telling, world.history)


@settings(max_examples=400)
@given(tree=trees, entered=sessions)
def test_s16_a_session_that_shuts_down_properly_is_not_cut_short_by_us(tree, entered):
    """Only PID 1's own end, or the end of the grace, may come before it is done."""
    driver = Driver(World(tree, sessions=entered), StopRequest())
    state = driver.run()
    world = driver.world
    for proc in world.procs.values():
        does = proc.does
        if does.kind != "works" or proc.told_s is None or does.hidden_looks or does.hears_after_s:
            continue
        if proc.told_s + does.needs_s + 0.1 < driver.began_s + 10 and world.main.ended == "killed":
            assert proc.ended == "own", (proc, state.signalled, world.history)


_named = st.sampled_from(["auto", "systemd", "sysvinit", "exec"])
_inits = st.builds(
    Does,
    kind=st.just("init"),
    obeys=st.sampled_from(["systemd", "sysvinit", ""]),
    refuses=st.sampled_from([0, 0, 3, 100]),
    halts=st.booleans(),
    needs_s=_needs,
    runs=st.lists(leaf, max_size=3).map(tuple),
)
_system_requests = st.builds(
    StopRequest,
    method=_named,
    grace_s=st.sampled_from([0.5, 2.0, 10.0]),
    last_call_s=st.just(0.0),
)


@settings(max_examples=300)
@given(init=_inits, entered=sessions)
def test_s16_sessions_of_a_system_container_are_told_while_its_init_is_asked(init, entered):
    world = World(init, sessions=entered)
    driver = Driver(world, StopRequest(method="auto", last_call_s=0.0))
    state = driver.run()
    assert state.phase is Phase.DONE
    _never_twice(driver)
    for proc in world.procs.values():
        if proc.is_entered and proc.does.kind == "works" and not proc.does.hears_after_s and not proc.does.hidden_looks:
            assert proc.told_s is not None or proc.ended in ("own", "killed-with-main"), world.history


@settings(max_examples=400)
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


@settings(max_examples=500)
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
    # Without a limit nobody ends a stop that nobody hears: then whoever asked has to.
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


@settings(max_examples=500)
@given(
    tree=trees,
    request=draining,
    takes=_closings,
    events=st.lists(st.one_of(joins(), noise()), max_size=3),
    crashes=st.sets(st.integers(0, 20), max_size=3),
    down_s=st.sampled_from([0.001, 0.5]),
)
def test_s17a_the_ports_are_closed_first_and_that_cancels_nothing(tree, request, takes, events, crashes, down_s):
    events = [*events, (200.0, DeadlineMoved(0.0))]  # without a limit somebody has to end it
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


_inputs = st.one_of(
    st.just(MainExited()),
    st.builds(Identified, st.sampled_from(["signal", "systemd", "runit"]), st.just("why")),
    st.builds(InitAnswered, st.sampled_from(["systemd", "runit", "exec"]), st.sampled_from(["", "no"]), st.booleans()),
    st.builds(Looked, st.just(()), st.booleans()),
    st.sampled_from(Timer).map(TimerFired),
    st.builds(SignalledExited, st.integers(2, 9)),
    st.builds(DeadlineMoved, st.one_of(st.none(), st.floats(0, 100)), st.booleans()),
    st.builds(StepDone, st.sampled_from(Step), st.sampled_from(["", "no"]), st.booleans()),
    st.builds(Drained, st.sampled_from(["", "no"])),
    st.builds(HookDone, st.integers(0, 5), st.sampled_from(["", "no"])),
    st.builds(Resumed, st.one_of(st.none(), st.floats(0, 100))),
)


@settings(max_examples=400)
@given(
    request=st.one_of(requests, _system_requests, hooked, draining),
    events=st.lists(st.tuples(st.floats(0, 5), _inputs), max_size=40),
)
def test_no_order_of_inputs_breaks_an_invariant(request, events):
    now_s = 10.0
    state, actions = begin(request, now_s=now_s, born_s=0.0)
    for pause_s, event in events:
        now_s += pause_s
        before = state
        state, actions = step(before, event, now_s)
        check_invariants(before, event, state, actions)
        if before.phase in FINAL and not isinstance(event, Resumed):
            assert state == before
            assert not actions
