"""``cp`` while its container swaps links, ends, or is to begin, and a copy that is ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from bento import Engine
from bento.errors import BentoError, Conflict, NotFound

from support import procs
from support.cli import BentoCli
from support.copying import tree
from support.workload import ONE_RUNTIME, PYTHON, ended

FLIP = """
import os, sys
secret = sys.argv[1]
os.makedirs("/work/d/deep")
open("/work/d/secret", "w").write("container")
open("/work/d/deep/secret", "w").write("container")
os.symlink(secret, "/work/l")
print("ready", flush=True)
while True:
    for name in ("d", "l"):
        os.rename(f"/work/{name}", "/work/x")
        os.rename("/work/x", f"/work/{name}")
        os.rename(f"/work/{name}", "/work/x")
        os.rename("/work/x", f"/work/{name}")
"""


@pytest.mark.parametrize("way", ["in", "out"])
def test_container_that_swaps_links_never_reaches_the_host(
    bento: BentoCli, engine: Engine, tmp_path: Path, way: str
) -> None:
    """``/work/x`` is now a directory, now a link to a directory of the host: one of a filesystem that it has not."""
    marker = Path(f"/dev/shm/bento-test-{os.getpid()}-{way}")
    (marker / "deep").mkdir(parents=True)
    try:
        (marker / "secret").write_text("host")
        (marker / "deep" / "secret").write_text("host")
        before = tree(marker)
        (tmp_path / "planted").mkdir()
        (tmp_path / "planted" / "f").write_text("planted")
        bento.run("--name", "w", "host", PYTHON, "-c", FLIP, str(marker))
        bento.wait_for_log("w", "ready")
        worked = missed = 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (worked >= 40 and missed >= 40):
            try:
                if way == "in":
                    engine.copy_in("w", f"{tmp_path}/planted", "/work/x/deep/p")
                else:
                    shutil.rmtree(tmp_path / "got", ignore_errors=True)
                    engine.copy_out("w", "/work/x/", str(tmp_path / "got"))
                    assert "host" not in tree(tmp_path / "got").values()
                worked += 1
            except (NotFound, Conflict, BentoError):
                missed += 1
        assert worked
        assert missed
        assert tree(marker) == before
        assert not list(marker.parent.glob("planted*"))
    finally:
        shutil.rmtree(marker)


@ONE_RUNTIME
def test_copy_ends_with_its_container_and_lets_go_of_it(bento: BentoCli, tmp_path: Path) -> None:
    """A reader that does not read keeps no root filesystem: the stop of the container is clean."""
    bento.run("--name", "w", "--init", "host", "sleep", "1000")
    with ended(bento.start("cp", "w:/usr", "-", errors="replace")) as copy:
        assert copy.stdout is not None
        os.read(copy.stdout.fileno(), 10)
        bento("stop", "-t", "5", "w")
        _, err = copy.communicate(timeout=60)
        assert copy.returncode == 1
        assert "ended meanwhile" in err
    assert bento("doctor").returncode == 0


@ONE_RUNTIME
def test_container_is_not_started_while_its_files_are_copied(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    bento("create", "--name", "w", "host", "true")
    with ended(bento.start("cp", "w:/usr", "-", errors="replace")) as copy:
        assert copy.stdout is not None
        os.read(copy.stdout.fileno(), 10)
        with ended(bento.start("start", "w")) as start:
            time.sleep(0.2)
            assert start.poll() is None, start.communicate()
            copy.kill()
            copy.communicate()
            start.communicate(timeout=60)
            assert start.returncode == 0
    procs.wait_until(lambda: bento.state("w")["Status"] == "stopped", what="the end", every_s=0.05)


def test_a_copy_that_is_ended_leaves_no_draft(bento: BentoCli) -> None:
    container_id = bento("create", "--name", "w", "host", "true").stdout.strip()
    upper = bento.roots.root / "containers" / container_id / "upper"
    header = tarfile.TarInfo("big")
    header.size = 1 << 30
    with bento.start("cp", "-", "w:/var/tmp", stdin=subprocess.PIPE) as copy:
        assert copy.stdin is not None
        copy.stdin.write(header.tobuf().decode("ascii"))
        copy.stdin.write("x" * (1 << 20))
        copy.stdin.flush()
        procs.wait_until(lambda: any(upper.glob("var/tmp/.*")), timeout_s=30.0, what="the draft")
        waits = Path(f"/proc/{copy.pid}/wchan")
        procs.wait_until(lambda: "pipe" in waits.read_text(), timeout_s=30.0, what="it reads on")
        copy.terminate()
        assert copy.wait(30) == 143
    assert list(upper.glob("var/tmp/*")) + list(upper.glob("var/tmp/.*")) == []
