"""Port-forward: pairs of streams to ports, over SPDY alone and in a WebSocket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from wsproto.events import BytesMessage, CloseConnection

from bento.errors import NotFound
from bento.streaming.requests import PortForwardRequest

from support import spdy as frames
from support.spdy import SpdyClient
from support.streaming import LIMIT_S, Machine, Streaming, WebSocketClient, spdy, streaming, websocket

VERSION = "portforward.k8s.io"


def open_network(engine, sandbox_id):
    if sandbox_id != "p":
        raise NotFound(f"no such pod: {sandbox_id}")
    return None


@pytest.fixture
def server() -> Iterator[Streaming]:
    with streaming(Machine(), open_network=open_network) as found:
        yield found


@pytest.fixture
def port() -> Iterator[int]:
    """A port that gives back what it is sent, and ends where it ends."""
    with listening(echo) as number:
        yield number


@contextmanager
def listening(serve, family=socket.AF_INET, host="127.0.0.1") -> Iterator[int]:
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def echo(client: socket.socket) -> None:
    with client:
        while data := client.recv(1 << 16):
            client.sendall(data)


def url_of(server: Streaming, sandbox_id: str = "p") -> str:
    return server.url("port_forward", PortForwardRequest(sandbox_id=sandbox_id))


def pair(client: SpdyClient, port: int | str, number: str) -> tuple[int, int]:
    """Open the two streams of a connection, as kubectl does; return those of errors and of data."""
    headers = {"port": str(port)} | ({"requestid": number} if number else {})
    error = client.open(streamtype="error", **headers)
    client.send(error, b"", fin=True)
    return error, client.open(streamtype="data", **headers)


def test_a_connection_is_forwarded_and_ends_in_each_direction_by_itself(server, port):
    with spdy(url_of(server), VERSION) as client:
        error, data = pair(client, port, "0")
        client.send(data, b"in", fin=True)
        client.until(error, data)
        assert client.output[data] == b"in"
        assert client.output[error] == b""


def test_connections_of_one_client_are_many_at_once(server, port):
    with spdy(url_of(server), VERSION) as client:
        pairs = [pair(client, port, str(number)) for number in range(40)]
        for number, (_, data) in reversed([*enumerate(pairs)]):
            client.send(data, str(number).encode() * 1000, fin=True)
        client.until(*(each for found in pairs for each in found))
        for number, (error, data) in enumerate(pairs):
            assert client.output[data] == str(number).encode() * 1000
            assert client.output[error] == b""


def test_clients_without_numbers_of_requests_are_served_by_those_of_their_streams(server, port):
    with spdy(url_of(server), VERSION) as client:
        for _ in range(2):
            error, data = pair(client, port, "")
            client.send(data, b"in", fin=True)
            client.until(error, data)
            assert client.output[data] == b"in"


def test_a_port_at_which_nothing_listens_is_told_on_the_stream_of_errors(server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        with spdy(url_of(server), VERSION) as client:
            error, data = pair(client, number, "0")
            client.until(error, data)
            assert b"error forwarding port" in client.output[error]
            assert b"refused" in client.output[error]


def test_a_pod_that_is_gone_is_told_too(server):
    with spdy(url_of(server, "gone"), VERSION) as client:
        error, data = pair(client, 80, "0")
        client.until(error, data)
        assert b"no such pod: gone" in client.output[error]


def test_what_listens_at_ipv6_alone_is_reached(server):
    with listening(echo, socket.AF_INET6, "::1") as number, spdy(url_of(server), VERSION) as client:
        error, data = pair(client, number, "0")
        client.send(data, b"in", fin=True)
        client.until(error, data)
        assert client.output[data] == b"in"


def test_the_end_of_the_pods_side_ends_both_streams(server):
    def greet(client: socket.socket) -> None:
        with client:
            client.sendall(b"bye")

    with listening(greet) as number, spdy(url_of(server), VERSION) as client:
        error, data = pair(client, number, "0")
        client.until(error, data)  # though this client has not ended its own
        assert client.output[data] == b"bye"
        client.connection.sendall(frames.numbers(frames.RST_STREAM, data, 5))
        again, more = pair(client, number, "1")
        client.until(again, more)
        assert client.output[more] == b"bye"


def test_a_client_that_resets_a_stream_ends_the_connection_to_the_pod(server):
    ended = threading.Event()

    def serve(client: socket.socket) -> None:
        with client:
            client.sendall(b"hello")
            client.recv(1)
            ended.set()

    with listening(serve) as number, spdy(url_of(server), VERSION) as client:
        error, data = pair(client, number, "0")
        while client.output[data] != b"hello":
            assert client.read()
        client.connection.sendall(frames.numbers(frames.RST_STREAM, data, 5))
        assert ended.wait(LIMIT_S)
        client.until(error)


def test_a_client_that_dies_ends_its_connections(server):
    ended = threading.Semaphore(0)

    def serve(client: socket.socket) -> None:
        with client:
            client.sendall(b"hello")
            client.recv(1)
            ended.release()

    with listening(serve) as number:
        with spdy(url_of(server), VERSION) as client:
            for each in range(5):
                _, data = pair(client, number, str(each))
                while client.output[data] != b"hello":
                    assert client.read()
        assert all(ended.acquire(timeout=LIMIT_S) for _ in range(5))
    deadline = time.monotonic() + 60
    while server.tasks() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.tasks() == 0


def test_a_connection_that_is_not_read_does_not_hold_up_the_others(server, port):
    """By windows, which this client has."""

    def flood(client: socket.socket) -> None:
        with client:
            client.sendall(bytes(3_000_000))

    with listening(flood) as number, spdy(url_of(server), VERSION) as client:
        client.connection.sendall(frames.settings(_7=10_000))
        flooded, full = pair(client, number, "0")
        while len(client.output[full]) < 10_000:
            assert client.read()
        error, data = pair(client, port, "1")
        client.send(data, b"in", fin=True)
        client.until(error, data)
        assert client.output[data] == b"in"
        assert len(client.output[full]) == 10_000
        for stream_id in (0, full):
            client.connection.sendall(frames.numbers(frames.WINDOW_UPDATE, stream_id, 4_000_000))
        client.until(flooded, full)
        assert len(client.output[full]) == 3_000_000


@pytest.mark.parametrize("headers", [
    {"streamtype": "data"}, {"streamtype": "data", "port": "0"}, {"streamtype": "data", "port": "65536"},
    {"streamtype": "data", "port": "x"}, {"streamtype": "stdin", "port": "80"}, {"port": "80"}, {},
    {"streamtype": "data", "port": "-1"}, {"streamtype": "data", "port": "٣"},
])  # fmt: skip
def test_streams_that_make_no_sense_are_refused(server, port, headers):
    with spdy(url_of(server), VERSION) as client:
        refused = client.open(**{name: value.encode().decode("latin-1") for name, value in headers.items()})
        client.until(refused)
        assert client.reset == {refused: 3}
        error, data = pair(client, port, "1")
        client.send(data, b"", fin=True)
        client.until(error, data)


def test_the_same_stream_twice_is_refused(server, port):
    with spdy(url_of(server), VERSION) as client:
        first = client.open(streamtype="data", port=str(port), requestid="7")
        second = client.open(streamtype="data", port=str(port), requestid="7")
        client.until(second)
        assert client.reset == {second: 3}
        error = client.open(streamtype="error", port=str(port), requestid="7")
        client.send(first, b"in", fin=True)
        client.until(first, error)
        assert client.output[first] == b"in"


def test_a_stream_whose_pair_does_not_come_is_reset(server, monkeypatch):
    monkeypatch.setattr("bento.streaming.ports.PAIRING_LIMIT_S", 0.05)
    with spdy(url_of(server), VERSION) as client:
        alone = client.open(streamtype="data", port="80", requestid="7")
        client.until(alone)
        assert client.reset == {alone: 5}


class Tunnelled(SpdyClient):
    """SPDY in a WebSocket."""

    def __init__(self, socket: WebSocketClient) -> None:
        self.socket = socket
        super().__init__(self)  # type: ignore[arg-type]

    def sendall(self, data: bytes) -> None:
        """Send it in two messages, for it may be cut anywhere."""
        self.socket.send(BytesMessage(data=data[:5]))
        self.socket.send(BytesMessage(data=data[5:]))

    def receive(self) -> bytes:
        while not self.socket.messages:
            if not self.socket.read():
                return b""
        found = b"".join(each for each in self.socket.messages if isinstance(each, bytes))
        self.socket.messages.clear()
        return found


def test_spdy_may_be_spoken_in_a_websocket(server, port):
    with websocket(url_of(server), f"SPDY/3.1+{VERSION}") as socket:
        assert socket.protocol == f"SPDY/3.1+{VERSION}"
        client = Tunnelled(socket)
        error, data = pair(client, port, "0")
        client.send(data, b"in" * 100_000, fin=True)
        client.until(error, data)
        assert client.output[data] == b"in" * 100_000
        socket.send(CloseConnection(code=1000))
        while socket.read():
            pass
        assert socket.close_code == 1000


def test_a_websocket_without_spdy_in_it_is_refused(server):
    with websocket(url_of(server), "v4.channel.k8s.io") as client:
        assert client.status == 403
