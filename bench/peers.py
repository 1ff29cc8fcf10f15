"""The engines compared, behind one small interface: run detached, stop, remove, list."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from machine import Failed, HiddenUnified, Timed, timed, timed_at_terminal, wait_gone

IMAGE = "bench-busybox"


class Peer:
    """One engine with one runtime, with directories of its own below ``home``."""

    name: str
    has_monitor = True

    def prepare(self, rootfs: Path) -> None:
        """Make the image known to the engine."""
        raise NotImplementedError

    def run(self, name: str, command: list[str]) -> Timed:
        """Start a container; stdout is its id."""
        raise NotImplementedError

    def run_at_terminal(self, name: str, command: list[str]) -> float:
        """Return ms of a container at a terminal, removed at its end."""
        raise NotImplementedError

    def enter(self, name: str, command: list[str]) -> float:
        """Return ms of a command in a container that runs."""
        raise NotImplementedError

    def stop(self, names: list[str]) -> float:
        """Stop all with the engine's default grace; return ms until the engine says they are stopped."""
        raise NotImplementedError

    def remove(self, names: list[str]) -> float:
        raise NotImplementedError

    def list(self) -> float:
        raise NotImplementedError

    def start_up(self) -> float:
        """Return ms of a command that does nothing."""
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    def close(self) -> None:
        """Remove everything of this peer."""


class CommandLine(Peer):
    """The engines whose command lines follow Docker's words."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        self.argv = argv
        self.env = env
        self.run_flags = ["--network", "none"]

    def call(self, *words: str) -> Timed:
        return timed([*self.argv, *words], env=self.env)

    def run(self, name: str, command: list[str]) -> Timed:
        return self.call("run", "-d", "--name", name, *self.run_flags, IMAGE, *command)

    def run_at_terminal(self, name: str, command: list[str]) -> float:
        words = ("run", "-it", "--rm", "--name", name, *self.run_flags, IMAGE, *command)
        return timed_at_terminal([*self.argv, *words], env=self.env).ms

    def enter(self, name: str, command: list[str]) -> float:
        return self.call("exec", name, *command).ms

    def stop(self, names: list[str]) -> float:
        return self.call("stop", *names).ms

    def remove(self, names: list[str]) -> float:
        return self.call("rm", *names).ms

    def list(self) -> float:
        return self.call("ps").ms

    def start_up(self) -> float:
        return self.call("--version").ms

    def version(self) -> str:
        return self.call("--version").stdout.strip().splitlines()[0]

    def _remove_all(self) -> None:
        with contextlib.suppress(Failed):
            names = self.call("ps", "-a", "-q").stdout.split()
            if names:
                self.call("rm", "-f", *names)


class Bento(CommandLine):
    """This engine."""

    def __init__(self, program: str, runtime: str, home: Path) -> None:
        self.name = f"bento/{runtime}"
        self.home = home
        roots = ["--root", str(home / "l"), "--run-root", str(home / "r")]
        super().__init__([program, *roots, "--runtime", runtime])

    def prepare(self, rootfs: Path) -> None:
        self.call("import", str(rootfs), IMAGE)

    def start_up(self) -> float:
        return self.call("version").ms

    def version(self) -> str:
        return " ".join(self.call("version").stdout.split())[:80]

    def close(self) -> None:
        self._remove_all()


def zygote_pid(run_root: Path) -> int:
    """Return the process that listens for commands of these roots. Raises OSError where none does."""
    for path in (run_root / "zygote").glob("*[0-9]"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.connect(str(path))
            return int(struct.unpack("iII", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
    raise FileNotFoundError(f"no zygote in {run_root}")


def zygote_mib(run_root: Path) -> float:
    """Return its own memory, and its share of what it has in common with its child and its worker (PSS)."""
    rollup = Path(f"/proc/{zygote_pid(run_root)}/smaps_rollup").read_text()
    return int(rollup.partition("Pss:")[2].split()[0]) / 1024


class BentoByZygote(Bento):
    """The same, where a zygote carries the commands out; it ends with the run."""

    def __init__(self, program: str, runtime: str, home: Path) -> None:
        super().__init__(program, runtime, home)
        self.name = f"bento+zygote/{runtime}"
        # What the interpreter reads has a command take the plain way.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
        self.env["BENTO_ZYGOTE"] = "on"

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(zygote_pid(self.home / "r"))
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            wait_gone([pidfd])


class Podman(CommandLine):
    """Podman with roots of its own; ``prefix`` enters a mount namespace where crun accepts a hybrid host."""

    def __init__(self, runtime: str, home: Path, prefix: list[str]) -> None:
        self.name = f"podman/{runtime}"
        home.mkdir()
        # Its default limits are above what a caller without CAP_SYS_RESOURCE may set: then it starts nothing at all.
        conf = home / "containers.conf"
        conf.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n')
        super().__init__(
            [
                *prefix, "podman", "--root", str(home / "l"), "--runroot", str(home / "r"), "--tmpdir", str(home / "t"),
                "--runtime", runtime, "--cgroup-manager", "cgroupfs", "--events-backend", "file",
            ],
            os.environ | {"CONTAINERS_CONF": str(conf)},
        )  # fmt: skip

    def prepare(self, rootfs: Path) -> None:
        tar = rootfs.with_suffix(".tar")
        if not tar.exists():
            timed(["tar", "-C", str(rootfs), "-cf", str(tar), "."])
        self.call("import", str(tar), IMAGE)

    def close(self) -> None:
        self._remove_all()
        with contextlib.suppress(Failed):
            self.call("rmi", "-f", "-a")


class Docker(CommandLine):
    """Docker's daemon as it runs here; it has no roots of its own to give, so names and the image are prefixed."""

    name = "docker"

    def __init__(self) -> None:
        super().__init__(["docker"])
        self.made: list[str] = []

    def prepare(self, rootfs: Path) -> None:
        tar = rootfs.with_suffix(".tar")
        if not tar.exists():
            timed(["tar", "-C", str(rootfs), "-cf", str(tar), "."])
        self.call("import", str(tar), IMAGE)

    def run(self, name: str, command: list[str]) -> Timed:
        self.made.append(name)
        return super().run(name, command)

    def close(self) -> None:
        for name in self.made:
            with contextlib.suppress(Failed):
                self.call("rm", "-f", name)
        with contextlib.suppress(Failed):
            self.call("rmi", IMAGE)


class Raw(Peer):
    """The runtime alone, on a bundle without overlay, log or record: what no engine can be faster than."""

    has_monitor = False

    def __init__(self, runtime: str, home: Path, prefix: list[str]) -> None:
        self.name = f"raw {runtime}"
        self.runtime = runtime
        self.home = home
        self.argv = [*prefix, runtime, "--root", str(home / "state")]
        self.rootfs = Path()
        self.live: set[str] = set()

    def prepare(self, rootfs: Path) -> None:
        self.rootfs = rootfs
        (self.home / "state").mkdir(parents=True)

    def run(self, name: str, command: list[str]) -> Timed:
        bundle = self.home / name
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(bundle_config(self.rootfs, name, command)))
        self.live.add(name)
        pid_file = str(bundle / "pid")
        return timed([*self.argv, "run", "--detach", "--bundle", str(bundle), "--pid-file", pid_file, name])

    def stop(self, names: list[str]) -> float:
        begun = time.perf_counter()
        pidfds = [os.pidfd_open(int((self.home / name / "pid").read_text())) for name in names]
        for name in names:
            timed([*self.argv, "kill", name, "TERM"])
        wait_gone(pidfds)
        for name in names:
            timed([*self.argv, "delete", name])
        self.live -= set(names)
        return (time.perf_counter() - begun) * 1000

    def remove(self, names: list[str]) -> float:
        for name in names:
            shutil.rmtree(self.home / name)
        return 0.0

    def list(self) -> float:
        return timed([*self.argv, "list"]).ms

    def start_up(self) -> float:
        return timed([self.runtime, "--version"]).ms

    def version(self) -> str:
        return timed([self.runtime, "--version"]).stdout.splitlines()[0]

    def close(self) -> None:
        for name in self.live:
            with contextlib.suppress(Failed):
                timed([*self.argv, "delete", "--force", name])


def bundle_config(rootfs: Path, name: str, command: list[str]) -> dict[str, object]:
    kinds = ("pid", "ipc", "uts", "mount", "network")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": command, "cwd": "/", "env": ["PATH=/bin"],
            "capabilities": {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
        },
        "root": {"path": str(rootfs)},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"cgroupsPath": f"/bench-{name}", "namespaces": [{"type": kind} for kind in kinds]},
    }  # fmt: skip


def _docker_answers() -> bool:
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def find(bento: str, runtimes: list[str], home: Path, hidden: HiddenUnified) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers this machine has, and why the others are left out."""
    peers: list[Peer] = []
    left_out: dict[str, str] = {}
    for runtime in runtimes:
        if shutil.which(runtime) is None:
            left_out[f"*/{runtime}"] = f"{runtime} is not installed"
            continue
        # crun refuses a hybrid host; bento hides the second hierarchy itself.
        prefix = hidden.prefix if runtime == "crun" else []
        peers.append(Bento(bento, runtime, home / f"b{runtime}"))
        peers.append(BentoByZygote(bento, runtime, home / f"z{runtime}"))
        peers.append(Raw(runtime, home / f"x{runtime}", prefix))
        if shutil.which("podman"):
            peers.append(Podman(runtime, home / f"p{runtime}", prefix))
        else:
            left_out[f"podman/{runtime}"] = "podman is not installed"
    if _docker_answers():
        peers.append(Docker())
    else:
        left_out["docker"] = "no daemon answers"
    return peers, left_out
