"""Following a log: nothing is lost, cut, told twice, or kept in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from bento import log
from bento.config import Settings
from bento.drivers.monitor.base import JournalEntry
from bento.engine.resources import logs as log_resources
from bento.engine.views import logs
from bento.errors import UsageError
from bento.files import log_files
from bento.model.container import Container, LogSettings
from bento.parse.logs import parse_log_options
from bento.parse.times import parse_since
from bento.testing.drivers import FakeDrivers

TIME = "2026-01-31T12:00:00.000000000+00:00"


class Changes:
    """A watch on the log that lets the test go on writing: each wait takes the next step."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        self._steps = steps

    def wait(self, other_fd: int) -> None:
        self._steps.pop(0)()

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def fileno(self) -> int | None:
        return None

    def clear(self) -> None:
        pass


class Logged:
    """A container with a living monitor and a log that the test writes."""

    def __init__(self, drivers: FakeDrivers) -> None:
        self.drivers = drivers
        self.monitor = drivers.processes.add("conmon")
        self.container: Container = drivers.add("web", drivers.processes.add("server"), monitor=self.monitor)
        self.path = logs.log_path(drivers, self.container)
        self.path.parent.mkdir(parents=True)
        self.path.touch()

    def write(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)

    def turn_over(self, text: str) -> None:
        """Put a new log in the place of the old one, as the monitor does at the limit."""
        beside = self.path.with_name("log.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.path)

    def follow(self, *steps: Callable[[], None], tail: int | None = None) -> list[str]:
        todo = [*steps, lambda: self.drivers.processes.end(self.monitor, 0)]
        self.drivers.watch_file = lambda path: Changes(todo)  # type: ignore[method-assign]
        return [line.text.decode() for line in logs.follow(self.drivers, self.container, tail=tail, since=None)]


@pytest.fixture
def logged(drivers: FakeDrivers) -> Logged:
    return Logged(drivers)


def line(text: str, tag: str = "F") -> str:
    return f"{TIME} stdout {tag} {text}\n"


@pytest.mark.parametrize("tail", [None, 0, 1, 2, 9])
@pytest.mark.parametrize("cut", [1, len(TIME), len(TIME) + 8, len(line("two")) - 1])
def test_line_that_was_half_written_at_the_first_look_comes_whole(logged: Logged, tail: int | None, cut: int) -> None:
    second = line("two")
    logged.write(line("one") + second[:cut])

    told = logged.follow(lambda: logged.write(second[cut:] + line("three")), tail=tail)

    assert told == (["two\n", "three\n"] if tail == 0 else ["one\n", "two\n", "three\n"])


def test_line_may_grow_by_single_bytes(logged: Logged) -> None:
    steps = [lambda byte=byte: logged.write(byte) for byte in line("one") + line("two")]

    assert logged.follow(*steps) == ["one\n", "two\n"]


def test_what_was_written_last_is_read_before_the_end(logged: Logged) -> None:
    logged.write(line("one"))

    def last() -> None:
        logged.write(line("last"))
        logged.drivers.processes.end(logged.monitor, 0)

    assert logged.follow(last) == ["one\n", "last\n"]


def test_long_log_is_read_in_parts(logged: Logged) -> None:
    logged.write("".join(line(f"{number:050}") for number in range(20_000)))
    size = logged.path.stat().st_size
    assert size > 20 * logs._CHUNK_BYTES
    sizes: list[int] = []

    class Counting(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            sizes.append(size or 0)
            return super().read(size)

    with Counting(logged.path) as stream:
        last = list(logs._last_lines(logs._Reader(stream, None).read(size), 2))

    assert [int(each.text) for each in last] == [19_998, 19_999]
    assert max(sizes) == logs._CHUNK_BYTES


def test_log_of_what_has_ended_is_read_once(logged: Logged) -> None:
    logged.write(line("one"))
    assert logged.container.run is not None
    ended = replace(logged.container, run=replace(logged.container.run, monitor=None))

    assert [one.text for one in logs.follow(logged.drivers, ended, tail=None, since=None)] == [b"one\n"]


def test_following_goes_on_with_the_file_that_takes_the_place(logged: Logged) -> None:
    logged.write(line("one"))

    def turn_over() -> None:
        logged.write(line("two"))  # the last of the old one, not read yet
        logged.turn_over(line("three"))

    assert logged.follow(turn_over, lambda: logged.turn_over(line("four"))) == ["one\n", "two\n", "three\n", "four\n"]


def test_following_reads_a_file_that_took_the_place_just_before_the_end(logged: Logged) -> None:
    def last() -> None:
        logged.turn_over(line("last"))
        logged.drivers.processes.end(logged.monitor, 0)

    assert logged.follow(last) == ["last\n"]


class Rotated(Logged):
    """A log of several files."""

    def __init__(self, drivers: FakeDrivers) -> None:
        super().__init__(drivers)
        log_resources.make_room(self.path, 100_000, 3)

    def turn_over(self, text: str, *, is_kept: bool = True) -> None:
        beside = self.path.with_name("log.tmp")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.path)
        if is_kept:
            fd = os.open(self.path.parent, os.O_RDONLY)
            log_files.keep(fd, 3)
            os.close(fd)

    def read(self, tail: int | None = None, since: datetime | None = None) -> list[str]:
        return [line.text.decode() for line in logs.read_log(self.path, tail=tail, since=since)]


@pytest.fixture
def rotated(drivers: FakeDrivers) -> Rotated:
    return Rotated(drivers)


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept at once", "kept late"])
def test_following_reads_every_file_that_came_meanwhile(rotated: Rotated, is_kept: bool) -> None:
    rotated.write(line("one"))

    def turn_over_twice() -> None:
        rotated.write(line("two"))
        rotated.turn_over(line("three") + line("four"), is_kept=is_kept)
        rotated.turn_over(line("five"))

    told = rotated.follow(turn_over_twice, lambda: rotated.write(line("six")), tail=1)
    assert told == ["one\n", "two\n", "three\n", "four\n", "five\n", "six\n"]


def test_following_says_when_files_went_before_they_were_read(
    rotated: Rotated, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "warning", said.append)

    def flood() -> None:
        for number in range(6):
            rotated.turn_over(line(str(number)))

    assert rotated.follow(lambda: rotated.turn_over(line("in time")), flood) == ["in time\n", "3\n", "4\n", "5\n"]
    assert len(said) == 1


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 4, 5, 6, 9])
def test_last_lines_are_found_across_files(rotated: Rotated, tail: int) -> None:
    rotated.write(line("1") + line("2"))
    rotated.turn_over(line("3") + line("4-", "P"))  # a line that goes on in the next file
    rotated.turn_over(line("4") + line("5"))

    whole = ["1\n", "2\n", "3\n", "4-4\n", "5\n"]
    assert rotated.read() == ["1\n", "2\n", "3\n", "4-", "4\n", "5\n"]
    assert "".join(rotated.read(tail)) == "".join(whole[-tail or 5 :])


def test_time_is_looked_at_in_every_file(rotated: Rotated) -> None:
    early, late = line("early"), line("late").replace("12:00:00", "13:00:00")
    rotated.write(early + late)
    rotated.turn_over(late + early)

    assert rotated.read(since=datetime(2026, 1, 31, 12, 30, tzinfo=UTC)) == ["late\n", "late\n"]
    assert rotated.read(tail=3) == ["late\n", "late\n", "early\n"]


@pytest.mark.parametrize("is_followed", [True, False])
def test_lines_of_the_journal(drivers: FakeDrivers, is_followed: bool) -> None:
    container = drivers.add("web", drivers.processes.add("server"), log=LogSettings(driver="journald"))
    entries = [
        JournalEntry(cursor=str(at), unix_ns=at * 10**9, is_stderr=at == 2, text=f"{at}\n".encode()) for at in range(5)
    ]
    drivers.monitor.journal = [*entries[:4], None, entries[4]]

    def told(tail: int | None, since: datetime | None = None) -> list[str]:
        lines = logs.logs(drivers, container, is_followed=is_followed, tail=tail, since=since)
        return [f"{each.stream} {each.text.decode().strip()}" for each in lines]

    assert told(2) == ["stderr 2", "stdout 3", "stdout 4"]
    assert told(None, datetime.fromtimestamp(3, UTC)) == ["stdout 3", "stdout 4"]
    assert len(told(None)) == 5


def settled(default: int = 0, **options: Any) -> tuple[int, int]:
    found = log_resources.settle(LogSettings(**options), Settings(log_max_bytes=default))
    return found.limit_bytes, found.file_count


def test_limits_are_the_containers_own_else_the_engines_else_the_drivers() -> None:
    assert settled() == (0, 1)
    assert settled(50_000) == (50_000, 1)
    assert settled(50_000, max_bytes=0) == (0, 1)
    assert settled(50_000, max_bytes=20_000, driver="json-file") == (20_000, 1)
    assert settled(50_000, max_files=3) == (50_000, 3)
    assert settled(driver="local") == (20 << 20, 5)  # Docker's
    assert settled(50_000, driver="local", max_files=2) == (50_000, 2)
    assert settled(driver="local", max_bytes=0) == (0, 1)
    assert settled(50_000, driver="none") == settled(50_000, driver="journald") == (0, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"driver": "syslog"}, {"driver": "passthrough"}, {"driver": "none", "max_bytes": 20_000},
        {"driver": "journald", "max_files": 2}, {"driver": "none", "tag": "t"}, {"tag": "t"},
        {"max_bytes": 1000}, {"max_files": 3}, {"max_bytes": 20_000, "max_files": 1001},
    ],
)  # fmt: skip
def test_log_that_cannot_be_kept_so_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        settled(**options)


def test_options_of_a_log() -> None:
    words = ["max-size=1m", "max-file=3", "tag=web", "max-size=2m"]
    assert parse_log_options(words) == {"max_bytes": 2 << 20, "max_files": 3, "tag": "web"}
    assert parse_log_options(["max-size=-1"]) == {"max_bytes": 0}


def test_line_that_is_being_written_is_not_shown_torn(logged: Logged) -> None:
    logged.write(line("one") + line("two")[:-2])

    assert [one.text for one in logs.read_log(logged.path, tail=None, since=None)] == [b"one\n"]


@pytest.mark.parametrize("count", [0, 1, 100, 101, 102, 103, 300])
def test_what_runs_before_have_left_is_cut_to_half_the_limit_at_whole_lines(logged: Logged, count: int) -> None:
    width = len(line("0000"))
    limit = 2 * 102 * width
    logged.write("".join(line(f"{number:04}") for number in range(count)))

    room = log_resources.make_room(logged.path, limit)

    kept = [int(one.text) for one in logs.read_log(logged.path, tail=None, since=None)]
    assert kept == list(range(count))[-102:]
    assert room == limit - logged.path.stat().st_size
    assert [path.name for path in logged.path.parent.iterdir()] == ["log"]


def test_without_a_limit_or_a_log_nothing_is_cut(logged: Logged) -> None:
    logged.write(line("one") * 1000)
    before = logged.path.read_bytes()

    assert log_resources.make_room(logged.path, 0) == 0
    assert logged.path.read_bytes() == before
    assert log_resources.make_room(logged.path.with_name("none"), 5000) == 5000


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1m30s", 90), ("1h30m", 5400), ("1.5h", 5400), ("1d1ms", 86400.001), ("0s", 0)]
)
def test_time_ago(text: str, seconds: float) -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)

    assert parse_since(text, now) == now - timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["1m30", "m", "1x", "-5m", "1m 30s", "1..5m", "1e3s", "9" * 30 + "d", "\u0663s"])
def test_what_is_no_time_ago(text: str) -> None:
    with pytest.raises(UsageError):
        parse_since(text, datetime.now(UTC))
