"""npm's spdy-transport, a client of SPDY/3.1 with flow control, against the streaming server: `make spdy-client`."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bento.spdy.connection import Connection
from bento.streaming.requests import ExecRequest, PortForwardRequest

from support.streaming import Machine, Streaming, streaming

MODULES = os.environ.get("BENTO_TEST_NODE_MODULES", "")  # where npm has put the package
CLIENT = Path(__file__).parent.parent / "support" / "spdy_transport" / "client.js"

pytestmark = pytest.mark.no_leak_check


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Streaming]:
    reply = Connection.reply

    def as_http(connection: Connection, stream_id: int, headers: Any = None) -> None:
        """This client takes a stream for a request of HTTP, and wants a status. Kubernetes' clients want none."""
        reply(connection, stream_id, {":status": "200 OK", ":version": "HTTP/1.1"})

    monkeypatch.setattr(Connection, "reply", as_http)
    with streaming(Machine()) as found:
        yield found


def ask(url: str, version: str, *streams: dict[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["node", str(CLIENT)],
        input=json.dumps({"url": url, "version": version, "streams": streams}),
        env=os.environ | {"NODE_PATH": MODULES}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def of_type(name: str, **more: Any) -> dict[str, Any]:
    return {"headers": {"streamtype": name}, **more}


def test_exec_with_flow_control_in_both_directions(server):
    size = 5_000_000
    request = ExecRequest(container_id="c", command=("sh", "-c", "cat; exit 3"), stdin=True, stdout=True)
    error, stdin, stdout = ask(
        server.url("exec", request), "v4.channel.k8s.io",
        of_type("error"), of_type("stdin", size=size), of_type("stdout"),
    )  # fmt: skip
    assert '"message":"3"' in error["text"]
    assert stdout["size"] == size
    assert stdout["sha256"] == hashlib.sha256(b"x" * size).hexdigest()
    assert (stdin["size"], stdin["reset"]) == (0, False)


def test_port_forward_with_many_connections_and_a_reset(server):
    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                got = b""
                while data := client.recv(1 << 16):
                    got += data
                client.sendall(got)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        port = str(listener.getsockname()[1])
        streams: list[dict[str, Any]] = []
        for number in range(5):
            headers = {"port": port, "requestid": str(number)}
            streams.append({"headers": headers | {"streamtype": "error"}})
            streams.append({"headers": headers | {"streamtype": "data"}, "size": 200_000 + number})
        streams.append({"headers": {"streamtype": "data", "port": port, "requestid": "9"}, "reset": True})
        url = server.url("port_forward", PortForwardRequest(sandbox_id="p"))
        *found, _ = ask(url, "portforward.k8s.io", *streams)
        listener.shutdown(socket.SHUT_RDWR)
    assert [each["size"] for each in found[0::2]] == [0] * 5
    assert [each["size"] for each in found[1::2]] == [200_000 + number for number in range(5)]
