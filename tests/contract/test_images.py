"""Images from directories and archives: everything a root filesystem has, and nothing written beside it."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bento.drivers.image.base import ImageDriver
from bento.drivers.image.store.image_store import ImageStore
from bento.drivers.image.store.paths import StorePaths
from bento.errors import BentoError, MissingTool, NotFound, UsageError
from bento.model.image import Image, ImageConfig
from bento.testing.images import FakeImages

CONFIG = ImageConfig(command=("/bin/sh",))
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep, capabilities(7)
COMPRESSORS = {"gzip": "gz", "bzip2": "bz2", "xz": "xz", "zstd": "zst"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def images(root: Path) -> ImageStore:
    return ImageStore(root)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with everything tar has a type for."""
    path = tmp_path / "source"
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "tool").write_bytes(b"#!/bin/sh\n")
    (path / "bin" / "tool").chmod(0o4755)
    os.setxattr(path / "bin" / "tool", "security.capability", CAPABILITY)
    os.setxattr(path / "bin" / "tool", "trusted.mine", b"1")
    os.setxattr(path / "bin" / "tool", "trusted.overlay.redirect", b"/etc")
    os.link(path / "bin" / "tool", path / "bin" / "alias")
    (path / "tmp").mkdir()
    (path / "tmp").chmod(0o1777)
    (path / "etc").symlink_to("/somewhere/else")
    os.mkfifo(path / "fifo", 0o640)
    os.mknod(path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(path / "block", stat.S_IFBLK | 0o600, os.makedev(7, 99))
    with open(path / "sparse", "wb") as file:
        file.truncate(20_000_000)
        file.seek(10_000_000)
        file.write(b"x")
    (path / os.fsdecode(b"odd\xff\n name")).write_text("odd")
    os.chown(path / "fifo", 1234, 4321)
    path.chmod(0o751)
    return path


def tree(path: Path) -> dict[str, tuple[object, ...]]:
    """What matters of every file below ``path``."""
    seen: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(path):
        for name in [".", *names, *files]:
            each = Path(directory, name)
            info = each.lstat()
            content: object = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(each)
            elif stat.S_ISREG(info.st_mode):
                content = (each.read_bytes(), info.st_nlink)
            attributes = {n: os.getxattr(each, n) for n in os.listxattr(each, follow_symlinks=False)}
            attributes.pop("trusted.overlay.redirect", None)
            seen[str(each.relative_to(path))] = (
                info.st_mode,
                info.st_uid,
                info.st_gid,
                info.st_rdev,
                int(info.st_mtime),
                content,
                tuple(sorted(attributes.items())),
            )
    return seen


def archive(path: Path, members: list[tuple[str, dict[str, object], bytes]]) -> Path:
    """Write a tar archive of members (name, fields of TarInfo, content)."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, fields, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))
    return path


def file(name: str, content: bytes = b"x") -> tuple[str, dict[str, object], bytes]:
    return name, {"mode": 0o644}, content


def link(name: str, target: str, *, is_hard: bool = False) -> tuple[str, dict[str, object], bytes]:
    return name, {"type": tarfile.LNKTYPE if is_hard else tarfile.SYMTYPE, "linkname": target}, b""


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return archive(tmp_path / "plain.tar", [file("bin/sh", b"#!"), file("etc/passwd", b"root")])


@pytest.fixture
def stdin() -> Iterator[Callable[[int], None]]:
    """Put another descriptor in the place of standard input."""
    saved = os.dup(0)

    def put(fd: int) -> None:
        os.dup2(fd, 0)

    yield put
    os.dup2(saved, 0)
    os.close(saved)


def is_empty(root: Path) -> bool:
    return not any(path.is_file() or path.parent.name == "layers" for path in root.glob("[bl]*s/**/*"))


class TestEveryDriver:
    @pytest.fixture(params=["rootfs", "fake"])
    def each(self, request: pytest.FixtureRequest, root: Path) -> ImageDriver:
        return ImageStore(root) if request.param == "rootfs" else FakeImages()

    def test_import_and_remove(self, each: ImageDriver, source: Path) -> None:
        image = each.import_rootfs(source, CONFIG)
        assert (image.names, image.config) == ((), CONFIG)
        assert image.id.startswith("sha256:")
        assert len(image.id) == 71
        assert Path(image.layers[0], "bin", "tool").exists()
        assert each.layers() == list(image.layers)
        assert each.leftovers() == each.remove_leftovers() == []
        assert each.remove(lambda: image.layers).things == image.layers
        assert each.remove(lambda: image.layers).things == ()
        assert each.layers() == []
        assert (source / "bin" / "tool").exists()

    def test_the_layer_is_in_place_when_it_is_recorded_and_what_is_unused_goes(
        self, each: ImageDriver, source: Path, tmp_path: Path
    ) -> None:
        old = each.import_rootfs(source, CONFIG)
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "file").touch()
        recorded: list[Image] = []

        def record(image: Image) -> tuple[str, ...]:
            assert Path(image.layers[0], "file").exists()
            recorded.append(image)
            return old.layers

        new = each.import_rootfs(tmp_path / "new", CONFIG, record)
        assert recorded == [new]
        assert each.layers() == list(new.layers)

    def test_an_empty_directory_is_no_image(self, each: ImageDriver, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="empty"):
            each.import_rootfs(tmp_path / "empty", CONFIG)


class TestDirectories:
    def test_everything_comes_along(self, images: ImageStore, source: Path) -> None:
        image = images.import_rootfs(source, CONFIG)
        layer = Path(image.layers[0])
        assert tree(layer) == tree(source)
        assert (layer / "sparse").stat().st_blocks < 1000
        assert "trusted.overlay.redirect" not in os.listxattr(layer / "bin" / "tool")
        assert image.size_bytes < 1_000_000

    def test_the_same_files_are_the_same_layer(self, images: ImageStore, source: Path, root: Path) -> None:
        first = images.import_rootfs(source, CONFIG)
        (source / "bin" / "tool").read_bytes()
        os.chown(source / "null", 0, 0)  # another change time
        second = images.import_rootfs(source, CONFIG)
        assert (first.layers, first.layer_digests) == (second.layers, second.layer_digests)
        other = images.import_rootfs(source, ImageConfig())
        assert len({first.id, second.id, other.id}) == 3  # each says when it was made
        assert other.layers == first.layers
        (source / "new").touch()
        assert images.import_rootfs(source, CONFIG).layers != first.layers
        assert len(images.layers()) == 2

    def test_sockets_are_left_out(self, images: ImageStore, source: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(source / "socket"))
            image = images.import_rootfs(source, CONFIG)
        assert not Path(image.layers[0], "socket").exists()

    def test_bentos_own_root_is_left_out(self, source: Path) -> None:
        inside = source / "var" / "lib" / "be*nto"
        images = ImageStore(inside)
        (source / "var" / "lib" / "be-nto").mkdir(parents=True)
        layer = Path(images.import_rootfs(source, CONFIG).layers[0])
        assert os.listdir(layer / "var" / "lib") == ["be-nto"]
        with pytest.raises(UsageError, match="own root"):
            images.import_rootfs(inside, CONFIG)

    def test_other_filesystems_are_left_out(self, tmp_path: Path, source: Path) -> None:
        code = """
import os, sys
from pathlib import Path
from bento.drivers.image.store.image_store import ImageStore
from bento.drivers.image.store.paths import StorePaths
from bento.model.image import ImageConfig
image = ImageStore(Path(sys.argv[1])).import_rootfs(Path(sys.argv[2]), ImageConfig())
print(os.listdir(image.layers[0] + "/tmp"))
"""
        script = 'mount -t tmpfs tmpfs "$2/tmp" && touch "$2/tmp/file" && exec "$3" -c "$4" "$1" "$2"'
        assert in_namespace(script, tmp_path / "root", source, sys.executable, code) == "[]"


class TestArchives:
    def test_gnu_tar_with_everything(self, images: ImageStore, source: Path, tmp_path: Path) -> None:
        made = tmp_path / "all.tar"
        subprocess.run(
            ["tar", "-C", source, "--xattrs", "--xattrs-include=*", "--acls", "--sparse", "-cf", made, "."], check=True
        )
        layer = Path(images.import_rootfs(made, CONFIG).layers[0])
        assert tree(layer) == tree(source)
        assert "trusted.overlay.redirect" not in os.listxattr(layer / "bin" / "tool")

    @pytest.mark.parametrize("program", COMPRESSORS)
    def test_compressed_is_the_same_layer(self, images: ImageStore, plain: Path, program: str) -> None:
        expected = images.import_rootfs(plain, CONFIG)
        subprocess.run([program, "-q", "-k", plain], check=True)
        packed = plain.with_name(f"plain.tar.{COMPRESSORS[program]}")
        odd = packed.rename(packed.with_name("no-suffix"))
        assert images.import_rootfs(odd, CONFIG).layers == expected.layers

    @pytest.mark.parametrize("program", ["cat", *COMPRESSORS])
    def test_standard_input(
        self, images: ImageStore, plain: Path, program: str, stdin: Callable[[int], None], root: Path
    ) -> None:
        expected = images.import_rootfs(plain, CONFIG)
        with subprocess.Popen([program, *(["-c"] if program != "cat" else []), plain], stdout=subprocess.PIPE) as maker:
            assert maker.stdout is not None
            stdin(maker.stdout.fileno())
            assert images.import_rootfs(Path("-"), CONFIG).layers == expected.layers
        with plain.open("rb") as opened:
            stdin(opened.fileno())
            assert images.import_rootfs(Path("-"), CONFIG).layers == expected.layers
        assert len(images.layers()) == 1

    def test_a_pipe_by_name(self, images: ImageStore, plain: Path) -> None:
        with subprocess.Popen(["gzip", "-c", plain], stdout=subprocess.PIPE) as maker:
            assert maker.stdout is not None
            image = images.import_rootfs(Path(f"/dev/fd/{maker.stdout.fileno()}"), CONFIG)
        assert Path(image.layers[0], "bin", "sh").read_bytes() == b"#!"

    def test_a_root_without_an_entry_can_be_entered(self, images: ImageStore, plain: Path) -> None:
        old = os.umask(0o077)
        try:
            image = images.import_rootfs(plain, CONFIG)
        finally:
            os.umask(old)
        assert stat.S_IMODE(os.stat(image.layers[0]).st_mode) == 0o755
        assert stat.S_IMODE(os.stat(Path(image.layers[0]).parent).st_mode) == 0o700

    def test_many_complaints_do_not_block(self, images: ImageStore, tmp_path: Path, root: Path) -> None:
        bad = archive(tmp_path / "bad.tar", [file(f"../{number}" + "x" * 90) for number in range(3000)])
        with pytest.raises(UsageError, match=r"\.\."):
            images.import_rootfs(bad, CONFIG)
        assert is_empty(root)


class TestEscapes:
    @pytest.mark.parametrize(
        "members",
        [
            [file("ok"), file("../escaped")],
            [file("ok"), file("a/../../escaped")],
            [link("out", ".."), file("out/escaped")],
            [link("out", "{tmp}"), file("out/escaped")],
            [link("a", "."), link("a/b", ".."), file("a/b/escaped")],
            [link("a/b", "../.."), link("c", "a/b"), file("c/escaped")],
            [link("out", "{tmp}/precious"), file("out", b"overwritten")],
            [link("out", "{tmp}/precious", is_hard=True), file("out", b"overwritten")],
            [link("out", "../../../precious", is_hard=True), file("out", b"overwritten")],
            [link("dir", "{tmp}"), link("hard", "dir/precious", is_hard=True), file("hard", b"overwritten")],
            [file("{tmp}/escaped")],
        ],
    )
    def test_nothing_is_written_or_linked_outside(
        self, images: ImageStore, tmp_path: Path, members: list[tuple[str, dict[str, object], bytes]]
    ) -> None:
        (tmp_path / "precious").write_text("precious")
        there = [
            (
                name.replace("{tmp}", str(tmp_path)),
                {k: v.replace("{tmp}", str(tmp_path)) if isinstance(v, str) else v for k, v in fields.items()},
                content,
            )
            for name, fields, content in members
        ]
        before = sorted(os.listdir(tmp_path))
        made = archive(tmp_path / "evil.tar", there)
        try:
            image: Image | None = images.import_rootfs(made, CONFIG)
        except UsageError:
            image = None
        assert sorted(os.listdir(tmp_path)) == sorted([*before, "evil.tar", "root"])
        assert (tmp_path / "precious").read_text() == "precious"
        assert (tmp_path / "precious").stat().st_nlink == 1
        assert set(os.listdir(tmp_path / "root")) <= {"blobs", "layers", "layers.lock"}
        assert images.layers() == (list(image.layers) if image else [])
        assert images.leftovers() == []

    def test_orders_to_overlayfs_are_not_taken(self, images: ImageStore, tmp_path: Path) -> None:
        orders = {"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.mine": "1"}
        made = archive(tmp_path / "evil.tar", [("dir", {"type": tarfile.DIRTYPE, "pax_headers": orders}, b"")])
        image = images.import_rootfs(made, CONFIG)
        assert os.listxattr(Path(image.layers[0], "dir")) == ["user.mine"]


class TestBadInput:
    def test_what_is_not_there(self, images: ImageStore, tmp_path: Path, root: Path) -> None:
        with pytest.raises(NotFound, match="nowhere"):
            images.import_rootfs(tmp_path / "nowhere", CONFIG)
        assert is_empty(root)

    @pytest.mark.parametrize(
        "content",
        [b"", b"x", b"text " * 5000, bytes(10240), b"\x1f\x8b" + b"x" * 99, b"BZh9garbage", b"\xfd7zXZ\0junk"],
    )
    def test_what_is_no_archive(self, images: ImageStore, tmp_path: Path, root: Path, content: bytes) -> None:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(UsageError, match="file"):
            images.import_rootfs(tmp_path / "file", CONFIG)
        assert is_empty(root)

    @pytest.mark.parametrize("program", ["cat", *COMPRESSORS])
    def test_a_truncated_archive(self, images: ImageStore, tmp_path: Path, root: Path, program: str) -> None:
        noise = os.urandom(300_000)
        whole = archive(tmp_path / "whole", [file("a", noise), file("b", noise)])
        packed = subprocess.run(
            [program, *(["-c"] if program != "cat" else []), whole], check=True, capture_output=True
        )
        (tmp_path / "cut").write_bytes(packed.stdout[: len(packed.stdout) * 2 // 3])
        with pytest.raises(UsageError, match="cut"):
            images.import_rootfs(tmp_path / "cut", CONFIG)
        assert is_empty(root)

    def test_a_compressed_text(self, images: ImageStore, tmp_path: Path, root: Path) -> None:
        (tmp_path / "text").write_text("no archive " * 1000)
        subprocess.run(["gzip", tmp_path / "text"], check=True)
        with pytest.raises(UsageError, match="tar archive"):
            images.import_rootfs(tmp_path / "text.gz", CONFIG)
        assert is_empty(root)

    @pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
    def test_devices_are_not_read(
        self, images: ImageStore, root: Path, device: str, stdin: Callable[[int], None]
    ) -> None:
        with pytest.raises(UsageError, match=device):
            images.import_rootfs(Path(device), CONFIG)
        with open(device, "rb") as opened:
            stdin(opened.fileno())
            with pytest.raises(UsageError, match="standard input"):
                images.import_rootfs(Path("-"), CONFIG)
        assert is_empty(root)

    def test_a_missing_decompressor_names_its_package(
        self, images: ImageStore, plain: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subprocess.run(["zstd", "-q", plain], check=True)

        def missing(name: str, *, package: str) -> Path:
            raise MissingTool(f"{name} is missing", hint=f"apt-get install {package}")

        monkeypatch.setattr("bento.drivers.image.layers.decompress.find_program", missing)
        with pytest.raises(MissingTool, match="zstd"):
            images.import_rootfs(plain.with_name("plain.tar.zst"), CONFIG)
        assert is_empty(root)

    @pytest.mark.parametrize("kind", ["directory", "archive", "pipe"])
    def test_a_full_disk(self, tmp_path: Path, kind: str) -> None:
        (tmp_path / "small").mkdir()
        noise = os.urandom(600_000)
        big = archive(tmp_path / "big.tar", [file(f"{number}", noise) for number in range(5)])
        (tmp_path / "directory").mkdir()
        (tmp_path / "directory" / "noise").write_bytes(noise * 4)
        code = """
import os, sys
from pathlib import Path
from bento.drivers.image.store.image_store import ImageStore
from bento.drivers.image.store.paths import StorePaths
from bento.errors import BentoError
from bento.model.image import ImageConfig
try:
    ImageStore(Path(sys.argv[1])).import_rootfs(Path(sys.argv[2]), ImageConfig())
except BentoError as error:
    left = [os.listdir(sys.argv[1] + place) for place in ("/layers", "/blobs/sha256")]
    print(error.code, "full" in str(error), *left)
"""
        script = 'mount -t tmpfs -o size=1m tmpfs "$1" && gzip -c "$5" | "$3" -c "$4" "$1" "$2"'
        given = {"directory": tmp_path / "directory", "archive": big, "pipe": Path("-")}[kind]
        answer = in_namespace(script, tmp_path / "small", given, sys.executable, code, big)
        assert answer == "storage-unusable True [] []"


def before_each_lock(root: Path, happens: Callable[[], object]) -> ImageStore:
    """A store in which something else happens just before the lock on records and things is taken."""

    class Paths(StorePaths):
        def gc_lock(self, kind: int):
            happens()
            return super().gc_lock(kind)

    store = ImageStore(root)
    store._paths = Paths(root)
    return store


class TestInterruption:
    def test_a_killed_import_leaves_one_directory_that_doctor_removes(
        self, images: ImageStore, tmp_path: Path, root: Path
    ) -> None:
        code = """
import sys
from pathlib import Path
from bento.drivers.image.store.image_store import ImageStore
from bento.drivers.image.store.paths import StorePaths
from bento.model.image import ImageConfig
ImageStore(Path(sys.argv[1])).import_rootfs(Path("-"), ImageConfig())
"""
        importer = subprocess.Popen(
            [sys.executable, "-c", code, str(root)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
        )
        assert importer.stdin is not None
        many = archive(tmp_path / "many.tar", [file(f"bin/{number}") for number in range(100)])
        importer.stdin.write(many.read_bytes()[:-20_000])  # more than the 10 KiB that tar reads at once
        importer.stdin.flush()
        deadline = time.monotonic() + 20
        while not list(root.glob("layers/tmp-*/blobs/*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert images.leftovers() == images.remove_leftovers() == []  # it is alive
        importer.kill()
        importer.wait()
        importer.stdin.close()
        assert images.layers() == []
        assert len(images.remove_leftovers()) == 1
        assert is_empty(root)

    def test_ctrl_c_leaves_nothing(self, plain: Path, root: Path, images: ImageStore) -> None:
        def interrupt(image: Image) -> tuple[str, ...]:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            images.import_rootfs(plain, CONFIG, interrupt)
        assert is_empty(root)

    def test_two_imports_of_the_same_at_once(self, plain: Path, root: Path, images: ImageStore) -> None:
        late = before_each_lock(root, lambda: images.import_rootfs(plain, CONFIG)).import_rootfs(plain, CONFIG)
        assert images.layers() == list(late.layers)
        assert Path(late.layers[0], "bin", "sh").exists()


class TestRecords:
    """Layers come and go only while no command is between finding an image and recording what stands on it."""

    def test_an_image_that_cannot_be_recorded_leaves_no_layer(
        self, images: ImageStore, plain: Path, root: Path
    ) -> None:
        def record(image: Image) -> tuple[str, ...]:
            raise UsageError("no")

        with pytest.raises(UsageError):
            images.import_rootfs(plain, CONFIG, record)
        assert is_empty(root)
        kept = images.import_rootfs(plain, CONFIG)
        with pytest.raises(UsageError):
            images.import_rootfs(plain, CONFIG, record)
        assert images.layers() == list(kept.layers)

    def test_a_layer_that_goes_while_it_is_imported_again_is_put_back(
        self, images: ImageStore, plain: Path, root: Path
    ) -> None:
        first = images.import_rootfs(plain, CONFIG)

        def take_away() -> None:
            if not gone:
                gone.extend(images.remove(lambda: (*first.layers, *first.blobs)).things)

        gone: list[str] = []
        again = before_each_lock(root, take_away).import_rootfs(plain, CONFIG)
        assert gone == [*first.layers, *first.blobs]
        assert list(again.layers) == images.layers()
        assert set(again.blobs) == set(images.idle_blobs())

    @pytest.mark.parametrize("change", ["import", "remove"])
    def test_changes_wait_for_those_that_keep(self, images: ImageStore, plain: Path, change: str) -> None:
        image = images.import_rootfs(plain, CONFIG)
        told: list[str] = []

        def changed(_: Image | None = None) -> tuple[str, ...]:
            told.append("changed")
            return image.layers if change == "remove" else ()

        def change_it() -> None:
            if change == "import":
                images.import_rootfs(plain, CONFIG, changed)
            else:
                images.remove(changed)

        thread = threading.Thread(target=change_it)
        with images.gc_lock(), images.gc_lock():
            thread.start()
            thread.join(0.3)
            assert Path(image.layers[0]).exists()
            told.append("kept")
        thread.join(20)
        assert told == ["kept", "changed"]


def test_remove_leaves_foreign_layers_alone(images: ImageStore, source: Path, root: Path) -> None:
    kept = images.import_rootfs(source, CONFIG)
    for layer in ("/", str(source), str(root), str(root / "layers"), str(root / "layers" / "..")):
        assert images.remove(partial(list, [layer])).things == ()
    assert (source / "bin").exists()
    assert Path(kept.layers[0]).exists()


def in_namespace(script: str, *arguments: object) -> str:
    """Run a shell script in a mount namespace of its own; return what it prints."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, "sh", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_failure_is_one_of_bentos(images: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(BentoError, match="root"):
        images.import_rootfs(tmp_path, CONFIG)
