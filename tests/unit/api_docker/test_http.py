"""HTTP as Docker's clients speak it: the router, parameters, and a connection over a pair of sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from bento.api_docker.http.call import Body, Peer
from bento.api_docker.http.connection import Connection
from bento.api_docker.http.errors import as_reply, message_of, status_of
from bento.api_docker.http.query import Query
from bento.api_docker.http.replies import Reply, Streamed, Upgrade, failure, json
from bento.api_docker.http.router import Found, Route, Router
from bento.api_docker.routes import LEFT_OUT, ROUTES
from bento.drivers.state.resolve import name_taken
from bento.errors import AlreadyStopped, CommandNotExecutable, Conflict, NotFound, UsageError, WrongState
from bento.serving.hangups import Hangups

LIMIT_S = 20.0


async def nothing(call):
    raise AssertionError("not called")


def status_found(router: Router, method: str, target: str) -> int:
    found = router.find(method, target)
    assert isinstance(found, Reply)
    return found.status


def test_a_path_has_its_version_its_parts_and_its_handler():
    routes = [Route("GET", "/images/{ref*}/json", nothing), Route("GET", "/x/{ref}", nothing)]
    router = Router(routes, {"/swarm": failure("no", 501)})
    found = router.find("GET", "/v1.30/images/docker.io/library/a%20b:1/json")
    assert isinstance(found, Found)
    assert (found.path, found.version) == ("/images/docker.io/library/a%20b:1/json", (1, 30))
    assert found.params == {"ref": "docker.io/library/a b:1"}
    newest = router.find("GET", "/x/a")
    assert isinstance(newest, Found)
    assert newest.version == (1, 44)
    for target, status in {"/x/a/b": 404, "/": 404, "": 404, "/swarm/init": 501, "*": 404}.items():
        assert status_found(router, "GET", target) == status, target
    assert status_found(router, "PUT", "/x/a") == 405
    for version in ("1.45", "2.0", "1.23", "0.9"):
        with pytest.raises(UsageError, match=r"is too (new|old)"):
            router.find("GET", f"/v{version}/x/a")


def test_no_route_is_hidden_by_one_before_it():
    router = Router(ROUTES, LEFT_OUT)
    for route in ROUTES:
        found = router.find(route.method, route.pattern.replace("{ref}", "a").replace("{ref*}", "a"))
        assert isinstance(found, Found), route
        assert found.handler is route.handler, route


def test_parameters_are_read_as_docker_reads_them():
    query = Query("all=1&size=false&t=-1&empty=&n=x&name=%2Fweb&d=[]&names=a&names=b")
    assert [query.flag(name) for name in ("all", "size", "empty", "missing")] == [True, False, False, False]
    assert query.flag("missing", default=True)
    assert (query.number("t"), query.number("empty"), query.number("missing")) == (-1, None, None)
    assert (query.text("name"), query.texts("names")) == ("/web", ["a", "b"])
    for read in (lambda: query.number("n"), lambda: query.document("d", dict), lambda: Query("&".join(["a=b"] * 2000))):
        with pytest.raises(UsageError):
            read()
    assert Query('filters={"label":{"a=b":true},"status":["x","y"]}').filters() == ("label=a=b", "status=x", "status=y")


def test_errors_have_dockers_status_and_words():
    assert as_reply(AlreadyStopped("it has")).status == 304
    assert b"No such container: web" in as_reply(NotFound("no such container: web", hint="see")).body
    assert b"permission denied" in as_reply(CommandNotExecutable("no")).body
    assert message_of(name_taken("web")).startswith('Conflict. The container name "/web" is already in use.')
    assert message_of(Conflict("volume data is used by a, b", hint="see")) == "remove data: volume is in use - [a, b]"
    unpaused = WrongState("cannot unpause container web: it is running", hint="see")
    assert message_of(unpaused) == "Container web is not paused: it is running"
    assert message_of(Conflict("another thing", hint="see")) == "another thing (see)"
    assert (status_of("not-found"), status_of("nonsense")) == (404, 500)


def talk(answer, sent: bytes, *, ends: bool = True, after=None) -> bytes:
    """Send bytes to a connection whose requests ``answer`` answers; return all that comes back."""

    async def run() -> bytes:
        ours, theirs = socket.socketpair()
        hangups = Hangups(asyncio.get_running_loop())
        reader, writer = await asyncio.open_unix_connection(sock=theirs)
        connection = Connection(reader, writer, Peer(), answer, hangups)
        served = asyncio.ensure_future(connection.serve())
        client_reader, client_writer = await asyncio.open_unix_connection(sock=ours)
        client_writer.write(sent)
        if ends:
            client_writer.write_eof()
        if after is not None:
            await after(connection, client_writer)
        async with asyncio.timeout(LIMIT_S):
            found = await client_reader.read()
            client_writer.close()
            await served
        hangups.close()
        return found

    return asyncio.run(run())


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def test_requests_follow_each_other_and_bodies_are_read_or_left():
    async def answer(connection, request):
        if request.target == b"/read":
            return json({"got": len(await Body(connection.receive).whole())})
        return failure("no", 404)

    post = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    found = talk(answer, post % b"/left" + post % b"/read" + GET)
    assert found.count(b"HTTP/1.1 404") == 2
    assert b'{"got":5}' in found
    assert found.count(b"Api-Version: 1.44") == 3


def test_a_body_larger_than_its_limit_is_refused():
    async def answer(connection, request):
        with pytest.raises(UsageError):
            await Body(connection.receive).whole(3)
        return Reply()

    assert b"200 OK" in talk(answer, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")


def test_a_client_that_leaves_ends_what_goes_on_for_it():
    closed = []

    async def chunks():
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def answer(connection, request):
        return Streamed(chunks=chunks())

    assert b"first" in talk(answer, GET)
    assert closed == [True]


@pytest.mark.parametrize(("is_one", "end"), [(False, b"0\r\n\r\n"), (True, b"")])
def test_a_server_that_ends_ends_a_stream_whole_but_cuts_what_is_nothing_in_part(is_one, end):
    async def answer(connection, request):
        async def chunks():
            yield b"first"
            connection.end()
            await asyncio.Event().wait()

        return Streamed(chunks=chunks(), is_one=is_one)

    assert talk(answer, GET, ends=False).endswith(b"5\r\nfirst\r\n" + end)


@pytest.mark.parametrize("asked", [b"Upgrade: tcp\r\nConnection: Upgrade\r\n", b""])
def test_a_connection_that_is_handed_over_ends_by_halves(asked):
    async def run(duplex):
        got = b""
        while data := await duplex.read():
            got += data
        await duplex.write(b"<" + got + b">")  # the client has ended its half, and still reads

    async def answer(connection, request):
        return Upgrade(run=run, content_type="application/vnd.docker.raw-stream")

    found = talk(answer, b"POST / HTTP/1.1\r\nHost: x\r\n" + asked + b"\r\nearly")
    assert found.startswith(b"HTTP/1.1 101 UPGRADED" if asked else b"HTTP/1.1 200 OK")
    assert found.endswith(b"\r\n\r\n<early>")


def test_a_client_that_is_gone_in_both_directions_ends_what_was_handed_over():
    ended = []

    async def run(duplex):
        try:
            assert await duplex.read() == b""
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def answer(connection, request):
        return Upgrade(run=run, content_type="x")

    async def after(connection, writer):
        await asyncio.sleep(0.01)
        writer.transport.abort()

    talk(answer, b"POST / HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n", after=after)
    assert ended == [True]


def test_what_is_no_http_is_refused():
    async def answer(connection, request):
        raise AssertionError("not called")

    assert talk(answer, b"\0\1\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert talk(answer, b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000).startswith(b"HTTP/1.1 431")
    assert talk(answer, b"") == b""
