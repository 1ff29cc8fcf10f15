"""What is told to systemd: where, and how often."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento import sd_notify


@pytest.fixture(params=["path", "abstract"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """systemd's part, and the variable that names it."""
    name = f"bento-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "n") if request.param == "path" else f"\0{name}")
        made.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n") if request.param == "path" else f"@{name}")
        yield made


def test_it_is_told_where_the_variable_says(listener: socket.socket) -> None:
    sd_notify.tell("READY=1")
    assert listener.recv(100) == b"READY=1"


def test_nothing_is_told_where_nothing_asks_and_no_listener_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    sd_notify.tell("READY=1")
    sd_notify.tell("READY=1", str(tmp_path / "nothing"))


def test_more_time_is_asked_for_again_and_again_but_not_at_every_turn(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("bento.sd_notify.time.monotonic", lambda: now[0])
    extension = sd_notify.Extension()
    assert listener.recv(100) == b"STOPPING=1"
    for _ in range(3):
        extension.turn()
    assert listener.recv(100) == b"EXTEND_TIMEOUT_USEC=30000000"
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(100)
    now[0] += sd_notify.EVERY_S
    extension.turn()
    assert listener.recv(100) == b"EXTEND_TIMEOUT_USEC=30000000"


def test_a_stop_is_systemds_only_as_an_exec_stop(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVICE_RESULT", raising=False)
    assert not sd_notify.is_stop()  # a child of a service that runs
    monkeypatch.setenv("SERVICE_RESULT", "success")
    assert sd_notify.is_stop()
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not sd_notify.is_stop()
