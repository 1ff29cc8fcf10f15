from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bento.errors import KernelError
from bento.files.rootfs import mend_in_root, mkdir_in_root, open_in_root, read_in_root, touch_in_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("the host's")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("the container's")
    return root


def test_a_file_is_read(root: Path) -> None:
    assert read_in_root(root, "/etc/passwd") == b"the container's"
    assert read_in_root(root, "etc/passwd", limit_bytes=3) == b"the"


@pytest.mark.parametrize("target", ["../../secret", "/../secret", "{tmp}/secret"])
def test_links_end_inside(root: Path, target: str) -> None:
    (root / "etc" / "group").symlink_to(target.format(tmp=root.parent))

    assert read_in_root(root, "/etc/group") is None


def test_dots_end_inside(root: Path) -> None:
    assert read_in_root(root, "/../secret") is None
    assert read_in_root(root, "/../etc/passwd") == b"the container's"


def test_an_absolute_link_is_the_containers(root: Path) -> None:
    (root / "link").symlink_to("/etc/passwd")

    assert read_in_root(root, "/link") == b"the container's"


def test_what_is_no_regular_file_holds_nothing_and_does_not_hang(root: Path) -> None:
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to("loop")

    assert read_in_root(root, "/fifo") is None
    assert read_in_root(root, "/etc") is None
    assert read_in_root(root, "/loop") is None
    assert read_in_root(root, "/etc/passwd/below") is None


def test_open_says_why_not(root: Path) -> None:
    with pytest.raises(KernelError) as caught:
        open_in_root(root, "/none", os.O_RDONLY)

    assert caught.value.errno == errno.ENOENT


def test_descriptors_are_not_inherited(root: Path) -> None:
    fd = open_in_root(root, "/etc/passwd", os.O_RDONLY)
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_directories_are_made_with_their_parents(root: Path) -> None:
    for _ in range(2):
        mkdir_in_root(root, "/a/b/../c")

    assert (root / "a" / "c").is_dir()


def test_directories_are_made_inside(root: Path) -> None:
    (root / "out").symlink_to("/../..")

    mkdir_in_root(root, "/out/made")

    assert (root / "made").is_dir()
    assert not (root.parent / "made").exists()


@pytest.mark.parametrize(("path", "number"), [("/etc/passwd/x", errno.ENOTDIR), ("/loop/x", errno.ELOOP)])
def test_what_is_in_the_way_is_said(root: Path, path: str, number: int) -> None:
    (root / "loop").symlink_to("loop")
    for make in (mkdir_in_root, touch_in_root, mend_in_root):
        with pytest.raises(KernelError) as caught:
            make(root, path)
        assert caught.value.errno == number


@pytest.mark.parametrize(
    ("target", "made"),
    [("/not/there", "not/there"), ("not/there", "etc/not/there"), ("../../up/x", "up/x"), ("no/../x", "etc/x"),
     ("second", "not/there"), ("{tmp}/outside", "{tmp}/outside")],
)  # fmt: skip
def test_where_a_link_dangles_what_it_points_to_is_made_inside(root: Path, target: str, made: str) -> None:
    (root / "etc" / "second").symlink_to("/not/there")
    (root / "etc" / "link").symlink_to(target.format(tmp=root.parent))
    there = root / made.format(tmp=str(root.parent)[1:])
    mend_in_root(root, "/etc/link/x/y")
    assert there.is_dir()
    assert list(there.iterdir()) == []  # what is only missing is left to others
    mkdir_in_root(root, "/etc/link/a/b")
    touch_in_root(root, "/etc/link/a/f")
    assert (there / "a/b").is_dir()
    assert (there / "a/f").read_bytes() == b""
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]


def test_file_is_made_where_a_link_dangles(root: Path) -> None:
    (root / "one").symlink_to("a/file")
    (root / "two").symlink_to("b/file")
    mend_in_root(root, "/one", is_directory=False)
    touch_in_root(root, "/two")
    touch_in_root(root, "/etc/passwd")
    assert (root / "a/file").is_file()
    assert (root / "b/file").is_file()
    assert (root / "etc/passwd").read_text() == "the container's"
