"""Manifests and configurations that lie about layers, and archives that are bombs: refused, and nothing is left."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from bento.drivers.image.layers import apply, decompress, directories, seams, unpack
from bento.drivers.image.layers.metadata import LayerMetadata, read_metadata
from bento.drivers.image.store import transfer as transfers
from bento.drivers.image.store.image_store import ImageStore
from bento.drivers.image.store.paths import StorePaths
from bento.errors import NotFound, UsageError
from bento.files import tarstream

from support import hostile, layers
from support.hostile import assert_refused, commit, commit_packed, record, top, zstd
from support.layers import (
    bundle,
    directory,
    file,
    sha256,
    symlink,
    tar,
    whiteout,
    xattrs,
)


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


UNCLEAR = "here and elsewhere"


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
