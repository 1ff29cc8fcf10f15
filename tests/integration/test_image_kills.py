"""A load killed before any of the things it does to the disk: the store works, the next one goes on, doctor tidies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from bento import Engine, Settings

from support.cli import BentoCli, Roots
from support.layers import bundle, directory, file, hardlink, symlink, tar, whiteout
from support.stacks import tree
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME

POINTS = int(os.environ.get("BENTO_FUZZ_EXAMPLES", "16"))
"""How many of the points are tried, spread over all; the first and the last ones are among them."""

# Loads an archive in a fork, which kills itself just before its n-th action; 0: never, and tells how many there were.
DRIVER = """
import json, os, signal, sys, threading
from pathlib import Path
root, run_root, archive = sys.argv[1:4]
from bento import Engine, Settings
from bento.drivers.image.formats import reader, source
from bento.drivers.image.layers import decompress, seams, unpack
from bento.drivers.image.store import image_store, ingest, transfer
ACTIONS = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.chown",
           "os.setxattr", "os.utime", "os.truncate", "sqlite3.connect"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def load(limit, say):
    count = 0
    lock = threading.Lock()
    def hook(event, args):
        nonlocal count
        if event in ACTIONS or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            with lock:
                count += 1
                if count == limit:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    with Engine(Settings(root=root, run_root=run_root, runtime="crun")) as engine:
        (loaded,) = engine.load(Path(archive))
        say(json.dumps([count, loaded.image.layers, loaded.image.id]))
for line in sys.stdin:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            load(int(line), lambda text: os.write(writer, text.encode()))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.WIFSIGNALED(status), said]), flush=True)
"""

STACK = [
    [directory("tmp", 0o1777), directory("usr/lib"), symlink("lib", "usr/lib"), file("gone"), file("bin/sh", b"#!")],
    [file("tmp/x"), file("lib/y"), hardlink("z", "tmp/x"), whiteout("gone")],
]

KINDS = ("layer", "blob", "directory")
"""What a killed load leaves; directories where the disk was tried out."""


class Driver:
    def __init__(self, roots: Roots, archive: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(roots.root), str(roots.run_root), str(archive)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def load(self, limit: int) -> tuple[bool, Any]:
        """Return whether it was killed, and else: how many actions there were, the layers, the image's id."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{limit}\n")
        self.process.stdin.flush()
        was_killed, said = json.loads(self.process.stdout.readline())
        return was_killed, json.loads(said) if said else None

    def end(self) -> None:
        self.process.communicate(timeout=60)


def store_files(root: Path) -> list[str]:
    """Everything of images on disk, besides the empty directories of the store itself."""
    found = [*(root / "layers").iterdir(), *(root / "blobs").glob("*/*")] if (root / "layers").exists() else []
    return sorted(os.fspath(path.relative_to(root)) for path in found)


def test_killed_at_any_point(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    layout = bundle([tar(each) for each in STACK], is_packed=True).write_layout(tmp_path / "layout")
    with tarfile.open(archive, "w") as packed:
        for each in sorted(layout.rglob("*")):
            packed.add(each, each.relative_to(layout), recursive=False)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("other")
    bento("import", other, "other")  # what is of others stays as it is, whatever happens
    before = store_files(roots.root)

    driver = Driver(roots, archive)
    engine = Engine(Settings(root=roots.root, run_root=roots.run_root, runtime="crun"))
    try:
        _, (count, stack, image) = driver.load(0)
        expected = [tree(Path(layer)) for layer in stack]
        assert len(stack) == 3, "two layers and a seam"
        assert count > 30
        whole = store_files(roots.root)
        engine.remove_image(image)
        assert store_files(roots.root) == before
        step = max(1, (count - 8) // max(1, POINTS - 8))
        for number, limit in enumerate(sorted({*range(1, 4), *range(4, count, step), *range(count - 4, count + 1)})):
            driver.load(limit)
            is_recorded = image in [each.id for each in engine.images()]
            if number % 2:
                left = [one for one in engine.doctor(fix=True) if not one.is_fixed or one.kind not in KINDS]
                assert left == []
                assert store_files(roots.root) == (whole if is_recorded else before), limit
            was_killed, done = driver.load(0)  # goes on with what is there
            assert not was_killed
            assert [tree(Path(layer)) for layer in done[1]] == expected, limit
            assert all(finding.is_fixed for finding in engine.doctor(fix=True))
            assert store_files(roots.root) == whole, limit
            engine.remove_image(image)
            assert store_files(roots.root) == before, limit
    finally:
        driver.end()
        engine.close()
    bento("doctor")
    assert_clean(bento)
