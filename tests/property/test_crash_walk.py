"""Fixed scenarios, interrupted before every single action: the end is the same (invariant 5)."""

from __future__ import annotations

import msgspec
import pytest

from bento.model.stop import Hook, Scope, StopRequest
from bento.stop.actions import Drain, RequestInit, RunHook, SendSignal
from bento.stop.states import Phase, Step, StopState

from support.sim import Does, Driver, World, order_of_steps

_works = Does("works", needs_s=1.5)
_sleep = Does()
_dump = Does("shell", runs=(Does("job", parts=(("work", 102.0),)), Does("move")))
SCENARIOS: dict[str, Does] = {
    "a server": Does("works", needs_s=0.3),
    "a server that needs too long": Does("works", needs_s=60.0),
    "a shell over a server, then a clean-up": Does("shell", runs=(_works, Does("move"))),
    "a shell over sleep": Does("shell", runs=(_sleep,)),
    "an init over a shell over a server, then a clean-up": Does(
        "forwarder", runs=(Does("shell", runs=(_works, Does("move"))),)
    ),
    "two services, one below a shell of its own": Does(
        "shell", runs=(Does("works", needs_s=0.5),), jobs=(Does("shell", runs=(_works, Does("move"))),)
    ),
    "a dump below a shell, and a server": Does("shell", runs=(_works,), jobs=(_dump,)),
    "a shell with a trap over a server": Does("trap", runs=(_works,), trap_runs=(Does("job", parts=(("work", 1.0),)),)),
    "a shell with a trap that ends its jobs": Does("trap", jobs=(_works, _works), trap_forwards=True),
    "a supervisor": Does("supervisor", runs=(_works, Does("works", needs_s=0.2))),
    "PID 1 leaves at once over a server below a shell": Does(
        "works", needs_s=0.0, runs=(Does("shell", runs=(_works, Does("move"))), _dump)
    ),
    "dropped": _sleep,
    "node": Does("swallows"),
    "ignores it": Does("ignores"),
    "never reads it": Does("blocks"),
    "a shell in a loop": Does("shell", runs=(_sleep,), loops=True),
    "an init": Does("init", obeys="systemd", needs_s=1.0, runs=(_sleep, _works)),
    "an init that cannot reboot": Does("init", obeys="sysvinit", needs_s=0.3, halts=True, runs=(_sleep,)),
    "no init that is known": Does("init", runs=(_sleep,)),
    "hangs in the kernel for a while": Does("ignores", dies_after_s=3.0),
}
HOOKED = StopRequest(
    pre_stop=(Hook(kind="inside", command="drain"), Hook(kind="sleep", seconds=1.0)),
    post_stop=(Hook(kind="host", command="tell"), Hook(kind="host", command="tidy")),
)


def _drive(name: str, *, crashes: tuple[int, ...] = (), down_s: float = 0.001, scope: Scope = Scope.AUTO) -> Driver:
    request = StopRequest(scope=scope)
    if SCENARIOS[name].kind == "init":
        request = StopRequest(method="auto", last_call_s=0.0, scope=scope)
    driver = Driver(World(SCENARIOS[name]), request, crashes=crashes, down_s=down_s, checks_journal=True)
    driver.run()
    return driver


def _end(driver: Driver) -> tuple[object, ...]:
    ends = {proc.pid: proc.ended for proc in driver.world.procs.values()}
    return driver.state.phase, ends, sorted(set(driver.tells)), driver.state.kill_cause, order_of_steps(driver)


@pytest.mark.parametrize("down_s", [0.0, 0.001, 0.4])
@pytest.mark.parametrize("name", SCENARIOS)
def test_s06_interrupted_at_any_action_the_end_is_the_same(name, down_s):
    undisturbed, plain = _drive(name), _drive(name, scope=Scope.MAIN)
    assert undisturbed.state.phase is Phase.DONE
    for number in range(len(undisturbed.actions)):
        driver = _drive(name, crashes=(number,), down_s=down_s)
        assert driver.state.phase is Phase.DONE
        assert len(driver.tells) == len(set(driver.tells))
        assert driver.steps_done[-1] is Step.RECORD
        if isinstance(driver.crashed_before[0], (SendSignal, RequestInit)):
            continue  # recorded and maybe not sent: never twice comes before once
        if driver.has_lost_tracer:  # what it held has gone on, as after the plain stop
            assert plain.world.saved.keys() <= driver.world.saved.keys(), (number, driver.world.history)
            assert not driver.world.tracer.is_holding
            continue
        assert _end(driver) == _end(undisturbed), (number, driver.crashed_before, driver.world.history)


@pytest.mark.parametrize("name", SCENARIOS)
def test_s06_interrupted_at_every_action_it_still_ends(name):
    """Each driver lives for a few actions only; the grace is the first one's."""
    driver = _drive(name, crashes=tuple(range(0, 400, 3)), down_s=0.1)
    assert driver.state.phase is Phase.DONE
    assert len(driver.tells) == len(set(driver.tells))
    assert driver.state.exited_s is not None
    assert driver.state.exited_s - driver.began_s < 10 + 4  # one of them needs 3 s after SIGKILL


@pytest.mark.parametrize("name", SCENARIOS)
def test_s06_the_journal_holds_all_of_the_state(name):
    driver = _drive(name)
    assert msgspec.json.decode(msgspec.json.encode(driver.state), type=StopState) == driver.state


@pytest.mark.parametrize("down_s", [12.0, 100.0])
def test_s06_what_is_left_of_the_grace_is_nothing_when_it_is_over(down_s):
    driver = _drive("a server that needs too long", crashes=(4,), down_s=down_s)
    assert driver.state.exited_s == pytest.approx(driver.began_s + down_s, abs=0.7)


@pytest.mark.parametrize("down_s", [0.001, 0.4, 30.0])
@pytest.mark.parametrize("name", ["a server", "dropped", "ignores it"])
def test_s06_no_hook_is_begun_twice_wherever_the_stop_is_interrupted(name, down_s):
    takes = [(0.2, ""), (1.0, ""), (0.3, "exit status 1"), (0.1, "")]
    undisturbed = Driver(World(SCENARIOS[name]), HOOKED, hook_takes=takes)
    undisturbed.run()
    assert [number for number, _, _ in undisturbed.hook_runs] == [0, 1, 2, 3]
    for number in range(len(undisturbed.actions)):
        driver = Driver(World(SCENARIOS[name]), HOOKED, hook_takes=takes, crashes=(number,), down_s=down_s)
        state = driver.run()
        begun = [run[0] for run in driver.hook_runs]
        assert state.phase is Phase.DONE
        assert begun == sorted(set(begun))
        assert not driver.hook_is_running
        assert driver.world.main.ended
        assert len(state.hooks) == 4
        missing = sorted(set(range(4)) - set(begun))
        if down_s < 1.0:  # recorded and maybe not begun: never twice comes before once
            crashed = driver.crashed_before[0]
            assert missing == ([crashed.number] if isinstance(crashed, RunHook) else [])


@pytest.mark.parametrize("down_s", [0.001, 0.4])
@pytest.mark.parametrize("name", ["a server", "a shell over a server, then a clean-up", "dropped"])
def test_s17a_ports_that_were_closed_are_not_closed_again_wherever_the_stop_is_interrupted(name, down_s):
    request = StopRequest(drain=True)
    undisturbed = Driver(World(SCENARIOS[name]), request)
    undisturbed.run()
    assert undisturbed.drains == [undisturbed.began_s]
    closed = undisturbed.actions.index(Drain()) + 1  # the next action comes after its end
    for number in range(len(undisturbed.actions)):
        driver = Driver(World(SCENARIOS[name]), request, crashes=(number,), down_s=down_s)
        assert driver.run().phase is Phase.DONE
        assert len(driver.drains) == (2 if number == closed else 1)  # its end was seen, and not written down yet
        if not isinstance(driver.crashed_before[0], SendSignal):
            assert [tell for tell, _ in driver.tells] == [tell for tell, _ in undisturbed.tells]


def test_s19_a_kill_that_was_interrupted_gets_a_limit_of_its_own():
    """Else a stop resumed long after would call itself stuck before SIGKILL could work."""
    request = StopRequest(grace_s=1.0)
    undisturbed = Driver(World(SCENARIOS["hangs in the kernel for a while"]), request)
    undisturbed.run()
    for number in range(len(undisturbed.actions)):
        world = World(SCENARIOS["hangs in the kernel for a while"])
        driver = Driver(world, request, crashes=(number,), down_s=100.0)
        assert driver.run().phase is Phase.DONE
        assert driver.stuck_reports == 0


@pytest.mark.parametrize("down_s", [0.001, 0.4])
@pytest.mark.parametrize("under", [False, True], ids=["PID 1", "below a shell"])
def test_s30_the_last_signal_comes_once_wherever_the_stop_is_interrupted(down_s, under):
    server = Does("works", needs_s=100.0)  # a client stays
    request, tree = StopRequest(signal=3, last_signal=15), Does("shell", runs=(server,)) if under else server
    undisturbed = Driver(World(tree), request)
    undisturbed.run()
    assert undisturbed.hurried == [pytest.approx(8.0, abs=0.1)]
    for number in range(len(undisturbed.actions)):
        driver = Driver(World(tree), request, crashes=(number,), down_s=down_s)
        assert driver.run().phase is Phase.DONE
        assert len(driver.state.hastened) == 1
        is_unsure = any(isinstance(action, SendSignal) for action in driver.crashed_before)  # written down, not sent
        assert len(driver.hurried) == 1 or (is_unsure and driver.hurried == [])
