"""Trees deeper than any path that the kernel takes (PATH_MAX), made by a program of a container."""

from __future__ import annotations

import io
import resource
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.files.tree import remove_tree

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean, busybox_rootfs

pytestmark = ONE_RUNTIME
LEVELS = 1030
DEEP = "/".join(["dir"] * LEVELS)
MAKE = f"""
i=0; while [ $i -lt {LEVELS} ]; do mkdir dir; cd -P dir 2>/dev/null; i=$((i+1)); done
echo x >last; echo made; exec sleep 1000
"""


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("few_descriptors")
def test_a_tree_deeper_than_any_path_is_read_copied_and_removed_by_every_verb(bento: BentoCli, tmp_path: Path) -> None:
    rootfs = busybox_rootfs(tmp_path / "fs")
    (rootfs / "bin/mkdir").symlink_to("busybox")
    bento("import", rootfs, "bb")
    bento.run("--name", "w", "--tmpfs", "/v", "bb", "/bin/sh", "-c", MAKE)
    bento.wait_for_log("w", "made")
    assert bento("diff", "w").stdout.splitlines()[-1] == f"A /{DEEP}/last"
    out = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="bento-test-"))
    try:
        bento("cp", "w:/dir", out)
        bento("cp", out, "w:/v/back")
    finally:
        remove_tree(out)
    data = subprocess.run([*bento.prefix, "export", "w"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.extractfile(f"{DEEP}/last").read() == b"x\n"  # type: ignore[union-attr]
    said = bento.fails("commit", "w", "new", code=1)
    assert "container w holds what no image can have" in said
    assert len(said.splitlines()) == 1
    assert "new" not in bento("images").stdout
    bento("stop", "-t", "0", "w")
    assert bento("diff", "w").stdout.splitlines()[-1] == f"A /{DEEP}/last"
    assert bento("system", "df", "-v").returncode == 0
    bento("rm", "w")
    assert_clean(bento)
