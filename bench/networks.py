"""What a network adds to `run -d`, `stop` and `rm`, beside Podman, and how many networks and containers stay flat.

Wall time, and the CPU time of the command and of the processes that it waits for, which others at work change less.
All of it in a network namespace of its own. Needs root; Podman's network backend is that of ``--backend``, if it is
there.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from machine import PROGRAMS, timed  # noqa: E402

from support.leaks import LeakWatch, remove_tree  # noqa: E402
from support.reaper import run_under_reaper  # noqa: E402

VERBS = ("run -d", "stop", "rm")
ARMS = ("none", "bridge", "named", "published")
PORT = "18080:80"
SETTLE_S = 0.3
MANY = 200
IMAGE = "bench"


class Engine:
    """One engine's command line, and its networks by arm."""

    def __init__(self, name: str, words: list[str], default: str) -> None:
        self.name, self.words = name, words
        self.networks = {"none": "none", "bridge": default, "named": "named", "published": default}

    def call(self, *words: str) -> float:
        return timed([*self.words, *words]).ms

    def cost(self, *words: str) -> Cost:
        """Return wall and CPU time of a command."""
        before = _cpu_ms()
        wall = self.call(*words)
        return Cost(wall, _cpu_ms() - before)

    def round_of(self, arm: str) -> dict[str, Cost]:
        """Return what each verb takes with one container."""
        command = ["--network", self.networks[arm], *(["-p", PORT] if arm == "published" else [])]
        command += [IMAGE, "sh", "-c", PROGRAMS["responsive"]]
        took = {"run -d": self.cost("run", "-d", "--name", "one", *command)}
        time.sleep(SETTLE_S)
        return took | {"stop": self.cost("stop", "one"), "rm": self.cost("rm", "one")}


class Cost(NamedTuple):
    """Milliseconds."""

    wall: float
    cpu: float


def _cpu_ms() -> float:
    """Of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def podman(base: Path, backend: str) -> list[str]:
    """Return its command line."""
    conf = base / "containers.conf"
    conf.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
        f'[network]\nnetwork_backend = "{backend}"\nnetwork_config_dir = "{base}/net"\n'
    )
    os.environ["CONTAINERS_CONF"] = str(conf)
    places = ("--root", f"{base}/pl", "--runroot", f"{base}/pr", "--tmpdir", f"{base}/pt")
    return ["podman", *places, "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]


def make_image(base: Path) -> str:
    """Return an archive with a busybox that both import."""
    rootfs = base / "rootfs" / "bin"
    rootfs.mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "busybox")
    for name in ("sh", "sleep"):
        (rootfs / name).symlink_to("busybox")
    timed(["tar", "-C", str(base / "rootfs"), "-cf", f"{base}/image.tar", "."])
    return f"{base}/image.tar"


def compare(engines: list[Engine], rounds: int) -> None:
    """Print medians, and what each network adds; all in random order, round by round."""
    samples: dict[tuple[str, str, str], list[Cost]] = defaultdict(list)
    for engine in engines:  # so that neither a bridge nor a table is made in a round
        engine.call("network", "create", "named")
        engine.call("run", "-d", "--name", "stays", "--network", "named", IMAGE, "sleep", "10000")
        engine.call("run", "-d", "--name", "too", "--network", engine.networks["bridge"], IMAGE, "sleep", "10000")
    for _ in range(rounds):
        for engine, arm in random.sample(
            [(engine, arm) for engine in engines for arm in ARMS], len(engines) * len(ARMS)
        ):
            for verb, cost in engine.round_of(arm).items():
                samples[engine.name, verb, arm].append(cost)
    for kind in Cost._fields:
        print(f"{kind} time; load {os.getloadavg()[0]:.1f}")
        totals = [_print_added(engine, kind, samples) for engine in engines]
        for arm in ARMS[1:] if len(totals) > 1 else ():
            print(f"  of what {engines[1].name}'s adds to all: {arm} {totals[0][arm] / totals[1][arm]:.2f}")


def _print_added(engine: Engine, kind: str, samples: dict[tuple[str, str, str], list[Cost]]) -> dict[str, float]:
    """Return what each network adds to the three verbs together."""
    total: dict[str, float] = defaultdict(float)
    for verb in VERBS:
        medians = {
            arm: statistics.median(getattr(one, kind) for one in samples[engine.name, verb, arm]) for arm in ARMS
        }
        added = {arm: medians[arm] - medians["none"] for arm in ARMS[1:]}
        for arm, ms in added.items():
            total[arm] += ms
        words = ", ".join(f"{arm} {ms:+.1f}" for arm, ms in added.items())
        print(f"  {engine.name} {verb}: none {medians['none']:.1f} ms; {words}")
    return total


def grow(engine: Engine) -> None:
    """Print what the first and the last of many networks, and of many containers on one, take."""
    created = [engine.call("network", "create", f"n{number}") for number in range(MANY)]
    words = ["--network", "n0", IMAGE, "sleep", "10000"]
    ran = [engine.call("run", "-d", "--name", f"c{number}", *words) for number in range(MANY)]
    for verb, took in (("network create", created), ("run -d on one network", ran)):
        first, last = statistics.median(took[:20]), statistics.median(took[-20:])
        print(f"{verb}: first 20 {first:.1f} ms, last 20 {last:.1f} ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bento", default="bento")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--backend", default="netavark")
    parser.add_argument("--many", action="store_true", help=f"also {MANY} networks, and {MANY} containers on one")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bn-", dir=os.environ.get("BENTO_TEST_DIR", "/tmp")))
    watch = LeakWatch(base)
    words = [options.bento, "--root", f"{base}/l", "--run-root", f"{base}/r", "--runtime", "runc"]
    engines = [Engine("bento", words, "bridge")]
    if shutil.which("podman"):
        engines.append(Engine(f"podman ({options.backend})", podman(base, options.backend), "podman"))
    try:
        archive = make_image(base)
        for engine in engines:
            engine.call("import", archive, IMAGE)
        compare(engines, options.rounds)
        if options.many:
            grow(engines[0])
    finally:
        for engine in engines:
            timed([*engine.words, "rm", "-f", "-a"])
            timed([*engine.words, "network", "prune", "-f"])
        leaks = watch.leaks()
        watch.sweep()
        remove_tree(base)
    for leak in leaks:
        print(f"left behind: {leak}", file=sys.stderr)
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
