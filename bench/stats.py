"""What one sample of `bento stats` takes: CPU and wall time, with so many containers that run. Needs root."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from machine import timed  # noqa: E402

from bento import Engine, Settings  # noqa: E402

from support.leaks import LeakWatch, remove_tree  # noqa: E402
from support.reaper import run_under_reaper  # noqa: E402


def sample(root: Path, run_root: Path, rounds: int) -> dict[str, float]:
    """Return what a sample takes, in ms, after the first."""
    with Engine(Settings(root=root, run_root=run_root)) as engine:
        sampler = engine.stats_sampler()
        count = len(sampler.sample())
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for _ in range(rounds):
            sampler.sample()
        wall_s, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "containers": count,
        "cpu_ms": round(cpu_s / rounds * 1000, 1),
        "wall_ms": round(wall_s / rounds * 1000, 1),
        "peak_rss_mib": round(after.ru_maxrss / 1024, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bs-", dir=os.environ.get("BENTO_TEST_DIR", "/tmp")))
    watch = LeakWatch(base)
    roots = base / "l", base / "r"
    bento = [str(Path(sys.executable).with_name("bento")), "--root", str(roots[0]), "--run-root", str(roots[1])]
    try:
        for _ in range(options.count):
            timed([*bento, "run", "-d", "host", "sleep", "10000"])
        print(sample(*roots, options.rounds), flush=True)
        timed([*bento, "rm", "-f", "--all"])
    finally:
        leaks = watch.leaks()
        watch.sweep()
        remove_tree(base)
    for leak in leaks:
        print(f"left behind: {leak}", file=sys.stderr)
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
