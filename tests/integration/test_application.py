"""An application of containers on two networks, which find each other by name: restarted under load, and drained."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest

from support import procs
from support.netns import TIMEOUT_S, NetCli, Netns
from support.workload import ONE_RUNTIME, Share

pytestmark = ONE_RUNTIME

CLIENTS = 3
PROXY = """\
daemon off; error_log stderr; pid /tmp/nginx.pid; user root;
events { worker_connections 200; }
http {
  access_log off; proxy_buffering off; resolver 127.0.0.11; proxy_http_version 1.1;
  client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d;
  scgi_temp_path /tmp/e;
  map $http_upgrade $connection_wanted { default upgrade; '' close; }
  server {
    listen 80; set $behind app;
    location / {
      proxy_pass http://$behind:80; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_wanted;
    }
  }
}
"""
APP = """\
import base64, hashlib, os, signal, socket, threading

def asked(name, line):
    with socket.create_connection((name, 6379), 1) as made:
        made.sendall(line)
        return made.recv(100)

def page(connection):
    try:
        text = asked("db", b"INCR visits\\r\\n") + asked("cache", b"PING\\r\\n")
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(text), text))
    except OSError:
        connection.sendall(b"HTTP/1.1 503 Later\\r\\nContent-Length: 0\\r\\n\\r\\n")

def download(connection):
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 8000000\\r\\n\\r\\n" + b"x" * 8000000)

def web_socket(connection, key):  # RFC 6455, of short frames
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                       b"Sec-WebSocket-Accept: " + accept + b"\\r\\n\\r\\n")
    kind = 0
    while kind != 0x88:
        head = connection.recv(6, socket.MSG_WAITALL)
        if len(head) < 6:
            return
        kind, mask = head[0], head[2:]
        data = connection.recv(head[1] & 127, socket.MSG_WAITALL)
        connection.sendall(bytes([kind, len(data)]) + bytes(b ^ mask[n % 4] for n, b in enumerate(data)))

def serve(connection):
    with connection, connection.makefile("rb") as stream:
        lines = []
        while not lines or lines[-1] != b"\\r\\n":
            lines.append(stream.readline())
            if not lines[-1]:
                return
        key = [line.split()[1] for line in lines if line.lower().startswith(b"sec-websocket-key: ")]
        if b" /big " in lines[0]:
            download(connection)
        elif key:
            web_socket(connection, key[0])
        else:
            page(connection)

def accept():
    listener = socket.create_server(("", 80), backlog=100)
    print("ready", flush=True)
    while True:
        threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
        threads[-1].start()

threads = []
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
threading.Thread(target=accept, daemon=True).start()
signal.sigwait([signal.SIGTERM])
for thread in threads:
    thread.join()
os._exit(0)
"""
"""It goes on listening while it shuts down."""


@pytest.fixture
def bento(net_bento: NetCli, share: Share) -> NetCli:
    """With the networks, and what the containers run."""
    share.script("nginx.conf", PROXY)
    share.script("app.py", APP)
    net_bento("network", "create", "front")
    return net_bento


def run_app(bento: NetCli, share: Share, *flags: str) -> None:
    bento.run("--name", "app", "--network", "front", *flags, *share.flags, "host", "python3", "-S", "/s/app.py")
    bento.wait_for_log("app", "ready")


def run_web(bento: NetCli, share: Share, *flags: str) -> int:
    """Run the proxy; return its port of the host."""
    more = ("--network", "front", "--requires", "app", "-p", "8080:80", "--stop-signal", "QUIT")
    bento.run("--name", "web", *more, *flags, *share.flags, "host", "nginx", "-c", "/s/nginx.conf")
    return bento.port("web")


def run_redis(bento: NetCli, share: Share, name: str, *words: str) -> None:
    command = ("redis-server", "--protected-mode", "no", "--save", "", "--dir", "/tmp", *words)
    bento.run("--name", name, "--network", "back", *share.flags, "host", *command)


def get(host: Netns, port: int, path: str = "/") -> tuple[str, bytes]:
    """Return status and body; "" without an answer."""
    answer = b""
    with suppress(OSError), host.connect("127.0.0.1", port) as made, made.makefile("rb") as stream:
        made.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = stream.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode()[9:12], body


class Load:
    """Clients that ask all the time; what becomes of each question, and when it was asked."""

    def __init__(self, host: Netns, port: int) -> None:
        self.answers: list[tuple[float, float, bool]] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(host, port)) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _go(self, host: Netns, port: int) -> None:
        while not self._end.wait(0.01):
            asked_s = time.monotonic()
            is_good = get(host, port)[0] == "200"
            self.answers.append((asked_s, time.monotonic(), is_good))

    def wait_for_good(self, since_s: float, count: int = 1) -> None:
        """Return when so many that were asked since then have been answered well."""

        def enough() -> bool:
            return sum(one[2] for one in list(self.answers) if one[0] > since_s) >= count

        procs.wait_until(enough, timeout_s=TIMEOUT_S, what="good answers")

    def failures(self, since_s: float) -> tuple[int, float, int]:
        """Return how many failed, for how long, and how many of those were asked after another had gone well again."""
        bad = [one for one in self.answers if one[0] > since_s and not one[2]]
        if not bad:
            return 0, 0.0, 0
        well_s = min(one[1] for one in self.answers if one[2] and one[0] > bad[0][0])
        return len(bad), well_s - bad[0][0], sum(one[0] > well_s for one in bad)

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()


def test_each_of_an_applications_containers_is_restarted_under_load_and_found_again_at_once(
    bento: NetCli, share: Share, host: Netns
) -> None:
    bento("network", "create", "--internal", "back")
    run_redis(bento, share, "db", "--appendonly", "yes")
    run_redis(bento, share, "cache")
    run_app(bento, share, "--network", "back", "--requires", "db", "--requires", "cache")
    port = run_web(bento, share)
    load = Load(host, port)
    try:
        load.wait_for_good(0, 20)
        for name in ("db", "cache", "app", "web"):
            begun_s = time.monotonic()
            bento("restart", name)
            load.wait_for_good(time.monotonic(), 20)
            count, lasted_s, late = load.failures(begun_s)
            print(f"restart {name}: {count} failed in {lasted_s:.2f} s")
            assert late == 0, f"after {name} was found again"
    finally:
        load.end()
    assert int(get(host, port)[1].split()[0][1:]) > sum(one[2] for one in load.answers), "the database kept them all"

    table = bento("ps", "--format", "{{.Names}} {{.Networks}} {{.Ports}}").stdout.split("\n")
    assert table == [f"web front 0.0.0.0:{port}->80/tcp", "app front,back ", "cache back ", "db back ", ""]
    on_it = bento.inspect("back")["Containers"].values()
    assert {one["Name"] for one in on_it} == {"app", "cache", "db"}
    assert {one["IPv4Address"].split("/")[0] for one in on_it} == {
        bento.network(name)["Networks"]["back"]["IPAddress"] for name in ("app", "cache", "db")
    }
    words = bento("events", "--since", "1h", "--until", "0s", "-f", "type=network", "-f", "network=front").stdout
    assert [line.split()[2] for line in words.splitlines()] == [
        "create",
        *["connect"] * 2,
        *["disconnect", "connect"] * 2,
    ]
    assert bento("stop", "--total", "60", "-a").stdout.split()[:2] == ["web", "app"], "what others require stops last"
    bento("rm", "-a")
    bento("network", "prune", "-f")


class UnderWay:
    """A slow download and a WebSocket."""

    def __init__(self, host: Netns, port: int) -> None:
        self._slow = host.inside(socket.socket)
        self._slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        self._slow.settimeout(TIMEOUT_S)
        host.inside(lambda: self._slow.connect(("127.0.0.1", port)))
        self._slow.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        head = self._until_blank(self._slow)
        assert b" 200 " in head, head
        self._talk = host.connect("127.0.0.1", port)
        self._talk.sendall(
            b"GET /talk HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = self._until_blank(self._talk)
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head  # as RFC 6455, 1.3, says
        self.say()

    def _until_blank(self, made: socket.socket) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = made.recv(1)
            assert more, head
            head += more
        return head

    def say(self, text: bytes = b"hello", kind: int = 0x81) -> None:
        """Send a frame, masked with nothing; it comes back."""
        self._talk.sendall(bytes([kind, 0x80 | len(text)]) + bytes(4) + text)
        assert self._talk.recv(2 + len(text), socket.MSG_WAITALL) == bytes([kind, len(text)]) + text

    def finish(self) -> None:
        """Bring both to their ends."""
        with self._slow, self._talk:
            left = 8_000_000
            while left:
                more = len(self._slow.recv(65536))
                assert more, f"{left} bytes are missing"
                left -= more
            self.say(b"", 0x88)


def test_s17a_a_download_and_a_websocket_complete_directly_and_behind_a_name(
    bento: NetCli, share: Share, host: Netns
) -> None:
    run_app(bento, share, "-p", ":80", "--stop-timeout", "60")
    direct, proxied = bento.port("app"), run_web(bento, share, "--stop-timeout", "60")
    procs.wait_until(lambda: get(host, proxied)[0] == "503", what="the proxy")
    under_way = [UnderWay(host, port) for port in (direct, proxied, proxied)]
    with bento.start("stop", "--drain", "app") as stopping:
        procs.wait_until(lambda: host.is_refused("127.0.0.1", direct), timeout_s=TIMEOUT_S, what="the drain")
        assert get(host, proxied)[0] == "502", "a new connection by name is refused, too"
        for one in under_way[:2]:
            one.say()
            one.finish()
        with bento.start("stop", "--drain", "web") as stopping_web:
            procs.wait_until(lambda: host.is_refused("127.0.0.1", proxied), timeout_s=TIMEOUT_S, what="the drain")
            under_way[2].say()
            assert stopping.poll() is stopping_web.poll() is None
            under_way[2].finish()
            assert stopping_web.wait(TIMEOUT_S) == 0
        assert stopping.wait(TIMEOUT_S) == 0
    for name in ("app", "web"):
        report = bento.inspect(name)["Stop"]
        assert (report["verdict"], report["exit_code"], report["notes"]) == ("graceful", 0, [])
        assert report["phases"][0]["name"] == "drain"
    bento("rm", "-a")
    bento("network", "rm", "front")
