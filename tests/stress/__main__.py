"""``make stress T=SECONDS SEED=N``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from stress import session
from support import leaks, reaper
from support.scratch import writable_by_overlay


def main() -> int:
    """Do it; return the exit status."""
    parser = argparse.ArgumentParser(prog="stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    reaper.run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bt-stress-", dir=writable_by_overlay()))
    watch = leaks.LeakWatch(base)
    watch.roots += [base / "l", base / "r"]
    print(f"seed {args.seed}, {args.seconds:g} s", flush=True)
    found = ["it was broken off"]
    try:
        print(session.run(base, seconds=args.seconds, seed=args.seed))
        found = watch.leaks() + watch.files()
    except session.Failed as error:
        found = [str(error)]
    finally:
        if found:
            watch.sweep()
        leaks.remove_tree(base)
    print(*found, sep="\n", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
