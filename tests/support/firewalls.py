"""What else changes the rules of a host, really started where a test's network namespace is that: firewalld, ufw,
Docker and Podman.

What they read and write is in a directory of the test. Neither needs the machine's systemd: firewalld gets a message
bus of its own, ufw a mount namespace in which its files are others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from support import procs
from support.engines import IMAGE, DockerWorld, PodmanWorld
from support.netns import TIMEOUT_S, Netns
from support.workload import ended

BUS = """\
<busconfig>
  <type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""


class Firewalld:
    """firewalld as its service would run it. Use it as a context; it is started by ``start``."""

    def __init__(self, host: Netns, directory: Path) -> None:
        self._host, self._directory = host, directory
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Firewalld:
        path = self._directory / "bus"
        shutil.copytree("/etc/firewalld", self._directory / "etc")
        (self._directory / "bus.conf").write_text(BUS.format(path=path), encoding="utf-8")
        self._env = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={path}"}
        words = ("dbus-daemon", f"--config-file={self._directory}/bus.conf", "--nofork", "--nopidfile", "--nosyslog")
        self._bus = subprocess.Popen(words, env=self._env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        procs.wait_until(path.exists, timeout_s=TIMEOUT_S, what="the message bus")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._bus.terminate()
        self._bus.wait()

    def start(self) -> None:
        """Return when it has its rules."""
        log = f"{self._directory}/log"
        words = ("--nofork", "--nopid", "--system-config", f"{self._directory}/etc", "--log-target", "file")
        self._daemon = subprocess.Popen(
            [*self._host.enter, "firewalld", *words, "--log-file", log], env=self._env, stdin=subprocess.DEVNULL
        )
        procs.wait_until(lambda: self("--state", check=False) == "running", timeout_s=TIMEOUT_S, what="firewalld")

    def stop(self) -> None:
        """It takes its rules away. Idempotent."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait()
            self._daemon = None

    def __call__(self, *words: str, check: bool = True) -> str:
        """Run firewall-cmd(1); return its output."""
        done = subprocess.run(
            [*self._host.enter, "firewall-cmd", *words], env=self._env, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


class Ufw:
    """ufw with its files as they come with the package. Use it as a context: at the end nothing of it is left."""

    def __init__(self, host: Netns, directory: Path) -> None:
        self._host, self._directory = host, directory

    def __enter__(self) -> Ufw:
        shutil.copytree("/etc/ufw", self._directory / "etc")
        shutil.copy("/etc/default/ufw", self._directory / "default")
        ready = self._directory / "ready"
        script = (
            f"mount --bind {self._directory}/etc /etc/ufw && mount --bind {self._directory}/default /etc/default/ufw"
            f" && mount -t tmpfs tmpfs /run/lock && touch {ready} && exec sleep 3600"
        )
        words = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
        self._keeper = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        procs.wait_until(ready.exists, timeout_s=TIMEOUT_S, what="a mount namespace for ufw")
        return self

    def __exit__(self, *_: object) -> None:
        with ended(self._keeper):
            self("disable")
            for family in ("ip", "ip6"):
                self._host("nft", "delete", "table", family, "filter", check=False)

    def __call__(self, *words: str) -> str:
        """Run ufw(8); return its output."""
        inside = (f"--mount=/proc/{self._keeper.pid}/ns/mnt", f"--net=/proc/{self._host.pid}/ns/net")
        done = subprocess.run(["nsenter", *inside, "ufw", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


_SERVER = ("/bin/busybox", "nc", "-ll", "-p", "80", "-e", "/bin/busybox", "echo", "served")

_ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"


class DockerBeside(DockerWorld):
    """A daemon of Docker's with its networks, its rules among them."""

    unshared = "-mpf"
    networking = ()

    def __init__(self, host: Netns, base: Path) -> None:
        super().__init__(base)
        self._host, self.where = host, tuple(host.enter)

    def close(self) -> None:
        self.call("docker", "rm", "-f", *self.call("docker", "ps", "-aq").split())
        super().close()
        self._host("ip", "link", "del", "docker0")
        for table in ("nat", "filter"):
            self._host("nft", "delete", "table", "ip", table, check=False)
            self._host("nft", "delete", "table", "ip6", table, check=False)

    def serve(self, name: str, port: int) -> str:
        """Run a server with a published port; return its address."""
        words = ("-d", "--name", name, "-p", f"{port}:80", "-v", "/usr:/usr:ro", IMAGE, *_SERVER)
        self.call("docker", "run", *words)
        return self.call("docker", "inspect", "-f", _ADDRESS, name).strip()

    def ask(self, name: str, address: str, port: int) -> str:
        """Return what a container is told there."""
        return self.call("docker", "exec", name, "/bin/busybox", "nc", "-w", "20", address, str(port)).strip()


class PodmanBeside(PodmanWorld):
    """Podman with its default network."""

    def __init__(self, host: Netns, base: Path) -> None:
        super().__init__(base)
        self._host, self.enter = host, list(host.enter)

    def close(self) -> None:
        super().close()
        for table in ("nat", "filter"):
            self._host("nft", "delete", "table", "ip", table, check=False)
            self._host("nft", "delete", "table", "ip6", table, check=False)
        for link in self._host("ip", "-o", "link", "show", "type", "bridge").splitlines():
            name = link.split(": ")[1]
            if name.startswith(("podman", "cni-podman")):
                self._host("ip", "link", "del", name)

    def serve(self, name: str, port: int) -> str:
        """Run a server with a published port; return its address."""
        words = ("-d", "--name", name, "--cgroup-parent", self.cgroup, "-p", f"{port}:80", "-v", "/usr:/usr:ro")
        self.call("podman", "run", *words, IMAGE, *_SERVER)
        return self.call("podman", "inspect", "-f", _ADDRESS, name).strip()

    def ask(self, name: str, address: str, port: int) -> str:
        """Return what a container is told there."""
        return self.call("podman", "exec", name, "/bin/busybox", "nc", "-w", "20", address, str(port)).strip()
