"""Trees that change while they are copied, and what stands in the way of one."""

from __future__ import annotations

import os
import resource
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.docker import changes as docker_changes
from bento.errors import BentoError, Conflict, KernelError
from bento.files.changes import Below, Changes
from bento.files.entry import Entry
from bento.files.locate import locate
from bento.files.place import Placer
from bento.files.rootfs import read_in_root
from bento.files.tree import remove_tree
from bento.files.walk import walk
from bento.kernel import libc, mount, namespace
from bento.model.change import Change, Kind

IN_OPEN = 0x20  # inotify(7)


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "top").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("host")
    fd = os.open(tmp_path / "top", os.O_RDONLY)
    yield fd
    os.close(fd)


def directory(path: str) -> Entry:
    return Entry(path=path, mode=stat.S_IFDIR | 0o755)


def empty(path: str) -> Entry:
    return Entry(path=path, mode=stat.S_IFREG | 0o644)


def test_parent_that_becomes_a_link_is_not_followed(top: int, tmp_path: Path) -> None:
    placer = Placer(top)
    placer.put(directory("d"), "d")
    placer.put(directory("d/e"), "d/e")
    os.rename(tmp_path / "top/d", tmp_path / "top/moved")
    (tmp_path / "top/d").symlink_to(tmp_path / "outside")
    placer.put(empty("d/f"), "d/f")  # into the directory that was made, wherever it is by now
    placer.put(empty("other"), "other")
    with pytest.raises(OSError, match="d/secret"):
        placer.put(empty("d/secret"), "d/secret")
    placer.close()
    assert sorted(os.listdir(tmp_path / "top/moved")) == ["e", "f"]
    assert os.listdir(tmp_path / "outside") == ["secret"]
    assert (tmp_path / "outside/secret").read_text() == "host"


def test_link_in_the_place_of_a_file_is_replaced_not_followed(top: int, tmp_path: Path) -> None:
    (tmp_path / "top/f").symlink_to(tmp_path / "outside/secret")
    placer = Placer(top)
    placer.put(empty("f"), "f")
    placer.close()
    assert not (tmp_path / "top/f").is_symlink()
    assert (tmp_path / "outside/secret").read_text() == "host"


@pytest.mark.parametrize("there", ["directory", "device", "fifo", "socket"])
def test_what_a_file_never_replaces(top: int, tmp_path: Path, there: str) -> None:
    kinds = {"device": stat.S_IFCHR, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}
    if there == "directory":
        (tmp_path / "top/f").mkdir()
    else:
        os.mknod(tmp_path / "top/f", kinds[there] | 0o600, os.makedev(1, 3))
    before = os.lstat(tmp_path / "top/f")
    placer = Placer(top)
    with pytest.raises(Conflict, match="cannot overwrite"):
        placer.put(empty("f"), "f")
    placer.close()
    assert os.lstat(tmp_path / "top/f") == before
    assert os.listdir(tmp_path / "top") == ["f"]  # nothing half made beside it


@pytest.fixture
def mounted(top: int, tmp_path: Path) -> Iterator[int]:
    """A detached tree where ``f`` is a file and ``d`` a directory of elsewhere: rename(2) takes such mounts off."""
    (tmp_path / "top/d").mkdir()
    (tmp_path / "top/f").write_text("below")

    def assembled() -> int:
        mount.bind(str(tmp_path / "top"), str(tmp_path / "top"))
        mount.bind(str(tmp_path / "outside/secret"), str(tmp_path / "top/f"))
        mount.bind(str(tmp_path / "outside"), str(tmp_path / "top/d"))
        return libc.open_tree(str(tmp_path / "top"), recursive=True)

    fd = namespace.in_private_mounts(assembled)
    yield fd
    os.close(fd)


def test_file_that_is_mounted_is_written_in_its_place(mounted: int, tmp_path: Path) -> None:
    before = os.stat(tmp_path / "outside/secret")
    placer = Placer(mounted)
    placer.put(Entry(path="f", mode=stat.S_IFREG | 0o755), "f")
    placer.put(directory("d"), "d")
    placer.put(empty("d/new"), "d/new")
    placer.close()
    after = os.stat(tmp_path / "outside/secret")
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, 0)
    assert sorted(os.listdir(tmp_path / "outside")) == ["new", "secret"]
    assert os.path.samestat(os.stat("f", dir_fd=mounted), after)
    assert (tmp_path / "top/f").read_text() == "below"
    assert sorted(os.listdir(tmp_path / "top")) == ["d", "f"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO])
def test_what_is_mounted_gives_way_to_nothing(mounted: int, tmp_path: Path, kind: int) -> None:
    placer = Placer(mounted)
    with pytest.raises(Conflict, match="cannot replace what is mounted at f"):
        placer.put(Entry(path="f", mode=kind | 0o777, target="x"), "f")
    with pytest.raises(Conflict, match="a directory by a file: d"):
        placer.put(empty("d"), "d")
    placer.close()
    assert os.path.samestat(os.stat("f", dir_fd=mounted), os.stat(tmp_path / "outside/secret"))
    assert os.path.samestat(os.stat("d", dir_fd=mounted), os.stat(tmp_path / "outside"))
    assert sorted(os.listdir(tmp_path / "top")) == ["d", "f"]


def test_what_vanishes_while_it_is_walked_is_left_out(top: int, tmp_path: Path) -> None:
    for name in ("a", "b", "c/d"):
        (tmp_path / "top" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "top" / name).touch()
    found = []
    for entry in walk(top):
        found.append(entry.path)
        if entry.path == "a":
            (tmp_path / "top/b").unlink()
            os.rename(tmp_path / "top/c", tmp_path / "gone")
            (tmp_path / "top/c").symlink_to(tmp_path / "outside")
    assert found == ["", "a", "c"]
    assert "secret" not in found


def test_what_the_kernel_makes_up_is_not_walked_into(top: int, tmp_path: Path) -> None:
    for name in ("proc", "sys", "tmp"):
        (tmp_path / "top" / name).mkdir()
    (tmp_path / "top/cpu").touch()

    def assembled() -> int:
        here = str(tmp_path / "top")
        mount.bind(here, here)
        libc.mount("proc", f"{here}/proc", "proc", 0)
        libc.mount("sysfs", f"{here}/sys", "sysfs", 0)
        libc.mount("tmpfs", f"{here}/tmp", "tmpfs", 0)
        Path(f"{here}/tmp/kept").touch()
        mount.bind("/proc/cpuinfo", f"{here}/cpu")
        return libc.open_tree(here, recursive=True)

    fd = namespace.in_private_mounts(assembled)
    try:
        assert [entry.path for entry in walk(fd)] == ["", "proc", "sys", "tmp", "tmp/kept"]
    finally:
        os.close(fd)


def test_what_the_kernel_makes_up_is_read_to_its_end_when_it_is_named(tmp_path: Path) -> None:
    """One says that it holds nothing, another that it is a page; to read the kernel's log is to wait for news."""
    for path in ("/proc/version", "/proc/kmsg", "/sys/kernel/notes", "/sys/kernel/mm/transparent_hugepage/enabled"):
        fd = os.open(path, os.O_PATH)
        try:
            (entry,) = walk(fd)
            assert entry.body is not None
            data = b"".join(piece for _, piece in entry.body.chunks())
        finally:
            os.close(fd)
        assert entry.size == len(data)
        if path != "/proc/kmsg":
            assert data == Path(path).read_bytes()


def test_no_device_is_opened_and_no_socket_named(top: int, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "top/fifo")  # to open it would wait for ever
    os.mknod(tmp_path / "top/device", stat.S_IFCHR | 0o600, os.makedev(10, 130))  # the watchdog's
    os.mknod(tmp_path / "top/socket", stat.S_IFSOCK | 0o600)
    assert [(entry.path, entry.body) for entry in walk(top)] == [("", None), ("device", None), ("fifo", None)]


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK], ids=hex)
def test_what_is_no_file_in_the_place_of_one_is_not_even_opened(tmp_path: Path, kind: int) -> None:
    os.mknod(tmp_path / "passwd", kind | 0o600, os.makedev(240, 130))  # no driver's: to open it would say so
    events = libc.inotify_init(os.O_NONBLOCK)
    try:
        libc.inotify_add_watch(events, str(tmp_path / "passwd"), IN_OPEN)
        assert read_in_root(tmp_path, "/passwd") is None
        with pytest.raises(BlockingIOError):  # nothing has happened to it
            os.read(events, 4096)
    finally:
        os.close(events)


def test_a_file_that_the_kernel_makes_up_is_none_of_a_containers() -> None:
    assert read_in_root(Path("/"), "/proc/self/stat") is None
    assert read_in_root(Path("/"), "/proc/kmsg") is None


def deepen(top: int, name: str, count: int) -> None:
    """Make directories in each other, as a program of a container can."""
    fd = os.dup(top)
    for _ in range(count):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("last", os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=fd))
    os.link("last", "again", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)


@pytest.fixture
def deep() -> Iterator[tuple[int, int]]:
    """A tree of which the paths are longer than the kernel takes, and an empty one, with few more files to be opened.

    In memory: a disk takes seconds to remove it.
    """
    home = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="bento-test-"))
    fds = []
    for name in ("deep", "top"):
        (home / name).mkdir()
        fds.append(os.open(home / name, os.O_RDONLY))
    deepen(fds[0], "dir", 1500)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 160, limits[1]))
    yield fds[0], fds[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for fd in fds:
        os.close(fd)
    remove_tree(home)


def test_a_tree_of_any_depth_is_copied_by_few_descriptors(deep: tuple[int, int]) -> None:
    tree, top = deep
    path = "/".join(["dir"] * 1500)
    placer = Placer(top)
    placer.put_all(walk(tree), "copy")
    placer.close()
    found = [(entry.path, entry.mode, entry.link) for entry in walk(top)]
    assert found[2:] == [(f"copy/{each.path}", each.mode, each.link and f"copy/{each.link}") for each in walk(tree)][1:]
    assert found[-1] == (f"copy/{path}/last", stat.S_IFREG | 0o640, f"copy/{path}/again")


def test_directories_of_any_depth_that_an_archive_does_not_name_are_made(deep: tuple[int, int]) -> None:
    top = deep[1]
    path = "/".join(["dir"] * 1500)
    placer = Placer(top)
    placer.put_all([empty(f"{path}/f"), empty("dir/g")], makes_parents=True)
    placer.close()
    assert [entry.path for entry in walk(top)][-2:] == [f"{path}/f", "dir/g"]


def test_changes_of_any_depth_are_found_by_few_descriptors(deep: tuple[int, int]) -> None:
    tree, top = deep
    path = "/".join(["dir"] * 1500)
    with Changes(tree, Below([top])) as changes:
        assert changes.list()[-1] == Change(Kind.ADDED, f"/{path}/last")
    placer = Placer(top)
    placer.put_all(entry for entry in walk(tree) if not entry.path.endswith("last"))
    placer.close()
    with Changes(tree, Below([top, *[top] * 40])) as changes:
        found = changes.list()
        assert found[-2:] == [Change(Kind.CHANGED, f"/{path}/again"), Change(Kind.ADDED, f"/{path}/last")]
        assert {change.kind for change in found[:-2]} == {Kind.CHANGED}
        assert [entry.path for entry in changes.layer()] == [entry.path for entry in walk(tree)][1:]


def test_a_path_that_is_too_long_to_be_told_is_said(deep: tuple[int, int]) -> None:
    deepen(deep[1], "x" * 250, 270)
    with pytest.raises(KernelError, match=r"xxx\.\.\.xxx.*: File name too long") as caught:
        list(walk(deep[1]))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ""), ("/d", "d"), ("/d/../d", "d"), ("/../../d", "d"), ("/loop", BentoError), ("/no/x", BentoError),
        ("/out/secret", BentoError), ("/up", ""), ("/dangling", "new"),
    ],
)  # fmt: skip
def test_paths_end_inside(top: int, tmp_path: Path, path: str, expected: object) -> None:
    base = tmp_path / "top"
    (base / "d").mkdir()
    (base / "loop").symlink_to("loop")
    (base / "out").symlink_to(tmp_path / "outside")
    (base / "up").symlink_to("../../..")
    (base / "dangling").symlink_to("/new")
    if expected is BentoError:
        with pytest.raises(BentoError):
            locate(top, path, follow=True)
    else:
        with locate(top, path, follow=True) as spot:
            assert spot.name == expected
            assert os.path.samestat(os.fstat(spot.directory_fd), os.stat(base))


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def test_layers_hide_what_lies_below_them(tmp_path: Path) -> None:
    """Whiteouts and opaque directories between the layers, not only in the upper directory."""
    upper, middle, lowest = (tmp_path / name for name in ("upper", "middle", "lowest"))
    for path in ("a/x", "b/x", "c/x", "d"):
        (lowest / path).parent.mkdir(parents=True, exist_ok=True)
        (lowest / path).write_text("low")
    (middle / "b").mkdir(parents=True)
    os.setxattr(middle / "b", "trusted.overlay.opaque", b"y")
    (middle / "b" / "y").touch()
    whiteout(middle / "a")
    whiteout(middle / "d")
    upper.mkdir()
    for path in ("a", "b", "c"):
        (upper / path).mkdir()
    os.setxattr(upper / "b", "trusted.overlay.opaque", b"y")
    (upper / "a/x").touch()
    (upper / "b/x").touch()
    (upper / "c/x").touch()
    (upper / "d").touch()
    whiteout(upper / "c/never")
    os.link(upper / "c/never", upper / "never")  # the kernel makes its whiteouts as names of one
    fds = [os.open(path, os.O_PATH) for path in (upper, middle, lowest)]
    try:
        with Changes(fds[0], Below(fds[1:])) as changes:
            assert [docker_changes.line(change) for change in changes.list()] == [
                "A /a", "A /a/x", "C /b", "A /b/x", "D /b/y", "C /c", "C /c/x", "A /d",
            ]  # fmt: skip
            assert [entry.path for entry in changes.layer()] == [
                "a", "a/x", "b", "b/.wh..wh..opq", "b/x", "c", "c/x", "d",
            ]  # fmt: skip
    finally:
        for fd in fds:
            os.close(fd)
