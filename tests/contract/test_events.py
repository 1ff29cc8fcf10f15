"""The log of events in the store: written with the change, in order, bounded; and what wakes those that follow it."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.drivers.state.base import StateStore
from bento.drivers.state.database import Database
from bento.drivers.state.sqlite import SqliteStore
from bento.errors import Conflict
from bento.model.container import Container, ContainerSpec, Exit, Files, Mount, Run, StartFailure, Status
from bento.model.event import Deed, Event
from bento.model.image import Image, ImageConfig
from bento.model.volume import Volume
from bento.testing.state import MemoryDatabase

SECOND_NS = 1_000_000_000
LIMIT_S = 30.0


def container(identity: str = "a", name: str = "web", **spec: object) -> Container:
    made = ContainerSpec(image="app:1", image_id="x", layers=("/",), labels={"tier": "front"}, network="bridge")
    full = identity.ljust(64, "0")
    return Container(id=full, name=name, created_unix_ns=1, spec=replace(made, **spec))


def said(store: StateStore, after: int = 0) -> list[str]:
    return [f"{event.type} {event.action}" for event in store.events(after)]


def made(action: str, unix_ns: int = 1) -> Event:
    return Event(type="container", action=action, actor="a", unix_ns=unix_ns)


@pytest.fixture(params=[Database, MemoryDatabase], ids=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    store = SqliteStore(tmp_path / "bento.db", kind=request.param)
    yield store
    store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bento.db"


def change(**fields: object) -> Callable[[Container], Container]:
    return lambda before: replace(before, **fields)


class TestWhatAChangeSays:
    def test_a_container_from_its_making_to_its_end(self, store: StateStore) -> None:
        mount = Mount(kind="volume", source="data", destination="/data", read_only=True)
        made = container(files=Files(mounts=(mount, Mount(kind="tmpfs", destination="/tmp"))))
        run = Run(number=1, runtime="crun", started_unix_ns=5 * SECOND_NS)
        store.add(made)
        store.modify(made.id, change(status=Status.STARTING, run=run))
        store.modify(made.id, change(status=Status.RUNNING))
        store.modify(made.id, change(status=Status.STOPPING, stop_asked=True))
        ended = Exit(code=137, finished_unix_ns=17 * SECOND_NS, oom_killed=True)
        store.modify(made.id, change(status=Status.STOPPED, exit=ended), deeds=[Deed(action="stop")])
        store.modify(made.id, change(name="shop"))
        store.remove(made.id)
        assert said(store) == [
            "container create",
            "network connect", "volume mount", "container start",
            "container oom", "container die", "network disconnect", "volume unmount", "container stop",
            "container rename",
            "container destroy",
        ]  # fmt: skip
        by_action = {event.action: event for event in store.events()}
        own = {"tier": "front", "image": "app:1", "name": "web"}
        assert by_action["create"].attributes == own
        assert by_action["die"].attributes == own | {"exitCode": "137", "execDuration": "12"}
        assert by_action["die"].unix_ns == by_action["oom"].unix_ns == 17 * SECOND_NS
        assert by_action["rename"].attributes == own | {"name": "shop", "oldName": "/web"}
        assert by_action["mount"] == Event(
            type="volume", action="mount", actor="data", unix_ns=by_action["mount"].unix_ns,
            sequence=by_action["mount"].sequence, attributes={
                "container": made.id, "destination": "/data", "driver": "local", "propagation": "",
                "read/write": "false",
            },
        )  # fmt: skip
        assert by_action["connect"].actor == "bridge"
        assert by_action["connect"].attributes == {"container": made.id, "name": "bridge", "type": "bridge"}
        assert {event.actor for event in store.events() if event.type == "container"} == {made.id}
        assert [event.sequence for event in store.events()] == list(range(1, 12))

    def test_a_start_that_fails_dies_with_its_code(self, store: StateStore) -> None:
        store.add(made := container())
        store.modify(made.id, change(status=Status.STARTING))
        failure = StartFailure(code=127, message="no such program")
        store.modify(made.id, change(status=Status.CREATED, start_failure=failure))
        assert said(store) == ["container create", "container die"]
        assert store.events()[-1].attributes["exitCode"] == "127"

    def test_an_end_that_nothing_saw_and_one_with_a_restart(self, store: StateStore) -> None:
        store.add(made := container(network="none"))
        store.modify(made.id, change(status=Status.RUNNING))
        store.modify(made.id, change(status=Status.RESTARTING, exit=Exit(code=None, finished_unix_ns=3)))
        store.modify(made.id, change(status=Status.STOPPED))  # the restart is called off: that is no second end
        assert said(store) == ["container create", "container die", "network disconnect"]
        assert store.events()[1].attributes["exitCode"] == "-1"

    def test_what_changes_nothing_is_not_logged(self, store: StateStore) -> None:
        store.add(made := container())
        store.modify(made.id, lambda before: before, deeds=[Deed(action="restart")])
        store.modify(made.id, change(notes=("n",)))
        store.remove("b" * 64)
        store.remove_volume("x")
        store.unname_image(["x"])
        store.remove_image("x")
        store.log([])
        with pytest.raises(Conflict):
            store.add(made)
        assert said(store) == ["container create"]

    def test_images_and_volumes(self, store: StateStore) -> None:
        full = "docker.io/library/app:1"
        image = Image(
            id="sha256:1", names=(full,), layers=(), config=ImageConfig(labels={"k": "v"}), created_unix_ns=1,
            size_bytes=1,
        )  # fmt: skip
        store.put_image(image, events=[Event(type="image", action="pull", actor="app:1", unix_ns=1)])
        store.name_image(image.id, ["quay.io/me/app:2"], events=[made("tag")])
        store.unname_image([full])
        store.remove_image(image.id)
        store.put_volume(volume := Volume(name="data", created_unix_ns=1, labels={"k": "v"}))
        store.put_volume(replace(volume, container_id="a"))
        store.remove_volume("data")
        assert said(store) == [
            "image pull", "container tag", "image untag", "image untag", "image delete", "volume create",
            "volume destroy",
        ]  # fmt: skip
        assert [event.attributes.get("name") for event in store.events()][2:5] == [
            "app:1",
            "quay.io/me/app:2",
            image.id,
        ]
        assert store.events()[-1].attributes == {"k": "v", "driver": "local"}


class TestTheLog:
    def test_reads_by_sequence_and_by_time(self, store: StateStore) -> None:
        assert (store.newest_event(), store.events()) == (0, [])
        store.log([made("one", 10), made("two", 30), made("three", 20)])
        assert store.newest_event() == 3
        assert said(store, 1) == ["container two", "container three"]
        assert [event.action for event in store.events(since_ns=20, until_ns=29)] == ["three"]
        assert [event.action for event in store.events(since_ns=30)] == ["two"]
        assert [event.action for event in store.events(until_ns=10)] == ["one"]

    @pytest.mark.parametrize("limit", [1, 2, 7, 200])
    def test_is_bounded_and_keeps_its_numbers(self, tmp_path: Path, limit: int) -> None:
        store = SqliteStore(tmp_path / "bento.db", events_max=limit)
        seen = 0
        for number in range(3 * limit + 5):
            store.log([made(f"{number}")] * (1 + number % 3))
            kept = store.events()
            assert 1 <= len(kept) <= limit
            assert kept[-1].sequence == store.newest_event() > seen
            assert [event.sequence for event in kept] == list(range(kept[0].sequence, kept[-1].sequence + 1))
            seen = store.newest_event()
        assert len(store.events()) > limit * 0.9 or limit < 10
        store.close()

    def test_takes_any_words(self, store: StateStore) -> None:
        store.log(
            [Event(type="container", action="exec_create: \udcff", actor="a", unix_ns=1, attributes={"é": "\udcfe"})]
        )
        assert (store.events()[0].action, store.events()[0].attributes) == ("exec_create: ?", {"é": "?"})

    def test_one_that_cannot_be_read_does_not_hide_the_others(self, path: Path) -> None:
        store = SqliteStore(path)
        store.log([made("one"), made("two")])
        other = sqlite3.connect(path)
        with other:
            other.execute("UPDATE events SET document = x'ff' WHERE sequence = 1")
        other.close()
        assert [(event.type, event.action) for event in store.events()] == [("", "unreadable"), ("container", "two")]
        store.close()

    def test_the_destruction_of_an_unreadable_container_is_logged(self, path: Path) -> None:
        store = SqliteStore(path)
        store.add(broken := container())
        other = sqlite3.connect(path)
        with other:
            other.execute("UPDATE containers SET document = x'ff'")
        other.close()
        store.remove(broken.id)
        assert store.events()[-1].attributes == {"image": "", "name": "web"}
        store.close()

    def test_a_process_killed_in_the_middle_leaves_change_and_event_or_neither(self, path: Path) -> None:
        """By a statement that is not answered: before the commit, and after it."""
        SqliteStore(path).close()
        for statement in ("INSERT INTO events", "COMMIT", "after"):
            process = subprocess.Popen([sys.executable, "-c", _STOPS_AT, str(path), statement], stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            process.kill()
            process.wait()
            process.stdout.close()
            store = SqliteStore(path)
            names = [one.name for one in store.list()]
            assert names == [event.attributes["name"] for event in reversed(store.events())]
            assert ("after" in names) == (statement == "after")
            store.close()


_STOPS_AT = """
import sys, time
from pathlib import Path
from bento.drivers.state import database
from bento.drivers.state.sqlite import SqliteStore
from bento.model.container import Container, ContainerSpec
where = sys.argv[2]
def stop(statement):
    if statement.startswith(where):
        print("there", flush=True)
        time.sleep(60)
store = SqliteStore(Path(sys.argv[1]))
store._database._connection.set_trace_callback(stop)
spec = ContainerSpec(image="host", image_id="host", layers=("/",))
store.add(Container(id=where[:1].ljust(64, "0"), name=where.partition(" ")[0], created_unix_ns=1, spec=spec))
stop("after")
"""


def _is_ready(fd: int, timeout_s: float = 0.0) -> bool:
    poller = select.poll()  # select(2) knows no descriptor above 1023
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


class TestWaking:
    def test_every_follower_wakes_for_each_commit(self, store: StateStore) -> None:
        watches = [store.watch_events() for _ in range(3)]
        for each in watches:
            each.clear()
        assert not any(_is_ready(each.fileno()) for each in watches)
        for _ in range(2):
            store.log([made("one")])
            for each in watches:  # the first reads what woke it, and the others are still woken
                assert _is_ready(each.fileno())
                each.clear()
            for each in watches:
                each.clear()
                assert not _is_ready(each.fileno())
        watches[0].close()
        watches[0].close()
        store.log([made("one")])
        assert _is_ready(watches[1].fileno())
        for each in watches:
            each.close()

    def test_what_changes_no_event_wakes_nothing(self, store: StateStore) -> None:
        store.add(made := container())
        watch = store.watch_events()
        watch.clear()
        store.modify(made.id, change(notes=("n",)))
        assert not _is_ready(watch.fileno())
        watch.close()

    def test_another_process_wakes_and_so_does_one_that_is_killed_after_its_commit(self, path: Path) -> None:
        store = SqliteStore(path)
        watch = store.watch_events()
        watch.clear()
        code = _STOPS_AT.replace('stop("after")', "").replace(
            "where = sys.argv[2]",
            "where = sys.argv[2]\nimport bento.drivers.state.event_log as log, os\n"
            'log.LoggedTransaction.__exit__ = lambda self, *_: (self._transaction.__exit__(*_), stop("after"))',
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(path), "after"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        assert not _is_ready(watch.fileno())  # committed, and not told yet
        process.send_signal(signal.SIGKILL)
        assert _is_ready(watch.fileno(), LIMIT_S)
        watch.clear()
        assert said(store) == ["container create"]
        process.wait()
        process.stdout.close()
        watch.close()
        store.close()

    def test_a_signal_file_that_was_deleted_is_made_anew(self, path: Path) -> None:
        store = SqliteStore(path)
        watch = store.watch_events()
        path.with_name("bento.db-events").unlink()
        assert _is_ready(watch.fileno())
        watch.clear()
        watch.clear()  # what the change of the watch itself has reported
        store.log([made("one")])
        assert _is_ready(watch.fileno())
        watch.close()
        store.close()

    def test_no_follower_misses_or_repeats_one(self, path: Path) -> None:
        SqliteStore(path).close()
        count, writers = 60, 2
        got: list[list[int]] = [[], [], []]

        def follow(into: list[int]) -> None:
            store = SqliteStore(path)
            watch = store.watch_events()
            last = 0
            while last < count * writers:
                assert _is_ready(watch.fileno(), LIMIT_S) or into
                watch.clear()
                events = store.events(last)
                into += [event.sequence for event in events]
                last = into[-1] if into else 0
            watch.close()
            store.close()

        def write() -> None:
            store = SqliteStore(path)
            for number in range(count):
                store.log([made(f"{number}")])
            store.close()

        threads = [threading.Thread(target=follow, args=(into,)) for into in got]
        threads += [threading.Thread(target=write) for _ in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        assert got == [list(range(1, count * writers + 1))] * 3

    def test_nothing_is_left_open(self, path: Path) -> None:
        store = SqliteStore(path)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            watch = store.watch_events()
            store.log([made("one")])
            watch.close()
        assert len(os.listdir("/proc/self/fd")) == before
        store.close()
