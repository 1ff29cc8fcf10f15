"""A hand on the command line: runs ``bento`` as users do, with roots of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support import procs
from support.reaper import machine_network

_AT_HOME = {"BENTO_REGISTRIES": "127.0.0.1:9"}
UNLESS_SAID = {"BENTO_CNI_DIRECTORY": "/proc/none"}  # Podman's package has a list in the default one, for pods of ours
"""No test asks a registry of the outside for an image that it does not have."""


class Roots(NamedTuple):
    """Where one engine of a test keeps its things."""

    root: Path
    run_root: Path


class Finished(NamedTuple):
    """A command that has ended."""

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        return (
            f"bento {' '.join(self.args)}\nexit {self.returncode} after {self.seconds:.3f} s\n"
            f"--- stdout\n{self.stdout}--- stderr\n{self.stderr}"
        )


class BentoCli:
    """``bento("stop", "web")`` runs it and returns what it said; a failure is an assertion unless ``check=False``."""

    def __init__(self, roots: Roots, runtime: str) -> None:
        self.roots = roots
        self.runtime = runtime

    @property
    def prefix(self) -> list[str]:
        runtime = ["--runtime", self.runtime] if self.runtime else []
        return [
            sys.executable, "-m", "bento",
            "--root", str(self.roots.root), "--run-root", str(self.roots.run_root), *runtime,
        ]  # fmt: skip

    def __call__(
        self, *args: str | Path, check: bool = True, timeout_s: float = 120.0, stdin: str | None = None,
        env: dict[str, str] | None = None,
    ) -> Finished:  # fmt: skip
        words = tuple(map(str, args))
        begun = time.monotonic()
        # Reading to the end of file also proves that no monitor keeps the caller's pipes open.
        done = subprocess.run(
            [*self.prefix, *words], text=True, capture_output=True, timeout=timeout_s, check=False,
            env=UNLESS_SAID | os.environ | _AT_HOME | (env or {}), errors="replace",
            **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}),
        )  # fmt: skip
        finished = Finished(words, done.returncode, done.stdout, done.stderr, time.monotonic() - begun)
        assert not check or finished.returncode == 0, str(finished)
        assert "Traceback (most recent call last)" not in finished.stderr, str(finished)
        return finished

    def on_the_machine(self, monkeypatch: pytest.MonkeyPatch) -> BentoCli:
        """Return the same in the machine's own network, with containers that have none: see ``machine_network``."""
        monkeypatch.setenv("BENTO_NETWORK", "none")
        return _MachineCli(self.roots, self.runtime)

    def start(self, *args: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a command and return it while it runs; the caller waits for it (``with``)."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        options["env"] = UNLESS_SAID | (options.get("env") or os.environ) | _AT_HOME
        return subprocess.Popen([*self.prefix, *map(str, args)], text=True, **options)

    def fails(self, *args: str | Path, code: int = 1, **options: Any) -> str:
        """Run a command that must fail with this exit status; return its one line of explanation."""
        finished = self(*args, check=False, **options)
        assert finished.returncode == code, str(finished)
        lines = finished.stderr.strip().splitlines()
        assert len(lines) == 1, f"one line of explanation expected\n{finished}"
        return lines[0]

    def run(self, *args: str | Path, **options: Any) -> str:
        """``run -d``; return the full id."""
        identifier = self("run", "-d", *args, **options).stdout.strip()
        assert len(identifier) == 64, identifier
        return identifier

    def inspect(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self("inspect", name).stdout)[0]
        return document

    def listing(self, *args: str | Path, **options: Any) -> list[dict[str, Any]]:
        """Return the lines of a listing, by ``--format json``."""
        return [json.loads(line) for line in self(*args, "--format", "json", **options).stdout.splitlines()]

    def state(self, name: str) -> dict[str, Any]:
        """Return ``State`` of inspect: Status, Pid, ExitCode..."""
        state: dict[str, Any] = self.inspect(name)["State"]
        return state

    def wait_for_log(self, name: str, text: str, *, timeout_s: float = 40.0) -> None:
        """Return as soon as a container has printed ``text``."""
        procs.wait_until(
            lambda: text in self("logs", name, check=False).stdout,
            timeout_s=timeout_s, what=f"{text!r} in the log of {name}", every_s=0.1,
        )  # fmt: skip

    def remove_all(self) -> Finished | None:
        """Remove every container by force, as a user would, and what builds keep; None when it has no container."""
        if (self.roots.root / "build").is_dir():
            self("builder", "prune", "-f")
        containers = self.roots.root / "containers"
        if not containers.is_dir() or not any(containers.iterdir()):
            return None
        return self("rm", "-f", "-v", "--all", check=False)


class _MachineCli(BentoCli):
    @property
    def prefix(self) -> list[str]:
        return ["nsenter", f"--net={machine_network()}", *super().prefix]
