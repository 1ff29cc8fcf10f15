"""``diff`` and ``export``: what a container has made of its image."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean, busybox_rootfs, ended

SH = ("/bin/sh", "-c")
CHANGE = """
echo x >/data/file; rm -r /gone; rm -r /data/deep; mkdir /data/deep; echo n >/data/deep/new; mkdir -p /n/m
ln -s x /n/m/l; rm /data/turned; mkdir /data/turned; rm -r /turns; echo f >/turns; chmod 700 /mode; echo v >/vol/v
echo t >/tmpfs/t; mkfifo /fifo
echo done; exec sleep 1000
"""
CHANGES = """\
C /data
C /data/deep
D /data/deep/old
A /data/deep/new
C /data/file
C /data/turned
A /fifo
D /gone
C /mode
A /n
A /n/m
A /n/m/l
C /turns
"""


@pytest.fixture
def image(bento: BentoCli, tmp_path: Path) -> Path:
    rootfs = busybox_rootfs(tmp_path / "fs")
    for applet in ("rm", "mkdir", "ln", "chmod", "mkfifo"):
        (rootfs / "bin" / applet).symlink_to("busybox")
    for name in ("data/file", "data/deep/old", "data/turned", "gone/x", "turns/y", "mode/kept", "same/kept"):
        (rootfs / name).parent.mkdir(parents=True, exist_ok=True)
        (rootfs / name).write_text("image\n")
    os.link(rootfs / "same/kept", rootfs / "same/again")
    os.setxattr(rootfs / "same/kept", "user.note", b"\x00n")
    os.chown(rootfs / "same/kept", 1234, 5678)
    with open(rootfs / "same/sparse", "wb") as file:
        file.truncate(8 << 20)
    bento("import", rootfs, "bb")
    return rootfs


def sorted_lines(text: str) -> list[str]:
    return sorted(text.splitlines(), key=lambda line: line[2:])


def test_diff_and_export_of_a_running_and_a_stopped_container(bento: BentoCli, image: Path, tmp_path: Path) -> None:
    bento.run("--name", "w", "-v", "v:/vol", "--tmpfs", "/tmpfs", "bb", *SH, CHANGE)
    bento.wait_for_log("w", "done")
    running = bento("diff", "w").stdout
    assert sorted_lines(running) == sorted_lines(CHANGES)
    live = export(bento, "w")
    bento("stop", "-t", "0", "w")
    assert bento("diff", "w").stdout == running
    bento("export", "-o", tmp_path / "out.tar", "w")
    assert (tmp_path / "out.tar").read_bytes() == live

    records = json.loads(bento("diff", "--format", "json", "w").stdout)
    assert {"Kind": 2, "Path": "/gone"} in records
    assert {"Kind": 1, "Path": "/fifo"} in records
    assert {"Kind": 0, "Path": "/mode"} in records
    with tarfile.open(fileobj=io.BytesIO(live)) as archive:
        found = {member.name: member for member in archive}
    assert found["data/deep/new"].isreg()
    assert not {"gone", "data/deep/old", "vol/v", "tmpfs/t", "proc/self", "dev/null"} & set(found)
    assert found["turns"].isreg()
    assert found["data/turned"].isdir()
    assert found["fifo"].isfifo()
    assert found["n/m/l"].linkname == "x"
    kept = found["same/again"]
    assert (kept.uid, kept.gid, kept.pax_headers["SCHILY.xattr.user.note"]) == (1234, 5678, "\x00n")
    assert found["same/kept"].islnk()
    assert found["same/kept"].linkname == "same/again"
    kept_again = found["same/kept"]  # some give the file what the last of its entries says
    assert (kept_again.uid, kept_again.gid, kept_again.mode, kept_again.mtime) == (
        kept.uid,
        kept.gid,
        kept.mode,
        kept.mtime,
    )
    assert kept_again.pax_headers["SCHILY.xattr.user.note"] == kept.pax_headers["SCHILY.xattr.user.note"]
    assert found["same/sparse"].size == 8 << 20
    assert len(live) < 8 << 20

    # what is exported can be imported, and is the same again
    subprocess.run([*bento.prefix, "import", "-", "again"], input=live, check=True, stdout=subprocess.DEVNULL)
    assert bento("run", "--rm", "again", "/bin/cat", "/data/deep/new").stdout == "n\n"
    bento("rm", "w")
    assert_clean(bento)


def export(bento: BentoCli, name: str) -> bytes:
    return subprocess.run([*bento.prefix, "export", name], capture_output=True, check=True).stdout


@ONE_RUNTIME
def test_a_container_that_was_never_started_has_changed_nothing(bento: BentoCli, image: Path, tmp_path: Path) -> None:
    bento("create", "--name", "w", "-v", "v:/vol/deep", "-v", f"{image}/etc/passwd:/file", "bb", "true")
    assert bento("diff", "w").stdout == ""
    (tmp_path / "f").write_text("")
    bento("cp", tmp_path / "f", "w:/vol/deep/")  # for which the volume's place is made
    assert bento("diff", "w").stdout == ""
    bento("cp", tmp_path / "f", "w:/data/")
    bento("start", "w")
    bento("wait", "w")
    assert bento("diff", "w").stdout == "C /data\nA /data/f\n"


@ONE_RUNTIME
def test_machines_own_userland_without_bentos_own(bento: BentoCli) -> None:
    bento("run", "--name", "w", "host", *SH, "echo x >/etc/new; rm -r /etc/apt; touch /srv/x")
    assert bento("diff", "w").stdout == "C /etc\nD /etc/apt\nA /etc/new\nC /srv\nA /srv/x\n"
    with ended(
        subprocess.Popen([*bento.prefix, "export", "w"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    ) as process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:  # fmt: skip
        names = set()
        for member in archive:
            names.add(member.name)
            if member.name > "f":
                break
    assert "etc/new" in names
    assert not [name for name in names if name.startswith(("etc/apt", "proc/"))]


@ONE_RUNTIME
def test_export_to_a_file_that_fails_leaves_nothing(bento: BentoCli, image: Path, tmp_path: Path) -> None:
    bento("create", "--name", "w", "bb", "true")
    out = tmp_path / "out"
    out.mkdir()
    for target, code in ((out / "no" / "x.tar", 2), (out, 2), ("/dev/full", 2)):
        bento.fails("export", "-o", target, "w", code=code)
    assert "nobody" in bento.fails("export", "-o", out / "x", "nobody")
    assert list(out.iterdir()) == []
    with open("/dev/full", "wb") as full:
        failed = subprocess.run([*bento.prefix, "export", "w"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert failed.returncode == 1
    assert failed.stderr.count(b"\n") == 1
    words = [*SH, '"$@" | head -c 100 >/dev/null', "sh", *bento.prefix, "export", "w"]
    reader = subprocess.run(words, check=False, stderr=subprocess.PIPE)
    assert reader.stderr == b""
    for bad in (("export",), ("export", "w", "x"), ("diff",), ("diff", "--format", "xml", "w")):
        bento.fails(*bad, code=2)
    assert "nobody" in bento.fails("diff", "nobody")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
