"""How one stop of many containers grows: wall time, and memory of the stopping process, at 20, 100 and 500.

Every container is this machine's own files (the image ``host``), and its PID 1 needs a second to shut down. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from machine import PROGRAMS, timed  # noqa: E402

from support.leaks import LeakWatch, remove_tree  # noqa: E402
from support.reaper import run_under_reaper  # noqa: E402

SETTLE_S = 1.0


def stop_of(bento: list[str], count: int) -> dict[str, float]:
    """Start so many, stop them with one command, and remove them."""
    names = [f"s{number}" for number in range(count)]
    begun = time.perf_counter()
    for name in names:
        timed([*bento, "run", "-d", "--name", name, "host", "/bin/sh", "-c", PROGRAMS["one-second"]])
    started_s = time.perf_counter() - begun
    time.sleep(SETTLE_S)
    begun = time.perf_counter()
    pid = os.posix_spawn(
        bento[0],
        [*bento, "stop", "-t", "60", *names],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.perf_counter() - begun
    assert status == 0, f"bento stop ended with status {status}"
    timed([*bento, "rm", *names])
    return {
        "containers": count,
        "start_each_ms": round(started_s / count * 1000, 1),
        "stop_wall_s": round(wall_s, 2),
        "stop_cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        # wait4(2) counts the children it has waited for as well: the worker, and the runtimes it started
        "stop_peak_rss_mib": round(usage.ru_maxrss / 1024, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--counts", default="20,100,500", help="comma-separated (default 20,100,500)")
    parser.add_argument("--runtime", default="crun")
    parser.add_argument("--bento", default=str(Path(sys.executable).with_name("bento")), help="the program to measure")
    parser.add_argument("--out", type=Path, help="write what was measured to this file, as JSON")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bs-", dir=os.environ.get("BENTO_TEST_DIR", "/tmp")))
    watch = LeakWatch(base)
    bento = [options.bento, "--root", str(base / "l"), "--run-root", str(base / "r"), "--runtime", options.runtime]
    results = []
    try:
        for count in map(int, options.counts.split(",")):
            results.append(stop_of(bento, count))
            print(results[-1], flush=True)
    finally:
        leaks = watch.leaks()
        watch.sweep()
        remove_tree(base)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    for leak in leaks:
        print(f"left behind: {leak}", file=sys.stderr)
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
