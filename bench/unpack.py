"""Compare the unpacking of one large layer with ``umoci unpack``, in one run: in memory and on disk. Needs root.

What is timed is a whole process: read the image from an OCI layout, verify, unpack. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from support.layers import GZIP, Bundle, bundle, directory, file, sha256, tar  # noqa: E402
from support.leaks import remove_tree  # noqa: E402

BENTO = """
import sys
from pathlib import Path
from bento.drivers.image.store.image_store import ImageStore
layout, root, digest = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
(root / "blobs/sha256").mkdir(parents=True)
for blob in (layout / "blobs/sha256").iterdir():
    (root / "blobs/sha256" / blob.name).hardlink_to(blob)
with ImageStore(root).ingest() as ingest:
    ingest.commit(digest)
"""


def make_image(size_bytes: int, entries: int) -> Bundle:
    """One layer of this machine's own files, cut into equal ones: it packs as images do."""
    chunk = size_bytes // entries
    taken = bytearray()
    for path in sorted(Path("/usr/lib").rglob("*")):
        if len(taken) >= size_bytes:
            break
        if path.is_file() and not path.is_symlink():
            taken += path.read_bytes()
    content = (bytes(taken) * (size_bytes // len(taken) + 1))[:size_bytes]
    made = []
    for number in range(entries):
        if number % 50 == 0:
            made.append(directory(f"usr/d{number // 50}"))
        made.append(file(f"usr/d{number // 50}/file{number}", content[number * chunk : (number + 1) * chunk]))
    whole = tar(made)
    return bundle([gzip.compress(whole, 6)], diff_ids=[sha256(whole)], layer={"mediaType": GZIP})


def timed(argv: list[str]) -> tuple[float, float]:
    """Return wall and CPU time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    wall_s = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(base: Path, made: Bundle, rounds: int) -> dict[str, dict[str, list[float]]]:
    layout = made.write_layout(base / "layout")
    samples: dict[str, dict[str, list[float]]] = {name: {"wall_s": [], "cpu_s": []} for name in ("bento", "umoci")}
    for _ in range(rounds):
        for name in random.sample(sorted(samples), 2):
            target = base / "target"
            words = {
                "bento": [sys.executable, "-c", BENTO, str(layout), str(target), made.manifest],
                "umoci": ["umoci", "unpack", "--image", f"{layout}:latest", str(target)],
            }[name]
            os.sync()
            wall_s, cpu_s = timed(words)
            samples[name]["wall_s"].append(round(wall_s, 3))
            samples[name]["cpu_s"].append(round(cpu_s, 3))
            remove_tree(target)
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--entries", type=int, default=5000)
    parser.add_argument("--places", default="/dev/shm,/var/tmp", help="directories (default /dev/shm,/var/tmp)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root, as unpacking does")
    made = make_image(options.megabytes * 1_000_000, options.entries)
    for place in options.places.split(","):
        base = Path(tempfile.mkdtemp(prefix="bu-", dir=place))
        try:
            samples = measure(base, made, options.rounds)
        finally:
            remove_tree(base)
        medians = {n: {k: statistics.median(v) for k, v in each.items()} for n, each in samples.items()}
        for kind in ("wall_s", "cpu_s"):
            bento, umoci = medians["bento"][kind], medians["umoci"][kind]
            print(f"{place} {kind}: bento {bento:.2f}, umoci {umoci:.2f}, ratio {bento / umoci:.2f}")
        print(json.dumps(samples))
    return 0


if __name__ == "__main__":
    sys.exit(main())
