"""Following the events: history and what is new, filters, ends that are recorded because they are followed."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest

from bento.engine.base import exit_owner
from bento.engine.events.filters import parse_filters
from bento.engine.events.stream import EventStream
from bento.engine.facade import EngineFacade
from bento.engine.lifecycle import exec_
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.errors import UsageError
from bento.model.container import Status
from bento.model.event import Event
from bento.model.exec import ExecOptions
from bento.testing.drivers import FakeDrivers

SECOND_NS = 10**9
LIMIT_S = 30.0


def made(action: str, unix_ns: int = 1, type: str = "container", actor: str = "a" * 64, **attributes: str) -> Event:
    return Event(type=type, action=action, actor=actor, unix_ns=unix_ns, attributes=attributes)


@pytest.fixture
def engine(drivers: FakeDrivers) -> EngineFacade:
    return EngineFacade(drivers)


def actions(events: Iterator[Event] | list[Event] | EventStream) -> list[str]:
    return [event.action for event in events]


def is_ready(stream: EventStream, timeout_s: float = 0.0) -> bool:
    poller = select.poll()
    poller.register(stream.fileno(), select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


class TestStream:
    def test_history_is_chosen_by_its_time(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        drivers.store.log([made("one", 10), made("late", 5), made("two", 20), made("three", 30)])
        for since_ns, until_ns, expected in [
            (10, 20, ["one", "two"]),
            (None, 10, ["one", "late"]),
            (20, 10**9, ["two", "three"]),
            (31, 10**9, []),
        ]:
            with engine.events(since_ns=since_ns, until_ns=until_ns) as events:
                assert actions(events) == expected
        with engine.events(follow=False) as events:
            assert actions(events) == ["one", "late", "two", "three"]
            assert events.is_over

    def test_history_of_many_pages(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        drivers.store.log([made(f"{number}", number + 1) for number in range(1300)])
        with engine.events(since_ns=3, follow=False) as events:
            assert actions(events) == [f"{number}" for number in range(2, 1300)]

    def test_only_what_is_new_without_a_time(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        drivers.store.log([made("old")])
        with engine.events() as events:
            assert events.read() == []
            assert not is_ready(events)
            drivers.store.log([made("new", 1)])  # of a time before: it was seen only now
            assert is_ready(events)
            assert actions(events.read()) == ["new"]
            assert (events.read(), is_ready(events), events.is_over, events.left_s()) == ([], False, False, None)

    def test_history_goes_over_into_what_is_new(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        drivers.store.log([made("old", 1), made("one", 10)])
        with engine.events(since_ns=10) as events:
            drivers.store.log([made("two", 10)])
            following = iter(events)
            assert [next(following).action for _ in range(2)] == ["one", "two"]
            drivers.store.log([made("three")])
            assert next(following).action == "three"

    def test_it_ends_at_its_time(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        until_ns = time.time_ns() + SECOND_NS // 20
        with engine.events(until_ns=until_ns) as events:
            drivers.store.log([made("in", until_ns), made("late", until_ns + 1)])
            assert actions(events) == ["in"]
            assert time.time_ns() >= until_ns
            assert events.is_over

    def test_followers_in_one_process_get_all_of_it(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        streams = [engine.events() for _ in range(200)]  # more than there are inotify instances for
        drivers.store.log([made("one")])
        assert all(is_ready(stream) and actions(stream.read()) == ["one"] for stream in streams)
        for stream in streams:
            stream.close()

    def test_what_was_deleted_before_it_was_read_is_said(
        self, drivers: FakeDrivers, engine: EngineFacade, capsys: pytest.CaptureFixture[str]
    ) -> None:
        drivers.store.log([made("old")])
        drivers.store._events._limit = drivers.store._events._step = 2  # type: ignore[attr-defined]
        with engine.events() as events:
            for number in range(8):
                drivers.store.log([made(f"{number}")])
            assert actions(events.read())[-1] == "7"
        assert "events were deleted from the log" in capsys.readouterr().err


class TestEnds:
    def test_one_that_ends_while_it_is_followed_is_recorded_at_once(
        self, drivers: FakeDrivers, engine: EngineFacade
    ) -> None:
        container, main = drivers.server("web")
        with engine.events() as events:
            assert events.read() == []
            drivers.monitor.write_exit(drivers.run_dir(container.id), container.id, 3)
            drivers.processes.end(main, 3 << 8)
            assert is_ready(events, LIMIT_S)
            found = events.read()
            assert actions(found) == ["die", "disconnect"]
            assert found[0].attributes["exitCode"] == "3"
            assert not is_ready(events)
        assert drivers.store.find("web").status is Status.STOPPED

    def test_one_that_ends_while_its_start_still_owns_its_exit_is_recorded(
        self, drivers: FakeDrivers, engine: EngineFacade
    ) -> None:
        container, main = drivers.server("web")
        exit_owner.claim(drivers, container.id)
        with engine.events() as events:
            drivers.processes.end(main, 0)
            assert is_ready(events, LIMIT_S)
            assert actions(events.read()) == ["die", "disconnect"]

    def test_one_that_had_ended_is_recorded_first(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        drivers.add("web", None)
        with engine.events(follow=False) as events:
            assert actions(events) == ["create", "die", "disconnect"]

    def test_one_that_another_process_looks_after_is_left_to_it(
        self, drivers: FakeDrivers, engine: EngineFacade
    ) -> None:
        _, main = drivers.server("web", auto_remove=True)
        with engine.events() as events:
            drivers.processes.end(main, 0)
            assert is_ready(events, LIMIT_S)
            assert events.read() == []
        assert drivers.store.find("web").status is Status.RUNNING


def _sleeping(drivers: FakeDrivers) -> None:
    """A container that runs, and a process that exec brings in."""
    container, main = drivers.server("web")
    drivers.storage.prepare(container.id)
    drivers.monitor.exec_pid = drivers.processes.add("cat", under=main).identity.pid


class TestSessions:
    """A command by exec that nothing waits for."""

    def test_one_that_ends_while_it_is_followed_is_logged_at_once(
        self, drivers: FakeDrivers, engine: EngineFacade
    ) -> None:
        _sleeping(drivers)
        with engine.events() as events:
            for code in (3, 4):
                session = exec_.detached(drivers, "web", ExecOptions(command=("cat",)))
                assert actions(events.read()) == ["exec_create: cat", "exec_start: cat"]
                drivers.monitor.end_exec(code)
                assert is_ready(events, LIMIT_S)
                (end,) = [*events.read(), *events.read()]
                assert (end.action, end.attributes["execID"]) == ("exec_die", session.id)
                assert end.attributes["exitCode"] == f"{code}"

    def test_one_that_began_before(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        _sleeping(drivers)
        exec_.detached(drivers, "web", ExecOptions(command=("cat",)))
        with engine.events(filters=["event=exec_die"]) as events:
            drivers.monitor.end_exec(3)
            assert is_ready(events, LIMIT_S)
            assert actions([*events.read(), *events.read()]) == ["exec_die"]

    def test_one_that_had_ended_is_history(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        _sleeping(drivers)
        exec_.detached(drivers, "web", ExecOptions(command=("cat",)))
        drivers.monitor.end_exec(3)
        for _ in range(2):
            with engine.events(filters=["event=exec_die"], follow=False) as events:
                assert actions(events) == ["exec_die"]


class TestWhatVerbsLog:
    def test_a_stop(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        drivers.server("web", code=7)
        with engine.events() as events:
            stop_containers(drivers, ["web"], StopOptions(signal=10))
            found = events.read()
        assert actions(found) == ["kill", "die", "disconnect", "stop"]
        assert (found[0].attributes["signal"], found[1].attributes["exitCode"]) == ("10", "7")

    def test_a_stop_that_has_to_kill(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        _, main = drivers.server("web")
        main.on_signal = lambda number: None
        with engine.events(filters=["event=kill"]) as events:
            stop_containers(drivers, ["web"], StopOptions(grace_s=0.05))
            assert [event.attributes["signal"] for event in events.read()] == ["15", "9"]

    def test_kill_pause_rename_and_removal(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        drivers.server("web")
        with engine.events(filters=["type=container"]) as events:
            engine.pause("web")
            engine.unpause("web")
            engine.rename("web", "shop")
            engine.kill("shop", 12)
            engine.remove("shop", force=True)
            assert actions(events.read()) == ["pause", "unpause", "rename", "kill", "die", "destroy"]

    def test_a_removal_is_no_stop(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        drivers.server("web")
        with engine.events(filters=["type=container"]) as events:
            engine.remove("web", force=True)
            assert actions(events.read()) == ["kill", "die", "destroy"]

    def test_prunes(self, drivers: FakeDrivers, engine: EngineFacade) -> None:
        with engine.events() as events:
            engine.prune(volumes=True)
            found = events.read()
        assert [(event.type, event.action) for event in found] == [
            ("container", "prune"), ("network", "prune"), ("image", "prune"), ("volume", "prune"),
        ]  # fmt: skip
        assert {event.attributes["reclaimed"] for event in found} == {"0"}


CONTAINER = made("die", actor="abc" + "0" * 61, name="web", image="docker.io/library/app:1", tier="front", exitCode="0")
EXEC = made("exec_start: sh -c 'a: b'", actor="abd" + "0" * 61, name="web2", image="app")
PULL = made("pull", type="image", actor="app:1", name="app")
DELETE = made("delete", type="image", actor="sha256:12" + "0" * 62, name="sha256:12" + "0" * 62)
MOUNT = made("mount", type="volume", actor="data", container="abc")
CONNECT = made("connect", type="network", actor="bridge", name="bridge")
ALL = {"die": CONTAINER, "exec": EXEC, "pull": PULL, "delete": DELETE, "mount": MOUNT, "connect": CONNECT}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], "die exec pull delete mount connect"),
        (["type=container"], "die exec"),
        (["type=image", "type=volume"], "pull delete mount"),
        (["type=daemon"], ""),
        (["event=die", "event=exec_start"], "die exec"),
        (["event=exec_start: sh -c 'a: b'"], "exec"),
        (["event=exec"], ""),
        (["container=web"], "die"),
        (["container=ab"], "die exec"),
        (["container="], ""),
        (["container=abc", "event=start"], ""),
        (["image=app"], "die exec pull"),
        (["image=app:1"], "die pull"),
        (["image=app:2"], ""),
        (["image=12"], "delete"),
        (["label=tier"], "die"),
        (["label=tier=front", "label=exitCode=0"], "die"),
        (["label=tier=back"], ""),
        (["volume=data"], "mount"),
        (["network=bridge"], "connect"),
    ],
)
def test_filters(filters: list[str], expected: str) -> None:
    passes = parse_filters(filters)
    assert [name for name, event in ALL.items() if passes(event)] == expected.split()


@pytest.mark.parametrize("text", ["web", "name=web", "type=containers", "=x"])
def test_a_bad_filter_is_named(engine: EngineFacade, text: str) -> None:
    with pytest.raises(UsageError, match="bad filter"):
        engine.events(filters=[text])
