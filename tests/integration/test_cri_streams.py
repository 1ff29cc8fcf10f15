"""Exec, attach and port-forward by the Container Runtime Interface: from the call over its URL into a pod's network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from support import cri, streaming
from support.netns import NetCli, Netns
from support.workload import ONE_RUNTIME, busybox_rootfs

pytestmark = ONE_RUNTIME

SERVES = "echo hello >/index.html; httpd -p 127.0.0.1:8080 -h / && while read -r line; do echo got $line; done"
GET = b"GET /index.html HTTP/1.0\r\n\r\n"


def test_streams_of_a_pod(net_bento: NetCli, host: Netns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = streaming.connect
    monkeypatch.setattr(streaming, "connect", lambda url: host.inside(lambda: connect(url)))
    net_bento("import", busybox_rootfs(tmp_path / "rootfs"), "bb")
    with cri.serving(net_bento) as node, node.client() as client:
        sandbox = {"metadata": {"name": "web", "uid": "uid", "namespace": "tests"}, "log_directory": str(node.logs)}
        pod = client("RunPodSandbox", config=sandbox).pod_sandbox_id
        config = {
            "metadata": {"name": "main"}, "image": {"image": "bb"}, "command": ["sh", "-c", SERVES],
            "stdin": True, "log_path": "main.log",
        }  # fmt: skip
        made = client("CreateContainer", pod_sandbox_id=pod, config=config, sandbox_config=sandbox).container_id
        with pytest.raises(GRPCError) as refused:
            client("Exec", container_id=made, cmd=["true"], stdout=True)
        assert refused.value.status is Status.FAILED_PRECONDITION
        client("StartContainer", container_id=made)

        with pytest.raises(GRPCError) as refused:
            client("Exec", container_id=made, cmd=["true"], tty=True, stdout=True, stderr=True)
        assert refused.value.status is Status.INVALID_ARGUMENT
        url = client("Exec", container_id=made, cmd=["sh", "-c", "cat; exit 3"], stdin=True, stdout=True).url
        with streaming.spdy(url) as spdy:
            error, stdin, stdout = (spdy.open(streamtype=name) for name in ("error", "stdin", "stdout"))
            spdy.send(stdin, b"in" * 50_000, fin=True)
            spdy.until(error, stdin, stdout)
            assert spdy.output[stdout] == b"in" * 50_000
            assert json.loads(spdy.output[error])["details"]["causes"][0]["message"] == "3"

        url = client("Attach", container_id=made, stdin=True, stdout=True, stderr=True).url
        with streaming.websocket(url, "v5.channel.k8s.io") as socket:
            socket.put(0, b"typed\n")
            while b"\1got typed\n" not in socket.messages:
                assert socket.read()

        url = client("PortForward", pod_sandbox_id=pod).url
        with streaming.spdy(url, "portforward.k8s.io") as spdy:
            for number in range(2):
                headers = {"port": "8080", "requestid": str(number)}
                error, data = (spdy.open(streamtype=name, **headers) for name in ("error", "data"))
                spdy.send(data, GET)
                spdy.until(error, data)
                assert spdy.output[data].endswith(b"hello\n")
                assert spdy.output[error] == b""
        client("RemovePodSandbox", pod_sandbox_id=pod)
