"""Exec over WebSocket: the versions of remotecommand, their channels, half-close, pings, and what is no WebSocket."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from bento.streaming.requests import ExecRequest

from support.streaming import Machine, Streaming, WebSocketClient, ask, connect, streaming, websocket

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5 = "v5.channel.k8s.io"


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def server(machine: Machine) -> Iterator[Streaming]:
    with streaming(machine) as found:
        yield found


def shell(server: Streaming, script: str, **asked: bool) -> str:
    request = ExecRequest(container_id="c", command=("sh", "-c", script), **(asked or {"stdout": True, "stderr": True}))
    return server.url("exec", request)


def until_ready(client: WebSocketClient) -> None:
    """Read until the command has said something."""
    while len(client.messages) < 2:  # the first one says that the client is connected
        assert client.read()


def test_output_errors_and_the_exit_code_come_on_channels_of_their_own(server):
    with websocket(shell(server, "echo out; echo err >&2; exit 3"), V5) as client:
        found = client.until_over()
        assert (client.protocol, client.close_code) == (V5, 1000)
        assert (found[STDOUT], found[STDERR]) == (b"out\n", b"err\n")
        status = json.loads(found[ERROR])
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        assert client.messages[0] == b"\1"  # that it is connected


def test_version_5_ends_input_by_a_message(server):
    with websocket(shell(server, "cat; exit 4", stdin=True, stdout=True), "v9.channel.k8s.io", V5) as client:
        client.put(STDIN, b"in")
        client.put(CLOSE, bytes((77,)))  # none of ours
        client.put(CLOSE, bytes((STDIN,)))
        found = client.until_over()
        assert found[STDOUT] == b"in"
        assert b'"4"' in found[ERROR]


def test_messages_may_come_in_fragments(server):
    with websocket(shell(server, "cat", stdin=True, stdout=True), V5) as client:
        big = bytes(range(256)) * 1000
        client.send(BytesMessage(data=b"", message_finished=False))
        client.send(BytesMessage(data=b"\0", message_finished=False))
        client.send(BytesMessage(data=big[:100_000], message_finished=False))
        client.send(BytesMessage(data=big[100_000:]))
        client.send(BytesMessage(data=b"\xff", message_finished=False))
        client.send(BytesMessage(data=b"\0"))
        assert client.until_over()[STDOUT] == big


def test_older_versions_end_input_by_the_end_of_the_connection(server, machine):
    script = "echo ready; cat >/dev/null; exit 5"
    with websocket(shell(server, script, stdin=True, stdout=True), "v4.channel.k8s.io") as client:
        until_ready(client)
        client.put(STDIN, b"in")
        client.send(CloseConnection(code=1000))
        client.until_over()
    assert machine.until_ended() == [5]


@pytest.mark.parametrize(("offered", "expected"), [(("channel.k8s.io",), "channel.k8s.io"), ((), None)])
def test_the_oldest_version_gets_words(server, offered, expected):
    with websocket(shell(server, "echo out; exit 6", stdout=True), *offered) as client:
        found = client.until_over()
        assert client.protocol == expected
        assert found[STDOUT] == b"out\n"
        assert found[ERROR].endswith(b"exit status 6")


@pytest.mark.parametrize("version", ["v4.base64.channel.k8s.io", "base64.channel.k8s.io"])
def test_browsers_get_text(server, version):
    with websocket(shell(server, "read -r line; echo $line", stdin=True, stdout=True), version) as client:
        client.send(TextMessage(data="0" + base64.b64encode(b"ty").decode(), message_finished=True))
        text = "0" + base64.b64encode(b"ped\n").decode()
        client.send(TextMessage(data=text[:4], message_finished=False))
        client.send(TextMessage(data=text[4:]))
        while client.read():
            pass
        output = b"".join(base64.b64decode(each[1:]) for each in client.messages if each[0] == "1")
        assert output == b"typed\n"


def test_what_is_no_base64_ends_the_session(server, machine):
    with websocket(shell(server, "echo ready; cat", stdin=True, stdout=True), "base64.channel.k8s.io") as client:
        until_ready(client)
        client.send(TextMessage(data="0###"))
        while client.read():
            pass
    machine.until_ended()


def test_a_text_that_has_no_end_ends_the_session(server, machine):
    with websocket(shell(server, "echo ready; cat", stdin=True, stdout=True), "base64.channel.k8s.io") as client:
        until_ready(client)
        with suppress(ConnectionError):  # it ends in the middle
            for _ in range(20):
                client.send(TextMessage(data="0" * 100_000, message_finished=False))
        while client.read():
            pass
    machine.until_ended()


def test_a_terminal_gets_its_sizes(server, machine):
    script = "until stty size | grep '24 100'; do sleep 0.02; done; read -r line"
    with websocket(shell(server, script, stdin=True, stdout=True, tty=True), V5) as client:
        client.put(RESIZE, b'{"Width":100,"Height":24}')
        client.put(STDIN, b"typed\n")
        assert b"24 100" in client.until_over()[STDOUT]


def test_channels_that_are_none_are_dropped(server):
    with websocket(shell(server, "cat", stdin=True, stdout=True), V5) as client:
        for channel in (STDOUT, ERROR, RESIZE, 9):
            client.put(channel, bytes(2 << 20))
        client.send(BytesMessage(data=b""))
        client.put(CLOSE, b"")
        client.put(STDIN, b"in")
        client.put(CLOSE, bytes((STDIN,)))
        assert client.until_over()[STDOUT] == b"in"


def test_pings_are_answered(server):
    with websocket(shell(server, "read -r line", stdin=True, stdout=True), V5) as client:
        client.send(Ping(payload=b"beat"))
        while not client.pongs:
            assert client.read()
        client.put(STDIN, b"\n")
        client.until_over()
        assert client.pongs == [b"beat"]


def test_a_client_that_dies_leaves_the_command_which_ends_by_itself(server, machine):
    script = "echo ready; cat; head -c 300000 /dev/zero; exit 7"
    with websocket(shell(server, script, stdin=True, stdout=True), V5) as client:
        until_ready(client)
    assert machine.until_ended() == [7]
    deadline = time.monotonic() + 60
    while server.tasks() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.tasks() == 0


def test_a_frame_that_is_not_masked_ends_the_session(server, machine):
    with websocket(shell(server, "echo ready; cat", stdin=True, stdout=True), V5) as client:
        until_ready(client)
        client.connection.sendall(b"\x82\x02\x00x")
        client.until_over()
        assert client.close_code == 1002
    machine.until_ended()


def test_a_version_that_is_unknown_is_refused(server):
    with websocket(shell(server, ":"), "v9.channel.k8s.io") as client:
        assert client.status == 403


@pytest.mark.parametrize(("version", "status"), [("8", 426), ("13", 400)])
def test_a_handshake_that_is_not_whole_is_refused(server, version, status):
    url = shell(server, ":")
    with connect(url) as client:
        headers = ["Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Version: {version}"]
        found, head, _ = ask(client, url, headers, "GET")
        assert found == status, head
