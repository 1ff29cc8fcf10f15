"""Layers and images that lie: refused with one clear line, or taken as umoci and Podman take them; nothing is left."""

from __future__ import annotations

import gzip
import itertools
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bento.drivers.image.layers import apply, decompress, directories, seams, unpack
from bento.drivers.image.layers.metadata import LayerMetadata, read_metadata
from bento.drivers.image.store import transfer as transfers
from bento.drivers.image.store.image_store import ImageStore
from bento.drivers.image.store.paths import StorePaths
from bento.errors import BentoError, NotFound, UsageError
from bento.files import tarstream
from bento.model.image import Image

from support import layers
from support.layers import (
    Entry,
    bundle,
    device,
    directory,
    fifo,
    file,
    hardlink,
    opaque,
    sha256,
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
    victims = tmp_path / "store" / "victims"
    (victims / "inner").mkdir(parents=True)
    (victims / "precious").write_text("precious")
    before = sorted(os.listdir(tmp_path / "store"))
    yield
    assert sorted(set(os.listdir(tmp_path / "store")) - {"root"}) == before
    assert sorted(path.name for path in victims.rglob("*")) == ["inner", "precious"]
    there = (victims / "precious").stat()
    assert ((victims / "precious").read_text(), there.st_nlink, there.st_uid) == ("precious", 1, 0)
    assert [path.name for path in root.glob("layers/tmp-*")] == []


def commit(images: ImageStore, *stack: Sequence[Entry] | bytes, **lies: Any) -> Image:
    made = bundle([each if isinstance(each, bytes) else tar(each) for each in stack], **lies)
    with images.ingest() as ingest:
        return ingest.commit(made.put(ingest))


def assert_refused(images: ImageStore, root: Path, match: str, *stack: Sequence[Entry] | bytes, **lies: Any) -> None:
    with pytest.raises(BentoError, match=match) as caught:
        commit(images, *stack, **lies)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    left = [path for path in root.glob("[bl]*s/**/*") if path.is_file() or path.parent.name == "layers"]
    assert left == []


def top(image: Image) -> Path:
    return Path(image.layers[0])


VICTIMS = "{victims}"
SPARSE = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "f",
    "GNU.sparse.realsize": "1" + "0" * 25,
}

UNCLEAR = "here and elsewhere"
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


def record(text: str, kind: bytes = b"x") -> bytes:
    """Return a pax header that says one thing."""
    size = next(n for n in range(len(text), len(text) + 12) if len(f"{n} {text}\n") == n)
    content = f"{size} {text}\n".encode()
    header = tarfile.TarInfo("pax")
    header.type, header.size = kind, size
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-size % 512)


def assert_names(directory: Path, names: list[str]) -> None:
    assert sorted(os.listdir(directory)) == names


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=content, capture_output=True, check=True).stdout


def commit_packed(images: ImageStore, packed: bytes, whole: bytes) -> Image:
    made = bundle([packed], diff_ids=[sha256(whole)], layer={"mediaType": layers.GZIP})
    with images.ingest() as ingest:
        return ingest.commit(made.put(ingest))


class TestLies:
    """What a manifest or a configuration says of a layer, and what it is."""

    @pytest.mark.parametrize("more", [1, -1, 1 << 40])
    def test_of_its_size(self, images: ImageStore, root: Path, more: int) -> None:
        content = tar([file("x")])
        lie = {"size": len(content) + more}
        assert_refused(images, root, "as the manifest says", content, layer=lie)

    def test_of_its_diff_id(self, images: ImageStore, root: Path) -> None:
        assert_refused(images, root, "as the configuration says", [file("x")], diff_ids=[sha256(b"other")])

    def test_of_the_order_of_diff_ids(self, images: ImageStore, root: Path) -> None:
        stack = [tar([file("x")]), tar([file("y")])]
        assert_refused(images, root, "as the configuration says", *stack, diff_ids=[*map(sha256, reversed(stack))])

    def test_of_a_diff_id_that_is_here_already(self, images: ImageStore, root: Path) -> None:
        """What an image is does not depend on what else is here, and files are not had by their DiffID alone."""
        secret, other = tar([file("secret")]), tar([file("other")])
        commit(images, secret)
        with pytest.raises(UsageError, match="as the configuration says"):
            commit(images, other, diff_ids=[sha256(secret)])
        with pytest.raises(UsageError, match="as the configuration says"):
            commit(images, secret, other, diff_ids=[sha256(secret)] * 2)

    def test_another_packing_of_a_layer_that_is_here_is_looked_into_once(
        self, images: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = tar([file("x")])
        packed = gzip.compress(whole)
        commit(images, whole)
        looked: list[int] = []
        real = unpack.hash_unpacked

        def look(fd: int, *words: Any) -> str:
            looked.append(fd)
            return real(fd, *words)

        monkeypatch.setattr("bento.drivers.image.store.layer_pool.hash_unpacked", look)
        for _ in range(2):
            assert len(commit_packed(images, packed, whole).layers) == 1
        assert len(looked) == 1
        (layer,) = images.layers()
        known = read_metadata(StorePaths(root).metadata(Path(layer)))
        assert set(known.archives) == {sha256(whole), sha256(packed)}

    def test_a_blob_that_is_not_its_digest(self, images: ImageStore, root: Path) -> None:
        for victim in range(3):
            made = bundle([tar([file("x")])])
            with images.ingest() as ingest:
                made.put(ingest)
                place = list((root / "layers").glob("tmp-*/blobs/*"))
                digests = list(made.blobs)
                path = next(each for each in place if each.name == digests[victim])
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 1
                path.write_bytes(content)
                with pytest.raises(UsageError, match=r"damaged|another digest"):
                    ingest.commit(made.manifest)
        assert images.layers() == images.idle_blobs() == []

    def test_a_blob_in_the_store_that_was_not_all_written_comes_anew(self, images: ImageStore, root: Path) -> None:
        """A power cut may leave it so, and a disk may lose some."""
        made = bundle([tar([file("x")])])
        commit(images, tar([file("x")]))
        (root / "layers").rename(root / "lost")  # and with it what is known of its archives
        for digest, content in made.blobs.items():
            place = StorePaths(root).blob(digest)
            for damaged in (b"", content[:-1] + b"?"):
                place.unlink()
                place.write_bytes(damaged)
                with images.transfer() as transfer:
                    assert transfer.find(digest) is None
                    (transfer.directory / "come").write_bytes(content)
                    transfer.take(digest, transfer.directory / "come")
                    assert transfer.find(digest) is not None
                assert place.read_bytes() == content

    def test_a_good_blob_that_comes_while_a_bad_one_is_judged_stays(
        self, images: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = bundle([tar([file("x")])])
        commit(images, tar([file("x")]))
        place, good = StorePaths(root).blob(made.manifest), made.blobs[made.manifest]
        place.unlink()
        place.write_bytes(b"bad")
        real = transfers._is_sound

        def judge(path: Path, digest: str) -> bool:
            verdict = real(path, digest)
            if not verdict:
                place.unlink()
                place.write_bytes(good)
            return verdict

        monkeypatch.setattr(transfers, "_is_sound", judge)
        with images.transfer() as transfer:
            found = transfer.find(made.manifest)
            assert found is not None
            assert found.read_bytes() == place.read_bytes() == good

    def test_documents_of_an_image_that_were_lost_come_with_it_anew(self, images: ImageStore, root: Path) -> None:
        made = bundle([tar([file("x")])])
        commit(images, tar([file("x")]))
        for digest in (made.manifest, sha256(made.blobs[next(iter(made.blobs))])):
            StorePaths(root).blob(digest).write_bytes(b"")
        commit(images, tar([file("x")]))
        for digest, content in made.blobs.items():
            place = StorePaths(root).blob(digest)
            assert place.read_bytes() == content
            assert stat.S_IMODE(place.stat().st_mode) == 0o400

    def test_a_layer_that_goes_while_what_lies_on_it_is_looked_at_comes_again(
        self, images: ImageStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No image stands on it yet, and a prune may take it: what was seen without it must not stay."""
        stack = [directory("e", 0o700)], [directory("d", 0o700)], [directory("./"), file("d/x"), file("e/y")]
        victim = top(commit(images, *stack[:2]))
        real = seams.make_seam
        removed: list[Any] = []

        def make_seam(layer: Path, about: LayerMetadata, *words: Any) -> Any:
            if about.implied == ("d", "e") and not removed:
                removed.append(images.remove(lambda: [str(victim)]))
            return real(layer, about, *words)

        monkeypatch.setattr("bento.drivers.image.store.layer_stack.make_seam", make_seam)
        seam = top(commit(images, *stack))
        assert [stat.S_IMODE((seam / name).stat().st_mode) for name in "de"] == [0o700, 0o700]
        assert removed

    def test_a_seam_that_goes_while_what_lies_on_it_is_looked_at_comes_again(
        self, images: ImageStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lower = [directory("d", 0o700), directory("x", 0o711)], [file("d/a")]
        for each in lower:
            commit(images, each)
        victim = top(commit(images, *lower))
        real = seams.make_seam
        removed: list[Any] = []

        def make_seam(layer: Path, about: LayerMetadata, *words: Any) -> Any:
            if about.implied != ("d", "x") or removed:
                return real(layer, about, *words)
            removed.append(images.remove(lambda: [str(victim)]))
            made = real(layer, about, *words)
            commit(images, *lower)
            return made

        monkeypatch.setattr("bento.drivers.image.store.layer_stack.make_seam", make_seam)
        seam = top(commit(images, *lower, [directory("./"), file("x/c"), file("d/b")]))
        assert removed
        assert stat.S_IMODE((seam / "d").stat().st_mode) == 0o700

    def test_a_blob_that_is_missing(self, images: ImageStore, root: Path) -> None:
        made = bundle([tar([file("x")])])
        for missing in made.blobs:
            with images.ingest() as ingest:
                for digest, content in made.blobs.items():
                    if digest != missing:
                        ingest.add_bytes(content)
                with pytest.raises(NotFound, match="missing"):
                    ingest.commit(made.manifest)
        assert images.layers() == images.idle_blobs() == []

    @pytest.mark.parametrize("damage", ["cut", "flipped", "cut-after-tar"])
    def test_a_damaged_stream(self, images: ImageStore, damage: str) -> None:
        whole = tar([file("x", os.urandom(100_000)), file("y")])
        for pack in (gzip.compress, zstd):
            packed = bytearray(pack(whole))
            if damage == "cut":
                del packed[len(packed) // 2 :]
            elif damage == "cut-after-tar":
                del packed[-3:]
            else:
                packed[len(packed) // 2] ^= 0x10
            with pytest.raises(UsageError) as caught:
                commit_packed(images, bytes(packed), whole)
            assert "\n" not in str(caught.value)
            assert images.layers() == images.idle_blobs() == []

    def test_garbage_behind_a_compressed_stream(
        self, images: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Behind gzip's it is ignored, as Docker does, by gzip and by pigz; behind zstd's it is refused."""
        whole = tar([file("x")])
        with pytest.raises(UsageError):
            commit_packed(images, zstd(whole) + b"garbage" * 10, whole)
        assert images.layers() == images.idle_blobs() == []
        commit_packed(images, gzip.compress(whole) + b"garbage" * 10, whole)
        monkeypatch.setattr(decompress, "_DECOMPRESSORS", {"gzip": (("gzip",), "gzip")})
        commit_packed(ImageStore(root / "other"), gzip.compress(whole) + b"garbage" * 10, whole)

    def test_a_file_that_is_shorter_than_it_says(self, images: ImageStore, root: Path) -> None:
        info = tarfile.TarInfo("x")
        info.size = 1 << 40
        assert_refused(images, root, "ends in the middle", info.tobuf() + bytes(2048))


class TestBombs:
    def test_too_many_entries(self, images: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tarstream, "ENTRIES_MAX", 20)
        commit(ImageStore(root / "fits"), [file(str(number)) for number in range(20)])
        assert_refused(images, root, "more than 20 entries", [file(str(number)) for number in range(21)])

    def test_more_directories_than_memory_has_room_for(
        self, images: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(directories, "MEMORY_MAX_BYTES", 100_000)
        commit(ImageStore(root / "fits"), [directory(f"d{number}") for number in range(200)])
        assert_refused(images, root, "directories", [directory(f"d{number}") for number in range(300)])
        assert_refused(images, root, "directories", [whiteout(f"d{number}") for number in range(300)])
        attributes = xattrs(user__a="x" * 60_000)
        assert_refused(images, root, "attributes", [directory(f"d{number}", **attributes) for number in range(2)])

    def test_more_files_than_memory_has_room_for_through_links(
        self, images: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apply, "MEMORY_MAX_BYTES", 100_000)
        lower = [directory("r"), symlink("l", "r")]
        assert len(commit(images, lower, [file(f"l/{number}") for number in range(200)]).layers) == 3
        with pytest.raises(UsageError, match="more files than any image needs"):
            commit(images, lower, [file(f"l/{number}") for number in range(300)])

    def test_links_that_are_replaced_by_way_of_others(self, images: ImageStore, root: Path) -> None:
        """What a layer, alone, has in one place, and belongs to another, cannot always be hidden."""
        below = [directory("q/r"), symlink("L", "q/r"), directory("P"), file("P/old"), symlink("M", "P")]
        for odd in (file("L/s/P"), whiteout("L/s/P")):
            with pytest.raises(UsageError, match=UNCLEAR):
                commit(images, below, [symlink("L/s", ".."), odd, file("M/x")])
        below = [directory("q/r"), symlink("L", "q/r"), directory("b/d"), file("b/d/old"), directory("q/b")]
        with pytest.raises(UsageError, match=UNCLEAR):
            commit(images, below, [file("b/y"), symlink("L/s", "../b"), file("L/s/d/x")])

    def test_too_many_bytes(self, images: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(unpack, "STREAM_MAX_BYTES", 1 << 20)
        monkeypatch.setattr(unpack, "LOOK_EVERY_BYTES", 1 << 16)
        whole = tar([file("zeros", bytes(8 << 20))])
        made = bundle([gzip.compress(whole)], diff_ids=[sha256(whole)], layer={"mediaType": layers.GZIP})
        with images.ingest() as ingest, pytest.raises(UsageError, match="has more than"):
            ingest.commit(made.put(ingest))
        assert images.layers() == images.idle_blobs() == []

    def test_many_times_its_size(self, images: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(unpack, "BOMB_BYTES", 1 << 20)
        monkeypatch.setattr(unpack, "LOOK_EVERY_BYTES", 1 << 16)
        whole = tar([file("zeros", bytes(8 << 20))])
        for pack in (gzip.compress, zstd):
            with pytest.raises(UsageError, match="more than 500 times"):
                commit_packed(images, pack(whole), whole)
        assert images.layers() == images.idle_blobs() == []
        noise = tar([file("noise", os.urandom(8 << 20))])
        assert len(commit_packed(images, gzip.compress(noise, 1), noise).layers) == 1

    def test_a_sparse_file_larger_than_any_disk_takes_no_room(self, images: ImageStore, tmp_path: Path) -> None:
        with open(tmp_path / "huge", "wb") as huge:
            huge.truncate(1 << 40)
        made = subprocess.run(
            ["tar", "-C", tmp_path, "--sparse", "-cf", "-", "huge"], check=True, capture_output=True
        ).stdout
        there = (top(commit(images, made)) / "huge").stat()
        assert (there.st_size, there.st_blocks) == (1 << 40, 0)

    @pytest.mark.parametrize("texts", [[f"k{number:05}=v" for number in range(300)], ["a=" + "x" * 99_000] * 50])
    def test_too_much_said_of_all_entries(self, images: ImageStore, root: Path, texts: list[str]) -> None:
        """tarfile keeps it, and copies it for each of them."""
        whole = b"".join(record(text, b"g") for text in texts) + tar([file("x")])
        assert_refused(images, root, "all its entries|header", whole)

    def test_an_image_of_more_files_than_the_disk_takes(self, images: ImageStore, root: Path, monkeypatch: Any) -> None:
        real = os.statvfs
        monkeypatch.setattr(unpack, "LOOK_EVERY_ENTRIES", 8)
        monkeypatch.setattr(unpack, "_FREE_FILES", real(root.parent).f_favail + (1 << 40))  # others free some meanwhile
        assert_refused(images, root, "inodes are free", [file(str(number)) for number in range(8)])
        commit(images, [file("x")])

    def test_too_large_a_header(self, images: ImageStore, root: Path) -> None:
        assert_refused(images, root, "header", [file("f", pax_headers={"comment": "x" * (5 << 20)})])

    def test_too_many_layers(self, images: ImageStore, root: Path) -> None:
        empty = layers.descriptor(layers.PLAIN, bytes(1024))
        assert_refused(images, root, "500", bytes(1024), manifest={"layers": [empty] * 501})

    def test_an_image_larger_than_the_disk(self, tmp_path: Path) -> None:
        """Its blob has room, what it unpacks to has not: said before the disk is full, and nothing is left."""
        code = """
import gzip, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2].split(":")
from bento.drivers.image.layers.metadata import read_metadata
from bento.drivers.image.store.image_store import ImageStore
from bento.errors import StorageUnusable
from support.layers import GZIP, bundle, file, sha256, tar
whole = tar([file(str(number), bytes(1 << 20)) for number in range(130)])
made = bundle([gzip.compress(whole, 1)], diff_ids=[sha256(whole)], layer={"mediaType": GZIP})
images = ImageStore(Path(sys.argv[1]))
try:
    with images.ingest() as ingest:
        ingest.commit(made.put(ingest))
except StorageUnusable as error:
    assert os.statvfs(sys.argv[1]).f_bavail > 100 << 8, "it was not given back"
    print(error, images.layers(), images.idle_blobs(), images.leftovers())
"""
        (tmp_path / "small").mkdir()
        small = str(tmp_path / "small")
        words = [sys.executable, "-c", code, small, ":".join(sys.path)]
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=128m none "$0" && exec "$@"', small, *words],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "64 MiB are free" in done.stdout
        assert done.stdout.strip().endswith("[] [] []")
