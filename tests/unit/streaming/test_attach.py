"""Attach: a container's streams as its monitor gives them, over SPDY/3.1."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from bento.engine.lifecycle.start import Started
from bento.errors import WrongState
from bento.model.terminal import WindowSize
from bento.streaming.requests import AttachRequest

from support.streaming import Machine, Streaming, readable, spdy, streaming


class Attachment:
    """As engine.lifecycle.attachment.Attachment; ``theirs`` is the monitor's end of the output."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output_fd: int | None = ours.detach()
        self.typed, self.input_fd = os.pipe()
        self.sizes: list[WindowSize] = []
        self.is_ended = self.is_closed = False

    def write(self, data: bytes) -> int:
        return os.write(self.input_fd, data)

    def end_input(self) -> None:
        if not self.is_ended:
            self.is_ended = True
            os.close(self.input_fd)

    def resize(self, size: WindowSize) -> None:
        self.sizes.append(size)

    def close(self) -> None:
        self.end_input()
        fd, self.output_fd = self.output_fd, None
        if fd is not None:
            os.close(fd)
        self.is_closed = True


class Attachable(Machine):
    """With one container, which may be attached to."""

    def __init__(self) -> None:
        super().__init__()
        self.attachment = Attachment()
        self.options: Any = None

    def attach(self, container_id: str, options: Any) -> Started:
        if container_id != "c":
            raise WrongState(f"cannot attach to container {container_id}: it is stopped")
        self.options = options
        attachment: Any = self.attachment
        no_container: Any = None
        return Started(no_container, attachment, os.open("/dev/null", os.O_RDONLY))


@pytest.fixture
def machine() -> Iterator[Attachable]:
    made = Attachable()
    yield made
    made.attachment.close()
    made.attachment.theirs.close()
    os.close(made.attachment.typed)


@pytest.fixture
def server(machine: Attachable) -> Iterator[Streaming]:
    with streaming(machine) as found:
        yield found


def url_of(server: Streaming, container_id: str = "c", **asked: bool) -> str:
    return server.url("attach", AttachRequest(container_id=container_id, **asked))


def test_output_comes_until_the_container_has_ended(server, machine):
    with spdy(url_of(server, stdout=True, stderr=True)) as client:
        error, stdout, stderr = (client.open(streamtype=name) for name in ("error", "stdout", "stderr"))
        for packet in (b"\2out ", b"\3err", b"\x0012", b"\2more"):  # 0: so much was left out
            machine.attachment.theirs.send(packet)
        machine.attachment.theirs.shutdown(socket.SHUT_RDWR)
        client.until(error, stdout, stderr)
        assert client.output[stdout] == b"out more"
        assert client.output[stderr] == b"err"
        assert json.loads(client.output[error])["status"] == "Success"
    assert machine.options.has_input is False


def test_input_is_passed_on_to_its_end_and_the_output_goes_on(server, machine):
    with spdy(url_of(server, stdin=True, stdout=True)) as client:
        error, stdin, stdout = (client.open(streamtype=name) for name in ("error", "stdin", "stdout"))
        client.send(stdin, b"in", fin=True)
        assert readable(machine.attachment.typed)
        got = b""
        while data := os.read(machine.attachment.typed, 100):
            got += data
        assert got == b"in"
        machine.attachment.theirs.send(b"\2out")
        machine.attachment.theirs.shutdown(socket.SHUT_RDWR)
        client.until(error, stdout)
        assert client.output[stdout] == b"out"
    assert machine.options.has_input is True


def test_a_terminal_gets_its_sizes(server, machine):
    with spdy(url_of(server, stdin=True, stdout=True, tty=True)) as client:
        error, stdin, stdout, resize = (client.open(streamtype=name) for name in ("error", "stdin", "stdout", "resize"))
        client.send(resize, b'{"Width":100,"Height":24}\n')
        client.send(stdin, b"x")
        assert readable(machine.attachment.typed)
        machine.attachment.theirs.shutdown(socket.SHUT_RDWR)
        client.until(error, stdout)


def test_a_client_that_leaves_lets_go_of_the_container(server, machine):
    with spdy(url_of(server, stdin=True, stdout=True)) as client:
        _, _, stdout = (client.open(streamtype=name) for name in ("error", "stdin", "stdout"))
        machine.attachment.theirs.send(b"\2out")
        while client.output[stdout] != b"out":
            assert client.read()
    assert readable(machine.attachment.theirs.fileno())  # its end
    assert readable(machine.attachment.typed)
    assert os.read(machine.attachment.typed, 1) == b""


def test_what_cannot_be_attached_to_is_an_internal_error(server):
    with spdy(url_of(server, "gone", stdout=True)) as client:
        error, stdout = (client.open(streamtype=name) for name in ("error", "stdout"))
        client.until(error, stdout)
        assert "it is stopped" in json.loads(client.output[error])["message"]
