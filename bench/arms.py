"""The engines of budgets.py: their command lines, their servers, and what needs neither."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from enclosure import Enclosure
from machine import Failed, timed, wait_gone
from peers import IMAGE, Bento, CommandLine, Podman, bundle_config, zygote_mib

from support.engines import DockerWorld

API = "/v1.41"
_LIMIT_S = 60.0


class Arm:
    """One way to use an engine. ``enclosure``: what its processes are counted by."""

    name = ""
    start_row = "run -d"
    settle_s = 0.15
    hides_unified = False

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home = home
        self.enclosure = Enclosure(f"bench-{os.getpid()}-{home.name}", hides_unified=self.hides_unified)

    def open(self, rootfs: Path) -> None:
        """Make it ready: the image is there."""
        raise NotImplementedError

    def start(self, name: str, command: list[str]) -> float:
        """Make and start a container; return ms."""
        raise NotImplementedError

    def stop(self, name: str) -> float:
        raise NotImplementedError

    def remove(self, name: str) -> float:
        raise NotImplementedError

    def settle(self) -> None:
        """Wait until the program has installed its trap."""
        time.sleep(0.3)

    def close(self) -> None:
        self.enclosure.close()


class Line(Arm):
    """A command line, by the small interface that bench.py has for them."""

    peer: CommandLine

    def open(self, rootfs: Path) -> None:
        with self.enclosure.joined():
            self.peer.prepare(rootfs)

    def start(self, name: str, command: list[str]) -> float:
        return self.peer.run(name, command).ms

    def stop(self, name: str) -> float:
        return self.peer.stop([name])

    def remove(self, name: str) -> float:
        return self.peer.remove([name])

    def ps(self) -> float:
        return self.peer.list()

    def close(self) -> None:
        with self.enclosure.joined():
            self.peer.close()
        super().close()


class BentoLine(Line):
    """``bento``."""

    name = "bento"

    def __init__(self, home: Path, program: str, runtime: str) -> None:
        super().__init__(home)
        peer = Bento(program, runtime, home)
        peer.argv = [*self.enclosure.prefix, *peer.argv]
        self.peer = peer


class ZygoteLine(BentoLine):
    """``bento``, where the first command starts a zygote for the next ones."""

    name = "bento zygote"

    def __init__(self, home: Path, program: str, runtime: str) -> None:
        super().__init__(home, program, runtime)
        # What the interpreter reads of the environment has a command take the plain way.
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
        self.peer.env = plain | {"BENTO_ZYGOTE": "on"}

    def memory_mib(self) -> float:
        return zygote_mib(self.home / "r")


class PodmanLine(Line):
    """``podman``. crun refuses hybrid hosts, and Podman with it."""

    name = "podman"
    hides_unified = True

    def __init__(self, home: Path, runtime: str) -> None:
        super().__init__(home)
        self.peer = Podman(runtime, home / "p", self.enclosure.prefix)


class _Daemon(DockerWorld):
    """Docker's daemon, in the enclosure."""

    networking = (*DockerWorld.networking, "--userland-proxy=false")

    def __init__(self, base: Path, enclosure: Enclosure) -> None:
        super().__init__(base)
        self.where = tuple(enclosure.prefix)


class WithDaemon(Arm):
    """An arm that has a daemon of Docker's to itself."""

    def open(self, rootfs: Path) -> None:
        with self.enclosure.joined():
            self.world = _Daemon(self.home / "d", self.enclosure).__enter__()
            archive = _archive(rootfs)
            self.world.call("docker", "import", str(archive), IMAGE)

    def _timed(self, *words: str) -> float:
        return timed([*self.world.enter, *words], env=os.environ | self.world.environment).ms

    def close(self) -> None:
        with contextlib.suppress(AttributeError, AssertionError):  # cgroups go with the enclosure
            self.world.close()
        super().close()


class DockerLine(WithDaemon):
    """``docker``, and its daemon's part."""

    name = "docker"

    def start(self, name: str, command: list[str]) -> float:
        return self._docker("run", "-d", "--name", name, "--network", "none", IMAGE, *command)

    def stop(self, name: str) -> float:
        return self._docker("stop", name)

    def remove(self, name: str) -> float:
        return self._docker("rm", name)

    def ps(self) -> float:
        return self._docker("ps")

    def _docker(self, *words: str) -> float:
        # It needs no namespaces of the daemon's, only its socket.
        return timed([*self.enclosure.prefix, "docker", *words], env=os.environ | self.world.environment).ms


class CtrLine(WithDaemon):
    """``ctr``, on the containerd of such a daemon. Its stop: a signal, the wait for the exit, the task's delete."""

    name = "ctr"

    def open(self, rootfs: Path) -> None:
        super().open(rootfs)
        self.rootfs = rootfs

    def start(self, name: str, command: list[str]) -> float:
        words = ("--env", "PATH=/bin", "--cgroup", f"{self.world.cgroup}/{name}", "--rootfs", str(self.rootfs))
        took = self._timed("ctr", "run", "-d", *words, name, *command)
        rows = [line.split() for line in self.world.call("ctr", "task", "ls").splitlines()]
        inner = next(int(row[1]) for row in rows if row[0] == name)
        self._main = os.pidfd_open(self._outer(inner))
        return took

    def stop(self, name: str) -> float:
        begun = time.perf_counter()
        self._timed("ctr", "task", "kill", "-s", "SIGTERM", name)
        wait_gone([self._main])
        self._timed("ctr", "task", "delete", name)
        return (time.perf_counter() - begun) * 1000

    def remove(self, name: str) -> float:
        return self._timed("ctr", "container", "delete", name)

    def _outer(self, inner: int) -> int:
        """Return the pid here of one in the daemon's PID namespace."""
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{entry}/status").read_text()
                line = next(line for line in text.splitlines() if line.startswith("NSpid:"))
                numbers = line.split()[1:]
                if numbers[-1] == "1" and len(numbers) >= 3 and numbers[-2] == str(inner):
                    return int(entry)
        raise Failed(f"no process {inner} of containerd's")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_LIMIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_LIMIT_S)
        self.sock.connect(self._path)


class ApiArm(Arm):
    """Docker's API on a unix socket, by one connection that stays."""

    start_row = "create+start"
    settle_s = 0.6  # what a server makes ready for the next job counts as well
    connection: _Connection

    def ask(self, method: str, target: str, body: object = None) -> bytes:
        """Send a request; return the body of the answer. Raises Failed."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            self.connection.request(method, API + target, data, headers)
            with self.connection.getresponse() as answer:
                content = answer.read()
        except http.client.HTTPException as problem:
            raise Failed(f"{method} {target}: {problem!r}") from problem
        if answer.status >= 400:
            raise Failed(f"{method} {target}: {answer.status} {content[:200]!r}")
        return content

    def create(self, name: str, command: list[str]) -> None:
        """Make a container."""
        body = {"Image": IMAGE, "Cmd": command, "HostConfig": {"NetworkMode": "none"}}
        self.ask("POST", f"/containers/create?name={name}", body)

    def start(self, name: str, command: list[str]) -> float:
        begun = time.perf_counter()
        self.create(name, command)
        self.ask("POST", f"/containers/{name}/start")
        return (time.perf_counter() - begun) * 1000

    def stop(self, name: str) -> float:
        return self._asked("POST", f"/containers/{name}/stop?t=10")

    def remove(self, name: str) -> float:
        return self._asked("DELETE", f"/containers/{name}")

    def list_all(self) -> float:
        """Return ms of a list of all containers."""
        return self._asked("GET", "/containers/json?all=1")

    def _asked(self, method: str, target: str) -> float:
        begun = time.perf_counter()
        self.ask(method, target)
        return (time.perf_counter() - begun) * 1000


class DockerApi(WithDaemon, ApiArm):
    """Docker's daemon."""

    name = "dockerd"

    def open(self, rootfs: Path) -> None:
        super().open(rootfs)
        self.connection = _Connection(str(self.world.base / "d.sock"))


class BentoApi(ApiArm):
    """``bento serve``."""

    name = "bento serve"

    def __init__(self, home: Path, program: str, runtime: str) -> None:
        super().__init__(home)
        roots = ["--root", str(home / "l"), "--run-root", str(home / "r"), "--runtime", runtime]
        self._argv = [*self.enclosure.prefix, program, *roots]
        self._server: subprocess.Popen[str] | None = None

    def open(self, rootfs: Path) -> None:
        with self.enclosure.joined():
            timed([*self._argv, "import", str(rootfs), IMAGE])
            self._server = subprocess.Popen(
                [*self._argv, "serve"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if "unix://" not in line:
            raise Failed(f"bento serve did not begin: {line!r}")
        self.connection = _Connection(line.strip().rpartition("unix://")[2])

    def close(self) -> None:
        if self._server is not None:
            assert self._server.stdout is not None
            with contextlib.suppress(AttributeError):
                self.connection.close()
            self._server.send_signal(signal.SIGTERM)
            self._server.wait(_LIMIT_S)
            self._server.stdout.close()
        with self.enclosure.joined(), contextlib.suppress(Failed):
            names = timed([*self._argv, "ps", "-a", "-q"]).stdout.split()
            for index in range(0, len(names), 100):
                timed([*self._argv, "rm", "-f", *names[index : index + 100]])
        super().close()


class InsideArm(Arm):
    """A process that is told what to do: no command line, no server (inside.py)."""

    start_row = "create+start"

    def __init__(self, home: Path, name: str, python: str, words: list[str]) -> None:
        self.name = name
        self.hides_unified = words[0] == "bare"
        super().__init__(home)
        script = str(Path(__file__).with_name("inside.py"))
        self._argv = [*self.enclosure.prefix, python, script, *words]
        self._process: subprocess.Popen[str] | None = None
        self._setup: list[str] = []

    @classmethod
    def library(cls, home: Path, program: str, python: str, runtime: str) -> Self:
        """Return the arm of ``bento.Engine``."""
        roots = (str(home / "l"), str(home / "r"))
        arm = cls(home, "bento library", python, ["library", *roots, runtime])
        arm._setup = [*arm.enclosure.prefix, program, "--root", roots[0], "--run-root", roots[1]]
        return arm

    @classmethod
    def bare(cls, home: Path, python: str, runtime: str) -> Self:
        """Return the arm of a bare runtime."""
        return cls(home, "bare runtime", python, ["bare", str(home), runtime])

    def open(self, rootfs: Path) -> None:
        self._rootfs = rootfs
        with self.enclosure.joined():
            if self._setup:
                timed([*self._setup, "import", str(rootfs), IMAGE])
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )

    def start(self, name: str, command: list[str]) -> float:
        if not self._setup:  # the bundle of a bare runtime is made beforehand
            (self.home / name).mkdir()
            (self.home / name / "config.json").write_text(json.dumps(bundle_config(self._rootfs, name, command)))
        return self._told("start", name, command)

    def stop(self, name: str) -> float:
        return self._told("stop", name)

    def remove(self, name: str) -> float:
        return self._told("remove", name)

    def _told(self, *words: object) -> float:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], _LIMIT_S)[0]:
            raise Failed(f"{words}: no answer")
        answer: dict[str, Any] = json.loads(process.stdout.readline() or '{"error": "it has ended"}')
        if "error" in answer:
            raise Failed(f"{words}: {answer['error']}")
        return float(answer["ms"])

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(_LIMIT_S)
            self._process.stdout.close()
        super().close()


def _archive(rootfs: Path) -> Path:
    archive = rootfs.with_suffix(".tar")
    if not archive.exists():
        timed(["tar", "-C", str(rootfs), "-cf", str(archive), "."])
    return archive
