"""The server is killed at each step of what it does, and started again: no container is harmed, nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from load.leaving import archive
from load.world import IMAGE, POLITE, Failed, World, check, gone, spec

from support.procs import wait_until
from support.registry import Registry
from support.serving import LIMIT_S, Served, serving

_PROGRAM = Path(__file__).with_name("dying.py")
_BYSTANDER = "bystander"


class Killer:
    """Kills servers. ``say`` is told how many moments there are, and which were tried."""

    def __init__(self, world: World, registry: Registry | None, say: Callable[[str], object]) -> None:
        self._world, self._registry, self._say = world, registry, say
        self._file = world.base / "dies"

    def run(self, kills: int, kinds: Sequence[str] = ()) -> None:
        """Kill a server at so many moments of each kind of request, spread over all, the first and the last too.

        One is in the middle. ``kinds``: these alone.
        """
        self._world.bento("run", "-d", "--name", _BYSTANDER, "--network", "none", IMAGE, "sh", "-c", POLITE)
        before = self._world.bento.state(_BYSTANDER)
        for kind in kinds or _ACTS:
            total = self._one(kind, 0)
            moments = (
                sorted({1 + round(at * (total - 1) / (kills - 1)) for at in range(kills)})
                if kills > 1
                else [(total + 1) // 2]
            )
            for moment in moments:
                try:
                    self._one(kind, moment)
                except (AssertionError, Failed) as error:
                    raise Failed(f"killed before action {moment} of {total} of {kind}: {error}") from error
            self._say(f"  {kind:8} {total:4} moments, killed at {len(moments)}")
        after = self._world.bento.state(_BYSTANDER)
        check((before["Pid"], after["Status"]) == (after["Pid"], "running"), f"the bystander was harmed: {after}")

    def _one(self, kind: str, moment: int) -> int:
        """Do it once, with a server that is killed at this moment; 0: at none. Return how many there were."""
        name = f"{kind}{moment}"
        act, needs = _ACTS[kind]
        self._count_file.unlink(missing_ok=True)
        with self._dying() as served:
            if needs:
                _ok(served("POST", f"/containers/create?name={name}", spec("sh", "-c", POLITE)).status, 201)
            if needs == "running":
                _ok(served("POST", f"/containers/{name}/start").status, 204)
                self._world.bento.wait_for_log(name, "ready")
            self._file.write_text(str(moment))
            with suppress(ConnectionError, HTTPException, OSError):
                act(self, served, name)
            self._file.unlink()
        with serving(self._world.bento) as served:
            _CHECKS[kind](self, served, name)
        gone(self._world)
        return self._count_file.stat().st_size if moment == 0 else 0

    @property
    def _count_file(self) -> Path:
        return Path(f"{self._file}.count")

    @contextmanager
    def _dying(self) -> Iterator[Served]:
        roots = self._world.bento.roots
        words = [sys.executable, "-P", str(_PROGRAM), str(self._file), f"--root={roots.root}"]
        words += [f"--run-root={roots.run_root}", f"--runtime={self._world.bento.runtime}"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                yield Served(process, Path(line.strip().rpartition("unix://")[2]))
            finally:
                process.kill()

    # What is asked for.

    def create(self, served: Served, name: str) -> None:
        """Make a container."""
        served("POST", f"/containers/create?name={name}", spec("sh", "-c", POLITE))

    def start(self, served: Served, name: str) -> None:
        """Start one."""
        served("POST", f"/containers/{name}/start")

    def stop(self, served: Served, name: str) -> None:
        """Stop one."""
        served("POST", f"/containers/{name}/stop?t=30")

    def exec(self, served: Served, name: str) -> None:
        """Run a command in one."""
        body = {"Cmd": ["true"], "AttachStdout": True}
        made = served("POST", f"/containers/{name}/exec", body)
        served("POST", f"/exec/{made.json['Id']}/start", {"Detach": True})
        wait_until(
            lambda: not served("GET", f"/exec/{made.json['Id']}/json").json["Running"],
            timeout_s=LIMIT_S, what="the command's end",
        )  # fmt: skip

    def build(self, served: Served, name: str) -> None:
        """Build an image."""
        served("POST", f"/build?t={name}", _CONTEXT)

    def pull(self, served: Served, name: str) -> None:
        """Fetch one."""
        assert self._registry is not None
        served("POST", f"/images/create?fromImage={self._registry.name('small')}&tag=1")

    # What must hold after it.

    def is_whole(self, served: Served, name: str) -> None:
        """A container is there, or is not; what is there can be started, stopped and removed."""
        made = served("POST", f"/containers/create?name={name}", spec("sh", "-c", POLITE)).status
        check(made in (201, 409), f"create again: {made}")
        self.starts(served, name)

    def starts(self, served: Served, name: str) -> None:
        """It can be started, stopped in order, and removed."""
        begun = served("POST", f"/containers/{name}/start")
        check(begun.status in (204, 304), f"start again: {begun}")
        self._world.bento.wait_for_log(name, "ready")
        self.stops(served, name)

    def stops(self, served: Served, name: str) -> None:
        """It was stopped in order, or runs and can be."""
        again = served("POST", f"/containers/{name}/stop?t=30")
        check(again.status in (204, 304), f"stop again: {again}")
        report = served("GET", f"/bento/containers/{name}/stop-report").json
        check(report.get("verdict") == "graceful", f"its stop: {report}")
        removed = served("DELETE", f"/containers/{name}")
        check(removed.status == 204, f"remove: {removed}")

    def builds(self, served: Served, name: str) -> None:
        """It can be built again."""
        answer = served("POST", f"/build?t={name}", _CONTEXT)
        last = json.loads(answer.body.splitlines()[-1])
        check("Successfully tagged" in last.get("stream", ""), f"build again: {last}")
        _ok(served("DELETE", f"/images/{name}").status, 200)

    def pulls(self, served: Served, name: str) -> None:
        """It can be fetched again."""
        assert self._registry is not None
        answer = served("POST", f"/images/create?fromImage={self._registry.name('small')}&tag=1")
        check(b"Status: " in answer.body, f"pull again: {answer}")
        _ok(served("DELETE", f"/images/{self._registry.name('small')}:1").status, 200)


_CONTEXT = archive("Dockerfile", f"FROM {IMAGE}\nRUN echo made > /made\n".encode())
_ACTS = {
    "create": (Killer.create, ""),
    "start": (Killer.start, "created"),
    "stop": (Killer.stop, "running"),
    "exec": (Killer.exec, "running"),
    "build": (Killer.build, ""),
    "pull": (Killer.pull, ""),
}
_CHECKS = {
    "create": Killer.is_whole,
    "start": Killer.starts,
    "stop": Killer.stops,
    "exec": Killer.stops,
    "build": Killer.builds,
    "pull": Killer.pulls,
}


def _ok(status: int, wanted: int) -> None:
    check(status == wanted, f"{status} in the place of {wanted}")
