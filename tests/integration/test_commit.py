"""``commit``: the image made of a container is what the container was."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from bento import Engine, Settings

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean, busybox_rootfs

SH = ("/bin/sh", "-c")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
CHANGE = """
echo x >/data/file; rm -r /gone; rm -r /data/deep; mkdir /data/deep; echo n >/data/deep/new; mkdir -p /n/m
ln -s x /n/m/l; rm /data/turned; mkdir /data/turned; rm -r /turns; echo f >/turns; chmod 4711 /data/kept
echo one >/n/one; ln /n/one /n/two; echo v >/vol/v; mkfifo /fifo; : >/.trap; rm /.trap
echo done; exec sleep 1000
"""


@pytest.fixture
def image(bento: BentoCli, tmp_path: Path) -> str:
    rootfs = busybox_rootfs(tmp_path / "fs")
    for applet in ("rm", "mkdir", "ln", "chmod", "mkfifo"):
        (rootfs / "bin" / applet).symlink_to("busybox")
    for name in ("data/file", "data/deep/old", "data/turned", "data/kept", "gone/x", "turns/y"):
        (rootfs / name).parent.mkdir(parents=True, exist_ok=True)
        (rootfs / name).write_text("image\n")
    bento("import", "-c", "EXPOSE 80", "-c", "VOLUME /declared", rootfs, "bb")
    return "bb"


def members(bento: BentoCli, name: str) -> dict[str, tuple[int, int, str, int]]:
    """What a container's root filesystem holds, by its export."""
    data = subprocess.run([*bento.prefix, "export", name], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        return {m.name: (m.mode, m.uid, m.linkname, m.size) for m in archive}


def test_image_is_what_the_container_was(bento: BentoCli, image: str, tmp_path: Path) -> None:
    bento.run("--name", "w", "-v", "v:/vol", "-e", "A=b", "-w", "/data", "--stop-signal", "INT", image, *SH, CHANGE)
    bento.wait_for_log("w", "done")
    with Engine(Settings(root=bento.roots.root, run_root=bento.roots.run_root)) as engine:
        upper = engine.drivers.storage.upper(engine.get("w").id)
    os.setxattr(upper / "n/one", "security.capability", CAPABILITY)
    os.mknod(upper / "n/node", stat.S_IFCHR | 0o640, os.makedev(1, 5))
    with open(upper / "n/sparse", "wb") as file:
        file.truncate(1 << 28)
    made = bento("commit", "-m", "a message", "-a", "me", "-c", "LABEL x=y", "w", "new:1").stdout.strip()
    assert made.startswith("sha256:")
    assert bento.state("w")["Status"] == "running"  # it was frozen for a moment alone
    bento("stop", "-t", "0", "w")
    before = members(bento, "w")

    bento("create", "--name", "again", "new:1")
    after = members(bento, "again")
    places = {"vol", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "declared"}
    assert {k: v for k, v in after.items() if k not in places} == {k: v for k, v in before.items() if k not in places}
    assert not {"vol/v", ".trap", ".wh.gone", "data/deep/.wh..wh..opq"} & set(after)
    with Engine(Settings(root=bento.roots.root, run_root=bento.roots.run_root)) as engine:
        again = engine.get("again")
        assert again.spec.env[-1] == "A=b"
        assert (again.spec.workdir, again.spec.stop.signal, again.spec.labels) == ("/data", 2, {"x": "y"})
        assert [m.destination for m in again.spec.files.mounts] == ["/declared"]
        record = engine.drivers.store.find_image("new:1")
        assert (record.author, record.history[-1].comment, record.config.exposed_ports) == (
            "me",
            "a message",
            ("80/tcp",),
        )
        assert len(record.history) == len(record.layers) == 2
        layer = Path(record.layers[0])
    assert os.getxattr(layer / "n/two", "security.capability") == CAPABILITY
    assert os.path.samefile(layer / "n/one", layer / "n/two")
    assert (layer / "n/node").stat().st_rdev == os.makedev(1, 5)
    assert (layer / "n/sparse").stat().st_blocks < 100
    assert bento("diff", "again").stdout == ""
    bento("rm", "-v", "w", "again")
    bento("rmi", "bb")
    assert bento("run", "--rm", "new:1", "/bin/cat", "/data/deep/new").stdout == "n\n"
    assert_clean(bento)


@ONE_RUNTIME
def test_without_a_name_of_a_stopped_one_and_on_top_of_another(bento: BentoCli, image: str) -> None:
    bento("run", "--name", "w", image, "touch", "/one")
    first = bento("commit", "--pause=false", "w").stdout.strip()
    bento("run", "--name", "x", first, "touch", "/two")
    bento("commit", "x", "two")
    assert bento("run", "--rm", "two", "ls", "/one", "/two").stdout == "/one\n/two\n"
    bento("create", "--name", "none", image, "true")
    bento("commit", "none", "same")  # nothing was changed
    assert bento("run", "--rm", "same", "ls", "/gone").stdout == "x\n"
    assert len(set(bento("images", "-q").stdout.split())) == 4


@ONE_RUNTIME
def test_paused_one_stays_paused(bento: BentoCli, image: str) -> None:
    bento.run("--name", "w", image, "sleep", "1000")
    bento("pause", "w")
    bento("commit", "w", "new")
    assert bento.state("w")["Status"] == "paused"
    bento("unpause", "w")


@ONE_RUNTIME
def test_bad_words_make_no_image(bento: BentoCli, image: str) -> None:
    bento("create", "--name", "w", image, "true")
    bento("create", "--name", "h", "host", "true")
    for words, code in (
        (("w", "Bad Name"), 2), (("w", "host"), 2), (("-c", "RUN x", "w"), 2), (("--pause=maybe", "w"), 2), ((), 2),
        (("h", "new"), 2), (("nobody", "new"), 1), (("-c", "VOLUME /", "w"), 2),
    ):  # fmt: skip
        bento.fails("commit", *words, code=code)
    assert bento("images", "-q").stdout.count("\n") == 1
    assert bento("doctor").returncode == 0
