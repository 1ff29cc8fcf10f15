"""Other engines for tests: Podman, Docker and containerd, each with directories, and cgroups, of the test's own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from support import procs
from support.cli import BentoCli, Roots

IMAGE = "tiny"
TIMEOUT_S = 60.0
_CGROUP_ROOT = "/sys/fs/cgroup"
_NUMBERS = itertools.count()

DEAF = "/usr/bin/python3 -u /w/server.py; echo went on > /w/went-on"
"""For ``sh -c``: a wrapper that does not pass the signal on, and would go on to a next command."""
SERVER = """
import signal, socket, sys, time
def leave(number, frame):
    time.sleep(0.05)
    open("/w/saved", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
listener = socket.create_server(("127.0.0.1", 0))
open("/w/ready", "w").close()
while True:
    signal.pause()
"""

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, lambda number, frame: open("/w/told", "w").close())
open("/w/ready", "w").close()
while True:
    signal.pause()
"""


class Work:
    """A directory that a container sees as /w."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        for name, program in (("server.py", SERVER), ("stubborn.py", STUBBORN)):
            (path / name).write_text(program, encoding="utf-8")

    def wait_until_ready(self) -> None:
        procs.wait_until(lambda: self.has("ready"), what="the server is ready")

    def has(self, name: str) -> bool:
        return (self.path / name).exists()


class EngineWorld:
    """One engine. A context: at its end nothing of it is left.

    Attributes:
        name: what ``--engine`` takes.
        enter: words before a command that is to see the engine's processes.
        environment: what its command line, and Bento, find it by.
    """

    name = ""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.enter: list[str] = []
        self.environment: dict[str, str] = {}
        self.cgroup = f"/engine-test-{os.getpid()}-{next(_NUMBERS)}"
        self._works = itertools.count()

    def __enter__(self) -> Self:
        self.base.mkdir()
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        left = _remove_cgroups(self.cgroup)
        assert kind is not None or not left, f"cgroups of {self.name} are left: {left}"

    def open(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def run(self, name: str, script: str, *options: str) -> Work:
        """Start a container with this script for sh; return its directory. It may not be ready."""
        raise NotImplementedError

    def status(self, name: str) -> tuple[str, int]:
        """Return the engine's word for the container, and its exit code."""
        raise NotImplementedError

    def plain_stop(self, name: str, grace_s: int) -> None:
        """The engine's own stop."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        raise NotImplementedError

    def bento(self, roots: Roots) -> BentoCli:
        """Return Bento's command line, where it sees the engine and its processes."""
        return _EngineCli(roots, self)

    def call(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [*self.enter, *words], env=os.environ | self.environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
        return done.stdout

    def work(self) -> Work:
        return Work(self.base / f"w{next(self._works)}")


class _EngineCli(BentoCli):
    def __init__(self, roots: Roots, world: EngineWorld) -> None:
        super().__init__(roots, "")
        self._world = world

    @property
    def prefix(self) -> list[str]:
        settings = [f"{name}={value}" for name, value in self._world.environment.items()]
        return [*self._world.enter, "env", *settings, *super().prefix]


class PodmanWorld(EngineWorld):
    """Podman, which has no daemon."""

    name = "podman"

    def open(self) -> None:
        _need("podman", "runc")
        limits = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
        engine = '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        engine += f'tmp_dir = "{self.base}/t"\n'
        storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{self.base}/l"\nrunroot = "{self.base}/r"\n'
        (self.base / "containers.conf").write_text(limits + engine, encoding="utf-8")
        (self.base / "storage.conf").write_text(storage, encoding="utf-8")
        self.environment = {
            "CONTAINERS_CONF": f"{self.base}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.base}/storage.conf",
        }
        self.call("podman", "import", str(_archive(self.base)), IMAGE)

    def close(self) -> None:
        self.call("podman", "rm", "--force", "--all", "--time", "0")
        self.call("podman", "rmi", "--force", "--all")
        # Podman's monitors run a clean-up of their own at the end of each container. One that is on its way while
        # the storage is let go mounts its directory once more.
        storage = f"{self.base}/l"
        procs.wait_until(lambda: not procs.with_word(storage), what="the end of Podman's clean-ups")
        if os.path.ismount(f"{storage}/overlay"):
            subprocess.run(["umount", f"{storage}/overlay"], check=True)

    def run(self, name: str, script: str, *options: str) -> Work:
        work = self.work()
        self.call(
            "podman", "run", "-d", "--name", name, "--network", "none", "--cgroup-parent", self.cgroup,
            "-v", "/usr:/usr:ro", "-v", f"{work.path}:/w", *options, IMAGE, "/bin/sh", "-c", script,
        )  # fmt: skip
        return work

    def status(self, name: str) -> tuple[str, int]:
        state = json.loads(self.call("podman", "inspect", name))[0]["State"]
        return state["Status"], state["ExitCode"]

    def plain_stop(self, name: str, grace_s: int) -> None:
        self.call("podman", "stop", "-t", str(grace_s), name)

    def remove(self, name: str) -> None:
        self.call("podman", "rm", "--force", "--time", "0", name)


class DockerWorld(EngineWorld):
    """A daemon of Docker's with its own containerd, in mount, network and PID namespaces which end with it."""

    name = "docker"
    unshared = "-mnpf"
    where: tuple[str, ...] = ()  # words before all
    networking: tuple[str, ...] = (
        "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none",
    )  # fmt: skip

    def open(self) -> None:
        _need("dockerd", "docker", "containerd", "ctr", "runc")
        socket = self.base / "d.sock"
        self.environment = {
            "DOCKER_HOST": f"unix://{socket}",
            "CONTAINERD_ADDRESS": f"{self.base}/exec/containerd/containerd.sock",
        }
        words = [
            "dockerd", "--data-root", f"{self.base}/data", "--exec-root", f"{self.base}/exec",
            "-H", f"unix://{socket}", "--pidfile", f"{self.base}/pid", "--cgroup-parent", self.cgroup,
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--storage-driver", "overlay2", *self.networking,
        ]  # fmt: skip
        with (self.base / "log").open("w", encoding="utf-8") as log:
            self._daemon = subprocess.Popen(
                [*self.where, "unshare", self.unshared, "--mount-proc", "--kill-child", "/bin/sh", "-c", _DAEMON,
                 "sh", *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        procs.wait_until(socket.exists, what="dockerd listens", timeout_s=TIMEOUT_S)
        self._init = int(_children(self._daemon.pid)[0])
        self.enter = ["nsenter", "-t", str(self._init), "-m", "-n", "-p", "--"]
        self.call("docker", "import", str(_archive(self.base)), IMAGE)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, 9)  # and with it, all of its PID namespace
        self._daemon.wait(TIMEOUT_S)

    def run(self, name: str, script: str, *options: str) -> Work:
        work = self.work()
        self.call(
            "docker", "run", "-d", "--name", name, "--network", "none",
            "-v", "/usr:/usr:ro", "-v", f"{work.path}:/w", *options, IMAGE, "/bin/sh", "-c", script,
        )  # fmt: skip
        return work

    def status(self, name: str) -> tuple[str, int]:
        state = json.loads(self.call("docker", "inspect", name))[0]["State"]
        return state["Status"], state["ExitCode"]

    def plain_stop(self, name: str, grace_s: int) -> None:
        self.call("docker", "stop", "-t", str(grace_s), name)

    def remove(self, name: str) -> None:
        self.call("docker", "rm", "--force", name)


class ContainerdWorld(DockerWorld):
    """The containerd of such a daemon, by ctr. Its own stop is a signal, and nothing more."""

    name = "containerd"

    def run(self, name: str, script: str, *options: str) -> Work:
        work, rootfs = self.work(), _rootfs(self.base / f"root-{name}")
        mounts = ["type=bind,src=/usr,dst=/usr,options=bind:ro", f"type=bind,src={work.path},dst=/w,options=bind:rw"]
        self.call(
            "ctr", "run", "-d", "--env", "PATH=/usr/bin:/bin", "--cgroup", f"{self.cgroup}/{name}",
            *(word for mount in mounts for word in ("--mount", mount)), *options,
            "--rootfs", str(rootfs), name, "/bin/sh", "-c", script,
        )  # fmt: skip
        return work

    def status(self, name: str) -> tuple[str, int]:
        rows = [line.split() for line in self.call("ctr", "task", "ls").splitlines()]
        return next(row[2].lower() for row in rows if row[0] == name), 0

    def plain_stop(self, name: str, grace_s: int) -> None:
        self.call("ctr", "task", "kill", name)

    def remove(self, name: str) -> None:
        self.call("ctr", "task", "delete", "--force", name, check=False)
        self.call("ctr", "container", "delete", name, check=False)


# /opt, /run and /etc get files of the daemon's that no option moves. dockerd does not reap what it did not start.
_DAEMON = """
set -e
mount -t tmpfs none /opt
mount -t tmpfs none /run
mkdir /run/etc /run/etc-work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/etc-work none /etc
ip link set lo up
"$@" &
wait $!
"""


def _rootfs(directory: Path) -> Path:
    """Make a root filesystem that is nothing but this machine's /usr, which is mounted there."""
    for name in ("usr", "w", "proc", "dev", "sys", "tmp", "etc", "run"):
        (directory / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            (directory / name).symlink_to(os.readlink(f"/{name}"))
    return directory


def _archive(base: Path) -> Path:
    archive = base / "image.tar"
    subprocess.run(["tar", "-C", str(_rootfs(base / "image")), "-cf", str(archive), "."], check=True)
    return archive


def _children(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().split()


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{program} is not installed")


def _remove_cgroups(name: str) -> list[str]:
    """Remove the directories of this name in every hierarchy; return those that are in use for longer than 10 s."""
    deadline = time.monotonic() + 10.0
    while True:
        left = list(_cgroups(name))
        for directory in left:
            for path, _, _ in os.walk(directory, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        left = list(_cgroups(name))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _cgroups(name: str) -> Iterator[str]:
    for top in (
        _CGROUP_ROOT,
        *(entry.path for entry in os.scandir(_CGROUP_ROOT) if entry.is_dir(follow_symlinks=False)),
    ):
        if os.path.isdir(f"{top}{name}"):
            yield f"{top}{name}"


WORLDS = {world.name: world for world in (PodmanWorld, DockerWorld, ContainerdWorld)}
