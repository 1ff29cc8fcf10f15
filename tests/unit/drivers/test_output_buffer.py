"""What waits for a reader of a container's output: in order, within limits, and by a process of its own."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento import packets
from bento.drivers.monitor import buffer
from bento.drivers.monitor.buffer import Backlog


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
    told = [one for one in found if one[0] == buffer.LEFT_OUT]
    kept = [one for one in found if one[0] != buffer.LEFT_OUT]
    missing = sum(len(one) - 1 for one in wanted) - sum(len(one) - 1 for one in kept)
    assert [int(one[1:]) for one in told] == [missing]
    assert kept == wanted[-len(kept) :]  # the last words are there
    assert found.index(told[0]) == 0
    assert backlog.get() is None
    backlog.put(packet(1))
    assert list(everything(backlog)) == [packet(1)]


def test_c11_a_reader_that_does_not_read_does_not_hold_the_writer_up(tmp_path: Path) -> None:
    (source, theirs), (reader, writer) = packets.pair(), packets.pair()
    words = [sys.executable, "-I", "-S", buffer.__file__, str(theirs), str(writer), str(tmp_path)]
    with subprocess.Popen(words, pass_fds=(theirs, writer)) as process:
        os.close(theirs)
        os.close(writer)
        wanted = [b"\3" + os.urandom(8192) for _ in range(400)]
        for one in wanted:
            os.write(source, one)  # would block for ever: 3 MB are more than sockets hold
        os.close(source)
        found = list(iter(lambda: os.read(reader, buffer.PACKET_MAX), b""))
        assert found == wanted
        assert process.wait(timeout=60) == 0
    os.close(reader)


def test_it_ends_with_its_reader(tmp_path: Path) -> None:
    (source, theirs), (reader, writer) = packets.pair(), packets.pair()
    words = [sys.executable, "-I", "-S", buffer.__file__, str(theirs), str(writer), str(tmp_path)]
    with subprocess.Popen(words, pass_fds=(theirs, writer)) as process:
        os.close(theirs)
        os.close(writer)
        os.write(source, b"\2out")
        os.close(reader)
        assert process.wait(timeout=60) == 0
    os.close(source)


def run_with_input(tmp_path: Path, *words: str) -> tuple[subprocess.Popen[bytes], int, int, int]:
    """Start one whose connection is an input, too; return it, the monitor's side, the input and the reader's side."""
    (monitor, connection), (reader, writer) = packets.pair(), packets.pair()
    command = [sys.executable, "-I", "-S", buffer.__file__, str(connection), str(writer), str(tmp_path), *words]
    process = subprocess.Popen(command, pass_fds=(connection, writer))
    os.close(writer)
    return process, monitor, connection, reader


def test_the_end_of_the_input_comes_before_the_monitor_can_write_no_more(tmp_path: Path) -> None:
    process, monitor, connection, reader = run_with_input(tmp_path)
    with process:
        os.close(connection)
        os.close(reader)
        assert os.read(monitor, 100) == b""
        os.write(monitor, b"\2more")
        os.close(monitor)
        assert process.wait(timeout=60) == 0


def test_what_stays_does_not_end_the_input(tmp_path: Path) -> None:
    process, monitor, connection, reader = run_with_input(tmp_path, "stay")
    with process:
        os.close(connection)
        os.close(reader)
        with contextlib.suppress(BrokenPipeError):  # as soon as it reads no more
            while os.write(monitor, b"\2more"):
                pass
        assert not select.select([monitor], [], [], 0.0)[0]
        assert process.poll() is None
        os.close(monitor)
        assert process.wait(timeout=60) == 0


def test_output_is_not_lost_where_input_was_not_read(tmp_path: Path) -> None:
    process, monitor, connection, reader = run_with_input(tmp_path)
    with process:
        os.write(connection, b"input")
        os.close(connection)
        os.write(monitor, b"\2out")
        os.close(monitor)
        assert os.read(reader, 100) == b"\2out"
        assert os.read(reader, 100) == b""
        assert process.wait(timeout=60) == 0
    os.close(reader)
