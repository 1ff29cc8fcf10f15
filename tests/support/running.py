"""A server of ``servers`` started in a container, its work in flight, and what a signal makes of both."""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import threading
from contextlib import suppress
from typing import NamedTuple

from bento.programs.facts import Effect

from support import procs
from support.cli import BentoCli
from support.servers import Server
from support.workload import Share

_ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"
_LIMIT_S = 30.0
_LIVES_S = 1.5
"""What has not ended so long after its signal is taken to live on, where the table says so."""
_CUT_S = 1.0
"""What has not cut a request so long after its signal does not."""


class Observed(NamedTuple):
    """What one signal came to."""

    lived_on: bool
    waited: bool  # it ended only when the session was closed
    exit_code: int | None
    work: str  # "whole", "cut" or ""
    log: str


class Backend:
    """A server of the test's, in front of which proxies stand: it answers a request when that is ``released``."""

    def __init__(self) -> None:
        self.taken, self.released = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if connection.recv(4096):
                self.taken.set()
                self.released.wait(_LIMIT_S)
                connection.sendall(_ANSWER)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def prepared(
    bento: BentoCli, share: Share, server: Server, backend: Backend, image: str
) -> tuple[list[str], list[str]]:
    """Make the files of a server; return its command, and the flags of ``run``. Its port is in the file ``port``."""
    port = str(free_port())
    share.script("port", port)

    def filled(text: str) -> str:
        return text.replace("@PORT@", port).replace("@SLOW@", str(backend.port))

    for name, text in server.files.items():
        share.script(name, filled(text))
    if server.once:
        bento("run", "--rm", "--network", "none", *share.flags, image, "sh", "-ec", server.once)
    command = [filled(word) for word in server.command]
    if server.setup:
        command = ["sh", "-ec", f'{filled(server.setup)}\nexec "$@"', "sh", *command]
    return command, [filled(word) for word in server.flags]


class Running:
    """A server that is ready, as the container ``s``."""

    def __init__(self, bento: BentoCli, share: Share, server: Server, backend: Backend, image: str, *more: str) -> None:
        self.bento, self.share, self.server, self.backend = bento, share, server, backend
        command, flags = prepared(bento, share, server, backend, image)
        self.port = int(share.text("port"))
        bento.run("--name", "s", "--network", "host", *share.flags, *more, *flags, image, *command)
        self._wait()

    def _wait(self) -> None:
        def is_ready() -> bool:
            state = self.bento.state("s")
            assert state["Running"], f"{self.server.program} has ended: {self.log()[-1500:]}"
            if self.server.ready:
                return re.search(self.server.ready, self.log()) is not None
            if not self.server.work:
                return True
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
                return True
            return False

        procs.wait_until(is_ready, what=self.server.program, every_s=0.1, timeout_s=self.server.starts_s)

    def log(self) -> str:
        """What it has printed, and what it has written to /s/log."""
        done = self.bento("logs", "s", check=False)
        return done.stdout + done.stderr + self.share.text("log") + self.share.text("mainlog")

    def begin_work(self) -> socket.socket | None:
        """Ask for something, and return once it is under way; or open a session; return the connection."""
        if self.server.work in ("", "idle"):
            return None
        connection = socket.create_connection(("127.0.0.1", self.port), 5)
        connection.settimeout(_LIMIT_S)
        match self.server.work:
            case "http":
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            case "fastcgi":
                connection.sendall(_fastcgi({"SCRIPT_FILENAME": "/s/slow.php", "REQUEST_METHOD": "GET"}))
            case _:
                connection.sendall(self.server.hello.encode("latin-1"))
                assert connection.recv(4096)
                return connection
        taken = self.share.path / "taken"
        procs.wait_until(lambda: taken.exists() or self.backend.taken.is_set(), what="a request", every_s=0.02)
        return connection

    def observe(self, signal: str, effect: Effect) -> Observed:
        """Begin work, send the signal, and see what becomes of both. ``effect``: how long which is waited for."""
        connection = self.begin_work()
        self.bento("kill", "-s", signal, "s")
        work, waited, is_session = "", False, self.server.work == "session"
        if connection is not None and not is_session:
            is_cut = bool(select.select([connection], [], [], _CUT_S)[0])
            self._release()
            work = "whole" if b"done" in rest(connection) and not is_cut else "cut"
        is_to_end = effect not in (Effect.RESTARTS, Effect.NOTHING) and not (is_session and effect is Effect.WAITS)
        ended = self._ended(_LIMIT_S if is_to_end else _LIVES_S)
        if connection is not None:
            connection.close()
            if not ended and effect is Effect.WAITS:
                waited = ended = self._ended(_LIMIT_S)
        code = self.bento.state("s")["ExitCode"] if ended else None
        return Observed(not ended, waited, code, work, self.log())

    def is_refused(self) -> bool:
        """Whether its port takes no connection."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except OSError:
            return True
        return False

    def _release(self) -> None:
        self.backend.released.set()
        self.share.script("go", "")

    def _ended(self, limit_s: float) -> bool:
        pid = self.bento.state("s")["Pid"]
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(pid) if pid else -1
            if fd >= 0:
                with open(fd, "rb", buffering=0):
                    if not select.select([fd], [], [], limit_s)[0]:
                        return False
        procs.wait_until(lambda: not self.bento.state("s")["Running"], what="its record", every_s=0.05)
        return True


def rest(connection: socket.socket) -> bytes:
    """What still comes."""
    found = b""
    with suppress(OSError):
        while piece := connection.recv(65536):
            found += piece
    return found


def _fastcgi(variables: dict[str, str]) -> bytes:
    """A request as FastCGI's specification has it (records of type 1, 4 and 5)."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack(">BBHHBB", 1, kind, 1, len(body), 0, 0) + body

    words = b"".join(bytes([len(key), len(value)]) + f"{key}{value}".encode() for key, value in variables.items())
    return record(1, struct.pack(">HB5x", 1, 0)) + record(4, words) + record(4, b"") + record(5, b"")
