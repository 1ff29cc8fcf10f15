"""What waits for a reader of a container's output: in order, within limits, and by a process of its own."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bento import packets
from bento.drivers.monitor import backlog as backlogs
from bento.drivers.monitor.backlog import Backlog, Room
from bento.drivers.monitor.buffer import Passage
from bento.drivers.monitor.buffers import _RUN, _SOURCES, Buffers


def packet(number: int) -> bytes:
    return b"\2" + f"{number:06}".encode() * 20


def everything(backlog: Backlog) -> Iterator[bytes]:
    while (found := backlog.get()) is not None:
        yield found


def test_packets_come_in_order_whatever_goes_through_the_file(tmp_path: Path) -> None:
    backlog = Backlog(str(tmp_path), chunk_bytes=1000)
    put = taken = 0
    for burst in (3, 100, 1, 400):  # some are taken between
        for _ in range(burst):
            backlog.put(packet(put))
            put += 1
        for _ in range(burst // 2):
            assert backlog.get() == packet(taken)
            taken += 1
    assert list(everything(backlog)) == [packet(number) for number in range(taken, put)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False], ids=["file", "no file"])
def test_beyond_the_limit_the_oldest_goes_and_is_counted(tmp_path: Path, there: bool) -> None:
    directory = tmp_path if there else tmp_path / "none"
    backlog = Backlog(str(directory), chunk_bytes=1000, chunks_max=3)
    wanted = [packet(number) for number in range(1000)]
    for one in wanted:
        backlog.put(one)
    found = list(everything(backlog))
    told = [one for one in found if one[0] == backlogs.LEFT_OUT]
    kept = [one for one in found if one[0] != backlogs.LEFT_OUT]
    missing = sum(len(one) - 1 for one in wanted) - sum(len(one) - 1 for one in kept)
    assert [int(one[1:]) for one in told] == [missing]
    assert kept == wanted[-len(kept) :]  # the last words are there
    assert found.index(told[0]) == 0
    assert backlog.get() is None
    backlog.put(packet(1))
    assert list(everything(backlog)) == [packet(1)]


def test_all_files_together_take_no_more_than_they_leave_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room, total = Room(), 100 * 150_000
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=total - room.taken_bytes, f_frsize=1))
    held = [Backlog(str(tmp_path), chunk_bytes=1000, room=room) for _ in range(3)]
    for number in range(2000):
        for backlog in held:
            backlog.put(packet(number))
    assert 0.3 * total < room.taken_bytes <= total / 2
    held[0].close()
    assert 0 < room.taken_bytes <= total / 3  # and others may have it
    for backlog in held[1:]:
        assert list(everything(backlog))[-1] == packet(1999)
    assert room.taken_bytes == 0
    for backlog in held:
        backlog.close()
        backlog.close()


class Still:
    """A loop that waits for nothing."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


def files_in(directory: Path) -> int:
    """How many files of a directory this process has open."""
    links = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(fd))
    return sum(link.startswith(str(directory)) for link in links)


def test_a_reader_that_leaves_leaves_no_file(tmp_path: Path) -> None:
    (monitor, connection), (reader, writer) = packets.pair(), packets.pair()
    passage = Passage(cast(Any, Still()), connection, writer, str(tmp_path), stays=True)
    for _ in range(600):
        os.write(monitor, b"\3" + bytes(8192))
        passage._on_source(select.EPOLLIN)
    assert files_in(tmp_path) == 1
    os.close(reader)
    passage._on_reader(select.EPOLLHUP)
    assert files_in(tmp_path) == 0
    passage.close()
    os.close(monitor)


@contextlib.contextmanager
def running(
    tmp_path: Path, *words: str, has_input: bool = False, program: str = _RUN
) -> Iterator[tuple[int, int, int, int]]:
    """Run the process with one passage; yield the monitor's side, the input, the reader's side and its control.

    At the end it has ended by itself, and well. Without ``has_input`` the input is -1.
    """
    (monitor, connection), (reader, writer), (control, theirs) = packets.pair(), packets.pair(), packets.pair()
    given = (connection, writer, theirs)
    argv = [sys.executable, "-I", "-S", "-c", program, str(_SOURCES), *map(str, given), str(tmp_path), *words]
    with subprocess.Popen(argv, pass_fds=given) as process:
        for fd in (writer, theirs, *(() if has_input else (connection,))):
            os.close(fd)
        yield monitor, connection if has_input else -1, reader, control
        with contextlib.suppress(OSError):
            os.close(control)
        assert process.wait(timeout=60) == 0


def everything_of(reader: int) -> list[bytes]:
    return list(iter(lambda: os.read(reader, backlogs.PACKET_MAX), b""))


def test_c11_a_reader_that_does_not_read_does_not_hold_the_writer_up(tmp_path: Path) -> None:
    with running(tmp_path) as (monitor, _, reader, _):
        wanted = [b"\3" + os.urandom(8192) for _ in range(400)]
        for one in wanted:
            os.write(monitor, one)  # would block for ever: 3 MB are more than sockets hold
        os.close(monitor)
        assert everything_of(reader) == wanted
    os.close(reader)


def test_it_ends_with_its_reader(tmp_path: Path) -> None:
    at_once = _RUN.replace("main()", "buffer._LEAVE_S = 0.0; buffer.main()").replace(
        "monitor.buffer import main", "monitor import buffer"
    )
    with running(tmp_path, program=at_once) as (monitor, _, reader, _):
        os.write(monitor, b"\2out")
        os.close(reader)
    os.close(monitor)


def test_the_end_of_the_input_comes_before_the_monitor_can_write_no_more(tmp_path: Path) -> None:
    with running(tmp_path, has_input=True) as (monitor, connection, reader, _):
        os.close(connection)
        os.close(reader)
        assert os.read(monitor, 100) == b""
        os.write(monitor, b"\2more")
        os.close(monitor)


def test_what_stays_does_not_end_the_input(tmp_path: Path) -> None:
    with running(tmp_path, "stay", has_input=True) as (monitor, connection, reader, _):
        os.close(connection)
        os.close(reader)
        with contextlib.suppress(BrokenPipeError):  # as soon as it reads no more
            while os.write(monitor, b"\2more"):
                pass
        assert not select.select([monitor], [], [], 0.0)[0]
        os.close(monitor)


def test_output_is_not_lost_where_input_was_not_read(tmp_path: Path) -> None:
    with running(tmp_path, has_input=True) as (monitor, connection, reader, _):
        os.write(connection, b"input")
        os.close(connection)
        os.write(monitor, b"\2out")
        os.close(monitor)
        assert everything_of(reader) == [b"\2out"]
    os.close(reader)


def test_c11_one_process_serves_many_readers_and_none_holds_up_another(tmp_path: Path) -> None:
    """And it goes on with them when what has started it has gone; one that has ended is replaced."""
    buffers = Buffers()

    def attach() -> tuple[int, int]:
        (monitor, connection), (reader, writer) = packets.pair(), packets.pair()
        buffers.pass_on(connection, writer, tmp_path, stays=False)
        os.close(connection)
        os.close(writer)
        return monitor, reader

    wanted = [b"\2" + os.urandom(8192) for _ in range(200)]
    (slow, unread), *others = [attach() for _ in range(50)]
    control = buffers._control
    for one in wanted:
        os.write(slow, one)  # nothing reads it yet
    for monitor, reader in others:
        os.write(monitor, b"\2out")
        assert os.read(reader, 100) == b"\2out"
    assert buffers._control is control  # one process
    for monitor, reader in others[:25]:
        os.close(reader)
        assert os.read(monitor, 100) == b""
        os.close(monitor)
    buffers.close()
    for monitor, reader in others[25:]:
        os.write(monitor, b"\2last")
        os.close(monitor)
        assert everything_of(reader) == [b"\2last"]
        os.close(reader)
    os.close(slow)
    assert everything_of(unread) == wanted
    os.close(unread)
    monitor, reader = attach()
    os.write(monitor, b"\2again")
    assert os.read(reader, 100) == b"\2again"
    os.close(monitor)
    assert everything_of(reader) == []
    os.close(reader)
    buffers.close()
