"""Real servers of Debian's, published and under load while they are stopped: every request that a program has taken is
answered, and no write that it has acknowledged is lost. The counts are printed (``pytest -s``).
"""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from support import procs
from support.netns import NetCli, Netns
from support.workload import ONE_RUNTIME, Share, stop_report

pytestmark = ONE_RUNTIME

CLIENTS = 6
BEFORE_STOP = 60
"""So many answers have come before the stop is asked for."""

NGINX = """\
daemon off; error_log /s/error.log; pid /s/nginx.pid; worker_processes 2;
events { worker_connections 200; }
http {
  log_format served '$status $bytes_sent $request_completion';
  access_log /s/served served; client_body_temp_path /s/tmp; lingering_close off;
  server { listen 80; root /s/www; limit_rate 2m; keepalive_timeout 0; }
}
"""
NODE = """\
const fs = require('fs'), http = require('http');
const server = http.createServer((request, response) => {
  fs.appendFileSync('/s/served', 'x\\n');
  setTimeout(() => { response.setHeader('Connection', 'close'); response.end('x'.repeat(200000)); }, 40);
});
server.listen(80, () => fs.writeFileSync('/s/ready', ''));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
"""
GUNICORN = """\
import time

def app(environ, start_response):
    with open("/s/served", "a") as served:
        served.write("x\\n")
    time.sleep(0.04)
    start_response("200 OK", [("Content-Length", "200000")])
    return [b"x" * 200000]
"""
HTTP = {
    "nginx": (("--stop-signal", "QUIT"), ("nginx", "-c", "/s/nginx.conf")),
    "node": ((), ("node", "/s/server.js")),
    "gunicorn": (
        ("-w", "/s"),
        ("gunicorn", "-b", "0.0.0.0:80", "-w", "2", "--threads", "3", "--pid", "/s/ready", "a:app"),
    ),
}


@pytest.fixture
def bento(net_bento: NetCli) -> NetCli:
    return net_bento


class Load:
    """Clients in threads; each counts what becomes of what it asks for, until it is refused."""

    def __init__(self, ask: Callable[[Counter[str]], bool]) -> None:
        self.counts: list[Counter[str]] = [Counter() for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._go, args=(ask, counts)) for counts in self.counts]
        for thread in self._threads:
            thread.start()

    def _go(self, ask: Callable[[Counter[str]], bool], counts: Counter[str]) -> None:
        while ask(counts):
            pass

    def wait_for(self, count: int) -> None:
        procs.wait_until(lambda: self.total()["answered"] >= count, what=f"{count} answers: {self.total()}")

    def total(self) -> Counter[str]:
        return sum(self.counts, Counter())

    def end(self) -> Counter[str]:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        return self.total()


def get(host: Netns, port: int) -> Callable[[Counter[str]], bool]:
    """Ask for the page, on a connection of its own each time."""

    def ask(counts: Counter[str]) -> bool:
        try:
            connection = host.connect("127.0.0.1", port)
        except OSError:
            counts["refused"] += 1
            return False
        try:
            with connection, connection.makefile("rb") as stream:
                connection.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = stream.read()
        except OSError:
            answer = b""
        is_whole = answer.startswith(b"HTTP/1.1 200") and answer.count(b"x") >= 200_000
        counts["answered" if is_whole else "broken"] += 1
        return True

    return ask


@pytest.mark.parametrize("server", HTTP)
def test_every_request_that_a_server_has_taken_is_answered(
    bento: NetCli, share: Share, host: Netns, server: str
) -> None:
    flags, command = HTTP[server]
    for name, text in (("nginx.conf", NGINX), ("server.js", NODE), ("a.py", GUNICORN)):
        share.script(name, text)
    for directory in ("www", "tmp"):
        (share.path / directory).mkdir(mode=0o777)
    (share.path / "www" / "page").write_text("x" * 200_000)
    bento.run("--name", "web", *share.flags, "-p", "127.0.0.1:0:80", "--drain", *flags, "host", *command)
    port = bento.port("web")
    procs.wait_until(lambda: not host.is_refused("127.0.0.1", port), what="the server", every_s=0.1)
    trial: Counter[str] = Counter()
    procs.wait_until(lambda: get(host, port)(trial) and trial["answered"], what="a page", every_s=0.1)
    first = len(share.lines("served"))
    load = Load(get(host, port))
    load.wait_for(BEFORE_STOP)
    report = stop_report(bento, "web")
    counts = load.end()
    taken = len(share.lines("served")) - first
    print(f"{server}: {taken} taken, {dict(counts)}, {report['duration_s']:.2f} s")
    # What becomes of a connection that the program never took counts for nothing.
    assert counts["answered"] == taken >= BEFORE_STOP, (
        "what a connection that was never taken is told counts for nothing"
    )
    assert report["verdict"] == "graceful"
    if server == "nginx":
        assert {line.split()[0] for line in share.lines("served")} == {"200"}
        assert all(line.endswith("OK") for line in share.lines("served"))


def test_no_write_that_redis_has_acknowledged_is_lost(bento: NetCli, share: Share, host: Netns) -> None:
    words = (
        "redis-server",
        "--port",
        "80",
        "--dir",
        "/s",
        "--appendonly",
        "yes",
        "--protected-mode",
        "no",
        "--save",
        "",
    )
    bento.run("--name", "db", *share.flags, "-p", "127.0.0.1:0:80", "host", *words)
    connections = threading.local()

    def increment(counts: Counter[str]) -> bool:
        try:
            if not hasattr(connections, "socket"):
                connections.socket = host.connect("127.0.0.1", port)
                connections.stream = connections.socket.makefile("rb")
            connections.socket.sendall(b"INCR n\r\n")
            answer = connections.stream.readline()
        except OSError:
            answer = b""
        if not answer.startswith(b":"):
            counts["refused"] += 1
            connections.stream.close()
            connections.socket.close()
            return False
        counts["answered"] += 1
        return True

    port = bento.port("db")
    wait_for_redis(host, port)
    load = Load(increment)
    load.wait_for(50 * BEFORE_STOP)
    report = stop_report(bento, "db")
    counts = load.end()
    bento("start", "db")
    kept = int(wait_for_redis(host, bento.port("db"), b"GET n\r\n"))
    print(f"redis: {dict(counts)}, {kept} kept, {report['duration_s']:.2f} s")
    assert kept >= counts["answered"] > 0
    assert report["verdict"] == "graceful"


def wait_for_redis(host: Netns, port: int, command: bytes = b"PING\r\n") -> str:
    """Return its first answer, without the length of it."""
    found: list[str] = []

    def answers() -> bool:
        try:
            with host.connect("127.0.0.1", port) as connection, connection.makefile("rwb") as stream:
                stream.write(command)
                stream.flush()
                line = stream.readline()
                found.append((stream.readline() if line.startswith(b"$") else line).decode().strip())
        except OSError:
            return False
        return bool(line) and not line.startswith(b"-")

    procs.wait_until(answers, what="redis", every_s=0.05)
    return found[-1]


POSTGRES = """\
set -e
cd /s
if ! [ -d data ]; then
    install -d -o postgres data
    setpriv --reuid=postgres --regid=postgres --clear-groups "$1/initdb" -D /s/data -A trust -N >/dev/null
    echo "host all all all trust" >>data/pg_hba.conf
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups "$1/postgres" -D /s/data -k /tmp -p 5432 -h 0.0.0.0
"""


def test_no_row_that_postgres_has_committed_is_lost(bento: NetCli, share: Share, host: Netns) -> None:
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    script = share.script("start.sh", POSTGRES)
    bento.run(
        "--name", "db", *share.flags, "-p", "127.0.0.1:0:5432", "--stop-signal", "INT", "host", "sh", script, programs
    )
    address = ["-h", "127.0.0.1", "-U", "postgres", "-qAt"]

    def psql(*words: str, **options) -> subprocess.Popen[str]:
        argv = [str(programs / "psql"), *address, "-p", str(bento.port("db", "5432")), *words]
        return subprocess.Popen(
            [*host.enter, *argv], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def asked(sql: str) -> str:
        with psql("-c", sql) as client:
            return client.communicate(timeout=60)[0].strip()

    procs.wait_until(lambda: asked("select 1") == "1", what="PostgreSQL", every_s=0.2)
    asked("create table t (n int)")
    sessions = threading.local()

    def insert(counts: Counter[str]) -> bool:
        if not hasattr(sessions, "client"):
            sessions.client = psql()
        client = sessions.client
        try:
            client.stdin.write("insert into t values (1) returning 'done';\n")
            client.stdin.flush()
            is_done = client.stdout.readline() == "done\n"
        except OSError:
            is_done = False
        counts["answered" if is_done else "refused"] += 1
        if not is_done:
            client.stdin.close()
            client.stdout.close()
            client.wait(60)
        return is_done

    load = Load(insert)
    load.wait_for(5 * BEFORE_STOP)
    report = stop_report(bento, "db")
    counts = load.end()
    bento("start", "db")
    procs.wait_until(lambda: asked("select 1") == "1", what="PostgreSQL", every_s=0.2)
    kept = int(asked("select count(*) from t"))
    print(f"PostgreSQL: {dict(counts)}, {kept} kept, {report['duration_s']:.2f} s")
    assert kept >= counts["answered"] > 0
    assert report["verdict"] == "graceful"
