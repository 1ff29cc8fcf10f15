"""What the log of events adds to `bento run -d`: the command with it, and with one that keeps nothing. Needs root."""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from machine import timed  # noqa: E402

from support.leaks import LeakWatch, remove_tree  # noqa: E402
from support.reaper import run_under_reaper  # noqa: E402

PROGRAM = (
    "from bento.cli.lean import import_lean; import_lean();"
    " from bento.drivers.state import event_log; {};"
    " from bento.__main__ import main; main()"
)
ARMS = {"with events": "pass", "without": "event_log.LoggedTransaction.log = lambda *_: None"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has bento installed")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="be-", dir=os.environ.get("BENTO_TEST_DIR", "/tmp")))
    watch = LeakWatch(base)
    samples: dict[str, list[float]] = {arm: [] for arm in ARMS}
    try:
        for _ in range(options.rounds):
            for arm in random.sample(sorted(ARMS), len(ARMS)):
                code = PROGRAM.format(ARMS[arm])
                bento = [options.python, "-I", "-c", code, "--root", str(base / "l"), "--run-root", str(base / "r")]
                done = timed([*bento, "run", "-d", "--network", "none", "host", "sleep", "10000"])
                samples[arm].append(done.ms)
                timed([*bento, "rm", "-f", done.stdout.strip()])
    finally:
        leaks = watch.leaks()
        watch.sweep()
        remove_tree(base)
    for arm, values in samples.items():
        print(f"run -d {arm}: median {statistics.median(values):.1f} ms, lowest {min(values):.1f} ms")
    with_, without = (statistics.median(values) for values in samples.values())
    print(f"ratio {with_ / without:.3f}")
    for leak in leaks:
        print(f"left behind: {leak}", file=sys.stderr)
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
