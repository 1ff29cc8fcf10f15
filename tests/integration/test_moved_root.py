"""A root may be moved, copied and reached by another path; its images stay whole."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.cli import BentoCli, Roots
from support.images import make_image
from support.workload import ONE_RUNTIME

BUSYBOX = Path("/bin/busybox")


def with_image(roots: Roots) -> None:
    make_image(roots, "app:1", layers=[{"bin/busybox": BUSYBOX.read_bytes()}, {"etc/hello": b"hello"}])


def at(bento: BentoCli, root: Path) -> BentoCli:
    return BentoCli(Roots(root, bento.roots.run_root.with_name("r2")), bento.runtime)


def test_a3_moved_root_starts_what_it_has_and_doctor_leaves_its_layers(bento: BentoCli, roots: Roots) -> None:
    with_image(roots)
    bento("run", "--name", "old", "app:1", "/bin/busybox", "cat", "/etc/hello")
    layers = sorted(os.listdir(roots.root / "layers"))
    os.rename(roots.root, roots.root.with_name("m"))
    moved = at(bento, roots.root.with_name("m"))
    assert moved("doctor", "--fix").stdout == "nothing is left over\n"
    assert sorted(os.listdir(moved.roots.root / "layers")) == layers
    moved("start", "old")
    assert moved("wait", "old").stdout == "0\n"
    assert moved("logs", "old").stdout == "hellohello"
    assert moved("run", "--rm", "app:1", "/bin/busybox", "cat", "/etc/hello").stdout == "hello"
    moved("rm", "old")
    moved("rmi", "app:1")
    assert os.listdir(moved.roots.root / "layers") == []


@ONE_RUNTIME
def test_a3_copied_and_linked_root_keeps_its_layers(bento: BentoCli, roots: Roots) -> None:
    with_image(roots)
    link, copy = roots.root.with_name("link"), roots.root.with_name("c")
    link.symlink_to(roots.root)
    subprocess.run(["cp", "-a", roots.root, copy], check=True)
    bento("rmi", "app:1")
    for root in (copy, link):
        other = at(bento, root)
        assert other("doctor", "--fix").stdout == "nothing is left over\n"
    assert at(bento, copy)("run", "--rm", "app:1", "/bin/busybox", "cat", "/etc/hello").stdout == "hello"


@ONE_RUNTIME
def test_a3_root_that_is_reached_by_two_paths_keeps_its_layers(bento: BentoCli, roots: Roots) -> None:
    link = roots.root.with_name("link")
    roots.root.mkdir()
    link.symlink_to(roots.root)
    with_image(Roots(link, roots.run_root))
    assert bento("doctor", "--fix").stdout == "nothing is left over\n"
    assert bento("run", "--rm", "app:1", "/bin/busybox", "cat", "/etc/hello").stdout == "hello"
