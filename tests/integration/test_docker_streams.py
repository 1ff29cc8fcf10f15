"""Streams by Docker's API: run, attach, exec and logs, by Docker's own command line and by bare connections."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from support.cli import BentoCli
from support.procs import wait_until
from support.serving import LIMIT_S, Served, serving
from support.terminal import Terminal
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME


SIZED = "until stty size | grep '24 100'; do sleep 0.05; done;"
"""The client sends the size when the program runs already."""


@pytest.fixture
def served(bento: BentoCli) -> Iterator[Served]:
    with serving(bento) as found:
        yield found


def create(served: Served, name: str, *command: str, **fields: Any) -> None:
    body = {"Image": "host", "Cmd": command, "HostConfig": {"NetworkMode": "none"}} | fields
    assert served("POST", f"/containers/create?name={name}", body).status == 201


def hijack(served: Served, target: str, body: bytes = b"") -> tuple[Any, BinaryIO]:
    """Return a connection that was handed over, and what reads from it."""
    client = served.connect()
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    reader = client.makefile("rb")
    assert reader.readline() == b"HTTP/1.1 101 UPGRADED\r\n"
    while reader.readline() != b"\r\n":
        pass
    return client, reader


def frames(reader: BinaryIO) -> Iterator[tuple[int, bytes]]:
    while head := reader.read(8):
        stream, length = struct.unpack(">BxxxI", head)
        yield stream, reader.read(length)


@contextmanager
def on_terminal(served: Served, *words: str) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """Run Docker's command line on a terminal."""
    terminal = Terminal()
    process = subprocess.Popen(
        ["docker", *words],
        stdin=terminal.slave, stdout=terminal.slave, stderr=terminal.slave,
        start_new_session=True, env=served.environ(),
    )  # fmt: skip
    try:
        yield terminal, process
    finally:
        process.kill()
        process.wait()
        terminal.close()


def test_dockers_command_line_runs_programs_with_their_streams(served):
    docker = served.docker
    none = ("--network", "none")
    done = docker("run", "--rm", *none, "host", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert (
        docker("run", "-i", "--rm", *none, "host", "cat", stdin=None, input="in\n" * 10_000).stdout == "in\n" * 10_000
    )
    assert docker("run", "--rm", *none, "host", "/no/such", check=False).returncode == 127
    assert docker("ps", "-aq").stdout == ""
    docker("run", "-d", "--name", "web", *none, "host", "sh", "-c", "echo 1; sleep 0.5; echo 2; exec sleep 600")
    assert docker("exec", "-i", "web", "cat", stdin=None, input="x").stdout == "x"
    done = docker("exec", "-w", "/tmp", "-e", "A=b", "web", "sh", "-c", "pwd; echo $A >&2; exit 4", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (4, "/tmp\n", "b\n")
    assert docker("exec", "web", "/no/such", check=False).returncode == 127
    with on_terminal(served, "exec", "-it", "web", "sh", "-c", SIZED + "read x; echo got $x") as (terminal, process):
        terminal.read_until("24 100")
        os.write(terminal.master, b"word\r")
        terminal.read_until("got word")
        assert process.wait(LIMIT_S) == 0
    docker("stop", "web")
    assert docker("logs", "-f", "web").stdout == "1\n2\n"
    assert docker("logs", "--tail", "1", "-t", "web").stdout.endswith(" 2\n")


def test_a_terminal_is_left_by_its_keys_and_come_back_to(served):
    words = ("run", "-it", "--name", "term", "--network", "none", "host", "sh")
    with on_terminal(served, *words) as (terminal, process):
        os.write(terminal.master, f"{SIZED} echo one''two\r".encode())
        terminal.read_until("24 100")
        terminal.read_until("onetwo")
        os.write(terminal.master, b"\x10\x11")  # ctrl-p ctrl-q
        assert process.wait(LIMIT_S) == 0
    with on_terminal(served, "attach", "term") as (terminal, process):
        os.write(terminal.master, b"echo three''four; exit 6\r")
        terminal.read_until("threefour")
        assert process.wait(LIMIT_S) == 6


def test_the_server_knows_the_detach_keys_itself(served, bento):
    create(served, "keys", "cat", Tty=True, OpenStdin=True)
    client, reader = hijack(served, "/containers/keys/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,b")
    with client, reader:
        assert served("POST", "/containers/keys/start").status == 204
        client.sendall(b"word\r")
        assert reader.read(12) == b"word\r\nword\r\n"
        client.sendall(b"\x01b")
        assert reader.read() == b""
    assert bento.state("keys")["Running"]


def test_an_input_ends_by_halves_and_the_output_is_told_apart(served):
    create(served, "wc", "sh", "-c", "wc -c; echo err >&2", OpenStdin=True, StdinOnce=True)
    client, reader = hijack(served, "/containers/wc/attach?stream=1&stdin=1&stdout=1&stderr=1")
    with client, reader:
        assert served("POST", "/containers/wc/start").status == 204
        client.sendall(b"12345")
        client.shutdown(1)  # and still reads
        assert sorted(frames(reader)) == [(1, b"5\n"), (2, b"err\n")]


def test_clients_that_leave_leave_nothing(served, bento):
    def descriptors() -> int:
        """But for those of the database, of which each thread has some."""
        found = 0
        for fd in Path(f"/proc/{served.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed just now
                found += "bento.db" not in os.readlink(fd)
        return found

    create(served, "web", "sleep", "600", HostConfig={"NetworkMode": "none", "Init": True})
    assert served("POST", "/containers/web/start").status == 204
    exec_id = served("POST", "/containers/web/exec", {"Cmd": ["true"], "AttachStdout": True}).json["Id"]
    client, reader = hijack(served, f"/exec/{exec_id}/start", b"{}")
    with client, reader:
        assert reader.read() == b""
    assert served("GET", f"/exec/{exec_id}/json").json["ExitCode"] == 0
    client, reader = hijack(served, "/containers/web/attach?stream=1&stdout=1")
    reader.close()
    client.close()  # from the first one on there is a process between clients and monitors, and its socket here
    before = descriptors()
    for _ in range(10):
        for target in ("/containers/web/attach?stream=1&stdout=1", "/containers/web/attach?stream=1&stdin=1"):
            client, reader = hijack(served, target)
            client.shutdown(1)
            reader.close()
            client.close()
        served.open("GET", "/containers/web/logs?follow=1&stdout=1").close()
        exec_id = served("POST", "/containers/web/exec", {"Cmd": ["sleep", "0.3"], "AttachStdout": True}).json["Id"]
        client, reader = hijack(served, f"/exec/{exec_id}/start", b"{}")
        reader.close()
        client.close()
    wait_until(lambda: descriptors() <= before, timeout_s=LIMIT_S, what="the release of what clients have left")
    wait_until(
        lambda: served("GET", f"/exec/{exec_id}/json").json["ExitCode"] == 0, timeout_s=LIMIT_S, what="the exit code"
    )
    assert served("POST", f"/exec/{exec_id}/start", {}).status == 409
    assert served("GET", "/exec/none/json").status == 404
