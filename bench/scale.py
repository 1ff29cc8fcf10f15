"""How one stop of many containers grows: wall and CPU time, and memory of the stopping process, at 20, 100 and 500.

Every container is this machine's own files (the image ``host``), and its PID 1 needs a second to shut down. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
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


def start(bento: list[str], names: list[str], program: str, network: str) -> float:
    """Start containers that obey SIGTERM; return how long one took, in ms."""
    begun = time.perf_counter()
    for name in names:
        timed([*bento, "run", "-d", "--network", network, "--name", name, "host", "/bin/sh", "-c", PROGRAMS[program]])
    took_s = time.perf_counter() - begun
    time.sleep(SETTLE_S)
    return took_s / len(names) * 1000


def stop(bento: list[str], names: list[str]) -> tuple[float, resource.struct_rusage]:
    """Stop them with one command, and remove them; return how long that took, in seconds, and what it used."""
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
    return wall_s, usage


def stop_of(bento: list[str], count: int, network: str) -> dict[str, float]:
    """Measure one stop of so many containers that need a second each."""
    names = [f"s{number}" for number in range(count)]
    started_ms = start(bento, names, "one-second", network)
    wall_s, usage = stop(bento, names)
    return {
        "containers": count,
        "start_each_ms": round(started_ms, 1),
        "stop_wall_s": round(wall_s, 2),
        "stop_cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        # wait4(2) counts the children it has waited for as well: the worker, and the runtimes it started
        "stop_peak_rss_mib": round(usage.ru_maxrss / 1024, 1),
    }


def stop_of_one(bentos: list[list[str]], rounds: int, network: str) -> list[float]:
    """Return the median of each, in ms, of stops of one container that ends at once; they take turns."""
    took: list[list[float]] = [[] for _ in bentos]
    for number in range(rounds):
        for which in sorted(range(len(bentos)), reverse=bool(number % 2)):
            start(bentos[which], ["one"], "responsive", network)
            took[which].append(stop(bentos[which], ["one"])[0] * 1000)
    return [round(statistics.median(times), 1) for times in took]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--counts", default="20,100,500", help="comma-separated (default 20,100,500)")
    parser.add_argument("--rounds", type=int, default=0, help="also so many stops of one (default 0)")
    parser.add_argument("--runtime", default="crun")
    parser.add_argument("--network", default="bridge", help="of the containers: bridge (default), none, ...")
    parser.add_argument("--bento", action="append", help="a program to measure; more than one: compare them")
    parser.add_argument("--out", type=Path, help="write what was measured to this file, as JSON")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bs-", dir=os.environ.get("BENTO_TEST_DIR", "/tmp")))
    watch = LeakWatch(base)
    programs = options.bento or [str(Path(sys.executable).with_name("bento"))]
    bentos = [
        [
            program,
            "--root",
            str(base / f"l{number}"),
            "--run-root",
            str(base / f"r{number}"),
            "--runtime",
            options.runtime,
        ]
        for number, program in enumerate(programs)
    ]
    results: list[dict[str, object]] = []
    try:
        for count in (int(word) for word in options.counts.split(",") if word):
            for program, bento in zip(programs, bentos, strict=True):
                results.append({"program": program, **stop_of(bento, count, options.network)})
                print(results[-1], flush=True)
        if options.rounds:
            for program, median_ms in zip(programs, stop_of_one(bentos, options.rounds, options.network), strict=True):
                results.append({"program": program, "containers": 1, "stop_median_ms": median_ms})
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
