"""A registry of the test's own on loopback: Debian's docker-registry, plain, or with TLS, or with a password."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import procs

USER, PASSWORD = "ann", "secret"
_HTPASSWD = "ann:$2b$04$8eQbKsk6drhi6GsL6auI2./wDZOWVsSX551pUCdLRnIqTygUG5W/y\n"
"""bcrypt, which is all that docker-registry reads."""
_LIMIT_S = 60.0


class Registry:
    """One that runs."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.host = f"127.0.0.1:{port}"
        self.authority = directory / "certs"
        """For --cert-dir: the authority that signed its certificate."""

    def name(self, path: str) -> str:
        """Return the full name of an image that is there, or will be."""
        return f"{self.host}/{path}"

    def push(self, source: str, path: str, *flags: str) -> str:
        """Have skopeo copy an image to it; return the digest."""
        target = self.directory / "digest"
        skopeo(
            "copy", "--dest-tls-verify=false", f"--digestfile={target}", *flags, source, f"docker://{self.name(path)}"
        )
        return target.read_text()

    def blob(self, digest: str) -> Path:
        """Return the file it keeps a blob in."""
        algorithm, _, digits = digest.partition(":")
        return self.directory / f"data/docker/registry/v2/blobs/{algorithm}/{digits[:2]}/{digits}/data"


def skopeo(*words: str | Path) -> str:
    """Run skopeo; return what it said."""
    return run("skopeo", *words)


def run(*words: str | Path) -> str:
    """Run a program that must succeed; return what it said."""
    done = subprocess.run(
        list(map(str, words)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
    return done.stdout


@contextlib.contextmanager
def registry(base: Path, *, has_tls: bool = False, has_password: bool = False) -> Iterator[Registry]:
    """Run one until the end of the block, in a new directory below ``base``."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    directory = Path(tempfile.mkdtemp(prefix="registry-", dir=base))
    if has_tls:
        make_certificates(directory)
    if has_password:
        (directory / "htpasswd").write_text(_HTPASSWD)
    process, port = _start(directory, has_tls=has_tls, has_password=has_password)
    try:
        yield Registry(directory, port)
    finally:
        with process:
            pidfd = os.pidfd_open(process.pid)
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)


def make_certificates(directory: Path) -> None:
    """Make an authority, and a certificate of it for 127.0.0.1."""
    (directory / "certs").mkdir()
    ca, key = directory / "certs/ca.crt", directory / "ca.key"
    openssl = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run(*openssl, "-subj", "/CN=an authority", "-keyout", key, "-out", ca, "-days", "2")
    run(
        *openssl, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-addext",
        "basicConstraints=critical,CA:FALSE", "-CA", ca, "-CAkey", key, "-keyout", directory / "tls.key",
        "-out", directory / "tls.crt", "-days", "2",
    )  # fmt: skip


def _start(directory: Path, *, has_tls: bool, has_password: bool) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(10):  # the port may be taken between our look and its bind
        port = free_port()
        config = directory / "config.yml"
        tls = f"\n  tls: {{certificate: {directory}/tls.crt, key: {directory}/tls.key}}" if has_tls else ""
        auth = f"\nauth: {{htpasswd: {{realm: here, path: {directory}/htpasswd}}}}" if has_password else ""
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {directory}/data}}, delete: {{enabled: true}}}}\n"
            f"http:\n  addr: 127.0.0.1:{port}{tls}{auth}\n"
        )
        with open(directory / "log", "ab") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            procs.wait_until(
                lambda p=process, n=port: p.poll() is not None or _answers(n),
                timeout_s=_LIMIT_S, what="the registry",
            )  # fmt: skip
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.poll() is None:
            return process, port
    raise AssertionError(f"the registry does not run: {(directory / 'log').read_text()[-2000:]}")


def free_port() -> int:
    """Return a port of loopback that no process has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Gate:
    """Stands in front of a registry, counts what is fetched, and can hold a blob back in the middle.

    Attributes:
        fetched: the digests of blobs that were asked for, in order.
        held: for each digest to be held back, an event that lets it go on.
        waits: set as soon as a held blob has been sent in part.
    """

    def __init__(self, registry: Registry) -> None:
        self.fetched: list[str] = []
        self.held: dict[str, threading.Event] = {}
        self.waits = threading.Event()
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    gate.serve(self, registry)

            do_HEAD = do_GET  # noqa: N815  # the name is the standard library's

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def hold(self, digest: str) -> threading.Event:
        """Hold this blob back in the middle until the event that is returned is set."""
        self.waits.clear()
        event = self.held[digest] = threading.Event()
        return event

    def close(self) -> None:
        """End it."""
        for event in self.held.values():
            event.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, handler: http.server.BaseHTTPRequestHandler, registry: Registry) -> None:
        """Answer one request as the registry does."""
        digest = handler.path.rpartition("/blobs/")[2]
        if "/blobs/" in handler.path and handler.command == "GET":
            self.fetched.append(digest)
        upstream = http.client.HTTPConnection(registry.host, timeout=_LIMIT_S)
        try:
            accept = {"Accept": ", ".join(handler.headers.get_all("Accept") or ["*/*"])}
            upstream.request(handler.command, handler.path, headers=accept)
            answer = upstream.getresponse()
            handler.send_response(answer.status)
            for name in ("Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version"):
                if (value := answer.getheader(name)) is not None:
                    handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(answer.read(1 << 16))
            if digest in self.held and handler.command == "GET":
                handler.wfile.flush()
                self.waits.set()
                self.held[digest].wait(_LIMIT_S)
            while chunk := answer.read(1 << 16):
                handler.wfile.write(chunk)
        finally:
            upstream.close()


@contextlib.contextmanager
def gate(registry: Registry) -> Iterator[Gate]:
    """Put a gate in front of a registry until the end of the block."""
    made = Gate(registry)
    try:
        yield made
    finally:
        made.close()
