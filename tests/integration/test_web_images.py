"""Real servers from a registry, stopped gracefully: nginx ends its requests, redis saves its data."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from pathlib import Path

import pytest

from support import procs, webimages
from support.cli import BentoCli
from support.registry import free_port, registry
from support.workload import ONE_RUNTIME, Share, stop_report


@pytest.fixture(scope="module")
def place(scratch):
    """A registry with an nginx and a redis."""
    layout = webimages.layout()
    with registry(scratch) as made:
        for tag in ("nginx", "redis"):
            made.push(f"oci:{layout}:{tag}", f"{tag}:1")
        yield made


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(path: Path, *words: str) -> str:
    """Send one command to redis; return the first line of its answer, and the second where the first is a length."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect(os.fspath(path))
        link.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
        with link.makefile("r", newline="\r\n") as answer:
            first = answer.readline().rstrip()
            return answer.readline().rstrip() if first.startswith("$") and first != "$-1" else first


def test_nginx_is_sent_its_own_signal_and_ends_the_request_under_way(bento: BentoCli, place) -> None:
    port = free_port()
    bento.run("--name", "web", "--network", "host", "-e", f"PORT={port}", place.name("nginx:1"))
    procs.wait_until(lambda: is_open(port), timeout_s=30, what="nginx")
    assert bento.inspect("web")["Config"]["StopSignal"] == "SIGQUIT"
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        link.request("GET", "/slow")
        answer = link.getresponse()
        begun = answer.read(1024)
        with bento.start("stop", "web") as stop:
            procs.wait_until(lambda: not is_open(port), timeout_s=30, what="nginx to take no more")
            assert stop.poll() is None  # it waits for the request
            rest = answer.read()
            assert stop.wait(60) == 0
    finally:
        link.close()
    assert len(begun + rest) == webimages.SLOW_BYTES
    state = bento.inspect("web")
    assert state["State"]["ExitCode"] == 0
    assert state["Stop"]["verdict"] == "graceful"
    bento("rm", "web")


@ONE_RUNTIME
def test_redis_saves_on_the_signal_and_has_its_data_again(bento: BentoCli, place, share: Share) -> None:
    os.chown(share.path, 100, 101)
    path = share.path / "redis.sock"

    def is_up() -> bool:
        try:
            return ask(path, "PING") == "+PONG"
        except OSError:
            return False

    bento.run("--name", "db", "-v", f"{share.path}:/data", place.name("redis:1"))
    procs.wait_until(is_up, timeout_s=30, what="redis")
    assert bento.inspect("db")["Config"]["User"] == "redis"
    assert ask(path, "SET", "answer", "forty-two") == "+OK"
    assert not (share.path / "dump.rdb").exists()
    report = stop_report(bento, "db")
    assert report["verdict"] == "graceful"
    assert b"forty-two" in (share.path / "dump.rdb").read_bytes()
    bento("start", "db")
    procs.wait_until(is_up, timeout_s=30, what="redis")
    assert ask(path, "GET", "answer") == "forty-two"
    bento("kill", "-s", str(int(signal.SIGKILL)), "db")
