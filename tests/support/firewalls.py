"""Firewalls of Debian, really started where a test's network namespace is the host's: firewalld, and ufw.

What they read and write is in a directory of the test. Neither needs the machine's systemd: firewalld gets a message
bus of its own, ufw a mount namespace in which its files are others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from support import procs
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
