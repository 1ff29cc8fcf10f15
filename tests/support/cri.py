"""A client of the Container Runtime Interface: one call after another, over the socket of ``bento serve``."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from bento.api_cri.messages import pb

from support.cli import BentoCli

LIMIT_S = 60.0
ON_HOST = {"security_context": {"namespace_options": {"network": pb.NODE}}}


class Cri:
    """Calls by their names, with the fields of their requests; ``client("Version")``."""

    def __init__(self, path: Path, version: str = "v1") -> None:
        self._loop = asyncio.new_event_loop()
        self._channel = self._loop.run_until_complete(self._open(path))
        self._methods = {
            method.name: (
                f"/runtime.{version}.{service.name}/{method.name}",
                GetMessageClass(method.input_type),
                GetMessageClass(method.output_type),
            )
            for service in pb.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    async def _open(self, path: Path) -> Channel:
        return Channel(path=str(path))

    async def call(self, name: str, limit_s: float = LIMIT_S, **fields: Any) -> Any:
        """Call it, on the client's own loop."""
        path, kind, reply = self._methods[name]
        return await UnaryUnaryMethod(self._channel, path, kind, reply)(kind(**fields), timeout=limit_s)

    @asynccontextmanager
    async def stream(self, name: str, **fields: Any) -> AsyncIterator[Any]:
        """Open a call whose answer is a stream."""
        path, kind, reply = self._methods[name]
        async with UnaryStreamMethod(self._channel, path, kind, reply).open() as opened:
            await opened.send_message(kind(**fields), end=True)
            await opened.recv_initial_metadata()
            yield opened

    def run(self, work: Any) -> Any:
        """Run something on the client's loop."""
        return self._loop.run_until_complete(work)

    def __call__(self, name: str, limit_s: float = LIMIT_S, **fields: Any) -> Any:
        """Call it, and wait for the answer. Raises GRPCError."""
        return self.run(self.call(name, limit_s, **fields))

    def close(self) -> None:
        """Hang up."""
        self._channel.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


class Node:
    """A server that runs, and the directory for logs."""

    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        self.process, self.path = process, path
        self.logs = path.parent / "kubelet"

    @contextmanager
    def client(self, version: str = "v1") -> Iterator[Cri]:
        """Connect."""
        made = Cri(self.path, version)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def serving(bento: BentoCli, *options: str) -> Iterator[Node]:
    """Run a server; at the end it has ended cleanly, by SIGTERM, unless it was killed."""
    path = bento.roots.run_root / "cri.sock"
    with bento.start("serve", f"--cri-socket={path}", *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert "unix://" in line, process.stderr.read()
            yield Node(process, path)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=LIMIT_S)
            assert process.returncode in (0, -signal.SIGKILL), errors
            assert "Traceback" not in errors, errors
            assert "defect" not in errors, errors
        finally:
            process.kill()


class Kubelet:
    """What a kubelet would ask."""

    def __init__(self, call: Cri, node: Node) -> None:
        self.call, self.node = call, node
        self.sandbox: dict[str, Any] = {}
        self.pod = ""

    def asked(self, name: str, **fields: Any) -> dict[str, Any]:
        """Return the configuration of a pod."""
        metadata = {"name": name, "uid": f"uid-{name}", "namespace": "tests", "attempt": 1}
        return {"metadata": metadata, "log_directory": str(self.node.logs / name), "linux": ON_HOST} | fields

    def run_pod(self, name: str = "web", **fields: Any) -> str:
        """Make a pod, for the containers to come."""
        self.sandbox = self.asked(name, **fields)
        self.pod = self.call("RunPodSandbox", config=self.sandbox).pod_sandbox_id
        return self.pod

    def create(self, *command: str, name: str = "main", **fields: Any) -> str:
        config = {"metadata": {"name": name}, "image": {"image": "bb"}, "command": command} | fields
        request: dict[str, Any] = {"pod_sandbox_id": self.pod, "config": config, "sandbox_config": self.sandbox}
        return str(self.call("CreateContainer", **request).container_id)

    def start(self, *command: str, **fields: Any) -> str:
        made = self.create(*command, **fields)
        self.call("StartContainer", container_id=made)
        return made

    def status(self, made: str) -> Any:
        return self.call("ContainerStatus", container_id=made).status

    def exec(self, made: str, *command: str, **fields: Any) -> Any:
        return self.call("ExecSync", container_id=made, cmd=command, **fields)

    def said(self, made: str, script: str) -> str:
        answer = self.exec(made, "sh", "-c", script)
        assert answer.exit_code == 0, answer
        return bytes(answer.stdout).decode().strip()

    def until_stopping(self, made: str) -> None:
        """Wait until the stop of a container is under way: a worker may have to be started for it."""
        deadline_s = time.monotonic() + LIMIT_S
        while not json.loads(self.call("ContainerStatus", container_id=made, verbose=True).info["info"])["stopping"]:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)

    def ended(self, made: str) -> Any:
        """Wait for the end of a container; return its status."""
        deadline_s = time.monotonic() + LIMIT_S
        while (found := self.status(made)).state != pb.CONTAINER_EXITED:
            assert time.monotonic() < deadline_s, found
            time.sleep(0.05)
        return found


def refused(kubelet: Kubelet, name: str, **fields: Any) -> Status:
    with pytest.raises(GRPCError) as error:
        kubelet.call(name, **fields)
    return error.value.status
