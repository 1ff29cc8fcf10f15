"""What a child takes from a caller, and which commands it leaves to the plain way."""

from __future__ import annotations

import os
import socket

import pytest
from msgspec.structs import replace

from bento import packets
from bento.cli import main as command_line
from bento.kernel.process import surroundings
from bento.zygote import child, handover, terminal
from bento.zygote.code import CodeWatch


def received(packet: bytes, fds: int = handover.REQUEST_FDS) -> child.Request | None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, open(os.devnull) as null:
        packets.send(ours.fileno(), packet, [null.fileno()] * fds)
        got = child._received(theirs.fileno())
    for fd in got.fds if got else ():
        os.close(fd)
    return got


def request(monkeypatch: pytest.MonkeyPatch, *argv: str) -> bytes:
    monkeypatch.setattr("sys.argv", ["bento", *argv])
    with open(os.devnull) as null:
        monkeypatch.setattr("sys.stdin", null)  # pytest's own has no encoding
        return handover._request()


def test_words_and_variables_arrive_as_they_were(monkeypatch):
    monkeypatch.setattr("posix.environ", {b"A": b"=1=\xff", b"EMPTY": b""})
    got = received(request(monkeypatch, "run", "", "\udcff", "a=b"))
    assert got is not None
    assert got.argv == ["run", "", "\udcff", "a=b"]
    assert got.environ == {b"A": b"=1=\xff", b"EMPTY": b""}
    assert (got.peer, got.identity) == (os.getpid(), handover.identity())
    assert len(got.streams) == 6


@pytest.mark.parametrize("packet", [b"", b"bento 0\0a\0b\0000", b"bento 1\0a", b"bento 1\0a\0b\0x", b"\xff" * 5000])
def test_a_caller_that_speaks_otherwise_is_not_listened_to(packet):
    assert received(packet) is None


def test_a_caller_without_its_descriptors_is_not_listened_to_and_those_are_closed(monkeypatch):
    packet = request(monkeypatch, "ps")
    before = len(os.listdir("/proc/self/fd"))
    assert received(packet, fds=2) is None
    assert received(b"\0", fds=handover.REQUEST_FDS) is None
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def waiting(tmp_path, monkeypatch):
    """A child that waits for a caller, the zygote's end of its socket, and what it was when it got warm."""
    ours, theirs = packets.pair()
    listener = packets.listen(tmp_path, "z")
    code = CodeWatch()
    made = child.Child(listener, theirs, -1, (tmp_path, tmp_path), code, sync=lambda: None)
    packet = request(monkeypatch, "ps")
    callers: list[int] = []

    def call() -> None:
        callers.append(packets.connect(tmp_path, "z"))
        with open(os.devnull) as null:
            packets.send(callers[-1], packet, [null.fileno()] * handover.REQUEST_FDS)

    warmed: list[str] = []
    monkeypatch.setattr(child, "warm_up", lambda _: warmed.append("warm"))
    yield made, ours, call, warmed
    for fd in (ours, theirs, listener, code.fileno(), *callers):
        os.close(fd)


def taken(made: child.Child) -> list[str]:
    got = made._await()
    for fd in (*got.fds, made._connection):
        os.close(fd)
    return got.argv


def test_a_child_gets_warm_when_it_is_told_and_then_serves(waiting, monkeypatch):
    made, ours, call, warmed = waiting
    monkeypatch.setattr(child, "warm_up", lambda _: (warmed.append("warm"), call()))
    packets.send(ours, child.WARM_UP)
    assert taken(made) == ["ps"]
    assert warmed == ["warm"]
    packets.send(ours, child.WARM_UP)
    call()
    assert taken(made) == ["ps"]
    assert warmed == ["warm"]


def test_a_caller_that_is_there_does_not_wait_for_it(waiting):
    made, ours, call, warmed = waiting
    packets.send(ours, child.WARM_UP)
    call()
    assert taken(made) == ["ps"]
    assert warmed == []


def test_beside_a_command_that_takes_long_a_child_gets_warm_by_itself(waiting, monkeypatch):
    made, _, call, warmed = waiting
    monkeypatch.setattr(child, "_WARM_UP_AFTER_MS", 1)
    monkeypatch.setattr(child, "warm_up", lambda _: (warmed.append("warm"), call()))
    assert taken(made) == ["ps"]
    assert warmed == ["warm"]


def test_the_surroundings_of_a_process_are_its_own():
    own = surroundings.of(os.getpid())
    assert own == surroundings.of(os.getpid())
    surroundings.take_over(own, own)  # nothing is to be done
    assert own.umask == os.umask(own.umask)
    assert all(value is not None for value in own.fixed.values())


def test_what_cannot_be_taken_over_is_named():
    own = surroundings.of(os.getpid())
    for name in own.fixed:
        with pytest.raises(surroundings.Differs, match=name):
            surroundings.take_over(own, replace(own, fixed=own.fixed | {name: "other"}))
    with pytest.raises(surroundings.Differs, match="cgroup"):
        surroundings.take_over(own, replace(own, cgroup="0::/other\n"))
    limits = list(own.limits)
    for number in surroundings._OF_MEMORY:
        limits[surroundings._LIMITS.index(number)] = (1 << 40, 1 << 40)
    with pytest.raises(surroundings.Differs, match="memory"):
        surroundings.take_over(own, replace(own, limits=tuple(limits)))


READS = {
    "run -it host sh": True, "run -i host sh": True, "run -t host sh": True, "run host sh": False,
    "run -d host sh": False, "run -dit host sh": False, "exec -it w sh": True, "exec w sh -it": False,
    "exec -d w sh": False, "attach w": True, "start w": False, "start -a w": True,
    "start -i w": True, "stop w": False, "ps": False, "rm -f w": False,
    "login x": True, "container prune": True, "container prune -f": False, "system prune": True, "volume prune": True,
    "builder prune": True, "builder prune -f": False, "cp - w:/": True, "cp w:/a b": False, "load": True,
    "load -i f": False, "import - x": True, "build -": True, "build .": False, "build -f - .": True,
}  # fmt: skip


@pytest.mark.parametrize("line", READS)
def test_what_may_read_a_terminal_is_known(line):
    options, verb, words = command_line.split(line.split())
    assert options is not None
    assert verb is not None
    args = command_line.parser_of(verb).parse_args(words)
    assert terminal._reads_input(verb, vars(args)) == READS[line]
