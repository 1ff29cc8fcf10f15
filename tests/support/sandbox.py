"""One container made with the drivers alone: what the engine does at a start, without its records."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bento.drivers.monitor import conmon
from bento.drivers.monitor.base import ExitStatus, Launch, Launched
from bento.drivers.network.bridge import BridgeNetwork
from bento.drivers.runtime import detect
from bento.kernel import mount, namespace
from bento.kernel.cgroup import Cgroups
from bento.kernel.process import pidfd
from bento.model.container import Container, ContainerSpec
from bento.units import new_id

LIMIT_S = 20.0


class Sandbox:
    """``with Sandbox(...) as box: box.create(); box.start()``. Leaving ends the container and deletes its traces."""

    def __init__(self, base: Path, runtime: str, *argv: str, container_id: str = "", **spec: Any) -> None:
        self.id = container_id or new_id()
        self.bundle = base / "l" / "containers" / self.id
        self.run_dir = base / "r" / "containers" / self.id
        self.runtime = detect.choose(runtime, base / "r")
        self.monitor = conmon.find()
        self.masked = (str(base),)
        fields = {"image": "host", "image_id": "host", "layers": ("/",), "command": argv} | spec
        self.container = Container(id=self.id, name="box", created_unix_ns=0, spec=ContainerSpec(**fields))
        self.exit_command: tuple[str, ...] = ()
        self.launched: Launched | None = None
        self.notes: tuple[str, ...] = ()
        self.cgroups = Cgroups({})
        self._fds: list[int] = []
        self._attached = -1

    def __enter__(self) -> Self:
        for name in ("rootfs", "upper", "work"):
            (self.bundle / name).mkdir(parents=True)
        return self

    def create(self) -> Launched:
        self.launched = namespace.in_private_mounts(self._create)
        for pid in (self.launched.init_pid, self.launched.monitor_pid):
            self._fds.append(pidfd.identify(pid)[0])
        self.cgroups = Cgroups.of_process(self.launched.init_pid)
        self._attached = self.monitor.attach(self.run_dir, self.bundle).output_fd
        return self.launched

    def _create(self) -> Launched:
        self.runtime.enter()
        rootfs = self.bundle / "rootfs"
        mount.overlay(rootfs, lower=self.container.spec.layers, upper=self.bundle / "upper", work=self.bundle / "work")
        self.notes = self.runtime.write_bundle(
            self.container,
            bundle=self.bundle,
            rootfs=rootfs,
            namespaces=BridgeNetwork(Path("/"), is_default=True).namespaces(self.container.spec.network),
            masked=self.masked,
        )
        return self.monitor.launch(
            Launch(
                container_id=self.id,
                name="box",
                runtime=self.runtime,
                bundle=self.bundle,
                run_dir=self.run_dir,
                log_path=self.bundle / "log",
                command=self.container.spec.argv[0],
                exit_command=self.exit_command,
            )
        )

    def start(self) -> None:
        self.runtime.start(self.id)

    def run(self) -> tuple[str, str, int]:
        """Create, start, and wait; return stdout, stderr and the exit code."""
        self.create()
        self.start()
        out, err = self.read_output()
        return out, err, self.wait().code

    def read_output(self) -> tuple[str, str]:
        """Read what the container says until its monitor ends."""
        streams = {2: bytearray(), 3: bytearray()}
        while packet := os.read(self._attached, 65536):
            streams[packet[0]] += packet[1:]
        return streams[2].decode(), streams[3].decode()

    def wait(self) -> ExitStatus:
        for fd in self._fds:
            assert pidfd.wait(fd, LIMIT_S)
        status = self.monitor.exit_status(self.run_dir, self.id)
        assert status is not None
        return status

    def signal(self, number: int) -> None:
        assert pidfd.send(self._fds[0], number)

    def delete(self) -> str:
        return self.runtime.end_delete(self.runtime.begin_delete(self.id))

    def is_held(self) -> bool:
        return mount.is_upper_in_use(self.bundle / "upper")

    def is_released(self) -> bool:
        """Whether the root filesystem is let go of within a second: the kernel takes its time with a dead namespace."""
        for _ in range(1000):
            if not self.is_held():
                return True
            time.sleep(0.001)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._fds:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            pidfd.wait(fd, LIMIT_S)
            os.close(fd)
        if self._attached >= 0:
            os.close(self._attached)
        if self.launched is not None:
            self.runtime.discard(self.id)
        self.cgroups.remove()
