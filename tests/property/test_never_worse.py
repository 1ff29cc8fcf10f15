"""Rule S0: whatever the plain stop saves is saved by Bento too, on generated containers."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bento.model.stop import Occasion, OnDeaf, Scope, StopRequest
from bento.stop.states import KillCause, Phase

from support.sim import Does, Driver, World
from support.trees import ages, busy, sessions, trees

LATE_S = 0.7
"""What the plain stop saves so shortly before its deadline is not counted: Bento may begin a little later."""

graces = st.sampled_from([0.5, 2.0, 10.0])


def _stopped(tree: Does, scope: Scope, age_s: float, entered: tuple[Does, ...] = (), **request) -> Driver:
    driver = Driver(World(tree, age_s=age_s, sessions=entered), StopRequest(scope=scope, **request))
    driver.run()
    return driver


def _by_its_own(plain: Driver, auto: Driver, path: str) -> bool:
    """Whether work was given up by a program of the container that received the signal in this stop alone.

    It, or what stands above, was told and shuts down as it was written to, which is no loss (rule S0). So does a PID 1
    that had no handler yet when the plain stop signalled it, and with it ends what an exec session is at.
    """
    main, plain_main = auto.world.main, plain.world.main
    if main.does.handler_after_s and main.ended == "own" and plain_main.ended == "killed":
        return True
    told = _receivers_told(auto) - _receivers_told(plain)
    senders = [by for proc in auto.world.procs.values() if proc.path == path for by in proc.got if by != "bento"]
    return bool(senders) or any(path.startswith(f"{above}/") for above in told)


def _receivers_told(driver: Driver) -> set[str]:
    return {p.path for p in driver.world.procs.values() if p.got and p.ended != "default"}


def _lost(tree: Does, plain: Driver, auto: Driver, grace_s: float) -> set[str]:
    before_s = 1000.0 + grace_s - LATE_S
    # Where forks fail, the rounds of a loop have other numbers in the other stop: no piece can be found again.
    is_comparable = not plain.world.is_full and not auto.world.is_full
    kept = {path for path, at_s in plain.world.saved.items() if at_s <= before_s and is_comparable}
    lost = {path for path in kept - auto.world.saved.keys() if not _by_its_own(plain, auto, path)}
    return lost | (auto.world.ruined - plain.world.ruined)


def _is_named(auto: Driver) -> bool:
    """Whether one of the exceptions that the rule names was used."""
    return any(one.occasion in (Occasion.LAST_CALL, Occasion.FOREGROUND) for one in auto.state.signalled)


@settings(max_examples=500)
@given(
    tree=trees,
    age_s=ages,
    grace_s=graces,
    last_call_s=st.sampled_from([0.0, 0.0, None]),
    on_deaf=st.sampled_from([OnDeaf.IDLE, OnDeaf.WAIT]),
)
def test_s00_what_the_plain_stop_saves_is_saved(tree, age_s, grace_s, last_call_s, on_deaf):
    request = {"grace_s": grace_s, "last_call_s": last_call_s, "on_deaf": on_deaf}
    plain, auto = (_stopped(tree, scope, age_s, **request) for scope in (Scope.MAIN, Scope.AUTO))
    lost = _lost(tree, plain, auto, grace_s)
    assert not lost or _is_named(auto), (lost, plain.world.history, auto.world.history, auto.state.notes)


_DUMP = Does("shell", runs=(Does("job", parts=(("work", 0.4),)), Does("move")))
_FORWARDER_OVER_A_JOB = Does("shell", runs=(Does("forwarder", name="tini", runs=(_DUMP,)),), waits=False, loops=True)


@settings(max_examples=250)
@given(tree=trees, entered=sessions, age_s=ages, grace_s=graces)
@example(tree=Does("works", handler_after_s=0.3), entered=(_DUMP,), age_s=0.05, grace_s=2.0)
@example(tree=Does("sleep", runs=(Does("drops"),)), entered=(_FORWARDER_OVER_A_JOB,), age_s=0.05, grace_s=2.0)
def test_s00_what_exec_sessions_save_is_saved(tree, entered, age_s, grace_s):
    request = {"grace_s": grace_s, "last_call_s": 0.0}
    plain, auto = (_stopped(tree, scope, age_s, entered, **request) for scope in (Scope.MAIN, Scope.AUTO))
    lost = _lost(tree, plain, auto, grace_s)
    assert not lost or _is_named(auto), (lost, plain.world.history, auto.world.history, auto.state.notes)


@settings(max_examples=250)
@given(tree=trees, entered=st.one_of(st.just(()), sessions), age_s=ages, grace_s=graces)
def test_s00_nothing_goes_on_after_what_it_waited_for_unless_it_received_the_signal(tree, entered, age_s, grace_s):
    _nothing_goes_on(_stopped(tree, Scope.AUTO, age_s, entered, grace_s=grace_s, last_call_s=0.0))


def _nothing_goes_on(driver: Driver) -> None:
    for shell, child in driver.world.went_on:
        assert "bento" not in child.got or shell.got, (shell.path, child.path, driver.world.history)


@settings(max_examples=800)
@given(tree=busy, entered=st.one_of(st.just(()), sessions), age_s=ages)
def test_s00_of_shells_services_and_dumps_beside_each_other_nothing_is_lost(tree, entered, age_s):
    request = {"grace_s": 10.0, "last_call_s": 0.0}
    plain, auto = (_stopped(tree, scope, age_s, entered, **request) for scope in (Scope.MAIN, Scope.AUTO))
    lost = _lost(tree, plain, auto, 10.0)
    assert not lost or _is_named(auto), (lost, plain.world.history, auto.world.history, auto.state.notes)
    _nothing_goes_on(auto)


@settings(max_examples=250)
@given(
    tree=trees,
    age_s=ages,
    grace_s=graces,
    mode=st.sampled_from(["refuses", "silent", "works"]),
    dies_before=st.one_of(st.none(), st.integers(1, 4)),
    refused=st.sets(st.sampled_from(["1", "1/0#1", "1/&0", "1/0", "s0"])),
)
def test_s00_also_with_a_tracer_that_does_not_what_it_should(tree, age_s, grace_s, mode, dies_before, refused):
    request = {"grace_s": grace_s, "last_call_s": 0.0}
    plain = _stopped(tree, Scope.MAIN, age_s, **request)
    world = World(tree, age_s=age_s)
    world.tracer.mode, world.tracer.dies_before, world.tracer.refuses = mode, dies_before, frozenset(refused)
    auto = Driver(world, StopRequest(**request))
    assert auto.run().phase is Phase.DONE
    assert not world.tracer.is_holding
    if mode == "works" and dies_before is None:
        lost = _lost(tree, plain, auto, grace_s)
        assert not lost or _is_named(auto), (lost, plain.world.history, world.history, auto.state.notes)
    # A tracer that does not answer costs PID 1 a quarter of the grace at most.
    main = world.main
    if plain.world.main.ended == "own" and plain.world.main.ended_s < 1000.0 + grace_s * 0.7 - LATE_S:
        assert main.ended in ("own", "killed"), world.history
        assert main.ended == "own" or auto.state.kill_cause in (KillCause.DEFAULT_ACTION, KillCause.WRAPPED), (
            world.history
        )


_PROMPT = st.builds(Does, kind=st.just("prompt"), needs_s=st.sampled_from([0.01, 0.2]))
_OVER_A_PROMPT = st.one_of(
    _PROMPT,
    st.builds(Does, kind=st.sampled_from(["shell", "trap", "forwarder", "group"]), runs=st.tuples(_PROMPT)),
    st.builds(Does, kind=st.just("works"), needs_s=st.sampled_from([0.03, 0.7])),
)


@settings(max_examples=150)
@given(tree=_OVER_A_PROMPT, entered=st.lists(_PROMPT, max_size=2).map(tuple), age_s=ages)
def test_s29_shells_at_their_prompts_save_their_histories(tree, entered, age_s):
    world = _stopped(tree, Scope.AUTO, age_s, entered).world
    shells = [proc for proc in world.procs.values() if proc.does.kind == "prompt"]
    assert all(proc.path in world.saved for proc in shells), world.history
    assert world.now_s < 1005.0, world.history


@settings(max_examples=150)
@given(tree=_OVER_A_PROMPT, entered=st.lists(_PROMPT, max_size=2).map(tuple), crash=st.integers(0, 12))
def test_s29_no_shell_gets_it_twice(tree, entered, crash):
    driver = Driver(World(tree, sessions=entered), StopRequest(), crashes=[crash])
    assert driver.run().phase is Phase.DONE
    assert all(proc.got.count("bento") <= 1 for proc in driver.world.procs.values()), driver.world.history
