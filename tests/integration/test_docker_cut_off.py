"""Images on their way by Docker's API, whose client leaves, or whose server dies: what was cut off is no image."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import tarfile

import pytest

from support.cli import BentoCli
from support.images import make_image
from support.procs import descendants, wait_until
from support.registry import gate, registry, skopeo
from support.serving import LIMIT_S, Served, serving
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME


def is_fetching() -> bool:
    return any(each.is_alive and each.comm in ("skopeo", "setpriv") for each in descendants())


def half_made(bento: BentoCli) -> list[str]:
    return [path.name for path in (bento.roots.root / "layers").glob("tmp-*")]


def test_a_pull_is_broken_off_when_its_client_leaves_and_goes_on_when_the_server_is_killed(bento, tmp_path):
    make_image(bento.roots, "small:1", layers=[{"bin/x": os.urandom(300_000)}])
    with registry(tmp_path) as place:
        bento("push", "small:1", f"docker://{place.name('small:1')}")
        bento("rmi", "small:1")
        manifest = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{place.name('small:1')}"))
        layer = manifest["layers"][0]["digest"]
        with gate(place) as door, serving(bento) as served:
            target = f"/images/create?fromImage={door.host}/small&tag=1"
            for reads in (False, True):
                door.hold(layer)
                client = served.connect()
                client.sendall(f"POST {target} HTTP/1.1\r\nHost: bento\r\n\r\n".encode())
                assert door.waits.wait(LIMIT_S)
                if reads:
                    assert client.recv(12) == b"HTTP/1.1 200"
                client.close()
                wait_until(lambda: not is_fetching(), timeout_s=LIMIT_S, what="the end of what fetched")
                wait_until(lambda: not half_made(bento), timeout_s=LIMIT_S, what="the end of what was half made")
                door.held[layer].set()
            assert bento("images", "-q").stdout == ""
            door.hold(layer)
            with served.connect() as client:
                client.sendall(f"POST {target} HTTP/1.1\r\nHost: bento\r\n\r\n".encode())
                assert door.waits.wait(LIMIT_S)
                served.process.kill()
                served.process.wait(LIMIT_S)
            door.held[layer].set()
            wait_until(lambda: bento("images", "-q").stdout != "", timeout_s=LIMIT_S, what="the image")
    assert_clean(bento)


def upload(served: Served, target: str, data: bytes) -> socket.socket:
    """Send a body that is not over yet, and return when the server has read all of it."""
    client = served.connect()
    head = f"POST {target} HTTP/1.1\r\nHost: bento\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.sendall(f"{head}{len(data):x}\r\n".encode() + data + b"\r\n")
    return client


@pytest.mark.parametrize("dies", ["client", "server"])
def test_an_archive_that_is_cut_off_after_a_member_makes_no_image(bento, dies):
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        for number in range(3):
            tar.addfile(tarfile.TarInfo(f"file{number}"))
    members = found.getvalue()[: 3 * 512]
    with serving(bento) as served:
        with upload(served, "/images/create?fromSrc=-&repo=part", members):
            wait_until(lambda: half_made(bento), timeout_s=LIMIT_S, what="the import to begin")
            if dies == "server":
                served.process.send_signal(signal.SIGKILL)
                served.process.wait(LIMIT_S)
        wait_until(lambda: not half_made(bento), timeout_s=LIMIT_S, what="the import to be gone")
        assert bento("images", "-q").stdout == ""
    with serving(bento) as served:
        assert served("POST", "/images/create?fromSrc=-&repo=whole", members + bytes(1024)).status == 200
    assert "whole" in bento("images").stdout
    bento("rmi", "whole")
    assert_clean(bento)
