"""User namespaces and the mounts that show their ids: one suite for real and pretended ones; then the kernel's."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest

from bento.drivers.storage.base import Holder, IdMaps
from bento.drivers.storage.overlay import OverlayStorage
from bento.drivers.storage.user_namespace import UserNamespaces
from bento.errors import KernelError, StorageUnusable
from bento.kernel import libc
from bento.kernel.namespace import in_private_mounts
from bento.model.namespaces.mapping import IdMapping, IdRange
from bento.testing.storage import FakeIdMaps

ID = "d" * 64
FIRST = 1_000_000
NS_GET_USERNS = 0xB701
IDS = IdMapping(uids=(IdRange(0, FIRST, 1000),), gids=(IdRange(0, FIRST, 1000),))


@pytest.fixture(params=[UserNamespaces, FakeIdMaps])
def each(request: pytest.FixtureRequest) -> IdMaps:
    made: Callable[[], IdMaps] = request.param
    return made()


@pytest.fixture
def ids() -> UserNamespaces:
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) < (6, 3):
        pytest.skip("an older kernel has no idmapped mounts of tmpfs, where a test may lie")
    return UserNamespaces()


def test_a_namespace_is_a_descriptor_that_programs_do_not_inherit(each: IdMaps) -> None:
    fd = each.namespace(IDS)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_other_namespaces_belong_to_that_of_users(each: IdMaps) -> None:
    made = each.namespaces(IDS, ("net", "uts"))
    try:
        assert set(made) == {"user", "net", "uts"}
        assert len(set(made.values())) == 3
        if isinstance(each, UserNamespaces):
            users = os.fstat(made["user"]).st_ino
            assert [owning(made[kind]) for kind in ("net", "uts")] == [users] * 2
    finally:
        for fd in made.values():
            os.close(fd)


def owning(namespace_fd: int) -> int:
    """Return the inode of the user namespace that another one belongs to (ioctl_ns(2))."""
    fd = fcntl.ioctl(namespace_fd, NS_GET_USERNS)
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


def test_what_is_made_as_root_of_a_namespace_is_roots(each: IdMaps, tmp_path: Path) -> None:
    with each.making_files_as((0, 0)):
        (tmp_path / "file").touch()
    assert (tmp_path / "file").stat().st_uid == 0


def test_a_thread_makes_files_as_another_user_and_keeps_its_capabilities(ids: UserNamespaces, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with ids.making_files_as((FIRST, FIRST + 1)):
        (closed / "file").touch()
        os.chown(closed, 5, 5)
    (closed / "after").touch()
    assert (os.stat(closed).st_uid, os.stat(closed / "after").st_uid) == (5, 0)
    assert (os.stat(closed / "file").st_uid, os.stat(closed / "file").st_gid) == (FIRST, FIRST + 1)


def test_ids_that_cannot_be_mapped_are_told_and_nothing_is_left(ids: UserNamespaces) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError, match="cannot be mapped"):
        ids.namespace(IdMapping(uids=(IdRange(0, 1, 10), IdRange(5, 20, 10)), gids=IDS.gids))
    assert os.listdir("/proc/self/fd") == before


def test_what_the_kernel_makes_up_is_refused(ids: UserNamespaces) -> None:
    fd = ids.namespace(IDS)
    try:
        with pytest.raises(StorageUnusable, match="proc"):
            in_private_mounts(lambda: ids.open_tree("/proc", fd, recursive=True))
    finally:
        os.close(fd)


def test_a_root_filesystem_has_the_ids_of_the_image_on_disk(ids: UserNamespaces, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "of-image").touch()
    os.chown(layer / "of-image", 7, 8)
    storage = OverlayStorage(tmp_path / "root")
    bundle = storage.prepare(ID)
    fd = ids.namespace(IDS)

    def look() -> tuple[int, int]:
        at = storage.mount_mapped(ID, (str(layer),), fd, IDS.root, (tmp_path,))
        shown = os.stat(at.rootfs / "of-image")
        os.chown(at.rootfs / "of-image", FIRST + 1, FIRST + 2)
        with ids.making_files_as(IDS.root):
            (at.rootfs / "made").touch()
        beside = storage.mount_in_view(at.view, "w", ids.open_tree(str(layer), fd, recursive=False))
        assert os.stat(beside / "of-image").st_uid == FIRST + 7
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as inside:
            assert inside.stdin
            assert inside.stdout
            inside.stdin.write(b"x")
            inside.stdout.read(1)  # it is in this namespace, and is cat
            assert Holder(pid=inside.pid, comm="cat") in storage.holders(ID)
        storage.unmount(ID)
        assert not os.path.ismount(at.rootfs)
        assert not os.path.ismount(at.view.parent)
        storage.unmount(ID)
        return shown.st_uid, shown.st_gid

    try:
        storage.check_mapped(fd, IDS.root)
        assert in_private_mounts(look) == (FIRST + 7, FIRST + 8)
    finally:
        os.close(fd)
    owners = [
        (os.stat(bundle / "upper" / name).st_uid, os.stat(bundle / "upper" / name).st_gid)
        for name in ("of-image", "made")
    ]
    assert owners == [(1, 2), (0, 0)]
    assert not os.path.exists(layer / "made")
    assert storage.ids() == [ID]


def test_what_is_busy_is_not_unmounted_lazily(ids: UserNamespaces, tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    storage = OverlayStorage(tmp_path / "root")
    storage.prepare(ID)
    fd = ids.namespace(IDS)

    def look() -> None:
        at = storage.mount_mapped(ID, (str(tmp_path / "layer"),), fd, IDS.root, (tmp_path,))
        held = os.open(at.rootfs, os.O_PATH)
        try:
            with pytest.raises(KernelError, match="busy"):
                storage.unmount(ID)
            assert os.path.ismount(at.rootfs)
            Timer(0.02, os.close, (held,)).start()  # as a fork in another thread does, when it executes
            held = -1
            storage.unmount(ID)
        finally:
            if held >= 0:
                os.close(held)

    try:
        in_private_mounts(look)
    finally:
        os.close(fd)


def test_a_thread_that_cannot_make_files_as_another_is_as_it_was(ids: UserNamespaces) -> None:
    refused = 0xFFFFFFFF  # no user: the kernel takes the group, and not this

    def look() -> str:
        with pytest.raises(KernelError, match="setfsuid"), ids.making_files_as((refused, 5)):
            pass
        return Path("/proc/thread-self/status").read_text()

    status = in_private_mounts(look)
    assert [status.split(f"{key}:\t")[1].split("\n")[0].split()[3] for key in ("Uid", "Gid")] == ["0", "0"]


def test_a_kernel_without_such_mounts_is_named(
    ids: UserNamespaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise KernelError("mount_setattr", 22, "Invalid argument")

    storage = OverlayStorage(tmp_path / "root")
    fd = ids.namespace(IDS)
    monkeypatch.setattr(libc, "map_ids", refuse)
    try:
        with pytest.raises(StorageUnusable, match="no overlay on idmapped mounts"):
            storage.check_mapped(fd, IDS.root)
    finally:
        os.close(fd)
    assert storage.ids() == []
