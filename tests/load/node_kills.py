"""``make node-kills``: the kubelet's server is killed in the middle of every call that changes something.

Then another server is started, as a unit of systemd does, and is asked what a kubelet asks: what there is, and the same
call again. Then all is removed, and nothing is to be left.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from bento import Engine, Settings
from bento.engine.maintenance.finding import Finding
from load.node_calls import CALLS, LIMIT_S, Call
from load.world import IMAGE, Failed, check

from support import leaks, reaper
from support.cli import UNLESS_SAID, BentoCli, Roots
from support.cri import Cri, Node
from support.images import make_image
from support.procs import wait_until
from support.registry import Registry, registry
from support.scratch import writable_by_overlay
from support.workload import assert_clean, busybox_rootfs

_PROGRAM: Final = Path(__file__).with_name("dying.py")
_GONE: Final = (GRPCError, StreamTerminatedError, OSError, asyncio.TimeoutError)


class NodeKiller:
    """Kills servers, of which each goes on where the last one was killed. A context."""

    def __init__(self, bento: BentoCli, base: Path, registry: Registry | None, say: Callable[[str], object]) -> None:
        """``base``: a directory for what it needs. ``say`` is told how many moments there are, and which were tried."""
        self.bento, self.base, self.registry, self._say = bento, base, registry, say
        self._file = base / "dies"
        self._count_file = base / "dies.count"
        self._process: subprocess.Popen[str] | None = None
        self._has_died = False
        self.client: Cri
        self.node: Node
        self._settings = Settings(root=bento.roots.root, run_root=bento.roots.run_root, runtime=bento.runtime)

    def run(self, kills: int, kinds: Sequence[str] = (), *, records: bool = False) -> None:
        """Kill a server at so many moments of each call, spread over all, the first and the last too; 0: at all.

        ``records``: only before a change of a record and behind it, and not at the other actions.
        """
        with self.watching():
            for kind in kinds or CALLS:
                self._kinds(kind, kills, "records " if records else "")

    def steps(self, steps: Sequence[tuple[str, int]]) -> None:
        """Kill a server at these changes of records alone; 0: once the container was told to stop."""
        with self.watching():
            for kind, step in steps:
                try:
                    self._one(kind, f"{kind}-{step}", f"records {step}", kill=True)
                except (AssertionError, Failed, *_GONE) as error:
                    raise Failed(f"killed at change {step} of {kind}: {error!r}") from error
                check(step == 0 or self._has_died, f"{kind} was over before change {step}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have a container beside, to which nothing happens."""
        watched = CALLS["StartContainer"](self, "bystander")
        watched.prepare()
        watched.call()
        before = self._pid(watched.container)
        yield
        self._again()
        check(self._pid(watched.container) == before, f"the bystander was harmed: {watched.status()}")
        watched.remove()

    def _pid(self, container: str) -> str:
        return self.bento("inspect", "--format", "{{.State.Pid}} {{.State.Status}}", container).stdout

    def _kinds(self, kind: str, kills: int, which: str) -> None:
        self._count_file.unlink(missing_ok=True)
        self._one(kind, f"{kind}-0", f"{which}0", kill=False)
        total = self._count_file.stat().st_size if self._count_file.exists() else 0
        many = min(kills or total, total)
        moments = sorted({1 + round(at * (total - 1) / max(1, many - 1)) for at in range(many)})
        for moment in moments:
            try:
                self._one(kind, f"{kind}-{moment}", f"{which}{moment}", kill=True)
            except (AssertionError, Failed, *_GONE) as error:
                raise Failed(f"killed before action {moment} of {total} of {kind}: {error!r}") from error
        self._say(f"  {kind:26} {total:4} moments, killed at {len(moments)}")

    def _one(self, kind: str, name: str, armed: str, *, kill: bool) -> None:
        """Do a call, with a server that is killed at a moment of it; look, call again, and remove all."""
        call: Call = CALLS[kind](self, name.lower())
        call.prepare()
        self._file.write_text(armed)
        self._has_died = False
        try:
            call.call()
        except _GONE:
            if not kill:
                raise
            assert self._process is not None
            self._process.wait(LIMIT_S)  # it is no error of the call: the server is gone
            self._has_died = True
        self._file.unlink()
        if kill:
            self._again()
        self._look()
        call.check()
        call.remove()
        self._nothing_is_left(call)

    def _look(self) -> None:
        """Find all that there is, as a kubelet does after a start."""
        conditions = {each.type: each.status for each in self.client("Status").status.conditions}
        check(conditions == {"RuntimeReady": True, "NetworkReady": True}, f"status: {conditions}")
        pods = [each.id for each in self.client("ListPodSandbox").items]
        for pod in pods:
            try:
                self.client("PodSandboxStatus", pod_sandbox_id=pod)
            except GRPCError as error:  # one that was half made has been undone since
                is_listed = any(each.id == pod for each in self.client("ListPodSandbox").items)
                check(error.status is Status.NOT_FOUND and not is_listed, f"listed, and has no status: {error!r}")
        for each in self.client("ListContainers").containers:
            check(each.pod_sandbox_id in pods, f"a container of no pod: {each}")
            self.client("ContainerStatus", container_id=each.id)
        self.client("ListImages")

    def _nothing_is_left(self, call: Call) -> None:
        left: list[Finding] = []

        def is_tidy() -> bool:
            left[:] = [each for each in engine.doctor() if not each.is_kept]
            return not left

        with Engine(self._settings) as engine, suppress(AssertionError):
            wait_until(is_tidy, timeout_s=LIMIT_S, what="the end of what was left", every_s=0.1)
        check(not left, f"left: {left}")
        ids = [each.id for each in self.client("ListContainers").containers]
        below = [path for root in self.bento.roots for path in root.glob("containers/*") if path.name not in ids]
        check(not below, f"left: {below}")

    # Servers.

    def __enter__(self) -> NodeKiller:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _again(self) -> None:
        self._end()
        self._begin()

    def _begin(self) -> None:
        roots = self.bento.roots
        path = roots.run_root / "cri.sock"
        words = [sys.executable, "-P", str(_PROGRAM), str(self._file), f"--root={roots.root}"]
        words += [f"--run-root={roots.run_root}", f"--runtime={self.bento.runtime}", f"--cri-socket={path}"]
        errors = self.base / "serve.log"
        with errors.open("a") as log:
            env = UNLESS_SAID | os.environ
            self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True, env=env)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        check("unix://" in line, f"no server: {errors.read_text()[-2000:]}")
        self.node = Node(self._process, path)
        self.client = Cri(path)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with process:
                process.kill()
            with suppress(RuntimeError):
                self.client.close()


def main() -> int:
    """Do it; return the exit status."""
    parser = argparse.ArgumentParser(prog="node-kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of the server, in each kind of call; 0: at each action")
    parser.add_argument("--records", action="store_true", help="kill at changes of records alone")
    parser.add_argument("kinds", nargs="*", help="these kinds of calls alone")
    args = parser.parse_args()
    reaper.run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bt-load-", dir=writable_by_overlay()))
    watch = leaks.LeakWatch(base)
    bento = BentoCli(Roots(base / "l", base / "r"), "crun")
    watch.roots += bento.roots
    found = ["it was broken off"]
    try:
        bento("import", busybox_rootfs(base / "fs"), IMAGE)
        with registry(base) as place:
            make_image(bento.roots, "small:1", layers=[{"file": os.urandom(1 << 20)}])
            bento("push", "small:1", f"docker://{place.name('small:1')}")
            bento("rmi", "small:1")
            with NodeKiller(bento, base, place, lambda text: print(text, flush=True)) as killer:
                killer.run(args.kills, args.kinds, records=args.records)
        assert_clean(bento)
        found = watch.leaks() + watch.files()
    except Failed as error:
        found = [str(error)]
    finally:
        if found:
            watch.sweep()
        leaks.remove_tree(base)
    print(*found, sep="\n", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
