"""URLs that work once, and requests that ask for no stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from bento import clock
from bento.errors import UsageError
from bento.streaming import tokens
from bento.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest
from bento.streaming.tokens import Tokens, TooMany

from support.streaming import SPDY, VERSIONS, Machine, Streaming, ask, connect, spdy, streaming

EXEC = ExecRequest(container_id="c", command=("true",), stdout=True)


@pytest.fixture
def server() -> Iterator[Streaming]:
    with streaming(Machine()) as found:
        yield found


def answer(url: str, headers: list[str], method: str = "POST") -> tuple[int, str]:
    with connect(url) as client:
        status, head, rest = ask(client, url, headers, method)
        while data := client.recv(1 << 16):
            rest += data
        return status, head + rest.decode()


def test_a_url_is_whole_on_loopback_and_not_to_be_guessed(server):
    first, second = server.url("exec", EXEC), server.url("exec", EXEC)
    place = urlsplit(first)
    assert (place.scheme, place.hostname) == ("http", "127.0.0.1")
    assert place.path.startswith("/exec/")
    assert len(place.path) >= len("/exec/") + 22  # 128 bits
    assert first != second


def test_a_url_is_good_for_one_use(server):
    url = server.url("exec", EXEC)
    with spdy(url) as client:
        streams = [client.open(streamtype=name) for name in ("error", "stdout")]
        client.until(*streams)
    status, head = answer(url, [*SPDY, *VERSIONS])
    assert status == 404
    assert "good for one use" in head


def test_a_use_that_fails_was_a_use(server):
    url = server.url("exec", EXEC)
    assert answer(url, [])[0] == 400
    assert answer(url, [*SPDY, *VERSIONS])[0] == 404


@pytest.mark.parametrize(("kind", "request_"), [("attach", EXEC), ("portforward", EXEC)])
def test_a_token_is_good_for_what_it_was_given_for(server, kind, request_):
    url = server.url("exec", request_).replace("/exec/", f"/{kind}/")
    assert answer(url, [*SPDY, *VERSIONS])[0] == 404


@pytest.mark.parametrize("path", ["/", "/exec", "/exec/", "/exec/x", "/exec/x/y", "/healthz", "//", "/exec/%00"])
def test_other_paths_are_not_found(server, path):
    place = urlsplit(server.url("exec", EXEC))
    assert answer(f"http://{place.netloc}{path}", [*SPDY, *VERSIONS])[0] == 404


def test_other_methods_are_refused_and_are_no_use(server):
    url = server.url("exec", EXEC)
    assert answer(url, [*SPDY, *VERSIONS], "PUT")[0] == 405
    with spdy(url) as client:
        client.until(*(client.open(streamtype=name) for name in ("error", "stdout")))


@pytest.mark.parametrize(("headers", "status"), [
    (SPDY, 403), ([*SPDY, "X-Stream-Protocol-Version: v9.channel.k8s.io"], 403),
    ([*SPDY, "X-Stream-Protocol-Version: portforward.k8s.io"], 403), (VERSIONS, 400),
    (["Connection: Upgrade", "Upgrade: h2c", *VERSIONS], 400), (["Content-Length: x"], 400),
    ([*SPDY, *VERSIONS, "Content-Length: 2", "", "ab"], 400), (["X: " + "x" * 200_000], 431),
])  # fmt: skip
def test_requests_that_ask_for_no_stream_are_told_why(server, headers, status):
    found, head = answer(server.url("exec", EXEC), headers)
    assert found == status, head
    if status == 403:
        assert "v4.channel.k8s.io" in head


def test_a_client_that_says_nothing_is_left_when_the_server_ends(server):
    with connect(server.url("exec", EXEC)) as client:
        server.close()
        with suppress(ConnectionResetError):  # it was not accepted yet
            assert client.recv(1) == b""


@pytest.mark.parametrize(("kind", "request_", "words"), [
    ("exec", ExecRequest(container_id="", command=("a",), stdout=True), "container_id"),
    ("exec", ExecRequest(container_id="c", command=(), stdout=True), "no command"),
    ("exec", ExecRequest(container_id="c", command=("a",)), "must be set"),
    ("exec", ExecRequest(container_id="c", command=("a",), tty=True, stderr=True), "cannot both"),
    ("attach", AttachRequest(container_id="c"), "must be set"),
    ("attach", AttachRequest(container_id="c", tty=True, stderr=True), "cannot both"),
    ("port_forward", PortForwardRequest(sandbox_id=""), "pod_sandbox_id"),
    ("port_forward", PortForwardRequest(sandbox_id="p", ports=(0,)), "bad port"),
])  # fmt: skip
def test_a_request_that_makes_no_sense_gets_no_url(server, kind, request_, words):
    with pytest.raises(UsageError, match=words):
        server.url(kind, request_)


def test_tokens_expire_after_a_minute(monkeypatch):
    now_s = time.monotonic()
    monkeypatch.setattr(clock, "mono_s", lambda: now_s)
    given = Tokens()
    first = given.give(EXEC)
    now_s += 30.0
    second = given.give(EXEC)
    now_s += 30.0
    assert given.take(first) is None
    assert given.take(second) is EXEC
    assert given.take(second) is None


def test_tokens_that_wait_are_a_thousand_at_most(monkeypatch):
    now_s = time.monotonic()
    monkeypatch.setattr(clock, "mono_s", lambda: now_s)
    given = Tokens()
    some = [given.give(EXEC) for _ in range(tokens.WAITING_MAX)]
    assert len({*some}) == tokens.WAITING_MAX
    with pytest.raises(TooMany):
        given.give(EXEC)
    assert given.take(some[0]) is EXEC
    given.give(EXEC)
    now_s += 60.0
    given.give(EXEC)
