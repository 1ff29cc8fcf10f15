"""Compare what is done with images: pull, load, unpack, a run of many layers; with Podman and umoci, in one run.

Needs root, docker-registry, skopeo and umoci. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from machine import Failed, HiddenUnified, facts, make_rootfs, timed  # noqa: E402
from peers import Bento, Podman  # noqa: E402

from support.leaks import LeakWatch, remove_tree  # noqa: E402
from support.reaper import run_under_reaper  # noqa: E402
from support.registry import Registry, registry, run, skopeo  # noqa: E402

SIZE_BYTES = 200_000_000
LAYERS = 5
MANY = 30
TITLES = {
    "pull": "pull of 200 MB from a registry on loopback",
    "load": "load of its docker-archive",
    "unpack": "unpack of its layers",
    "run": f"run of {MANY} layers",
}
BUDGETS = {"pull": ("podman", 1.0), "load": ("podman", 1.0), "unpack": ("umoci", 1.0), "run": ("podman", 1.0)}

UNPACK = """
import os, sys
from pathlib import Path
from bento.drivers.image.store.image_store import ImageStore
source, root, digest = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
with ImageStore(root).ingest() as ingest:
    (root / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    for blob in (source / "blobs/sha256").iterdir():
        os.link(blob, root / "blobs/sha256" / blob.name)
    ingest.commit(digest)
"""
"""What ``pull`` and ``load`` do once the blobs are there: verify, unpack, write to disk."""


class Images:
    """The images that are moved: ``big`` and ``many`` in an OCI layout, and a registry that has them."""

    def __init__(self, base: Path, place: Registry) -> None:
        self.layout = base / "layout"
        self.archive = base / "big.tar"
        self.names = {name: place.name(f"{name}:1") for name in ("big", "many")}
        rootfs = base / "rootfs"
        make_rootfs(rootfs)
        run("umoci", "init", "--layout", self.layout)
        for name, trees in (("big", self._big(base)), ("many", self._many(base))):
            run("umoci", "new", "--image", f"{self.layout}:{name}")
            for words in ((str(rootfs), ["."]), *trees):
                self._add(base, name, *words)
            run("umoci", "config", "--image", f"{self.layout}:{name}", "--config.cmd=/bin/true")
            place.push(f"oci:{self.layout}:{name}", f"{name}:1")
        skopeo("copy", f"oci:{self.layout}:big", f"docker-archive:{self.archive}:{self.names['big']}")
        self.digest = next(
            entry["digest"]
            for entry in json.loads((self.layout / "index.json").read_text())["manifests"]
            if entry["annotations"]["org.opencontainers.image.ref.name"] == "big"
        )

    def _big(self, base: Path) -> list[tuple[str, list[str]]]:
        """Files of this machine, in as many lists as there are layers: real names, sizes and contents."""
        lists: list[list[str]] = [[] for _ in range(LAYERS)]
        size = 0
        for directory, folders, files in os.walk("/usr"):
            folders.sort()
            for name in sorted(files):
                path = Path(directory, name)
                if path.is_symlink() or not path.is_file() or path.stat().st_size > SIZE_BYTES // 10:
                    continue
                size += path.stat().st_size
                if size > SIZE_BYTES:
                    return [("/", each) for each in lists]
                lists[min(LAYERS - 1, size * LAYERS // SIZE_BYTES)].append(str(path)[1:])
        return [("/", each) for each in lists]

    def _many(self, base: Path) -> list[tuple[str, list[str]]]:
        trees = []
        for number in range(MANY - 1):
            tree = base / "trees" / str(number)
            (tree / "layer").mkdir(parents=True)
            (tree / "layer" / str(number)).write_text(f"{number}\n")
            trees.append((str(tree), ["."]))
        return trees

    def _add(self, base: Path, name: str, directory: str, files: list[str]) -> None:
        listing, archive = base / "names", base / "layer.tar"
        listing.write_text("\0".join(files))
        run("tar", "-cf", archive, "-C", directory, "--null", f"--files-from={listing}")
        run("umoci", "raw", "add-layer", "--image", f"{self.layout}:{name}", archive)


class Bench:
    """The scenarios; each peer goes through each in random order, round by round."""

    def __init__(self, images: Images, base: Path, bento: Bento, podman: Podman | None) -> None:
        self._images = images
        self._base = base
        self._bento = bento
        self._podman = podman
        self.samples: dict[str, dict[str, list[float]]] = {metric: {} for metric in TITLES}

    def run(self, rounds: int) -> None:
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for metric, peers in self._scenarios().items():
                for name in random.sample(sorted(peers), len(peers)):
                    os.sync()  # none pays for what the one before has left to be written
                    self.samples[metric].setdefault(name, []).append(peers[name]())

    def _scenarios(self) -> dict[str, dict[str, Callable[[], float]]]:
        big, many = self._images.names["big"], self._images.names["many"]
        scenarios: dict[str, dict[str, Callable[[], float]]] = {metric: {} for metric in TITLES}
        engines: list[tuple[str, Bento | Podman, list[str]]] = [("bento", self._bento, [])]
        if self._podman is not None:
            engines.append(("podman", self._podman, ["--tls-verify=false"]))
        for name, engine, insecure in engines:
            scenarios["pull"][name] = partial(self._anew, engine, "pull", "-q", *insecure, big)
            scenarios["load"][name] = partial(self._anew, engine, "load", "-q", "-i", str(self._images.archive))
            scenarios["run"][name] = partial(self._run, engine, many)
            engine.call("pull", "-q", *insecure, many)
        scenarios["unpack"] = {"bento": self._unpack, "umoci": self._unpack_by_umoci}
        return scenarios

    def _run(self, engine: Bento | Podman, image: str) -> float:
        return engine.call("run", "--rm", "--network", "none", image, "/bin/true").ms

    def _anew(self, engine: Bento | Podman, *words: str) -> float:
        """With nothing of the image there before."""
        try:
            return engine.call(*words).ms
        finally:
            engine.call("rmi", "-f", self._images.names["big"])

    def _unpack(self) -> float:
        target = self._base / "unpacked"
        words = [sys.executable, "-P", "-c", UNPACK, str(self._images.layout), str(target), self._images.digest]
        try:
            return timed(words).ms
        finally:
            remove_tree(target)

    def _unpack_by_umoci(self) -> float:
        target = self._base / "unpacked"
        try:
            return timed(["umoci", "unpack", "--image", f"{self._images.layout}:big", str(target)]).ms
        finally:
            remove_tree(target)


def measure(options: argparse.Namespace, base: Path) -> dict[str, object]:
    hidden = HiddenUnified()
    left_out: dict[str, str] = {}
    try:
        with registry(base) as place:
            images = Images(base, place)
            (base / "bento").mkdir()
            bento = Bento(options.bento, "crun", base / "bento")
            podman: Podman | None = None
            if shutil.which("podman"):
                podman = Podman("crun", base / "podman", hidden.prefix)
            else:
                left_out["podman"] = "podman is not installed"
            bench = Bench(images, base, bento, podman)
            try:
                bench.run(options.rounds)
            finally:
                for engine in (bento, podman):
                    if engine is not None:
                        engine.close()
        versions = {"bento": bento.version(), "umoci": timed(["umoci", "--version"]).stdout.strip()}
        if podman is not None:
            versions["podman"] = podman.version()
    finally:
        hidden.close()
    medians = {
        metric: {name: round(statistics.median(values), 1) for name, values in by_peer.items()}
        for metric, by_peer in bench.samples.items()
    }
    return {
        "machine": facts(versions),
        "left_out": left_out,
        "medians": medians,
        "ratios": {
            metric: {
                f"bento/{name}": round(by_peer["bento"] / value, 2)
                for name, value in by_peer.items()
                if name != "bento"
            }
            for metric, by_peer in medians.items()
        },
        "samples": bench.samples,
    }


def show(result: dict[str, object]) -> None:
    medians, ratios = result["medians"], result["ratios"]
    assert isinstance(medians, dict)
    assert isinstance(ratios, dict)
    for metric, title in TITLES.items():
        peers = ", ".join(f"{name} {value:.0f} ms" for name, value in sorted(medians[metric].items()))
        print(f"{title}: {peers}")
        name, most = BUDGETS[metric]
        ratio = ratios[metric].get(f"bento/{name}")
        if ratio is not None:
            print(f"  {ratio} of {name}'s; budget {most}: {'met' if ratio <= most else 'missed'}")
    left_out = result["left_out"]
    assert isinstance(left_out, dict)
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    parser.add_argument("--bento", default=str(Path(sys.executable).with_name("bento")), help="the program to measure")
    parser.add_argument("--out", type=Path, help="write everything measured to this file, as JSON")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root, as the engines compared do")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bi-", dir=os.environ.get("BENTO_TEST_DIR", "/tmp")))
    watch = LeakWatch(base)
    try:
        result = measure(options, base)
    except Failed as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        leaks = watch.leaks()
        watch.sweep()
        remove_tree(base)
    show(result)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    for leak in leaks:
        print(f"left behind: {leak}", file=sys.stderr)
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
