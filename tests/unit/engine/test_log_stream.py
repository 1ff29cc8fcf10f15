"""A log that is read by a program with a loop of its own."""

from __future__ import annotations

import select
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from bento import clock
from bento.engine.views import logs
from bento.engine.views.log_stream import LINES_MAX, LogStream
from bento.errors import WrongState
from bento.kernel import inotify
from bento.model.container import LogSettings
from bento.testing.drivers import FakeDrivers

TIME = "2026-01-02T03:04:05.000000000+00:00"


@pytest.fixture
def logged(drivers: FakeDrivers):
    monitor = drivers.processes.add("conmon")
    container = drivers.add("web", drivers.processes.add("server"), monitor=monitor)
    path = logs.log_path(drivers, container)
    path.parent.mkdir(parents=True)
    path.touch()
    drivers.watch_file = lambda path: inotify.FileWatch(path)  # type: ignore[method-assign]

    def write(*words: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{TIME} stdout F {word}\n" for word in words)

    return drivers, container, monitor, write


def stream_of(logged, **options) -> LogStream:
    drivers, container, _, _ = logged
    given = {"is_followed": True, "tail": None, "since": None, "until": None} | options
    return LogStream(drivers, container, **given)


def words(stream: LogStream) -> list[str]:
    return [line.text.decode().strip() for line in stream.read()]


def test_it_wakes_for_what_is_written_and_is_over_with_its_monitor(logged):
    drivers, _, monitor, write = logged
    write("one")
    stream = stream_of(logged)
    assert words(stream) == ["one"]
    assert (words(stream), stream.is_over) == ([], False)
    own = [fd for fd in stream.filenos if fd >= 0][-1]
    poller = select.poll()
    poller.register(own, select.POLLIN)
    assert not poller.poll(0)
    write("two")
    assert poller.poll(10_000)
    stream.clear(own)
    assert words(stream) == ["two"]
    assert words(stream) == []
    write("last")
    drivers.processes.end(monitor, 0)
    assert words(stream) == ["last"]
    assert words(stream) == []
    assert stream.is_over
    stream.close()


def test_it_is_read_in_parts_and_not_followed_unless_asked(logged):
    write = logged[3]
    write(*map(str, range(LINES_MAX + 1)))
    stream = stream_of(logged, is_followed=False)
    assert [len(words(stream)), stream.is_over] == [LINES_MAX, False]
    assert [words(stream), stream.is_over] == [[str(LINES_MAX)], True]
    assert words(stream_of(logged, is_followed=False, tail=1)) == [str(LINES_MAX)]


def test_it_ends_before_the_first_line_that_is_too_new(logged):
    write = logged[3]
    write("old")
    then = datetime(2026, 1, 2, tzinfo=UTC)
    stream = stream_of(logged, until=then)
    assert (words(stream), stream.is_over) == ([], True)
    later = stream_of(logged, until=clock.utc() + timedelta(hours=1))
    assert words(later) == ["old"]
    later.close()
    assert later.is_over


@pytest.mark.parametrize("driver", ["none", "journald"])
def test_what_is_in_no_file_is_refused(drivers, driver):
    made = drivers.add("web", drivers.processes.add("server"))
    container = replace(made, spec=replace(made.spec, log=LogSettings(driver=driver)))
    with pytest.raises(WrongState):
        LogStream(drivers, container, is_followed=False, tail=None, since=None, until=None)
