"""Stacks of layers: what Bento mounts is what umoci makes of the same image, and what the specification says."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bento.drivers.image.store.image_store import ImageStore
from bento.drivers.storage.overlay import OverlayStorage
from bento.kernel.namespace import in_private_mounts
from bento.model.image import Image

from support.layers import (
    MTIME,
    Bundle,
    Entry,
    bundle,
    directory,
    file,
    hardlink,
    opaque,
    symlink,
    tar,
    whiteout,
    xattrs,
)
from support.stacks import Stack, tree

EXAMPLES = int(os.environ.get("BENTO_FUZZ_EXAMPLES", "15"))
Tree = dict[str, tuple[object, ...]]


def commit(base: Path, made: Bundle) -> Image:
    with ImageStore(base).ingest() as ingest:
        return ingest.commit(made.put(ingest))


def mounted(base: Path, image: Image) -> Tree:
    """What a container made from an image sees."""
    storage = OverlayStorage(base)
    storage.prepare("c")
    try:

        def look() -> Tree:
            root = storage.mount("c", image.layers)
            try:
                return tree(root)
            finally:
                storage.unmount("c")

        return in_private_mounts(look)
    finally:
        storage.remove("c")


def by_umoci(base: Path, made: Bundle) -> Tree:
    layout = made.write_layout(base / "layout")
    subprocess.run(
        ["umoci", "unpack", "--image", f"{layout}:latest", base / "bundle"], check=True, capture_output=True, text=True
    )
    return tree(base / "bundle" / "rootfs")


@pytest.fixture(scope="module")
def ground(scratch: Path) -> Path:
    """A directory on a filesystem that overlayfs can write to; each example has its own below it."""
    path = Path(tempfile.mkdtemp(prefix="stacks", dir=scratch))
    return path


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
@given(data=st.data())
def test_what_is_mounted_is_what_umoci_unpacks(ground: Path, data: st.DataObject) -> None:
    drawn = Stack(data)
    stack = [drawn.layer() for _ in range(data.draw(st.integers(2, 4)))]
    base = Path(tempfile.mkdtemp(dir=ground))
    try:
        made = bundle([tar(entries) for entries in stack], is_packed=True)
        expected = by_umoci(base, made)
        assert mounted(base / "r", commit(base / "r", made)) == expected, "\n".join(map(str, stack))
    finally:
        shutil.rmtree(base)


ACL = {
    "pax_headers": {
        # Version 2; owner rwx, user 1234 r-x, group r-x, mask r-x, others none (acl(5), linux/posix_acl_xattr.h).
        "SCHILY.xattr.system.posix_acl_default": os.fsdecode(
            struct.pack("<I", 2)
            + struct.pack("<HHI", 1, 7, 2**32 - 1)
            + struct.pack("<HHI", 2, 5, 1234)
            + struct.pack("<HHI", 4, 5, 2**32 - 1)
            + struct.pack("<HHI", 16, 5, 2**32 - 1)
            + struct.pack("<HHI", 32, 0, 2**32 - 1)
        )
    }
}

Case = tuple[list[list[Entry]], dict[str, tuple[str, int]]]

CASES: dict[str, Case] = {
    "directories that a layer does not describe are what they were": (
        [
            [directory("tmp", 0o1777), directory("home/u", 0o700, uid=1000, **xattrs(trusted__a="1"))],
            [file("tmp/x"), file("home/u/y")],
        ],
        {"tmp": ("drwxrwxrwt", 0), "tmp/x": ("-rw-r--r--", 0), "home/u": ("drwx------", 1000)},
    ),
    "the root directory, too": (
        [[directory("./", 0o751, uid=7), file("x")], [file("y")]],
        {".": ("drwxr-x--x", 7)},
    ),
    "what goes through a link of a lower layer comes to where it leads": (
        [
            [directory("usr/lib", 0o750), symlink("lib", "usr/lib"), file("usr/lib/gone"), symlink("abs", "/lib")],
            [file("lib/new"), whiteout("lib/gone"), hardlink("other", "lib/new"), file("abs/d/e")],
        ],
        {
            "lib": ("lrwxrwxrwx", 0), "usr/lib": ("drwxr-x---", 0), "usr/lib/new": ("-rw-r--r--", 0),
            "usr/lib/d/e": ("-rw-r--r--", 0), "other": ("-rw-r--r--", 0),
        },
    ),
    "a link that leads nowhere yet": (
        [[symlink("data", "var/data")], [file("data/x")]],
        {"data": ("lrwxrwxrwx", 0), "var/data/x": ("-rw-r--r--", 0)},
    ),
    "a directory that is described takes the place of a link": (
        [[directory("usr/lib"), symlink("lib", "usr/lib")], [directory("lib"), file("lib/x")]],
        {"lib": ("drwxr-xr-x", 0), "lib/x": ("-rw-r--r--", 0)},
    ),
    "what a layer has deleted before is not what it was": (
        [[directory("d", 0o700), file("d/a")], [whiteout("d"), file("d/b")]],
        {"d": ("drwxr-xr-x", 0), "d/b": ("-rw-r--r--", 0)},
    ),
    "what a layer has emptied is": (
        [[directory("d", 0o700), file("d/a")], [opaque("d"), file("d/b")]],
        {"d": ("drwx------", 0), "d/b": ("-rw-r--r--", 0)},
    ),
    "a link that gives way after something went through it": (
        [
            [directory("r"), symlink("a", "r"), symlink("b", "/"), symlink("c", "r")],
            [file("a/x"), directory("a"), file("a/y"), file("c/z"), whiteout("c"), file("c/w"), file("b/r/v")],
        ],
        {
            "r/x": ("-rw-r--r--", 0), "a": ("drwxr-xr-x", 0), "a/y": ("-rw-r--r--", 0), "r/z": ("-rw-r--r--", 0),
            "c/w": ("-rw-r--r--", 0), "b": ("lrwxrwxrwx", 0), "r/v": ("-rw-r--r--", 0),
        },
    ),
    "a link that gives way, and all directories are described in the end": (
        [
            [directory("r"), symlink("a", "r"), symlink("c", "r")],
            [directory("./"), file("a/x"), directory("a"), file("c/z"), whiteout("c")],
        ],
        {"r/x": ("-rw-r--r--", 0), "a": ("drwxr-xr-x", 0), "r/z": ("-rw-r--r--", 0)},
    ),
    "links upwards, of both layers": (
        [
            [directory("r/s"), directory("n"), symlink("n/a", "../r/s/../s"), symlink("n/b", "..")],
            [directory("q"), file("n/a/x"), symlink("n/a/l", "../../q"), file("n/a/l/f"), file("n/b/g")],
        ],
        {"r/s/x": ("-rw-r--r--", 0), "r/s/l": ("lrwxrwxrwx", 0), "q/f": ("-rw-r--r--", 0), "g": ("-rw-r--r--", 0)},
    ),
    "a link of the layer that comes to the place of one below": (
        [[directory("q"), symlink("b", "/"), symlink("l", "q")], [symlink("b/l", "r"), directory("r"), file("l/f")]],
        {"l": ("lrwxrwxrwx", 0), "r/f": ("-rw-r--r--", 0)},
    ),
    "deletions beside a link": (
        [
            [directory("d"), file("d/f"), file("d/g"), directory("r"), symlink("a", "r"), file("r/old")],
            [file("a/x"), whiteout("d/f"), whiteout("d"), file(".wh..wh.aufs", b""), whiteout("a/nothing/x")],
        ],
        {"r/x": ("-rw-r--r--", 0), "r/old": ("-rw-r--r--", 0)},
    ),
    "a deletion of what was emptied by deletions": (
        [[directory("d/e"), file("d/f"), file("d/e/g")], [whiteout("d/e/g"), whiteout("d/f"), whiteout("d")]],
        {".": ("drwxr-xr-x", 0)},
    ),
    "a hard link to what has come to its place": (
        [[directory("a"), symlink("c", "a")], [file("a/f", b"first"), file("c/f", b"last"), hardlink("r/g", "a/f")]],
        {"a/f": ("-rw-r--r--", 0), "r/g": ("-rw-r--r--", 0)},
    ),
    "a deleted directory with a link to a directory in it": (
        [[directory("d"), file("d/old")], [symlink("d/l", "/"), whiteout("d"), symlink("e/f/l", "/"), whiteout("e")]],
        {"d/l": ("lrwxrwxrwx", 0), "e/f/l": ("lrwxrwxrwx", 0)},
    ),
    "a directory in place of a link has nothing of what that leads to": (
        [
            [directory("r/s", 0o700), symlink("l", "r"), symlink("m", "m")],
            [directory("l"), file("l/s/x"), directory("m"), file("m/s/x")],
        ],
        {"l/s": ("drwxr-xr-x", 0), "m/s": ("drwxr-xr-x", 0)},
    ),
    "an emptied directory that is not there, beside a link": (
        [[directory("r"), symlink("l", "r")], [file("l/x"), opaque("c"), file("c/y")]],
        {"c": ("drwxr-xr-x", 0), "c/y": ("-rw-r--r--", 0), "r/x": ("-rw-r--r--", 0)},
    ),
    "the root emptied by a link of the layer": (
        [[file("a"), directory("b")], [symlink("b/d", ".."), opaque("b/d"), file("x")]],
        {"x": ("-rw-r--r--", 0), "b/d": ("lrwxrwxrwx", 0)},
    ),
    "the root emptied by a link of its own": (
        [[symlink("c", "."), file("a")], [opaque("c"), file("c/b")]],
        {"c/b": ("-rw-r--r--", 0)},
    ),
    "a link of the layer alone is not one when it is applied": (
        [[file("d"), symlink("b", "a/d"), file("keep")], [symlink("b/a", ".."), opaque("b/a")]],
        {"keep": ("-rw-r--r--", 0)},
    ),
    "a file in place of what was deleted, and in it before": (
        [[directory("b/a"), file("b/a/c")], [whiteout("b/a/c"), whiteout("b/a"), file("b/a"), file("b/x")]],
        {"b/a": ("-rw-r--r--", 0), "b/x": ("-rw-r--r--", 0)},
    ),
    "a file in place of directories that were deleted from the inside": (
        [[directory("d/e"), file("d/e/x")], [whiteout("d/e/x"), whiteout("d/e"), whiteout("d"), file("d")]],
        {"d": ("-rw-r--r--", 0)},
    ),
    "a deletion through a link that is deleted then": (
        [[directory("r"), file("r/f"), file("r/g"), symlink("b/a", "/r")], [whiteout("b/a/f"), whiteout("b")]],
        {"r/g": ("-rw-r--r--", 0)},
    ),
    "a link by way of what is not there": (
        [[file("a/c"), file("a/d"), symlink("b", "n/../a")], [whiteout("b/c"), file("b/y")]],
        {"a/d": ("-rw-r--r--", 0), "a/y": ("-rw-r--r--", 0)},
    ),
    "a deletion in what is a file below": (
        [[file("a", b"data")], [whiteout("a/b"), file("x")]],
        {"a": ("-rw-r--r--", 0)},
    ),
    "a directory's default rights are for what is made in it": (
        [[directory("d", 0o755, **ACL), directory("d/e", 0o700)], [file("d/e/x")]],
        {"d/e": ("drwx------", 0)},
    ),
    "a deletion in what is a file of the layer": (
        [[directory("b/c"), symlink("b/c/r", "../b")], [file("b/b", b"stays"), whiteout("b/c/r/x")]],
        {"b/b": ("-rw-r--r--", 0)},
    ),
    "a layer that hides all below it, by a link to the root": (
        [[directory("c/c"), file("f"), symlink("r", "/")], [file("r/x"), file("r/.wh..wh..opq", b""), file("y")]],
        {"x": ("-rw-r--r--", 0), "y": ("-rw-r--r--", 0)},
    ),
    "a link that gives way to what goes through another": (
        [
            [symlink("a", "/"), symlink("b", "/"), symlink("c", "/")],
            [file("a/x"), directory("b/a"), file("a/y"), directory("b/c"), file("c/z")],
        ],
        {"x": ("-rw-r--r--", 0), "a": ("drwxr-xr-x", 0), "a/y": ("-rw-r--r--", 0), "c/z": ("-rw-r--r--", 0)},
    ),
    "what comes to a place by two names is the last": (
        [[directory("r", 0o700), symlink("b", "/")], [file("r/x"), file("b/r", b"now a file")]],
        {"r": ("-rw-r--r--", 0), "b": ("lrwxrwxrwx", 0)},
    ),
    "a layer that hides all below it, after something went through a link": (
        [[directory("r"), file("r/old"), symlink("a", "r")], [file("a/x"), file(".wh..wh..opq", b""), file("r/y")]],
        {"r/x": ("-rw-r--r--", 0), "r/y": ("-rw-r--r--", 0)},
    ),
    "a deletion of what is not there is not to be seen": (
        [
            [directory("d"), whiteout("d/nothing"), file("d/x"), whiteout("nothing")],
            [directory("d"), opaque("d"), whiteout("d/x"), whiteout("d/other"), file("d/y")],
            [whiteout("e/nothing"), directory("e")],
        ],
        {"d/y": ("-rw-r--r--", 0), "e": ("drwxr-xr-x", 0)},
    ),
    "three layers": (
        [[directory("d", 0o700)], [file("d/a")], [file("d/e/b")], [file("d/e/c")]],
        {"d": ("drwx------", 0), "d/e": ("drwxr-xr-x", 0), "d/e/c": ("-rw-r--r--", 0)},
    ),
    "the same layer twice": (
        [[directory("d", 0o700)], [file("d/a")], [whiteout("d/a")], [file("d/a")]],
        {"d": ("drwx------", 0), "d/a": ("-rw-r--r--", 0)},
    ),
}  # fmt: skip


def test_what_a_layer_leaves_unsaid_is_what_lies_below(ground: Path) -> None:
    for name, (stack, expected) in CASES.items():
        base = Path(tempfile.mkdtemp(dir=ground))
        made = bundle([tar(entries) for entries in stack])
        seen = mounted(base / "r", commit(base / "r", made))
        assert {path: seen[path][:2] for path in expected} == expected, name
        if name != "the root directory, too":  # umoci leaves the bundle's own as it made it
            assert seen == by_umoci(base, made), name


def test_a_file_below_that_should_be_a_directory_gives_way(ground: Path) -> None:
    """As with Podman; umoci refuses such an image."""
    base = Path(tempfile.mkdtemp(dir=ground))
    made = bundle([tar([file("f"), file("g"), symlink("l", "g")]), tar([file("f/x"), file("l/y")])])
    assert set(mounted(base, commit(base, made))) == {".", "f", "f/x", "g", "g/y", "l"}


def test_seams_are_made_once_shared_and_removed_with_their_images(ground: Path) -> None:
    base = Path(tempfile.mkdtemp(dir=ground))
    store = ImageStore(base)
    lower, upper = tar([directory("d", 0o700)]), tar([file("d/a")])
    plain = commit(base, bundle([tar([directory("d")]), upper]))
    assert len(plain.layers) == 2, "nothing to mend: no seam"
    first = commit(base, bundle([lower, upper]))
    assert len(first.layers) == 3
    assert os.stat(f"{first.layers[0]}/d").st_mtime == MTIME
    inode = os.stat(first.layers[0]).st_ino
    again = commit(base, bundle([lower, upper], config={"config": {"Cmd": ["other"]}}))
    assert (again.layers, os.stat(again.layers[0]).st_ino) == (first.layers, inode)
    assert sorted(store.layers()) == sorted({*plain.layers, *first.layers})
    store.remove(lambda: [first.layers[0]])
    assert commit(base, bundle([lower, upper])).layers == first.layers
    assert os.path.isdir(first.layers[0])
    assert store.leftovers() == []
