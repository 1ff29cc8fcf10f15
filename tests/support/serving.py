"""``bento serve`` on the roots of a test, and clients of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support.cli import BentoCli

LIMIT_S = 60.0


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        found: str = self.json["message"]
        return found


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("bento", timeout=LIMIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(LIMIT_S)
        self.sock.connect(self._path)


class Served:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        self.process, self.path = process, path
        self.line = ""  # that says where it listens
        self.errors = ""  # what it has said on stderr, once it has ended

    def connect(self) -> socket.socket:
        """Return a connection of one's own."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(LIMIT_S)
        client.connect(str(self.path))
        return client

    def open(self, method: str, target: str, body: Any = None) -> http.client.HTTPResponse:
        """Send a request and return once the head of its answer is there; the caller closes it."""
        connection = _Connection(str(self.path))
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Connection": "close"} | ({"Content-Type": "application/json"} if data is not None else {})
        connection.request(method, target, data, headers)
        return connection.getresponse()

    def __call__(self, method: str, target: str, body: Any = None) -> Answer:
        with self.open(method, target, body) as response:
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())

    def environ(self) -> dict[str, str]:
        """Return the environment of a client of Docker's."""
        return os.environ | {"DOCKER_HOST": f"unix://{self.path}", "DOCKER_CONFIG": str(self.path.parent / "docker")}

    def docker(self, *args: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Docker's own command line against it."""
        options = {"stdin": subprocess.DEVNULL, "timeout": LIMIT_S} | options
        done = subprocess.run(
            ["docker", *args], capture_output=True, text=True, env=self.environ(), check=False, **options
        )
        assert not check or done.returncode == 0, f"docker {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def run_client(served: Served, program: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run a program of Python with Docker's clients of requirements/clients.txt; it must end well."""
    python = Path(sys.prefix) / "clients/bin/python"
    words = [str(python), "-W", "ignore::ResourceWarning", "-c", program, *arguments]
    environ = served.environ() | (env or {})
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=3 * LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def serving(
    bento: BentoCli, *options: str, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
) -> Iterator[Served]:
    """Run a server; at the end it has ended cleanly, by SIGTERM."""
    with bento.start(*prefix, "serve", *options, env=env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert "unix://" in line, process.stderr.read()
            served = Served(process, Path(line.strip().rpartition("unix://")[2]))
            served.line = line
            yield served
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=LIMIT_S)
            served.errors = errors
            assert process.returncode in (0, -signal.SIGKILL), errors
            assert "Traceback" not in errors, errors
            assert "defect" not in errors, errors
        finally:
            process.kill()
