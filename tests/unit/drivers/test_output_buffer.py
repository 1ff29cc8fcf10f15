"""What waits for a reader of a container's output: in order, within limits, and by a process of its own."""

from __future__ import annotations

import os
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
