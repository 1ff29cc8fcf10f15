"""``cp`` by a tar inside of a container whose files the host does not see."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento import Engine
from bento.errors import BentoError, MissingTool, RuntimeFailed, WrongState

from support.cli import BentoCli
from support.copying import check_rules
from support.workload import ONE_RUNTIME, busybox_rootfs

SH = ("/bin/sh", "-c")


@contextmanager
def virtual(engine: Engine) -> Iterator[None]:
    """Let the container w count as one whose files the host does not see."""
    container = engine.get("w")
    assert container.run is not None
    hidden = replace(container.run, shows_processes=False)
    engine.drivers.store.modify(container.id, lambda c: replace(c, run=hidden))
    try:
        yield
    finally:
        engine.drivers.store.modify(container.id, lambda c: replace(c, run=container.run))


@ONE_RUNTIME
@pytest.mark.parametrize("image", ["host", "bb"], ids=["GNU tar", "BusyBox tar"])
def test_dockers_rules_both_ways_by_a_tar_inside(bento: BentoCli, engine: Engine, tmp_path: Path, image: str) -> None:
    rootfs = busybox_rootfs(tmp_path / "fs")
    (rootfs / "bin/tar").symlink_to("busybox")
    bento("import", rootfs, "bb")
    bento.run("--name", "w", "-v", "v:/side", image, *SH, "exec sleep 1000")
    with virtual(engine):
        there, outside = engine.drivers.volumes.path("v"), tmp_path / "out"
        outside.mkdir()
        check_rules(lambda a, b, options: engine.copy_in("w", f"{tmp_path}/src/{a}", f"/side/{b}", options),
                    tmp_path / "src", there)  # fmt: skip
        check_rules(lambda a, b, options: engine.copy_out("w", f"side/src/{a}", f"{outside}/{b}", options),
                    there / "src", outside)  # fmt: skip


@ONE_RUNTIME
def test_container_without_a_tar_says_so(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento.run("--name", "w", "bb", *SH, "exec sleep 1000")
    with virtual(engine), pytest.raises(MissingTool, match=r"container w has no tar.*stop it first"):
        engine.copy_out("w", "/etc/passwd", str(tmp_path))


@ONE_RUNTIME
def test_tar_inside_that_lies_reaches_nothing_of_the_hosts(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    """It sends a link and then a file through it, or names that were not asked for."""
    rootfs = busybox_rootfs(tmp_path / "fs")
    (rootfs / "bin/tar").write_text("#!/bin/sh\ncat /v/archive\n")
    (rootfs / "bin/tar").chmod(0o755)
    bento("import", rootfs, "bb")
    bento.run("--name", "w", "-v", "v:/v", "bb", *SH, "exec sleep 1000")
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    for names in (("d", "d/out", "d/out/file"), ("d", "../file"), ("d", "other"), ("other",)):
        with tarfile.open(engine.drivers.volumes.path("v") / "archive", "w") as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.type = {"d": tarfile.DIRTYPE, "d/out": tarfile.SYMTYPE}.get(name, tarfile.REGTYPE)
                info.linkname = str(outside) if name == "d/out" else ""
                archive.addfile(info)
        with virtual(engine), pytest.raises(BentoError):
            engine.copy_out("w", "/d", str(target))
    (target / "mine").write_text("mine")
    with tarfile.open(engine.drivers.volumes.path("v") / "archive", "w") as archive:
        for name, kind in ((".", tarfile.DIRTYPE), ("x", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "mine"
            archive.addfile(info)
    with virtual(engine), pytest.raises(RuntimeFailed, match="has not sent"):
        engine.copy_out("w", "/d/.", str(target))
    assert (target / "mine").stat().st_nlink == 1
    assert os.listdir(outside) == []
    assert sorted(os.listdir(target)) == ["d", "mine"]
    assert sorted(os.listdir(tmp_path)) == ["fs", "outside", "target"]


@ONE_RUNTIME
def test_virtual_container_cannot_be_looked_into(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    with virtual(engine), pytest.raises(WrongState, match="virtual"):
        engine.export("w", 1)
