"""Pods of the kubelet's interface: Bento beside Debian's containerd, each run, stop and pod's memory in one run.

Both servers are asked by the same client over their sockets, and are in namespaces of their own, with the same CNI
network, the same images and nothing of the machine's configuration. Needs root. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from enclosure import Enclosure  # noqa: E402
from machine import PROGRAMS, Failed, facts, make_rootfs, timed  # noqa: E402

from bento.api_cri.messages import pb  # noqa: E402

from support.cri import Cri  # noqa: E402
from support.leaks import LeakWatch, remove_tree  # noqa: E402
from support.reaper import run_under_reaper  # noqa: E402
from support.scratch import writable_by_overlay  # noqa: E402

IMAGE, PAUSE = "docker.io/library/bench-busybox:latest", "docker.io/library/bench-pause:latest"
PEER = "containerd"
LIMIT_S = 60.0
SETTLE_S = 0.7
"""Bento starts its next worker 0.25 s after a stop: that counts to the stop, too, and not to what is done next."""
GRACE_S, SHORT_GRACE_S = 30, 2
INSIDE = "BENCH_INSIDE"
"""A variable that the processes of containers have, and no other."""
BUDGETS = (("stop", 0.5), ("memory of a pod", 0.5))
WRAPPED = "sleep 600; exit $?"
"""A shell that does not pass the signal on."""

_LINUX = {"security_context": {"namespace_options": {"pid": pb.CONTAINER}}}
"""As the kubelet asks for it unless a pod shares its processes."""
_SERVER = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/cni && mount -t tmpfs tmpfs /var/lib/cni
ip link set lo up
exec "$@"
"""
_CNI = {
    "cniVersion": "0.4.0",
    "name": "bench",
    "plugins": [
        {
            "type": "bridge", "bridge": "bench0", "isGateway": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/16"}]]},
        }
    ],
}  # fmt: skip
_CONTAINERD = """
version = 2
root = "{home}/root"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
"""


class Node:
    """One server, and what is asked of it."""

    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.home = base / name.replace("/", "-")
        self.home.mkdir()
        self.cni, self.socket = base / "cni", self.home / "cri.sock"
        self.enclosure = Enclosure(f"bench-{os.getpid()}-{self.home.name}")
        self.client: Cri
        self._server: subprocess.Popen[bytes] | None = None

    def words(self) -> list[str]:
        """Return the command line of the server."""
        raise NotImplementedError

    def load(self, archives: list[Path]) -> None:
        """Have the images."""
        raise NotImplementedError

    def inside(self, *words: str) -> None:
        """Run a command in the namespaces of the server: /run, where both keep what is of this boot, is its own."""
        assert self._server is not None
        pid = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()[0]
        timed(["nsenter", "-t", pid, "-m", "-n", "-p", *words])

    def open(self, archives: list[Path]) -> None:
        """Have the server answer."""
        words = [*self.enclosure.prefix, "unshare", "-mnpf", "--mount-proc", "--kill-child", "/bin/sh", "-c", _SERVER]
        with self.enclosure.joined(), (self.home / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [*words, "sh", *self.words()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | self.environment(),
            )  # fmt: skip
        deadline_s = time.monotonic() + LIMIT_S
        while True:
            with contextlib.suppress(Exception):  # no socket, or no answer yet
                self.client = Cri(self.socket)
                if all(each.status for each in self.client("Status").status.conditions):
                    break
            if time.monotonic() > deadline_s or self._server.poll() is not None:
                raise Failed(f"{self.name} does not answer: {(self.home / 'log').read_text()[-1000:]}")
            time.sleep(0.1)
        self.load(archives)

    def environment(self) -> dict[str, str]:
        """Return what the server finds its configuration by."""
        return {}

    def run(self, name: str, script: str) -> tuple[str, str]:
        """Make a pod with a container that runs; return their ids."""
        sandbox = {
            "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "bench"},
            "log_directory": str(self.home / "logs"), "linux": _LINUX,
        }  # fmt: skip
        config = {
            "metadata": {"name": "main"}, "image": {"image": IMAGE}, "command": ["/bin/sh", "-c", script],
            "log_path": f"{name}.log", "envs": [{"key": INSIDE, "value": "1"}], "linux": _LINUX,
        }  # fmt: skip
        pod = self.client("RunPodSandbox", config=sandbox).pod_sandbox_id
        made = self.client("CreateContainer", pod_sandbox_id=pod, config=config, sandbox_config=sandbox).container_id
        self.client("StartContainer", container_id=made)
        return pod, made

    def stop(self, made: str, grace_s: int) -> None:
        """Stop a container."""
        self.client("StopContainer", container_id=made, timeout=grace_s)

    def stop_pod(self, pod: str) -> None:
        """Stop a pod in which nothing runs any more."""
        self.client("StopPodSandbox", pod_sandbox_id=pod)

    def remove(self, pod: str, made: str) -> None:
        """Remove both."""
        self.client("RemoveContainer", container_id=made)
        self.client("RemovePodSandbox", pod_sandbox_id=pod)

    def outside(self) -> dict[int, int]:
        """Return the PSS, in KiB, of each process of the server's that is not in a container, by pid."""
        assert self._server is not None
        found, waiting = {}, [self._server.pid]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
                if f"{INSIDE}=1".encode() not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                    found[pid] = next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        return found

    def close(self) -> None:
        """End the server, and all that it has started with it: they are in its PID namespace."""
        with contextlib.suppress(AttributeError):
            self.client.close()
        if self._server is not None:
            self._server.send_signal(signal.SIGKILL)
            self._server.wait(LIMIT_S)
        self.enclosure.close()


class Bento(Node):
    """``bento serve --cri-socket``."""

    def __init__(self, base: Path, program: str, runtime: str) -> None:
        super().__init__(f"bento/{runtime}", base)
        self.argv = [program, "--root", f"{self.home}/l", "--run-root", "/run/bento", "--runtime", runtime]

    def environment(self) -> dict[str, str]:
        return {"BENTO_CNI_DIRECTORY": str(self.cni)}

    def words(self) -> list[str]:
        return [*self.argv, "serve", f"--cri-socket={self.socket}"]

    def load(self, archives: list[Path]) -> None:
        self.inside(*self.argv, "load", "--input", str(archives[0]))


class Containerd(Node):
    """Debian's, with runc, which is its own runtime."""

    def __init__(self, base: Path) -> None:
        super().__init__(PEER, base)

    def words(self) -> list[str]:
        path = self.home / "config.toml"
        path.write_text(_CONTAINERD.format(home=self.home, socket=self.socket, pause=PAUSE, cni=self.cni))
        return ["containerd", "--config", str(path)]

    def load(self, archives: list[Path]) -> None:
        for archive in archives:
            self.inside("ctr", "--address", str(self.socket), "-n", "k8s.io", "images", "import", str(archive))


class Bench:
    """What was measured, by row and server."""

    def __init__(self, nodes: list[Node], rounds: int) -> None:
        self.nodes, self.rounds = nodes, rounds
        self.samples: dict[str, dict[str, list[tuple[float, float | None]]]] = defaultdict(lambda: defaultdict(list))
        self.memory: dict[str, dict[str, float]] = {}

    def lives(self) -> None:
        """Run, stop and remove pods, one after another; each server in random order before the next round begins."""
        for number in range(self.rounds):
            note(f"round {number + 1} of {self.rounds}")
            for node in random.sample(self.nodes, len(self.nodes)):
                self._life(node, f"a{number}", PROGRAMS["responsive"], GRACE_S, "")
                self._life(node, f"w{number}", WRAPPED, SHORT_GRACE_S, f" of a shell wrapper, {SHORT_GRACE_S} s")

    def _life(self, node: Node, name: str, script: str, grace_s: int, which: str) -> None:
        made: list[tuple[str, str]] = []
        self._add(f"run{which}", node, lambda: made.append(node.run(name, script)))
        [(pod, container)] = made  # the program has installed its trap by now
        first = self._add(f"StopContainer{which}", node, lambda: node.stop(container, grace_s))
        then = self._add(f"StopPodSandbox{which}", node, lambda: node.stop_pod(pod))
        self.samples[f"stop{which}"][node.name].append((first[0] + then[0], _sum(first[1], then[1])))
        self._add(f"remove{which}", node, lambda: node.remove(pod, container))

    def _add(self, row: str, node: Node, work: Callable[[], Any]) -> tuple[float, float | None]:
        def timed_work() -> float:
            begun = time.perf_counter()
            work()
            return (time.perf_counter() - begun) * 1000

        self.samples[row][node.name].append(node.enclosure.measure(timed_work, SETTLE_S))
        return self.samples[row][node.name][-1]

    def pods(self, count: int) -> None:
        """Measure what so many pods with a container each add, and what the server has without any."""
        for node in self.nodes:
            note(f"memory of {node.name}: {count} pods")
            time.sleep(2 * SETTLE_S)
            before = node.outside()
            for number in range(count):
                node.run(f"m{number}", PROGRAMS["responsive"])
            time.sleep(2 * SETTLE_S)
            after = node.outside()
            self.memory[node.name] = {
                "server, MiB": sum(before.values()) / 1024,
                "a pod, MiB": (sum(after.values()) - sum(before.values())) / 1024 / count,
                "processes of a pod": (len(after) - len(before)) / count,
            }

    def medians(self) -> dict[str, dict[str, tuple[float, float | None]]]:
        """Return medians of wall and CPU time by row and server."""
        found: dict[str, dict[str, tuple[float, float | None]]] = {}
        for row, nodes in self.samples.items():
            for name, pairs in nodes.items():
                cpu = [used for _, used in pairs if used is not None]
                middle = statistics.median(cpu) if cpu else None
                found.setdefault(row, {})[name] = (statistics.median(wall for wall, _ in pairs), middle)
        return found


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def judged(middle: dict[str, dict[str, tuple[float, float | None]]], memory: dict[str, dict[str, float]]) -> list[str]:
    """Return a line for each budget and server of Bento's."""
    lines = []
    for name in memory:
        if name == PEER or PEER not in memory:
            continue
        ratios = {row: nodes[name][0] / nodes[PEER][0] for row, nodes in middle.items()}
        ratios["memory of a pod"] = memory[name]["a pod, MiB"] / memory[PEER]["a pod, MiB"]
        for row, limit in BUDGETS:
            lines.append(f"{'ok  ' if ratios[row] <= limit else 'OVER'} {row}: {name} : {PEER} = {ratios[row]:.2f}"
                         f" (at most {limit})")  # fmt: skip
    return lines


def note(text: str) -> None:
    """Say it on stderr."""
    print(text, file=sys.stderr, flush=True)


def archives(base: Path, program: str) -> list[Path]:
    """Return archives of the image of the containers, and of containerd's sandbox: catatonit, which does nothing."""
    make_rootfs(base / "rootfs")
    (base / "pause").mkdir()
    shutil.copy2(shutil.which("catatonit") or "catatonit", base / "pause/pause")
    argv = [program, "--root", str(base / "i/l"), "--run-root", str(base / "i/r")]
    found = []
    for name, directory, change in ((IMAGE, "rootfs", []), (PAUSE, "pause", ["-c", 'ENTRYPOINT ["/pause", "-P"]'])):
        archive = base / f"{directory}.tar"
        timed([*argv, "import", *change, str(base / directory), name])
        timed([*argv, "save", "-o", str(archive), name])
        found.append(archive)
    return found


def measure(base: Path, options: argparse.Namespace) -> dict[str, object]:
    """Return all that was measured."""
    (base / "cni").mkdir()
    (base / "cni/10-bench.conflist").write_text(json.dumps(_CNI))
    made = archives(base, options.bento)
    nodes: list[Node] = []
    try:
        kinds: list[Callable[[], Node]] = [
            *(lambda runtime=runtime: Bento(base, options.bento, runtime) for runtime in options.runtimes.split(",")),
            lambda: Containerd(base),
        ]
        for make in kinds:
            nodes.append(make())
            note(f"opening {nodes[-1].name}")
            nodes[-1].open(made)
        bench = Bench(nodes, options.rounds)
        for node in nodes:  # what is done once is not what is measured
            pair = node.run("warm", PROGRAMS["responsive"])
            time.sleep(SETTLE_S)
            node.stop(pair[1], GRACE_S)
            node.stop_pod(pair[0])
            node.remove(*pair)
        bench.pods(options.pods)
        for node in nodes:
            for pod in node.client("ListPodSandbox").items:
                node.client("StopPodSandbox", pod_sandbox_id=pod.id)
                node.client("RemovePodSandbox", pod_sandbox_id=pod.id)
        bench.lives()
    finally:
        for node in nodes:
            node.close()
    middle = bench.medians()
    for row, by_name in middle.items():
        print(row)
        for name, (wall, cpu) in sorted(by_name.items(), key=lambda item: item[1][0]):
            print(f"  {name:<12} {wall:8.1f} ms" + ("" if cpu is None else f"   CPU {cpu:8.1f} ms"))
    print("memory outside of containers (PSS)")
    for name, rows in bench.memory.items():
        print(f"  {name:<12} " + "   ".join(f"{what} {value:.2f}" for what, value in rows.items()))
    lines = judged(middle, bench.memory)
    print("budgets", *lines, sep="\n  ")
    return {"machine": facts({}), "medians": middle, "memory": bench.memory, "budgets": lines, "samples": bench.samples}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bento", default=str(Path(sys.executable).with_name("bento")), help="the program to measure")
    parser.add_argument("--runtimes", default="crun,runc", help="of Bento (default crun,runc); containerd's is runc")
    parser.add_argument("--rounds", type=int, default=15, help="lives of a pod (default 15)")
    parser.add_argument("--pods", type=int, default=20, help="pods of which the memory is measured (default 20)")
    parser.add_argument("--out", type=Path, help="write everything measured to this file, as JSON")
    options = parser.parse_args()
    missing = [name for name in ("containerd", "ctr", "catatonit", "runc") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        parser.error(f"not installed: {', '.join(missing)}" if missing else "needs root, as the engines compared do")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bp-", dir=writable_by_overlay()))
    watch = LeakWatch(base)
    try:
        result = measure(base, options)
    finally:
        leaks = watch.leaks()
        watch.sweep()
        remove_tree(base)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    for leak in leaks:
        note(f"left behind: {leak}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
