"""``bento serve --tcp``: Docker's API over TCP, for clients with a certificate alone."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from bento.errors import StorageUnusable, UsageError
from bento.serve import tcp

from support.cli import BentoCli
from support.serving import LIMIT_S, serving
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME


def make_certificates(directory: Path) -> None:
    """Make an authority, and what it has signed, by the names that Docker's command line looks for."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    signed = ("-CA", "ca.pem", "-CAkey", "ca-key.pem")
    for name, more in {
        "ca": ("-subj", "/CN=authority"),
        "server": ("-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", *signed),
        "": ("-subj", "/O=tests/CN=alice", *signed),
        "stranger": ("-subj", "/CN=stranger"),
    }.items():
        prefix = f"{name}-" if name else ""
        cert = "ca.pem" if name == "ca" else f"{prefix}cert.pem"
        words = ["openssl", "req", "-x509", *key, "-keyout", f"{prefix}key.pem", "-out", cert, *more]
        subprocess.run(words, cwd=directory, check=True, capture_output=True, timeout=LIMIT_S)


def ping(port: int, context: ssl.SSLContext) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(b"GET /_ping HTTP/1.1\r\nHost: bento\r\n\r\n")
        client.recv(1)


@pytest.fixture
def tls(tmp_path: Path) -> tuple[str, ...]:
    make_certificates(tmp_path)
    return (
        "--tls-cert", str(tmp_path / "server-cert.pem"), "--tlskey", str(tmp_path / "server-key.pem"),
        "--tls-ca", str(tmp_path / "ca.pem"),
    )  # fmt: skip


def test_dockers_command_line_over_tls(bento: BentoCli, tls: tuple[str, ...], tmp_path: Path) -> None:
    with serving(bento, "--tcp", "127.0.0.1:0", *tls, prefix=("--log-level", "info")) as served:
        port = int(served.line.partition("tcp://127.0.0.1:")[2].partition(",")[0])
        words = ("docker", "--tlsverify", "-H", f"tcp://127.0.0.1:{port}")
        environ = os.environ | {"DOCKER_CERT_PATH": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}

        def docker(*args: str, stdin: str = "") -> str:
            done = subprocess.run(
                [*words, *args], input=stdin, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        # The input's end comes to cat, and its output after that to the client.
        text = "x" * 300_000 + "\n"
        script = "cat; echo after"
        assert docker("run", "--rm", "-i", "--network", "none", "host", "sh", "-c", script, stdin=text) == (
            text + "after\n"
        )
        docker("run", "-d", "--init", "--name", "web", "--network", "none", "host", "sleep", "600")
        assert docker("exec", "-i", "web", "tr", "a-z", "A-Z", stdin="words\n") == "WORDS\n"
        following = subprocess.Popen(
            [*words, "logs", "-f", "web"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert docker("stop", "web") == "web\n"
        assert following.wait(LIMIT_S) == 0

        for pair in (None, "stranger-"):  # no certificate, and one of another authority
            context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
            if pair:
                context.load_cert_chain(tmp_path / f"{pair}cert.pem", tmp_path / f"{pair}key.pem")
            with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
                ping(port, context)
        with socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain:  # no TLS
            plain.sendall(b"GET /_ping HTTP/1.1\r\nHost: bento\r\n\r\n")
            assert not plain.makefile("rb").read().startswith(b"HTTP")
        with served.connect() as local:
            local.sendall(b"GET /_ping HTTP/1.1\r\nHost: bento\r\nConnection: close\r\n\r\n")
            assert local.makefile("rb").readline().startswith(b"HTTP/1.1 200")
    assert "connection from O=tests,CN=alice at 127.0.0.1:" in served.errors
    assert f"connection from process {os.getpid()} of user 0" in served.errors
    assert served.errors.count("was refused") == 3


def test_there_is_no_tcp_without_tls(bento: BentoCli, tls: tuple[str, ...], tmp_path: Path) -> None:
    assert "TCP without TLS" in bento.fails("serve", "--tcp", "127.0.0.1:0", *tls[:4], code=2)
    assert "are for --tcp" in bento.fails("serve", *tls, code=2)
    cert, key, ca = tls[1::2]
    (tmp_path / "text").write_text("no certificate")
    for files, said in (
        ((cert, key, str(tmp_path / "none.pem")), "--tls-ca .*No such file"),
        ((cert, key, str(tmp_path / "text")), "--tls-ca .*no usable PEM file"),
        ((cert, str(tmp_path / "text"), ca), "--tls-key .*no usable PEM file"),
        ((cert, str(tmp_path / "key.pem"), ca), "--tls-key .*no usable PEM file"),  # of another certificate
    ):
        with pytest.raises(UsageError, match=said):
            tcp.context(*files)
    for address in ("127.0.0.1", ":2376", "127.0.0.1:x", "127.0.0.1:65536", ""):
        with pytest.raises(UsageError, match="bad address"):
            tcp.listen(address)
    with tcp.listen("tcp://[::1]:0") as listener:
        assert tcp.place(listener).startswith("tcp://[::1]:")
        with pytest.raises(StorageUnusable, match="cannot listen"):
            tcp.listen(tcp.place(listener))
