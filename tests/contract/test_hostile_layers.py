"""Layers that lie: refused with one clear line, or taken as umoci and Podman take them; nothing is left."""

from __future__ import annotations

import gzip
import itertools
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bento.drivers.image.store.image_store import ImageStore
from bento.errors import UsageError

from support import hostile
from support.hostile import assert_names, assert_refused, commit, commit_packed, record, top, zstd
from support.layers import (
    Entry,
    device,
    directory,
    fifo,
    file,
    hardlink,
    opaque,
    symlink,
    tar,
    whiteout,
    xattrs,
)

OUT = "leads out"
DEEP = "/".join(["d" * 250] * 16)  # 4015 bytes: PATH_MAX is 4096 (path_resolution(7))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store" / "root"


@pytest.fixture
def images(root: Path) -> ImageStore:
    return ImageStore(root)


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path, root: Path) -> Any:
    """Whatever a layer says: nothing is made, changed or linked outside of the store; and no half-made thing in it."""
    yield from hostile.nothing_outside(tmp_path / "store", root)


VICTIMS = "{victims}"
SPARSE = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "f",
    "GNU.sparse.realsize": "1" + "0" * 25,
}

REFUSED: dict[str, tuple[str, list[list[Entry]]]] = {
    "parent": (OUT, [[file("../victims/new")]]),
    "parent-inside": (OUT, [[file("a/../../../victims/new")]]),
    "parent-directory": (OUT, [[directory("..", 0o777)]]),
    "parent-that-stays-inside": (OUT, [[directory("a"), file("a/../b")]]),  # no archiver writes such names
    "link-of-the-same-layer": (OUT, [[symlink("l", VICTIMS), file("l/new")]]),
    "link-up": (OUT, [[symlink("l", "../../.."), file("l/victims/new")]]),
    "link-by-link": (OUT, [[symlink("l", "m"), symlink("m", VICTIMS), file("l/new")]]),
    "absolute": ("is absolute", [[file("/etc/passwd")]]),
    "absolute-among-others": ("is absolute", [[file("a"), directory("//b")]]),
    "absolute-deletion": ("is absolute", [[whiteout("/etc/passwd")]]),
    "link-up-of-a-lower-layer": (OUT, [[symlink("l", "../../..")], [file("l/victims/new")]]),
    "deletion-by-a-link-up-of-a-lower-layer": (OUT, [[directory("d"), symlink("d/l", "../../x")], [whiteout("d/l/y")]]),
    "directory-in-link": (OUT, [[symlink("l", VICTIMS), directory("l/inner", 0o777, uid=5)]]),
    "deletion-in-link": (OUT, [[symlink("l", VICTIMS), whiteout("l/precious")]]),
    "emptied-link": (OUT, [[symlink("l", VICTIMS), opaque("l")]]),
    "loop": ("cannot be entered", [[symlink("l", "l"), file("l/new")]]),
    "hard-link-out": ("not in its layer|leads to", [[hardlink("h", f"{VICTIMS}/precious")]]),
    "hard-link-up": (OUT, [[hardlink("h", "../../../victims/precious")]]),
    "hard-link-through-link": ("leads to", [[symlink("l", VICTIMS), hardlink("h", "l/precious")]]),
    "hard-link-to-nothing": ("not in its layer", [[hardlink("h", "nothing")]]),
    "hard-link-to-lower-layer": ("not in its layer", [[file("f")], [hardlink("h", "f")]]),
    "hard-link-to-directory": ("cannot be made", [[directory("d"), hardlink("h", "d")]]),
    "hard-link-to-deletion": ("not in its layer", [[whiteout("gone"), hardlink("h", "gone")]]),
    "file-in-file": ("no directory", [[file("f"), file("f/new")]]),
    "twice-by-another-spelling": ("two entries", [[file("d/x"), file("./d//x")]]),
    "twice-by-a-link": ("two entries", [[directory("r"), symlink("l", "r"), file("l/x"), file("r/x")]]),
    "twice-itself": ("two entries", [[file("x"), hardlink("x", "x")]]),
    "root-twice": ("two entries", [[directory("./"), directory("/")]]),
    "deletion-twice": ("two entries", [[whiteout("x"), whiteout("x")]]),
    "deletion-twice-by-link": ("two entries", [[directory("r"), symlink("l", "r"), whiteout("l/x"), whiteout("r/x")]]),
    "emptied-twice": ("two entries", [[directory("d"), opaque("d"), opaque("d")]]),
    "file-around-file": ("no directory", [[file("f/new"), file("f")]]),
    "link-around-file": ("no directory", [[directory("r"), file("l/new"), symlink("l", "r")]]),
    "deletion-of-nothing": (r"\.wh\.", [[file(".wh.", b"")]]),
    "deletion-of-dot": (r"\.wh\.", [[file(".wh..", b"")]]),
    "deletion-of-parent": (r"\.wh\.", [[file("a/.wh...", b"")]]),
    "deletion-as-directory": (r"\.wh\.", [[file(".wh.a/b", b"")]]),
    "root-as-file": ("place of the root", [[file(".", b"")]]),
    "root-as-link": ("place of the root", [[symlink("./", VICTIMS)]]),
    "name-too-long": ("File name too long", [[file("x" * 256)]]),
    "path-too-long": ("more than 4095 bytes", [[file(f"{DEEP}/{'x' * 200}")]]),
    "too-deep": ("256 directories deep", [[file("a/" * 1900 + "x")]]),
    "too-deep-through-a-link": (
        "too long", [[directory(DEEP), symlink("l", DEEP), directory("l/" + "g" * 250)]]
    ),
    "too-deep-a-target": ("256 directories deep", [[hardlink("x", "a/" * 1900 + "x")]]),
    "unknown-type": ("type", [[Entry("odd", {"type": b"Z"})]]),
    "odd-owner": ("owner", [[file("f", uid=2**33)]]),
    "odd-device": ("device", [[device("d", 1 << 20, 1)]]),
    "attribute-too-large": ("cannot be made", [[file("f", **xattrs(user__big="x" * 70_000))]]),
    "attribute-of-a-directory": ("cannot be made", [[directory("d", **xattrs(security__capability="x"))]]),
    "size-of-no-file": ("size that cannot be", [[file("f", b"1\n0\n1\n".ljust(512) + b"x", pax_headers=SPARSE)]]),
}  # fmt: skip


def test_of_two_entries_for_one_place_none_is_believed(root: Path, tmp_path: Path) -> None:
    """The image specification has one (layer.md, "Distributable Format"), and Podman takes no other."""
    kinds = {
        "file": [file("x", b"content")],
        "directory": [directory("x")],
        "filled": [directory("x"), file("x/inner")],
        "link": [symlink("x", str(tmp_path / "store" / "victims"))],
        "fifo": [fifo("x")],
        "hard": [hardlink("x", "other")],
    }
    for number, (first, second) in enumerate(itertools.product(kinds.values(), repeat=2)):
        place = root / str(number)
        assert_refused(ImageStore(place), place, "two entries have the place 'x'", [file("other"), *first, *second])


def test_a_deletion_and_what_comes_in_its_place_are_no_two_entries(root: Path) -> None:
    """A deletion is of the layers below: what its own layer has stays (layer.md, "Whiteouts")."""
    kinds = {
        stat.S_IFREG: [file("x", b"content")],
        stat.S_IFDIR: [directory("x"), file("x/inner")],
        stat.S_IFLNK: [symlink("x", "/nowhere")],
        stat.S_IFIFO: [fifo("x")],
    }
    for kind, entries in kinds.items():
        for name, stack in ("before", [whiteout("x"), *entries]), ("after", [*entries, whiteout("x")]):
            made = top(commit(ImageStore(root / f"{kind}-{name}"), stack))
            assert stat.S_IFMT((made / "x").lstat().st_mode) == kind


def test_refused_with_one_line_and_nothing_left(tmp_path: Path) -> None:
    victims = str(tmp_path / "store" / "victims")
    for name, (match, stack) in REFUSED.items():
        for entries in stack:
            for entry in entries:
                if VICTIMS in entry.fields.get("linkname", ""):
                    entry.fields["linkname"] = entry.fields["linkname"].replace(VICTIMS, victims)
        root = tmp_path / "store" / "root" / name
        assert_refused(ImageStore(root), root, match, *stack)


class TestTaken:
    """What looks odd and is legal: taken as others take it."""

    def test_absolute_names_are_below_the_root_when_they_are_wanted(self, root: Path) -> None:
        """Cloud Native Buildpacks write such layers; kaniko calls the root so, which is taken in any case."""
        assert stat.S_IMODE(top(commit(ImageStore(root / "other"), [directory("/", 0o711)])).stat().st_mode) == 0o711
        images = ImageStore(root, takes_absolute_names=True)
        made = top(commit(images, [file("/etc/passwd"), file("//a//b"), file("./c"), hardlink("/d", "/etc/passwd")]))
        assert sorted(str(each.relative_to(made)) for each in made.rglob("*") if each.is_file()) == [
            "a/b", "c", "d", "etc/passwd",
        ]  # fmt: skip
        assert (made / "d").stat().st_nlink == 2

    def test_a_link_of_the_same_layer_that_stays_inside_is_followed(self, images: ImageStore) -> None:
        made = top(commit(images, [directory("usr/lib"), symlink("lib", "usr/lib"), file("lib/new")]))
        assert (made / "usr/lib/new").exists()
        assert (made / "lib").is_symlink()

    def test_one_directory_by_two_names_is_one(self, images: ImageStore) -> None:
        """Archives put together of packages have it, since /lib is a link to /usr/lib; Podman takes them."""
        through = [directory("usr/lib/d", 0o700), symlink("lib", "usr/lib"), directory("lib/d", 0o750), file("lib/d/x")]
        made = top(commit(images, through))
        assert stat.S_IMODE((made / "usr/lib/d").stat().st_mode) == 0o750
        assert (made / "usr/lib/d/x").is_file()

    def test_a_directory_that_a_layer_replaces_by_a_link_takes_nothing_of_the_one_below(
        self, images: ImageStore
    ) -> None:
        """As the merge of /lib into /usr does."""
        lower = [directory("lib"), directory("lib/sub", 0o700), file("lib/sub/old")]
        upper = [directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib"), file("lib/sub/x")]
        image = commit(images, lower, upper)
        assert len(image.layers) == 2
        assert os.readlink(top(image) / "lib") == "usr/lib"
        assert stat.S_IMODE((top(image) / "usr/lib/sub").stat().st_mode) == 0o755

    @pytest.mark.parametrize("target", ["/", "{victims}", "../../../victims"])
    @pytest.mark.parametrize("is_first", [True, False])
    def test_the_machines_files_are_not_linked_into_a_layer(
        self, images: ImageStore, root: Path, tmp_path: Path, target: str, is_first: bool
    ) -> None:
        """By a link that takes the place of one through which something goes, before or after that."""
        victims = tmp_path / "store" / "victims"
        name = str(victims)[1:] if target == "/" else "inner"
        lower = [directory("r"), symlink("l", "r"), symlink("b", "/"), symlink(f"r/{name}", "/x")]
        upper = [symlink("b/l", target.format(victims=victims)), file(f"l/{name}/new"), file(f"l/{name}/precious")]
        if target.startswith("..") and is_first:
            with pytest.raises(UsageError, match=OUT):
                commit(images, lower, upper)
            return
        image = commit(images, lower, upper if is_first else [*upper[1:], upper[0]])
        assert len(image.layers) == 3
        found = list(root.rglob("precious"))
        assert found
        assert {path.read_bytes() for path in found} == {file("").content}

    def test_what_lies_below_a_link_is_not_looked_up_on_the_machine(self, images: ImageStore, tmp_path: Path) -> None:
        victim = tmp_path / "store" / "victims" / "inner"
        victim.chmod(0o2750)
        os.setxattr(victim, "trusted.secret", b"secret")
        for target in (str(victim.parent), "../../../victims"):
            made = top(commit(images, [symlink("l", target)], [directory("l"), file("l/inner/x")]))
            assert os.listxattr(made / "l" / "inner") == []
            assert stat.S_IMODE((made / "l" / "inner").stat().st_mode) == 0o755

    def test_what_a_layer_is_does_not_depend_on_the_machine(self, images: ImageStore, tmp_path: Path) -> None:
        """Not on what a link leads to that came in the place of a deleted directory."""
        gone = [whiteout("d/e/x"), whiteout("d/e"), whiteout("d"), device("d", 0, 0)]
        for target in ("victims/inner", "victims", "nowhere"):
            path = str(tmp_path / "store" / target)
            made = top(commit(images, [directory("./"), *gone, symlink("d/e", path)]))
            assert os.readlink(made / "d/e") == path

    def test_a_device_0_0_in_a_directory_that_is_deleted(self, images: ImageStore) -> None:
        lower = [directory("r"), symlink("l", "r"), file("d/x")]
        image = commit(images, lower, [device("d/x", 0, 0), whiteout("d"), file("l/y")])
        assert (top(image) / "r/y").is_file()
        assert stat.S_ISCHR(Path(image.layers[1], "d").lstat().st_mode)

    def test_what_goes_through_a_link_to_the_root_lies_in_the_root(self, images: ImageStore) -> None:
        lower = [directory("b"), symlink("lnk", "b"), symlink("b/up", "/")]
        image = commit(images, lower, [file("lnk/x"), file("lnk/up/y")])
        assert_names(top(image), ["b", "lnk", "y"])
        assert_names(top(image) / "b", ["x"])

    @pytest.mark.parametrize("entries", [[whiteout("c"), file("c/n")], [file("c/n"), whiteout("c")]])
    def test_a_directory_in_place_of_a_deleted_one_has_nothing_of_it(
        self, images: ImageStore, entries: list[Entry]
    ) -> None:
        image = commit(images, [directory("c", 0o700), file("c/old")], entries)
        assert stat.S_IMODE((top(image) / "c").stat().st_mode) == 0o755
        assert os.getxattr(top(image) / "c", "trusted.overlay.opaque") == b"y"

    def test_names_with_the_mark_of_deletions_inside_are_names(self, images: ImageStore) -> None:
        names = ["a.wh.b", "a.wh.b/something", "a.wh.b/x.wh.y", "a.wh.b/zz"]
        made = top(commit(images, [directory(names[0]), *map(file, names[1:])]))
        assert [(made / name).lstat().st_nlink > 0 and (made / name).is_file() for name in names[1:]] == [True] * 3

    def test_times_that_make_no_sense_are_1970(self, images: ImageStore) -> None:
        """Two headers in a row leave tarfile with a number that is none of its own header's."""
        for words in ("mtime=0.5", "mtime=-1", "mtime=nan", "mtime=inf", "mtime=1e300"):
            made = top(commit(images, record("a=b") + record(words) + tar([file("x")])))
            assert (made / "x").stat().st_mtime in (0.0, -1.0)

    def test_devices_set_user_id_and_odd_names(self, images: ImageStore) -> None:
        odd = os.fsdecode(b"new\nline \xff\x01")
        entries = [device("null", 1, 3), device("disk", 8, 0, is_block=True), file("su", mode=0o6755, uid=7), file(odd)]
        made = top(commit(images, entries))
        assert (made / "null").stat().st_rdev == os.makedev(1, 3)
        assert stat.S_ISBLK((made / "disk").stat().st_mode)
        assert (stat.S_IMODE((made / "su").stat().st_mode), (made / "su").stat().st_uid) == (0o6755, 7)
        assert odd in os.listdir(made)
        mount_options = subprocess.run(["stat", "-c", "%a", made.parent], capture_output=True, text=True, check=True)
        assert mount_options.stdout.strip() == "700"  # no process but root reaches what is set-user-ID here

    def test_a_device_0_0_would_be_a_deletion(self, images: ImageStore) -> None:
        """overlayfs knows no other: the same to it. umoci makes the device."""
        made = top(commit(images, [directory("n"), device("n/gone", 0, 0)]))
        assert stat.S_ISCHR((made / "n/gone").stat().st_mode)
        assert os.getxattr(made / "n", "trusted.overlay.origin") == b""

    def test_the_longest_path(self, images: ImageStore) -> None:
        made = top(commit(images, [file(f"{DEEP}/x")]))
        at = os.open(made, os.O_RDONLY)
        for part in DEEP.split("/"):
            at, above = os.open(part, os.O_RDONLY, dir_fd=at), at
            os.close(above)
        assert os.listdir(at) == ["x"]
        os.close(at)

    def test_the_deepest_path(self, images: ImageStore) -> None:
        deep = "a/" * 250
        for stack in (
            [[file(f"{deep}x")]],
            [[directory("r"), symlink("l", "r")], [file(f"l/{deep}x")]],
            [[directory("r", 0o700)], [file(f"r/{deep}x")]],
        ):
            commit(images, *stack)

    def test_orders_to_overlayfs_are_dropped_and_others_set(self, images: ImageStore) -> None:
        orders = xattrs(trusted__overlay__opaque="y", trusted__overlay__redirect="/etc", trusted__mine="1")
        made = top(commit(images, [directory("d", **orders), file("f", **orders), symlink("l", "f", **orders)]))
        for name in ("d", "f", "l"):
            assert os.listxattr(made / name, follow_symlinks=False) == ["trusted.mine"]
        user = xattrs(user__overlay__opaque="y")  # means something to mounts with the option userxattr: ours have not
        assert os.listxattr(top(commit(images, [directory("d", **user)])) / "d") == ["user.overlay.opaque"]

    def test_attributes_of_kinds_that_this_machine_has_not_are_left_out(self, images: ImageStore) -> None:
        assert os.listxattr(top(commit(images, [file("f", **xattrs(nonsense="x"))])) / "f") == []

    def test_opaque_in_odd_places(self, images: ImageStore) -> None:
        made = top(commit(images, [file("f"), directory("d"), opaque("d"), opaque("e"), file("e/x")]))
        for name in ("d", "e"):
            assert os.getxattr(made / name, "trusted.overlay.opaque") == b"y"
        assert_names(made, ["d", "e", "f"])
        aufs = [file(".wh..wh.plnk/1.2", b""), file(".wh..wh.aufs", b""), file("x")]
        assert_names(top(commit(images, aufs)), ["x"])

    def test_deletions_of_what_is_not_there(self, images: ImageStore) -> None:
        commit(images, [file("x")], [whiteout("nothing"), whiteout("no/such/directory"), file("y")])

    @pytest.mark.parametrize("trailing", [bytes(512), bytes(40_000), b"garbage after the end" * 40])
    def test_what_follows_the_end_belongs_to_the_digest_only(self, images: ImageStore, trailing: bytes) -> None:
        assert_names(top(commit(images, tar([file("x")]) + trailing)), ["x"])

    def test_gzip_members_one_after_the_other(self, images: ImageStore) -> None:
        """Legal (RFC 1952, 2.2), and what estargz and parallel compressors write."""
        whole = tar([file("x", os.urandom(5000)), file("y")])
        packed = gzip.compress(whole[:3000]) + gzip.compress(whole[3000:])
        assert_names(top(commit_packed(images, packed, whole)), ["x", "y"])

    def test_zstd_frames_one_after_the_other(self, images: ImageStore) -> None:
        """And frames to be skipped before, between and behind them (RFC 8878, 3.1.2)."""
        whole = tar([file("x", os.urandom(5000)), file("y")])
        skipped = b"\x5e\x2a\x4d\x18\4\0\0\0skip"
        packed = skipped.join([b"", zstd(whole[:3000]), zstd(whole[3000:]), b""])
        assert_names(top(commit_packed(images, packed, whole)), ["x", "y"])

    def test_an_empty_layer(self, images: ImageStore) -> None:
        assert len(commit(images, [file("x")], bytes(1024), [file("y")]).layers) == 3
