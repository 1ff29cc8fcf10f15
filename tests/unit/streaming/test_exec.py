"""Exec over SPDY/3.1, as Kubernetes' clients have it: streams by type, exit codes, sizes, clients that die."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator

import pytest

from bento.streaming import inbox
from bento.streaming.requests import ExecRequest

from support import spdy as frames
from support.streaming import Machine, Streaming, spdy, streaming


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def server(machine: Machine) -> Iterator[Streaming]:
    with streaming(machine) as found:
        yield found


def url_of(server: Streaming, *command: str, **asked: bool) -> str:
    request = ExecRequest(container_id="c", command=command, **(asked or {"stdout": True, "stderr": True}))
    return server.url("exec", request)


def shell(server: Streaming, script: str, **asked: bool) -> str:
    return url_of(server, "sh", "-c", script, **asked)


def opened(client, *names: str) -> dict[str, int]:
    """Open streams as kubectl does: the one for errors first."""
    return {name: client.open(streamtype=name) for name in ("error", *names)}


def test_output_errors_and_the_exit_code_come_on_streams_of_their_own(server):
    with spdy(shell(server, "echo out; echo err >&2; exit 3")) as client:
        streams = opened(client, "stdout", "stderr")
        client.until(*streams.values())
        assert client.output[streams["stdout"]] == b"out\n"
        assert client.output[streams["stderr"]] == b"err\n"
        assert json.loads(client.output[streams["error"]]) == {
            "metadata": {},
            "status": "Failure",
            "message": "command terminated with non-zero exit code: exit status 3",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        }
        assert client.replied == {*streams.values()}


def test_success_is_told_too_and_nothing_is_left(server):
    with spdy(shell(server, ":", stdout=True)) as client:
        streams = opened(client, "stdout")
        client.until(*streams.values())
        assert json.loads(client.output[streams["error"]]) == {"metadata": {}, "status": "Success"}
        assert not client.others  # it is left to the client to end the connection
        client.connection.shutdown(socket.SHUT_WR)
        client.until_over()
    idle(server)


def idle(server: Streaming) -> None:
    """Wait until nothing is under way."""
    deadline = time.monotonic() + 60
    while server.tasks() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.tasks() == 0


def test_input_ends_and_all_output_still_comes(server):
    big = os.urandom(700_000)
    with spdy(url_of(server, "sh", "-c", "cat; cat >&2 </dev/null; exit 0", stdin=True, stdout=True)) as client:
        streams = opened(client, "stdin", "stdout")
        sent = 0
        while sent < len(big):  # by turns: what is sent comes back at once
            client.send(streams["stdin"], big[sent : sent + 50_000])
            sent += 50_000
            while len(client.output[streams["stdout"]]) < sent - 300_000:
                assert client.read()
        client.send(streams["stdin"], b"", fin=True)
        client.until(*streams.values())
        assert client.output[streams["stdout"]] == big
        assert b"Success" in client.output[streams["error"]]


def test_a_command_that_reads_no_input_takes_what_is_sent_all_the_same(server):
    with spdy(shell(server, "exit 4", stdin=True)) as client:
        streams = opened(client, "stdin")
        client.send(streams["stdin"], bytes(200_000), fin=True)
        client.until(streams["error"])
        assert b'"4"' in client.output[streams["error"]]


def test_a_terminal_has_one_output_and_gets_its_sizes(server, machine):
    script = "until stty size | grep '24 100'; do sleep 0.02; done; read -r line; echo read $line"
    with spdy(shell(server, script, stdin=True, stdout=True, tty=True)) as client:
        streams = opened(client, "stdin", "stdout", "resize")
        whole = json.dumps({"Width": 100, "Height": 24}).encode() + b"\n"
        client.send(streams["resize"], b'{"Width":80,"Height":25}\n' + whole[:7])
        client.send(streams["resize"], whole[7:])
        client.send(streams["stdin"], b"typed\n")
        client.until(streams["stdout"], streams["error"])
        assert b"24 100" in client.output[streams["stdout"]]
        assert b"Success" in client.output[streams["error"]]
    assert [(each.rows, each.columns) for each in machine.programs[0].sizes][-1] == (24, 100)


def test_a_command_begins_with_the_size_that_a_client_sends_at_once(server, monkeypatch):
    monkeypatch.setattr("bento.streaming.sizes.FIRST_LIMIT_S", 60.0)
    with spdy(shell(server, "stty size", stdout=True, tty=True)) as client:
        streams = opened(client, "stdout", "resize")
        client.send(streams["resize"], b'{"Width":100,"Height":24}\n')
        client.until(streams["stdout"], streams["error"])
        assert client.output[streams["stdout"]] == b"24 100\r\n"


@pytest.mark.parametrize(
    "sent", [b"no json", b'{"Width":"x"}', b'{"Width":-1,"Height":2}', b"{" * 5000, b'{"Width":0}']
)
def test_a_size_that_is_none_is_not_heeded(server, machine, sent):
    with spdy(shell(server, "read -r line; exit 5", stdin=True, stdout=True, tty=True)) as client:
        streams = opened(client, "stdin", "stdout", "resize")
        client.send(streams["resize"], sent, fin=True)
        client.send(streams["stdin"], b"\n")
        client.until(streams["stdout"], streams["error"])
        assert b'"5"' in client.output[streams["error"]]
    assert machine.programs[0].sizes == []


@pytest.mark.parametrize(
    ("version", "expected"), [("v3.channel.k8s.io", b"exit status 6"), ("channel.k8s.io", b"exit status 6")]
)
def test_older_versions_get_words(server, version, expected):
    with spdy(shell(server, "exit 6", stdout=True), "v9.channel.k8s.io", version) as client:
        streams = opened(client, "stdout")
        client.until(*streams.values())
        assert client.output[streams["error"]].endswith(expected)


def test_older_versions_get_nothing_for_success(server):
    with spdy(shell(server, ":", stdout=True), "v2.channel.k8s.io") as client:
        streams = opened(client, "stdout")
        client.until(*streams.values())
        assert client.output[streams["error"]] == b""


def test_a_command_that_is_not_there_ends_as_in_a_shell(server):
    with spdy(url_of(server, "/no/such/program")) as client:
        streams = opened(client, "stdout", "stderr")
        client.until(*streams.values())
        assert b"not found" in client.output[streams["stderr"]]
        assert b'"127"' in client.output[streams["error"]]


def test_what_cannot_be_run_is_an_internal_error(server):
    request = ExecRequest(container_id="gone", command=("true",), stdout=True)
    with spdy(server.url("exec", request)) as client:
        streams = opened(client, "stdout")
        client.until(*streams.values())
        status = json.loads(client.output[streams["error"]])
        assert (status["reason"], status["code"]) == ("InternalError", 500)
        assert "no such container: gone" in status["message"]


def test_what_a_command_leaves_behind_is_not_waited_for(server, machine):
    with spdy(shell(server, "sleep 1000 & echo out", stdout=True)) as client:
        streams = opened(client, "stdout")
        client.until(*streams.values())
        assert client.output[streams["stdout"]] == b"out\n"


def test_a_client_that_dies_leaves_the_command_which_ends_by_itself(server, machine):
    with spdy(shell(server, "echo ready; cat; head -c 300000 /dev/zero; exit 7", stdin=True, stdout=True)) as client:
        streams = opened(client, "stdin", "stdout")
        while client.output[streams["stdout"]] != b"ready\n":
            assert client.read()
    assert machine.until_ended() == [7]  # its input has ended, and it has not failed by a closed pipe
    idle(server)


def test_a_client_that_dies_before_its_streams_are_there_leaves_nothing(server, machine):
    with spdy(shell(server, "echo out")) as client:
        opened(client, "stdout")  # and no stderr
    idle(server)
    assert machine.programs == []


def test_a_client_that_dies_while_nothing_of_it_is_read_is_noticed(server, machine):
    with spdy(shell(server, "echo ready; read -r line; exec sleep 1000", stdin=True, stdout=True)) as client:
        streams = opened(client, "stdin", "stdout")
        while client.output[streams["stdout"]] != b"ready\n":
            assert client.read()
        client.connection.settimeout(0.5)
        with pytest.raises(TimeoutError):  # the pipe, the server and the kernel hold a bounded part of it
            client.send(streams["stdin"], bytes(0xFFFFFF))
    machine.programs[0].process.kill()
    machine.until_ended()
    idle(server)


def test_a_client_that_does_not_read_holds_up_its_command_and_nothing_else(server, machine):
    with spdy(shell(server, "head -c 50000000 /dev/zero; exit 8", stdout=True)) as slow:
        streams = opened(slow, "stdout")
        while not slow.output[streams["stdout"]]:
            assert slow.read()
        with spdy(shell(server, "echo out", stdout=True)) as client:
            others = opened(client, "stdout")
            client.until(*others.values())
        assert machine.until_ended() == [0]
        slow.until(*streams.values())
        assert len(slow.output[streams["stdout"]]) == 50_000_000
        assert b'"8"' in slow.output[streams["error"]]


def test_an_output_that_is_not_read_does_not_hold_up_the_other_one(server):
    """By windows, which this client has: it never opens that of stdout."""
    with spdy(shell(server, "(head -c 300000 /dev/zero) & echo err >&2; wait; exit 9")) as client:
        client.connection.sendall(frames.settings(_7=1000))
        streams = opened(client, "stdout", "stderr")
        while client.output[streams["stderr"]] != b"err\n" or len(client.output[streams["stdout"]]) < 1000:
            assert client.read()
        assert len(client.output[streams["stdout"]]) == 1000
        for number in (0, streams["stdout"]):
            client.connection.sendall(frames.numbers(frames.WINDOW_UPDATE, number, 10_000_000))
        for name in ("error", "stderr"):
            client.connection.sendall(frames.numbers(frames.WINDOW_UPDATE, streams[name], 1000))
        client.until(*streams.values())
        assert len(client.output[streams["stdout"]]) == 300_000
        assert b'"9"' in client.output[streams["error"]]


def test_an_output_that_is_refused_is_thrown_away_and_the_end_is_told(server):
    with spdy(shell(server, "sleep 0.1; head -c 500000 /dev/zero; echo err >&2; exit 10")) as client:
        streams = opened(client, "stdout", "stderr")
        client.connection.sendall(frames.numbers(frames.RST_STREAM, streams["stdout"], 5))
        client.until(streams["stderr"], streams["error"])
        assert b'"10"' in client.output[streams["error"]]


def test_an_input_that_is_reset_ends(server):
    with spdy(shell(server, "cat; exit 11", stdin=True, stdout=True)) as client:
        streams = opened(client, "stdin", "stdout")
        client.send(streams["stdin"], b"in")
        while client.output[streams["stdout"]] != b"in":
            assert client.read()
        client.connection.sendall(frames.numbers(frames.RST_STREAM, streams["stdin"], 5))
        client.until(streams["stdout"], streams["error"])
        assert b'"11"' in client.output[streams["error"]]


def test_input_beyond_the_bound_waits_and_is_whole(server, machine):
    """A client without flow control sends more than is held; the command reads late, and gets all of it."""
    size = 4 * inbox.HELD_MAX_BYTES
    with spdy(shell(server, "sleep 0.3; wc -c", stdin=True, stdout=True)) as client:
        streams = opened(client, "stdin", "stdout")
        for _ in range(size // (1 << 16)):
            client.send(streams["stdin"], bytes(1 << 16))
        client.send(streams["stdin"], b"", fin=True)
        client.until(*streams.values())
        assert int(client.output[streams["stdout"]]) == size


def test_streams_that_were_not_asked_for_are_refused(server):
    with spdy(shell(server, ":", stdout=True)) as client:
        unknown, first = client.open(streamtype="data"), client.open(streamtype="stdout")
        second, error = client.open(streamtype="stdout"), client.open(streamtype="error")
        client.until(first, error, unknown, second)
        assert client.reset == {unknown: 3, second: 3}


def test_pings_are_answered_while_a_command_runs(server):
    with spdy(shell(server, "read -r line", stdin=True)) as client:
        streams = opened(client, "stdin")
        client.connection.sendall(frames.numbers(frames.PING, 1))
        while not client.others:
            assert client.read()
        assert client.others[0].numbers == (1,)
        client.send(streams["stdin"], b"\n")
        client.until(streams["error"])


def test_what_is_no_spdy_ends_the_session_and_not_the_server(server, machine):
    with spdy(shell(server, "cat", stdin=True, stdout=True)) as client:
        streams = opened(client, "stdin", "stdout")
        client.send(streams["stdin"], b"in")
        while client.output[streams["stdout"]] != b"in":
            assert client.read()
        client.connection.sendall(b"\xff" * 100)
        client.until_over()
        assert client.others[-1].kind == frames.GOAWAY
    machine.until_ended()
    with spdy(shell(server, "echo out", stdout=True)) as client:
        streams = opened(client, "stdout")
        client.until(*streams.values())


def test_the_end_of_the_server_ends_sessions(machine):
    with streaming(machine) as server, spdy(shell(server, "echo ready; exec sleep 1000", stdout=True)) as client:
        streams = opened(client, "stdout")
        while client.output[streams["stdout"]] != b"ready\n":
            assert client.read()
        server.close()
        client.until_over()
        assert machine.programs[0].process.poll() is None  # it goes on
