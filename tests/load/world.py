"""What a run stands on: roots of its own, a server, containers, an image, and what must hold after everything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from load import figures
from load.client import LIMIT_S, ask
from load.figures import Figures

from support.cli import BentoCli
from support.procs import wait_until
from support.serving import Served
from support.workload import busybox_rootfs

IMAGE = "bb"
POLITE = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"
"""A program that ends in order, soon after it is asked to."""
_PAUSE_S = 0.05


class Failed(Exception):
    """Something that must hold does not."""


def check(holds: bool, what: str) -> None:
    """Raise Failed unless it holds."""
    if not holds:
        raise Failed(what)


def spec(*command: str, **fields: Any) -> dict[str, Any]:
    """Return the body that creates a container without a network."""
    return {"Image": IMAGE, "Cmd": list(command), "HostConfig": {"NetworkMode": "none"}} | fields


class World:
    """One engine and its containers, which ``start`` makes."""

    def __init__(self, bento: BentoCli, base: Path) -> None:
        self.bento, self.base = bento, base
        self.names: list[str] = []

    def prepare(self) -> None:
        """Have an image."""
        self.bento("import", busybox_rootfs(self.base / "fs"), IMAGE)

    async def start(self, served: Served, count: int) -> None:
        """Have so many containers run."""
        for number in range(count):
            name = f"web{number}"
            made = await ask(served.path, "POST", f"/containers/create?name={name}", spec("sh", "-c", POLITE))
            check(made.status == 201, f"create: {made}")
            begun = await ask(served.path, "POST", f"/containers/{name}/start")
            check(begun.status == 204, f"start: {begun}")
            self.names.append(name)
        for name in self.names:
            self.bento.wait_for_log(name, "ready")

    def pids(self) -> dict[str, int]:
        """Return the pid of each container's program, by name: the same as before where none was harmed."""
        found = json.loads(self.bento("inspect", *self.names).stdout) if self.names else []
        return {one["Name"].lstrip("/"): one["State"]["Pid"] for one in found}

    def remove_all(self) -> None:
        """Remove every container."""
        self.bento("rm", "-f", "--all") if self.bento("ps", "-aq").stdout else None

    def half_made(self) -> list[str]:
        """Return what transfers and builds that came to nothing have left below the root."""
        root = self.bento.roots.root
        return sorted(str(path) for pattern in _HALF_MADE for path in root.glob(pattern))


_HALF_MADE = ("build/run-*", "layers/tmp-*")


async def settled(served: Served, before: Figures, *, extra: int = 0, limit_s: float = LIMIT_S) -> Figures:
    """Return what a server takes once it has let go of what clients have left: of descriptors no more than before."""
    for _ in range(int(limit_s / _PAUSE_S)):
        now = figures.take(served.process.pid)
        if now.descriptors <= before.descriptors + extra and now.helpers <= before.helpers + 1:
            return now
        await asyncio.sleep(_PAUSE_S)
    raise Failed(f"not let go of: {figures.descriptors(served.process.pid)}")


def gone(world: World) -> None:
    """Wait until nothing half made is left."""
    wait_until(lambda: not world.half_made(), timeout_s=LIMIT_S, what="the end of what was half made")
