"""Root filesystems: one suite for the overlay and the pretended one; then what only the kernel can do."""

from __future__ import annotations

import os
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bento.drivers.storage.base import Holder, StorageDriver
from bento.drivers.storage.overlay import OverlayStorage
from bento.errors import BentoError, CleanupFailed, StorageUnusable
from bento.files.tree import remove_tree
from bento.kernel.mountinfo import mount_table
from bento.kernel.namespace import in_private_mounts
from bento.testing.storage import FakeStorage

ID = "c" * 64


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer"
    (path / "etc").mkdir(parents=True)
    (path / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    return path


@pytest.fixture
def storage(tmp_path: Path) -> OverlayStorage:
    return OverlayStorage(tmp_path / "root")


@pytest.fixture(params=["overlay", "fake"])
def each(request: pytest.FixtureRequest, tmp_path: Path) -> StorageDriver:
    root = tmp_path / "root"
    made: dict[str, StorageDriver] = {"overlay": OverlayStorage(root), "fake": FakeStorage(root)}
    return made[request.param]


class TestEveryStorage:
    def test_prepare_makes_a_bundle_and_is_idempotent(self, each: StorageDriver) -> None:
        bundle = each.prepare(ID)
        (bundle / "config.json").write_text("{}")
        assert each.prepare(ID) == bundle == each.bundle(ID)
        assert (bundle / "config.json").exists()
        assert each.ids() == [ID]

    def test_remove_is_idempotent(self, each: StorageDriver) -> None:
        bundle = each.prepare(ID)
        (bundle / "upper" / "file").write_text("x")
        each.remove(ID)
        each.remove(ID)
        assert not bundle.exists()
        assert each.ids() == []

    def test_a_fresh_root_filesystem_is_not_held(self, each: StorageDriver) -> None:
        assert not each.is_held(ID)
        each.prepare(ID)
        assert not each.is_held(ID)
        assert each.holders(ID) == []

    def test_ids_of_a_root_that_is_not_there(self, each: StorageDriver) -> None:
        assert each.ids() == []

    def test_a_missing_layer_is_named(self, each: StorageDriver, tmp_path: Path) -> None:
        each.prepare(ID)
        with pytest.raises(StorageUnusable, match="gone"):
            in_private_mounts(lambda: each.mount(ID, (str(tmp_path / "gone"),)))

    def test_check_is_content_here(self, each: StorageDriver) -> None:
        each.check()
        assert each.ids() == []


def test_memory_storage_holds_until_let_go(tmp_path: Path, layer: Path) -> None:
    storage = FakeStorage(tmp_path)
    storage.prepare(ID)
    storage.mount(ID, (str(layer),))
    storage.held[ID].append(Holder(1, "sh"))
    assert storage.is_held(ID)
    assert storage.holders(ID) == [Holder(1, "sh")]
    storage.let_go(ID)
    assert not storage.is_held(ID)
    storage.remove(ID)
    storage.failure = StorageUnusable("full")
    with pytest.raises(StorageUnusable):
        storage.prepare(ID)


class TestMounted:
    def test_writes_go_to_the_upper_directory_and_the_host_sees_no_mount(
        self, storage: OverlayStorage, layer: Path
    ) -> None:
        bundle = storage.prepare(ID)

        def use() -> tuple[str, bool]:
            rootfs = storage.mount(ID, (str(layer),))
            text = (rootfs / "etc" / "passwd").read_text()
            (rootfs / "new").write_text("x")
            return text, any(str(bundle) in entry.target for entry in mount_table(os.getpid()))

        assert in_private_mounts(use) == ((layer / "etc" / "passwd").read_text(), False)
        assert (bundle / "upper" / "new").read_text() == "x"
        assert not (layer / "new").exists()
        assert os.listdir(bundle / "rootfs") == []
        assert is_released(storage)

    def test_upper_layers_win_and_there_may_be_many(self, storage: OverlayStorage, tmp_path: Path) -> None:
        layers = []
        for number in range(64):
            path = tmp_path / "layers" / f"{number:064}"
            path.mkdir(parents=True)
            (path / "who").write_text(str(number))
            (path / str(number)).touch()
            layers.append(str(path))
        storage.prepare(ID)
        label, count = in_private_mounts(
            lambda: (
                (storage.mount(ID, tuple(layers)) / "who").read_text(),
                len(os.listdir(storage.bundle(ID) / "rootfs")),
            )
        )
        assert (label, count) == ("0", 65)

    def test_the_hosts_own_root_is_a_layer(self, storage: OverlayStorage) -> None:
        bundle = storage.prepare(ID)

        def use() -> bool:
            rootfs = storage.mount(ID, ("/",))
            (rootfs / "bento-was-here").touch()
            return (rootfs / "etc").is_dir()

        assert in_private_mounts(use)
        assert (bundle / "upper" / "bento-was-here").exists()
        assert not Path("/bento-was-here").exists()

    def test_the_images_root_decides_owner_and_mode_at_first(self, storage: OverlayStorage, layer: Path) -> None:
        layer.chmod(0o1751)
        os.chown(layer, 12, 34)
        storage.prepare(ID)

        def look() -> tuple[int, int, int]:
            seen = storage.mount(ID, (str(layer),)).stat()
            return stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid

        assert in_private_mounts(look) == (0o1751, 12, 34)
        storage.bundle(ID).joinpath("upper").chmod(0o700)  # as a container may do with its /
        assert in_private_mounts(look) == (0o700, 12, 34)

    @pytest.mark.parametrize("name", ["a,b:c\\d", "x" * 200 + "/" + "y" * 200, "with space", "\u00fc"])
    def test_roots_with_difficult_names(self, tmp_path: Path, layer: Path, name: str) -> None:
        storage = OverlayStorage(tmp_path / name)
        storage.check()
        storage.prepare(ID)

        def use() -> bool:
            (storage.mount(ID, (str(layer),)) / "new").touch()
            return storage.is_held(ID)

        assert in_private_mounts(use)
        assert is_released(storage)
        storage.remove(ID)


def is_released(storage: OverlayStorage) -> bool:
    """Wait for the kernel: a namespace goes when its last thread has left, a moment after its work was done."""
    deadline = time.monotonic() + 10
    while storage.is_held(ID) and time.monotonic() < deadline:
        time.sleep(0.002)
    return not storage.is_held(ID)


class TestHeld:
    def test_is_held_by_a_process_until_it_ends(self, storage: OverlayStorage, layer: Path) -> None:
        storage.prepare(ID)
        holder = start_holder(lambda: storage.mount(ID, (str(layer),)))
        try:
            assert storage.is_held(ID)
            assert storage.holders(ID) == [Holder(holder.pid, "sleep")]
        finally:
            holder.kill()
            holder.wait()
        assert is_released(storage)
        assert storage.holders(ID) == []
        storage.remove(ID)

    def test_holders_are_found_after_they_changed_their_root(self, storage: OverlayStorage) -> None:
        storage.prepare(ID)
        holder = start_holder(
            lambda: storage.mount(ID, ("/",)),
            "mount --bind {rootfs} {rootfs} && cd {rootfs} && mkdir old && pivot_root . old && exec sleep 600",
        )
        try:
            assert storage.is_held(ID)
            assert [found.pid for found in storage.holders(ID)] == [holder.pid]
            released = storage.watch_releases()
            assert released is not None
            token = released.add(holder.pid)
            assert token is not None
            assert not select.select([released], [], [], 0)[0]
            assert released.read() == []
        finally:
            holder.kill()
            holder.wait()
        assert select.select([released], [], [], 10)[0]
        assert released.read() == [token]
        released.remove(token)
        assert not storage.is_held(ID)
        assert released.add(holder.pid) is None
        released.close()
        released.close()

    def test_the_question_leaves_no_trace(self, storage: OverlayStorage, layer: Path) -> None:
        bundle = storage.prepare(ID)
        storage.is_held(ID)
        assert os.listdir(bundle / "work") == os.listdir(bundle / "upper") == []
        assert os.listxattr(bundle / "upper") == []


def start_holder(mount: Callable[[], Path], script: str = "exec sleep 600") -> subprocess.Popen[bytes]:
    """Mount in a private namespace that only the returned process keeps."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["/bin/sh", "-ec", script.format(rootfs=mount())])

    holder = in_private_mounts(start)
    while Path(f"/proc/{holder.pid}/comm").read_text() != "sleep\n":
        assert holder.poll() is None
    return holder


class TestCheck:
    @pytest.mark.parametrize(
        ("fstype", "options", "expected"),
        [
            ("ramfs", "rw", "StorageUnusable ramfs"),
            ("tmpfs", "ro", "StorageUnusable read-only"),
            ("tmpfs", "nr_inodes=4", "StorageUnusable full"),
            ("tmpfs", "size=1m", "fine"),
            ("overlay", "lowerdir=/usr,upperdir={0}/up,workdir={0}/work", "StorageUnusable overlay"),
        ],
    )
    def test_names_the_filesystem_and_the_way_out(
        self, tmp_path: Path, fstype: str, options: str, expected: str
    ) -> None:
        for name in ("up", "work", "root"):
            (tmp_path / name).mkdir()
        code = """
import sys
import time
from pathlib import Path
from bento.drivers.storage.overlay import OverlayStorage
from bento.errors import BentoError
try:
    OverlayStorage(Path(sys.argv[1])).check()
except BentoError as error:
    print(type(error).__name__, error)
else:
    print("fine", *Path(sys.argv[1]).glob("containers/*"))
"""
        place = str(tmp_path / "root")
        # With what an earlier container has left there, where that can be made.
        script = (
            'mount -t "$1" -o "${2#ro}" none "$3" && { mkdir "$3/containers" 2>&1; [ "$2" != ro ] || '
            'mount -o remount,ro "$3"; } >"$3.log" && exec "$4" -c "$5" "$3"'
        )
        done = subprocess.run(
            [
                *["unshare", "-m", "sh", "-c"],
                script,
                "sh",
                fstype,
                options.format(tmp_path),
                place,
                sys.executable,
                code,
            ],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert all(word in done.stdout for word in expected.split()), done.stdout
        assert done.stdout.count("\n") == 1

    def test_prepare_on_a_full_disk_leaves_nothing(self, tmp_path: Path) -> None:
        def use() -> tuple[str, list[str]]:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=4", "tmpfs", tmp_path], check=True)
            storage = OverlayStorage(tmp_path)
            try:
                storage.prepare(ID)
            except BentoError as error:
                return error.code, storage.ids()
            return "", []

        assert in_private_mounts(use) == ("storage-unusable", [])

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for ask in (OverlayStorage(tmp_path / "file").check, lambda: OverlayStorage(tmp_path / "file").prepare(ID)):
            with pytest.raises(StorageUnusable, match="file"):
                ask()


class TestRemoveTree:
    def test_removes_anything_and_follows_nothing(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        (outside / "sub").mkdir(parents=True)
        (outside / "sub" / "file").touch()
        tree = tmp_path / "tree"
        (tree / "closed" / "inner").mkdir(parents=True)
        (tree / "closed" / "inner" / "file").touch()
        (tree / "closed").chmod(0)
        (tree / "link").symlink_to(outside)
        (tree / "closed" / "up").symlink_to("../..")
        os.mkfifo(tree / "fifo")
        os.mknod(tree / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
        (tree / os.fsdecode(b"\xff\n")).touch()
        remove_tree(tree)
        assert not tree.exists()
        assert (outside / "sub" / "file").exists()
        remove_tree(tree)

    def test_a_link_or_file_itself(self, tmp_path: Path) -> None:
        (tmp_path / "target").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "target")
        remove_tree(tmp_path / "link")
        assert os.listdir(tmp_path) == ["target"]

    def test_a_tree_deeper_than_descriptors_and_paths_go(self, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        tree.mkdir()
        current = os.open(tree, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("deeper", dir_fd=current)
            below = os.open("deeper", os.O_RDONLY, dir_fd=current)
            os.close(current)
            current = below
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=current))
        os.close(current)
        remove_tree(tree)
        assert not tree.exists()

    @pytest.mark.parametrize("where", [".", "sub", "sub/deep/er"])
    def test_what_is_mounted_is_neither_entered_nor_emptied(self, tmp_path: Path, where: str) -> None:
        tree, precious = tmp_path / "tree", tmp_path / "precious"
        (tree / "sub" / "deep" / "er").mkdir(parents=True)
        (tree / "other").mkdir()
        (precious / "sub").mkdir(parents=True)
        (precious / "sub" / "file").write_text("x")

        def use() -> str:
            subprocess.run(["mount", "--bind", precious, tree / where], check=True)
            with pytest.raises(CleanupFailed, match="mounted") as raised:
                remove_tree(tree)
            return str(raised.value)

        assert "busy" in in_private_mounts(use)
        assert (precious / "sub" / "file").read_text() == "x"
        assert (tree / "other").exists() == (where == ".")
        remove_tree(tree)

    def test_a_mounted_file_is_kept(self, tmp_path: Path) -> None:
        tree, precious = tmp_path / "tree", tmp_path / "precious"
        tree.mkdir()
        (tree / "file").touch()
        precious.write_text("x")

        def use() -> None:
            subprocess.run(["mount", "--bind", precious, tree / "file"], check=True)
            with pytest.raises(CleanupFailed, match="mounted"):
                remove_tree(tree)

        in_private_mounts(use)
        assert precious.read_text() == "x"


def test_what_a_killed_check_has_left_is_found_and_removed_and_a_living_ones_is_not(storage: OverlayStorage) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    abandoned, alive = f".check-{child.pid}-00", f".check-{os.getpid()}-00"
    for name in (abandoned, alive):
        (storage.bundle(name) / "upper").mkdir(parents=True)
    assert storage.ids() == [abandoned]
    storage.remove(abandoned)
    assert storage.ids() == []
    assert storage.bundle(alive).exists()
