"""``make load``: figures of an idle server, of one under load, and what is left after clients and servers that die."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from load import killing
from load.loading import load
from load.world import Failed, World

from support import leaks, reaper
from support.cli import BentoCli, Roots
from support.images import make_image
from support.registry import registry
from support.scratch import writable_by_overlay
from support.serving import serving
from support.workload import assert_clean


def main() -> int:
    """Do it; return the exit status."""
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of requests")
    parser.add_argument("--rate", type=float, default=200.0, help="requests in a second")
    parser.add_argument("--streams", type=int, default=1000, help="that stand open meanwhile")
    parser.add_argument("--kills", type=int, default=20, help="of the server, in each kind of request")
    args = parser.parse_args()
    reaper.run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bt-load-", dir=writable_by_overlay()))
    watch = leaks.LeakWatch(base)
    bento = BentoCli(Roots(base / "l", base / "r"), "crun")
    watch.roots += bento.roots
    found = ["it was broken off"]
    try:
        world = World(bento, base)
        world.prepare()
        if args.streams:
            with serving(bento) as served:
                asyncio.run(load(world, served, args.streams, args.rate, args.seconds, print))
        with registry(base) as place:
            make_image(bento.roots, "small:1", layers=[{"file": os.urandom(1 << 20)}])
            bento("push", "small:1", f"docker://{place.name('small:1')}")
            bento("rmi", "small:1")
            print("a server that is killed:", flush=True)
            if args.kills:
                killing.Killer(world, place, print).run(args.kills)
        world.remove_all()
        bento("builder", "prune", "-f")  # what builds keep for the next ones is named by digests, as containers are
        bento("doctor", "--fix", check=False)  # what a server that was killed was in the midst of
        assert_clean(bento)
        found = watch.leaks() + watch.files()
    except* Failed as group:
        found = [str(error) for error in group.exceptions]
    finally:
        if found:
            watch.sweep()
        leaks.remove_tree(base)
    print(*found, sep="\n", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
