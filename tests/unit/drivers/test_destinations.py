"""Where mounts come to lie once the links of an image are followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bento.drivers.runtime import destinations
from bento.drivers.runtime.destinations import Place, Tree
from bento.errors import UsageError
from bento.model.container import Mount

PROC = {"destination": "/proc", "type": "proc", "source": "proc", "options": []}
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []}
SYS = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": []}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("etc", "proc", "dev", "sys", "srv"):
        (root / name).mkdir(parents=True)
    return root


@pytest.fixture
def tree(root: Path) -> Iterator[Tree]:
    with Tree(root) as made:
        yield made


def bind(destination: str, source: str | Path = "/etc/passwd") -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["bind"]}


def check(root: Path, *entries: dict[str, Any], asked: tuple[Mount, ...] = (), workdir: str = "/") -> list[str]:
    """Return where is mounted; of what is wanted of us, every entry below those that all containers have."""
    kept, notes = destinations.check([PROC, DEV, SYS, *entries], root=root, asked=asked, workdir=workdir)
    assert len(notes) == 3 + len(entries) - len(kept)
    return [entry["destination"] for entry in kept[3:]]


def wants(destination: str, kind: str = "bind", **more: Any) -> Mount:
    return Mount(kind=kind, destination=destination, source="/etc/passwd", **more)


@pytest.mark.parametrize(
    ("link", "path", "real"),
    [
        ("/proc", "/x", "/proc"),
        ("proc", "/x/", "/proc"),
        ("../../../proc/", "/x", "/proc"),
        ("/srv/../proc/./keys", "/x", "/proc/keys"),
        ("srv", "/x/y/z", "/srv/y/z"),
        ("/x", "/other/../x/..", None),
        ("none/at/all", "/x/y", "/none/at/all/y"),
    ],
)
def test_a_path_leads_where_its_links_do(root: Path, tree: Tree, link: str, path: str, real: str | None) -> None:
    (root / "x").symlink_to(link)
    if real is None:
        with pytest.raises(UsageError, match="back to itself"):
            tree.follow(path)
        return
    assert tree.follow(path).real == real


def test_links_are_followed_through_what_is_mounted_before(root: Path, tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/link").symlink_to("../proc")
    (root / "srv/link").symlink_to("/etc")
    assert tree.follow("/srv/link").real == "/etc"

    tree.mount("/srv", str(tmp_path / "volume"))
    assert tree.follow("/srv/link/self") == Place("/proc/self", "/proc/self")
    tree.mount("/srv", None)
    assert tree.follow("/srv/link/self").real == "/srv/link/self"


def test_the_way_through_proc_is_remembered(root: Path, tree: Tree) -> None:
    (root / "x").symlink_to("/proc/self/fd/8/../../../..")
    assert tree.follow("/x/etc") == Place("/etc", "/proc/self/fd/8")
    assert tree.follow("/procs/x") == Place("/procs/x", "")


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.parametrize("link", ["/proc", "/proc/self", "/proc/self/root/etc", "/proc/meminfo/../keys"])
def test_nothing_asked_for_comes_to_lie_in_proc(root: Path, kind: str, link: str) -> None:
    (root / "x").symlink_to(link)
    with pytest.raises(UsageError, match=r"/x: in the container that leads to /proc"):
        check(root, bind("/x"), asked=(wants("/x", kind),))


def test_the_files_of_lxcfs_may(root: Path) -> None:
    assert check(root, bind("/proc/meminfo"), asked=(wants("/proc/meminfo"),)) == ["/proc/meminfo"]


@pytest.mark.parametrize("link", ["/dev", "/dev/shm", "/sys", "/sys/fs/cgroup", "/proc"])
def test_volumes_of_an_image_stay_out_of_what_the_kernel_shows(root: Path, link: str) -> None:
    (root / "x").symlink_to(link)
    with pytest.raises(UsageError, match="a volume of the image at /x"):
        check(root, bind("/x"), asked=(wants("/x", of_image=True),))
    if link != "/proc":  # the user knows
        assert check(root, bind("/x"), asked=(wants("/x"),)) == ["/x"]


@pytest.mark.parametrize("there", ["/dev/null", "/proc/self/mounts", "/sys/x", "/srv", "/fifo"])
def test_bentos_own_files_come_to_lie_on_files_alone(root: Path, there: str) -> None:
    os.mkfifo(root / "fifo")
    (root / "etc/hosts").symlink_to(there)
    (root / "etc/hostname").symlink_to("/run/not/there/yet")
    (root / "etc/resolv.conf").write_text("")
    names = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]
    assert check(root, *map(bind, names)) == names[1:]
    (root / "etc").rename(root / "old")
    (root / "etc").symlink_to("/proc/self/attr")
    assert check(root, *map(bind, names)) == []


@pytest.mark.parametrize("name", ["proc", "dev", "sys"])
def test_what_every_container_has_lies_where_it_says(root: Path, name: str) -> None:
    (root / name).rmdir()
    (root / name).symlink_to("srv")
    with pytest.raises(UsageError, match=f"what a container needs at /{name}"):
        check(root)


def test_an_init_is_not_bound_over_what_the_kernel_shows(root: Path) -> None:
    (root / ".bento").symlink_to("dev")
    with pytest.raises(UsageError, match=r"what a container needs at /\.bento/catatonit"):
        check(root, bind("/.bento/catatonit"))


@pytest.mark.parametrize(
    "path", ["/proc/self/fd/7", "/x", "/x/../../../etc", "/proc/1/task/1/cwd", "/proc/thread-self/root"]
)
def test_a_working_directory_is_none_that_a_process_has_open(root: Path, path: str) -> None:
    (root / "x").symlink_to("/proc/self/fd/7")
    (root / "proc/thread-self").symlink_to("1/task/1")
    with pytest.raises(UsageError, match="bad working directory"):
        check(root, workdir=path)
    assert check(root, workdir="/proc/self/net") == []
