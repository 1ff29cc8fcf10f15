"""What the store does, in a file and in memory; then what only the file can get wrong."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from bento.drivers.state.base import StateStore
from bento.drivers.state.database import Database
from bento.drivers.state.sqlite import SqliteStore
from bento.errors import BentoError, Conflict, InternalError, NotFound, StateCorrupt, StorageUnusable
from bento.model.container import Container, ContainerSpec, Exit, Status
from bento.model.image import Image, ImageConfig
from bento.model.network import Network, Subnet
from bento.model.volume import Volume
from bento.testing.state import MemoryDatabase

PRELUDE = """
import sys
from pathlib import Path
import msgspec
from bento.drivers.state.sqlite import SqliteStore
from bento.errors import BentoError
from bento.model.container import Container, ContainerSpec
path = Path(sys.argv[1])
def record(digit, name):
    spec = ContainerSpec(image="host", image_id="host", layers=("/",))
    return Container(id=digit * 64, name=name, created_unix_ns=1, spec=spec)
"""


def container(identity: str, name: str, *, created: int = 1, **fields: object) -> Container:
    spec = ContainerSpec(image="host", image_id="host", layers=("/",), env=("A=é",), labels={"k": "v"})
    record = Container(id=identity.ljust(64, "0"), name=name, created_unix_ns=created, spec=spec)
    return msgspec.structs.replace(record, **fields)


def full(name: str) -> str:
    return f"docker.io/library/{name}:latest"


def image(digits: str, *names: str, created: int = 1) -> Image:
    config = ImageConfig(command=("/bin/true",))
    identity = "sha256:" + digits.ljust(64, "0")
    layers = ("/x/" + digits,)
    named = tuple(map(full, names))
    return Image(id=identity, names=named, layers=layers, config=config, created_unix_ns=created, size_bytes=7)


def renamed(name: str) -> Callable[[Container], Container]:
    return lambda before: msgspec.structs.replace(before, name=name)


def python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def output(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    return text.strip()


@pytest.fixture(params=[Database, MemoryDatabase], ids=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    made = SqliteStore(tmp_path / "bento.db", kind=request.param)
    yield made
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bento.db"


class TestEveryStore:
    def test_returns_what_was_stored(self, store: StateStore) -> None:
        whole = container("a", "web", status=Status.STOPPED, exit=Exit(code=None, finished_unix_ns=3), notes=("n",))
        store.add(whole)
        assert store.get(whole.id) == whole
        assert store.list() == [whole]

    @pytest.mark.parametrize("twin", [container("a", "other"), container("b", "web")])
    def test_refuses_a_taken_name_or_id(self, store: StateStore, twin: Container) -> None:
        store.add(container("a", "web"))
        with pytest.raises(Conflict):
            store.add(twin)
        assert store.list() == [container("a", "web")]

    def test_finds_by_name_id_and_prefix(self, store: StateStore) -> None:
        first, second = container("abc", "web"), container("abd", "db")
        store.add(first)
        store.add(second)
        assert store.find("web") == store.find(first.id) == store.find("abc") == first
        with pytest.raises(Conflict, match="web"):
            store.find("ab")

    def test_a_name_wins_over_a_prefix_and_over_an_id(self, store: StateStore) -> None:
        store.add(container("abc", "web"))
        store.add(container("1", "abc"))
        assert store.find("abc").name == "abc"
        store.add(container("2", container("abc", "").id))
        assert store.find("abc".ljust(64, "0")).id[0] == "2"

    @pytest.mark.parametrize("ref", ["", "%", "_", "a%", "a_", "*", "a'", "ABC", "abcdg", "\udcff", "a\0"])
    def test_what_fits_nothing_is_not_found(self, store: StateStore, ref: str) -> None:
        store.add(container("abc", "web"))
        with pytest.raises(NotFound):
            store.find(ref)
        with pytest.raises(NotFound):
            store.get(ref)
        with pytest.raises(NotFound):
            store.find_image(ref)

    def test_lists_newest_first(self, store: StateStore) -> None:
        for number, digit in enumerate("bca"):
            store.add(container(digit, digit, created=number))
        assert [c.name for c in store.list()] == ["a", "c", "b"]

    def test_a_list_remembers_what_did_not_change_and_nothing_else(self, store: StateStore) -> None:
        web, kept = container("a", "web"), container("b", "db")
        store.add(web)
        store.add(kept)
        first = {one.id: one for one in store.list()}
        store.modify(web.id, renamed("shop"))
        again = {one.id: one for one in store.list()}
        assert again[kept.id] is first[kept.id]
        assert (first[web.id].name, again[web.id].name) == ("web", "shop")
        store.remove(kept.id)
        assert [one.name for one in store.list()] == ["shop"]

    def test_names_what_requires_a_container(self, store: StateStore) -> None:
        needed = container("a" * 64, "db", created=1)
        store.add(needed)
        for number, requires in enumerate([(needed.id,), (), ("c" * 64, needed.id)]):
            other = container(f"{number}" * 64, f"w{number}", created=number + 2)
            labels = {"mentions": needed.id}  # the id alone does not make a requirement
            store.add(
                msgspec.structs.replace(
                    other, spec=msgspec.structs.replace(other.spec, requires=requires, labels=labels)
                )
            )
        assert [one.name for one in store.requiring(needed.id)] == ["w2", "w0"]
        assert store.requiring("b" * 64) == []

    def test_modify_returns_and_keeps_the_change(self, store: StateStore) -> None:
        before = container("a", "web")
        store.add(before)
        after = store.modify(before.id, renamed("shop"))
        assert after.name == "shop"
        assert store.find("shop") == after
        with pytest.raises(NotFound):
            store.find("web")

    def test_modify_rolls_back_when_the_change_raises(self, store: StateStore) -> None:
        before = container("a", "web")
        store.add(before)

        def refuse(_: Container) -> Container:
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            store.modify(before.id, refuse)
        assert store.modify(before.id, lambda same: same) == before

    def test_modify_refuses_a_taken_name_an_unknown_id_and_another_id(self, store: StateStore) -> None:
        store.add(container("a", "web"))
        store.add(container("b", "db"))
        with pytest.raises(Conflict):
            store.modify(container("b", "").id, renamed("web"))
        with pytest.raises(NotFound):
            store.modify("c" * 64, renamed("x"))
        with pytest.raises(InternalError):
            store.modify(container("b", "").id, lambda c: msgspec.structs.replace(c, id="d"))
        assert [c.name for c in store.list()] == ["web", "db"]

    def test_remove_is_idempotent(self, store: StateStore) -> None:
        store.add(container("a", "web"))
        store.remove(container("a", "").id)
        store.remove(container("a", "").id)
        assert store.list() == []

    def test_images(self, store: StateStore) -> None:
        old, new, other = image("abc", "app"), image("abd", "app"), image("abe", "tool", created=2)
        for each in (old, new, other):
            store.put_image(each, events=())
        nameless = msgspec.structs.replace(old, names=())
        assert store.list_images() == [other, nameless, new]
        assert store.find_image("app") == store.find_image("abd") == store.find_image(new.id) == new
        assert store.find_image("app:latest") == store.find_image("docker.io/app") == new
        assert store.find_image("sha256:abe") == other
        assert store.get_image(new.id) == new
        assert store.get_image("sha256:abd") is None
        with pytest.raises(Conflict):
            store.find_image("ab")
        with pytest.raises(NotFound):
            store.find_image("app:1")
        store.remove_image(new.id)
        store.remove_image(new.id)
        store.remove_image(old.id)
        assert store.find_image("ab") == other
        with pytest.raises(NotFound):
            store.find_image("app")

    def test_images_lose_and_get_names(self, store: StateStore) -> None:
        first, second = image("abc", "app", "copy"), image("abd")
        for each in (first, second):
            store.put_image(each, events=())
        store.name_image(second.id, [full("app"), full("more")], events=())
        store.name_image(second.id, [full("app")], events=())
        assert store.find_image("app").names == (full("app"), full("more"))
        assert store.find_image("abc").names == (full("copy"),)
        store.put_image(image("abc", "third"), events=())
        assert store.find_image("abc").names == (full("copy"), full("third"))
        store.unname_image([full("copy"), full("third"), full("never")])
        assert store.find_image("abc").names == ()
        with pytest.raises(NotFound):
            store.name_image("sha256:abc", [full("x")], events=())

    def test_a_short_name_finds_what_only_one_registry_has(self, store: StateStore) -> None:
        first, second = image("abc"), image("abd")
        for each in (first, second):
            store.put_image(each, events=())
        store.name_image(first.id, ["registry.example/library/app:latest", "localhost:5000/me/tool:1"], events=())
        assert store.find_image("app").id == store.find_image("me/tool:1").id == first.id
        assert store.find_image("tool:1").id == first.id
        for ref in ("ool:1", "docker.io/app", "app:1"):
            with pytest.raises(NotFound):
                store.find_image(ref)
        store.name_image(second.id, ["other.io/app:latest"], events=())
        with pytest.raises(Conflict, match="registry"):
            store.find_image("app")
        store.name_image(second.id, [full("app")], events=())
        assert store.find_image("app").id == second.id

    def test_a_name_with_the_digest_of_a_manifest_finds_its_image(self, store: StateStore) -> None:
        digest, other = f"sha256:{'d' * 64}", f"sha256:{'e' * 64}"
        web = msgspec.structs.replace(image("abc", "web"), digest=digest)
        for each in (web, image("abd", "tool")):
            store.put_image(each, events=())
        store.name_image(web.id, ["localhost:5000/me/web:1"], events=())
        for ref in (f"web@{digest}", f"docker.io/library/web:9@{digest}", f"localhost:5000/me/web@{digest}"):
            assert store.find_image(ref).id == web.id
        for ref in (f"tool@{digest}", f"web@{other}", f"me/web@{digest}", f"x@{digest}"):
            with pytest.raises(NotFound):
                store.find_image(ref)
        store.name_image(image("abd").id, [f"docker.io/library/web@{digest}"], events=())  # a name that is stored wins
        assert store.find_image(f"web@{digest}").id == image("abd").id

    def test_volumes(self, store: StateStore) -> None:
        old = Volume(name="b", created_unix_ns=1, labels={"k": "v"})
        for volume in (old, Volume(name="a", created_unix_ns=2, anonymous=True, container_id="c" * 64)):
            store.put_volume(volume)
        assert [volume.name for volume in store.list_volumes()] == ["a", "b"]
        assert store.find_volume("b") == old
        new = msgspec.structs.replace(old, created_unix_ns=3)
        store.put_volume(new)
        assert store.find_volume("b") == new
        store.remove_volume("b")
        store.remove_volume("b")
        with pytest.raises(NotFound, match="no such volume: b"):
            store.find_volume("b")

    def test_networks(self, store: StateStore) -> None:
        subnet = Subnet(subnet="10.1.0.0/24", gateway="10.1.0.1")
        old = Network(id="ab".ljust(64, "0"), name="b", created_unix_ns=1, bridge="x", subnets=(subnet,))
        other = Network(id="ac".ljust(64, "0"), name="a", created_unix_ns=2, bridge="y", labels={"k": "v"})
        for network in (old, other):
            store.put_network(network)
        assert [network.name for network in store.list_networks()] == ["a", "b"]
        assert store.find_network("b") == store.find_network(old.id) == store.find_network("ab") == old
        assert store.find_network("a") == other  # a name wins over the beginning of an id
        new = msgspec.structs.replace(old, mtu=1400)
        store.put_network(new)
        assert store.find_network("b") == new
        with pytest.raises(Conflict, match="network with name a already exists"):
            store.put_network(msgspec.structs.replace(old, id="f" * 64, name="a"))
        store.put_network(msgspec.structs.replace(other, name="c"))
        with pytest.raises(Conflict, match="several networks begin with 'a': b, c"):
            store.find_network("a")
        store.remove_network(old.id)
        store.remove_network(old.id)
        for ref in ("b", "", "%", old.id):
            with pytest.raises(NotFound, match=f"network {ref} not found"):
                store.find_network(ref)
        done = [(event.action, event.actor[:2], event.attributes) for event in store.events()]
        assert done == [
            ("create", "ab", {"name": "b", "type": "bridge"}),
            ("create", "ac", {"name": "a", "type": "bridge"}),
            ("destroy", "ab", {"name": "b", "type": "bridge"}),
        ]

    def test_threads_lose_no_change(self, store: StateStore) -> None:
        store.add(container("a", "web"))

        def note() -> None:
            for _ in range(50):
                store.modify(container("a", "").id, lambda c: msgspec.structs.replace(c, notes=(*c.notes, "x")))

        threads = [threading.Thread(target=note) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.get(container("a", "").id).notes) == 200

    def test_close_is_idempotent_and_final(self, store: StateStore) -> None:
        store.close()
        store.close()
        with pytest.raises(InternalError):
            store.list()


class TestFile:
    def test_records_survive_a_new_connection(self, path: Path) -> None:
        first = SqliteStore(path)
        first.add(container("a", "web"))
        first.close()
        second = SqliteStore(path)
        assert second.find("web") == container("a", "web")
        second.close()

    def test_is_readable_by_its_owner_only(self, tmp_path: Path) -> None:
        SqliteStore(tmp_path / "root" / "bento.db").close()
        assert (tmp_path / "root").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "root" / "bento.db").stat().st_mode & 0o777 == 0o600

    def test_text_that_is_no_text_is_a_usage_error(self, path: Path) -> None:
        store = SqliteStore(path)
        with pytest.raises(BentoError, match="UTF-8") as raised:
            store.add(container("a", "web", notes=("\udcff",)))
        assert raised.value.code == "usage"
        assert store.list() == []
        store.close()

    def test_opening_what_is_there_costs_one_query(self, path: Path) -> None:
        SqliteStore(path).close()
        durations_s = []
        for _ in range(20):
            began = time.perf_counter()
            store = SqliteStore(path)
            durations_s.append(time.perf_counter() - began)
            store.close()
        assert min(durations_s) < 0.005


class TestProcesses:
    def test_many_make_the_database_at_the_same_moment(self, path: Path) -> None:
        code = """
import os, time
while not os.path.exists(sys.argv[3]): pass
store = SqliteStore(path)
store.add(record(sys.argv[2], "n" + sys.argv[2]))
store.close()
"""
        for round_number in range(3):
            here = path.with_name(f"{round_number}.db")
            go = path.with_name(f"go{round_number}")
            racers = [python(code, here, digit, go) for digit in "012345"]
            time.sleep(0.3)
            go.touch()
            for racer in racers:
                output(racer)
            store = SqliteStore(here)
            assert len(store.list()) == 6
            store.close()

    def test_processes_lose_no_change(self, path: Path) -> None:
        store = SqliteStore(path)
        store.add(container("a", "web"))
        code = """
store = SqliteStore(path)
for _ in range(100):
    store.modify(store.find("web").id, lambda c: msgspec.structs.replace(c, notes=(*c.notes, "x")))
"""
        writers = [python(code, path) for _ in range(3)]
        for writer in writers:
            output(writer)
        assert len(store.find("web").notes) == 300
        store.close()

    def test_only_one_gets_a_name(self, path: Path) -> None:
        SqliteStore(path).close()
        code = """
store = SqliteStore(path)
try:
    store.add(record(sys.argv[2], "web"))
    print("won")
except BentoError as error:
    print(error.code)
"""
        answers = sorted(output(racer) for racer in [python(code, path, digit) for digit in "012"])
        assert answers == ["conflict", "conflict", "won"]

    def test_a_writer_that_is_killed_loses_its_transaction_only(self, path: Path) -> None:
        store = SqliteStore(path)
        store.add(container("a", "web"))
        code = """
import os, time
store = SqliteStore(path)
def change(before):
    print("in", flush=True)
    time.sleep(60)
store.modify(store.find("web").id, change)
"""
        writer = python(code, path)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "in\n"
        writer.kill()
        writer.communicate()
        assert store.modify(container("a", "").id, renamed("shop")).name == "shop"
        store.close()

    def test_a_lock_that_stays_is_a_conflict(self, path: Path) -> None:
        store = SqliteStore(path, busy_timeout_s=0.05)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Conflict, match=r"bento\.db"):
            store.add(container("a", "web"))
        other.execute("ROLLBACK")
        other.close()
        store.add(container("a", "web"))
        store.close()


class TestDamage:
    @pytest.mark.parametrize(
        "content", [b"x", b"not a database, but a text" * 300, b"SQLite format 3\0" + b"\xff" * 200]
    )
    def test_a_file_that_is_no_database_is_named_and_kept(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(StateCorrupt, match=r"bento\.db"):
            SqliteStore(path)
        assert path.read_bytes() == content
        assert os.listdir(path.parent) == ["bento.db"]

    def test_damaged_pages_are_found_and_kept(self, path: Path) -> None:
        store = SqliteStore(path)
        for digit in "0123456789":
            store.add(container(digit, digit, notes=("x" * 3000,)))
        store.close()
        content = path.read_bytes()
        damaged = content[:4096] + b"\xa5" * (len(content) - 4096)
        path.write_bytes(damaged)
        store = SqliteStore(path)
        with pytest.raises(StateCorrupt, match=r"bento\.db"):
            store.list()
        with pytest.raises(StateCorrupt, match=r"bento\.db"):
            store.add(container("b", "b"))
        store.close()
        assert path.read_bytes() == damaged

    @pytest.mark.parametrize("document", [b"{", b'{"id": 3}', b"\xff", 7, None])
    def test_a_malformed_record_is_named_and_kept(self, path: Path, document: object) -> None:
        store = SqliteStore(path)
        store.add(container("a", "web"))
        store.put_image(image("a", "app"), events=())
        other = sqlite3.connect(path)
        with other:
            other.execute("PRAGMA ignore_check_constraints = ON")
            if document is None:
                document = b"null"
            other.execute("UPDATE containers SET document = ?", (document,))
            other.execute("UPDATE images SET document = ?", (document,))
        other.close()
        for ask in (
            lambda: store.find("web"),
            lambda: store.modify(container("a", "").id, renamed("x")),
            lambda: store.find_image("app"),
        ):
            with pytest.raises(StateCorrupt, match=r"bento\.db"):
                ask()
        told: list[str] = []
        found = [*store.list(on_unreadable=lambda e: told.append(e.record_id)), *store.list(), *store.list_images()]
        assert (found, told) == ([], [container("a", "").id])  # the others of a list are shown
        other = sqlite3.connect(path)
        assert other.execute("SELECT name, document FROM containers").fetchall() == [("web", document)]
        other.close()
        store.close()

    def test_a_database_of_a_newer_bento_is_refused(self, path: Path) -> None:
        SqliteStore(path).close()
        newer = sqlite3.connect(path)
        newer.execute("PRAGMA user_version = 99")
        newer.close()
        with pytest.raises(StateCorrupt, match="newer"):
            SqliteStore(path)

    @pytest.mark.parametrize("version", [0, 1])
    def test_another_programs_database_is_refused(self, path: Path, version: int) -> None:
        foreign = sqlite3.connect(path)
        foreign.execute("CREATE TABLE containers (id TEXT)")
        foreign.execute(f"PRAGMA user_version = {version}")
        foreign.close()
        content = path.read_bytes()
        with pytest.raises(StateCorrupt, match="not Bento's"):
            SqliteStore(path)
        assert path.read_bytes() == content

    def test_an_interrupted_creation_is_finished(self, path: Path) -> None:
        path.touch()
        store = SqliteStore(path)
        store.add(container("a", "web"))
        store.close()

    def test_a_missing_table_is_damage(self, path: Path) -> None:
        SqliteStore(path).close()
        other = sqlite3.connect(path)
        other.execute("DROP TABLE containers")
        other.close()
        store = SqliteStore(path)
        with pytest.raises(StateCorrupt, match=r"bento\.db"):
            store.list()
        store.close()


class TestPlaces:
    def test_a_directory_in_its_place(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(StorageUnusable, match=r"bento\.db"):
            SqliteStore(path)

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "root").touch()
        with pytest.raises(StorageUnusable, match="root"):
            SqliteStore(tmp_path / "root" / "bento.db")

    @pytest.mark.parametrize("is_there", [False, True])
    def test_another_user_is_told_so(self, tmp_path: Path, is_there: bool) -> None:
        place = tmp_path / "root"
        place.mkdir(mode=0o700)
        if is_there:
            SqliteStore(place / "bento.db").close()
        code = """
import os
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    SqliteStore(path)
except BentoError as error:
    print(error.code)
"""
        assert output(python(code, place / "bento.db")) == "not-permitted"

    def test_a_read_only_file_is_not_permitted_to_others(self, tmp_path: Path) -> None:
        SqliteStore(tmp_path / "bento.db").close()
        tmp_path.chmod(0o755)
        (tmp_path / "bento.db").chmod(0o644)
        code = """
import os
os.chdir(sys.argv[1]); os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    SqliteStore(Path("bento.db")).add(record("a", "web"))
except BentoError as error:
    print(error.code)
"""
        assert output(python(code, tmp_path)) == "not-permitted"

    def test_a_full_disk_is_said_and_the_records_stay(self, tmp_path: Path) -> None:
        code = """
import os
store = SqliteStore(path)
store.add(record("a", "web"))
try:
    for number in range(1000):
        store.modify(store.find("web").id, lambda c: msgspec.structs.replace(c, notes=(*c.notes, "x" * 9999)))
except BentoError as error:
    print(error.code, "full" in str(error))
print(len(store.find("web").notes) == number)
"""
        assert in_tmpfs(tmp_path, "size=320k", code).split() == ["storage-unusable", "True", "True"]

    def test_a_disk_that_something_fills_lets_records_change_and_go(self, tmp_path: Path) -> None:
        code = """
import os
def fill():
    with open(path.with_name("filler"), "ab", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            pass
def room():
    return os.statvfs(path.parent).f_bfree
reserve = path.with_name("reserve")
store = SqliteStore(path)
store.add(record("a", "web"))
store.add(record("b", "db"))
store.close()
whole = reserve.stat().st_size
for number in range(20):
    fill()
    store = SqliteStore(path)
    fill()
    assert room() == 0
    store.modify("a" * 64, lambda c: msgspec.structs.replace(c, notes=("x" * 999,) * (number % 5)))
    store.close()
fill()
store = SqliteStore(path)
fill()
try:
    store.add(record("c", "late" * 9999))
except BentoError as error:
    print(error.code)
store.remove("b" * 64)
print(len(store.list()), len(store.get("a" * 64).notes), reserve.stat().st_size < whole)
path.with_name("filler").unlink()
store.close()
print(reserve.stat().st_size == whole - 65536)  # there is a container less
"""
        answer = in_tmpfs(tmp_path, "size=8m", code).split()
        assert answer == ["storage-unusable", "1", "4", "True", "True"]

    def test_a_small_disk_is_not_filled_with_a_reserve(self, tmp_path: Path) -> None:
        code = """
store = SqliteStore(path)
store.close()
print(path.with_name("reserve").exists())
"""
        assert in_tmpfs(tmp_path, "size=3m", code) == "False"

    def test_no_room_for_a_database(self, tmp_path: Path) -> None:
        code = """
try:
    SqliteStore(path)
except BentoError as error:
    print(error.code)
"""
        assert in_tmpfs(tmp_path, "size=12k", code) == "storage-unusable"

    def test_a_read_only_filesystem(self, tmp_path: Path) -> None:
        code = """
try:
    SqliteStore(path)
except BentoError as error:
    print(error.code, "read-only" in str(error))
"""
        assert in_tmpfs(tmp_path, "size=1m,ro", code) == "storage-unusable True"


def in_tmpfs(mount_point: Path, options: str, code: str) -> str:
    """Run code with a store's path in a small tmpfs of its own."""
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && exec "$3" -c "$4" "$2/bento.db"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", options, str(mount_point), sys.executable, PRELUDE + code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
