"""Exec, attach and port-forward of CRI on real containers: over SPDY/3.1, and WebSocket."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bento import Engine, Settings
from bento.errors import NotFound
from bento.kernel.file_watches import FileWatches
from bento.serving.engines import Engines
from bento.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest

from support import procs
from support.cli import BentoCli
from support.spdy import SpdyClient
from support.streaming import Streaming, spdy, streaming, websocket
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME

HTTP = """
import socket
with socket.create_server(("127.0.0.1", 8080)) as listener:
    while True:
        client, _ = listener.accept()
        with client:
            got = b""
            while data := client.recv(65536):
                got += data
            client.sendall(b"got %d" % len(got))
"""


@pytest.fixture
def server(bento: BentoCli) -> Iterator[Streaming]:
    settings = Settings(root=bento.roots.root, run_root=bento.roots.run_root, runtime=bento.runtime)
    watches = FileWatches()
    engines = Engines(settings, watches.watch)

    def open_network(engine: Engine, sandbox_id: str) -> int | None:
        """A container stands for a pod."""
        run = engine.get(sandbox_id).run
        if run is None or run.init is None:
            raise NotFound(f"no such pod: {sandbox_id}")
        return os.open(f"/proc/{run.init.pid}/ns/net", os.O_RDONLY)

    with streaming(engines, open_network=open_network) as found:
        yield found
    engines.close()


def run(bento: BentoCli, *words: str) -> str:
    return bento("run", "-d", "--network", "none", *words).stdout.strip()


def networks() -> set[str]:
    """Return the network namespaces of the threads of this process."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError):  # it has ended
            found.add(os.readlink(f"/proc/self/task/{task}/ns/net"))
    return found


def opened(client: SpdyClient, *names: str) -> dict[str, int]:
    return {name: client.open(streamtype=name) for name in ("error", *names)}


def test_exec(bento, server, engine):
    container_id = run(bento, "host", "sleep", "1000")
    script = "echo out; echo err >&2; cat; test -e /proc/1/comm; exit 3"
    request = ExecRequest(container_id=container_id, command=("sh", "-c", script), stdin=True, stdout=True, stderr=True)
    with spdy(server.url("exec", request)) as client:
        streams = opened(client, "stdin", "stdout", "stderr")
        client.send(streams["stdin"], b"in" * 100_000, fin=True)
        client.until(*streams.values())
        assert client.output[streams["stdout"]] == b"out\n" + b"in" * 100_000
        assert client.output[streams["stderr"]] == b"err\n"
        assert json.loads(client.output[streams["error"]])["details"]["causes"][0]["message"] == "3"
    script = "until stty size | grep '24 100'; do sleep 0.05; done; read -r line; exit 4"
    request = ExecRequest(container_id=container_id, command=("sh", "-c", script), tty=True, stdin=True, stdout=True)
    with websocket(server.url("exec", request), "v5.channel.k8s.io") as ws:
        ws.put(4, b'{"Width":100,"Height":24}')
        ws.put(0, b"typed\n")
        found = ws.until_over()
        assert b"24 100" in found[1]
        assert b'"4"' in found[3]
    with spdy(server.url("exec", ExecRequest(container_id=container_id, command=("/none",), stdout=True))) as client:
        streams = opened(client, "stdout")
        client.until(*streams.values())
        assert b'"127"' in client.output[streams["error"]]
    # One whose client dies goes on, and ends when its input does.
    request = ExecRequest(container_id=container_id, command=("sh", "-c", "echo on; cat"), stdin=True, stdout=True)
    with spdy(server.url("exec", request)) as client:
        streams = opened(client, "stdin", "stdout")
        while client.output[streams["stdout"]] != b"on\n":
            assert client.read()
    procs.wait_until(lambda: not engine.exec_sessions(container_id), timeout_s=60.0, what="the end of the session")
    bento("rm", "-f", container_id)


def test_attach(bento, server, engine):
    script = "while read -r line; do echo out $line; echo err $line >&2; done; exit 5"
    container_id = run(bento, "-i", "host", "sh", "-c", script)
    request = AttachRequest(container_id=container_id, stdin=True, stdout=True, stderr=True)
    for word in ("one", "two"):  # a client that leaves changes nothing for the container
        with spdy(server.url("attach", request)) as client:
            streams = opened(client, "stdin", "stdout", "stderr")
            client.send(streams["stdin"], f"{word}\n".encode())
            for name, expected in (("stdout", f"out {word}\n"), ("stderr", f"err {word}\n")):
                while client.output[streams[name]] != expected.encode():
                    assert client.read()
    with spdy(server.url("attach", request)) as client:
        streams = opened(client, "stdin", "stdout", "stderr")
        client.send(streams["stdin"], b"three\n")
        while client.output[streams["stdout"]] != b"out three\n":
            assert client.read()
        engine.kill(container_id, signal.SIGKILL)
        client.until(*streams.values())
        assert b"Success" in client.output[streams["error"]]
    bento("rm", "-f", container_id)


def test_port_forward(bento, server):
    container_id = run(bento, "host", "python3", "-c", HTTP)
    own = os.readlink("/proc/self/ns/net")
    with spdy(server.url("port_forward", PortForwardRequest(sandbox_id=container_id)), "portforward.k8s.io") as client:

        def forward(number: int, port: int, sent: bytes) -> tuple[int, int]:
            headers = {"port": str(port), "requestid": str(number)}
            error, data = (client.open(streamtype=name, **headers) for name in ("error", "data"))
            client.send(data, sent, fin=True)
            client.until(error, data)
            return error, data

        number = 0
        while not client.output[forward(number, 8080, b"x" * 300_000)[1]]:  # it listens in a moment
            number += 1
        error, data = forward(number + 1, 8080, b"x" * 300_000)
        assert client.output[data] == b"got 300000"
        assert client.output[error] == b""
        error, data = forward(number + 2, 8081, b"x")
        assert b"Connection refused" in client.output[error]
    procs.wait_until(lambda: networks() == {own}, timeout_s=60.0, what="threads that have left the pod's namespace")
    bento("rm", "-f", container_id)
