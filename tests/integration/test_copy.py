"""``cp`` by Docker's rules, both ways, on containers that run, are paused or stopped; and past those that cheat."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from bento import Engine
from bento.errors import BentoError, Conflict

from support.cli import BentoCli
from support.copying import check_rules, make_source
from support.workload import ONE_RUNTIME, assert_clean, busybox_rootfs

SH = ("/bin/sh", "-c")


@ONE_RUNTIME
@pytest.mark.parametrize("state", ["running", "paused", "stopped"])
def test_dockers_rules_both_ways(bento: BentoCli, engine: Engine, tmp_path: Path, state: str) -> None:
    """On a volume: what is in it can be looked at from outside."""
    bento("create", "--name", "w", "-v", "v:/side", "host", "sleep", "1000")
    inside, outside = engine.drivers.volumes.path("v"), tmp_path / "out"
    outside.mkdir()
    if state != "stopped":
        bento("start", "w")
    if state == "paused":
        bento("pause", "w")
    check_rules(lambda a, b, options: engine.copy_in("w", f"{tmp_path}/src/{a}", f"/side/{b}", options),
                tmp_path / "src", inside)  # fmt: skip
    check_rules(lambda a, b, options: engine.copy_out("w", f"side/src/{a}", f"{outside}/{b}", options),
                inside / "src", outside)  # fmt: skip
    assert engine.get("w").status.value == {"stopped": "created"}.get(state, state)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_everywhere_in_the_container(bento: BentoCli, engine: Engine, tmp_path: Path, running: bool) -> None:
    (tmp_path / "bound").mkdir()
    (tmp_path / "file").write_text("F")
    bento("create", "--name", "w", "-v", "v:/vol", "-v", f"{tmp_path}/bound:/deep/bound", "-v", "ro:/ro:ro",
          "--tmpfs", "/mem", "host", "sleep", "1000")  # fmt: skip
    places = ["/etc/new", "/vol/new", "/deep/bound/new"]
    if running:
        bento("start", "w")
        places += ["/mem/new", "/dev/shm/new", "/etc/hosts", "/run/new"]
    for place in places:
        engine.copy_in("w", f"{tmp_path}/file", place)
        engine.copy_out("w", place, f"{tmp_path}/back")
        assert (tmp_path / "back").read_text() == "F", place
        (tmp_path / "back").unlink()
    assert (tmp_path / "bound" / "new").read_text() == "F"
    assert not Path("/etc/new").exists()
    assert Path("/etc/hosts").read_text() != "F"
    line = bento.fails("cp", tmp_path / "file", "w:/ro/x")
    assert "cannot write /ro/x in container w: read-only file system" in line
    assert ".bento" not in line
    if not running:
        bento("start", "w")
        init = bento.state("w")["Pid"]
        for place in places:
            assert Path(f"/proc/{init}/root{place}").read_text() == "F"
    bento("rm", "-f", "w")
    assert_clean(bento)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_file_that_is_mounted_is_written_and_stays_mounted(bento: BentoCli, tmp_path: Path, running: bool) -> None:
    """By its name, as part of a directory, from an archive, and by itself."""
    mine = tmp_path / "mine"
    mine.write_text("old")
    source = tmp_path / "source"
    source.mkdir()
    bento("create", "--name", "w", "-v", f"{mine}:/etc/conf", "host", "sleep", "1000")
    if running:
        bento("start", "w")
    (source / "conf").write_text("by name")
    bento("cp", source / "conf", "w:/etc/conf")
    assert mine.read_text() == "by name"
    (source / "conf").write_text("with its directory")
    bento("cp", f"{source}/.", "w:/etc")
    assert mine.read_text() == "with its directory"
    (source / "conf").write_text("from an archive")
    archive = subprocess.run(["tar", "-C", source, "-c", "conf"], capture_output=True, check=True).stdout
    subprocess.run([*bento.prefix, "cp", "-", "w:/etc"], input=archive, check=True)
    assert mine.read_text() == "from an archive"
    bento("cp", mine, "w:/etc/conf")
    assert mine.read_text() == "from an archive"
    if not running:
        bento("start", "w")
    init = Path(f"/proc/{bento.state('w')['Pid']}")
    assert (init / "root/etc/conf").read_text() == "from an archive"
    assert " /etc/conf " in (init / "mountinfo").read_text()
    (source / "conf").unlink()
    (source / "conf").symlink_to("elsewhere")
    assert "cannot replace what is mounted at conf" in bento.fails("cp", f"{source}/.", "w:/etc")
    bento("rm", "-f", "w")
    assert_clean(bento)


def test_etc_files_of_a_stopped_container_are_those_it_had(bento: BentoCli, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine\n")
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento("create", "--name", "w", "--hostname", "web", "-v", f"{tmp_path}/mine:/etc/resolv.conf", "bb", "true")
    assert "no such file" in bento.fails("cp", "w:/etc/hostname", tmp_path / "early")
    bento("start", "w")
    bento("wait", "w")
    for name, text in (("hostname", "web\n"), ("hosts", "localhost"), ("resolv.conf", "mine\n")):
        bento("cp", f"w:/etc/{name}", tmp_path / name)
        assert text in (tmp_path / name).read_text()
    bento("rm", "w")
    assert_clean(bento)


def test_whole_root_of_a_container_that_runs(bento: BentoCli, tmp_path: Path) -> None:
    """While its processes come and go: what is in /proc and /sys is none of its files."""
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento.run("--name", "w", "-v", "v:/vol", "bb", *SH, "echo x >/vol/kept; echo ready; while :; do true | true; done")
    bento.wait_for_log("w", "ready")
    for _ in range(3):
        bento("cp", "w:/", tmp_path / "all")
        assert (tmp_path / "all/vol/kept").read_text() == "x\n"
        assert [*os.listdir(tmp_path / "all/proc"), *os.listdir(tmp_path / "all/sys")] == []
        shutil.rmtree(tmp_path / "all")
        done = subprocess.run([*bento.prefix, "cp", "w:/", "-"], capture_output=True, check=True, timeout=120)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            names = archive.getnames()
        assert {"./vol/kept", "./proc", "./sys"} <= set(names)
        assert not [name for name in names if name.startswith(("./proc/", "./sys/", "./dev/pts/"))]


@ONE_RUNTIME
def test_files_of_proc_and_sys_that_are_named_are_whole(bento: BentoCli, tmp_path: Path) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    for path in ("/proc/1/cmdline", "/proc/filesystems", "/sys/kernel/mm/transparent_hugepage/enabled"):
        expected = bento("exec", "w", "cat", path).stdout.encode()
        bento("cp", f"w:{path}", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == expected
        done = subprocess.run([*bento.prefix, "cp", f"w:{path}", "-"], capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            (member,) = archive.getmembers()
            file = archive.extractfile(member)
            assert file is not None
            assert file.read() == expected
    bento("cp", "/proc/filesystems", "w:/copied")
    assert bento("exec", "w", "cat", "/copied").stdout == Path("/proc/filesystems").read_text()


@ONE_RUNTIME
def test_what_is_kept_with_and_without_archive(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    (source / "f").write_text("x")
    os.chown(source / "f", 1000, 1001)
    os.chmod(source / "f", 0o4750)
    os.utime(source / "f", ns=(1, 1_500_000_000_123_456_789))
    os.link(source / "f", source / "g")
    os.mkfifo(source / "fifo")
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(source / "f", "user.note", b"n")
    with open(source / "sparse", "wb") as file:
        file.truncate(1 << 30)
    os.utime(source, ns=(1, 1_400_000_000_000_000_007))
    bento("create", "--name", "w", "-v", "v:/v", "host", "true")
    top = engine.drivers.volumes.path("v")

    bento("cp", "-a", source, "w:/v/kept")
    warned = bento("cp", source, "w:/v/plain").stderr
    assert "device nodes were left out, use -a: plain/null" in warned
    for name, owner, mode in (("kept", (1000, 1001), 0o4750), ("plain", (0, 0), 0o750)):
        copied = top / name
        status = (copied / "f").stat()
        assert (status.st_uid, status.st_gid) == owner
        assert stat.S_IMODE(status.st_mode) == mode
        assert status.st_mtime_ns == 1_500_000_000_123_456_789
        assert copied.stat().st_mtime_ns == 1_400_000_000_000_000_007
        assert os.path.samefile(copied / "f", copied / "g")
        assert os.getxattr(copied / "f", "user.note") == b"n"
        assert (copied / "fifo").is_fifo()
        assert (copied / "null").exists() == (name == "kept")
        assert (copied / "sparse").stat().st_blocks < 100
    bento("cp", "-a", "w:/v/kept", tmp_path / "back")
    assert (tmp_path / "back" / "f").stat().st_uid == 1000
    assert (tmp_path / "back" / "null").stat().st_rdev == os.makedev(1, 3)


@ONE_RUNTIME
def test_archives_on_stdin_and_stdout(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    bento("create", "--name", "w", "-v", "v:/v", "host", "true")
    make_source(tmp_path / "s")
    engine.copy_in("w", f"{tmp_path}/s", "/v/s")
    for path, top in (("w:/v/s", "s"), ("w:/v/s/", "s"), ("w:/v/s/.", "."), ("w:/v/s/file", "s/file")):
        done = subprocess.run([*bento.prefix, "cp", path, "-"], capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            names = archive.getnames()
        assert names[0] == ("file" if top == "s/file" else top)
        assert len(names) == (1 if top == "s/file" else 8)

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo("deep/er/file")  # its directories are not named
        info.size, info.uid = 1, 1234
        archive.addfile(info, io.BytesIO(b"X"))
    subprocess.run([*bento.prefix, "cp", "-", "w:/v"], input=made.getvalue(), check=True)
    placed = engine.drivers.volumes.path("v") / "deep/er/file"
    assert (placed.read_text(), placed.stat().st_uid) == ("X", 1234)

    for data, path, says in (
        (b"junk" * 500, "w:/v", "no tar archive"), (made.getvalue(), "w:/v/s/file", "not a directory"),
        (made.getvalue(), "w:/nosuch", "no such file"),
    ):  # fmt: skip
        failed = subprocess.run([*bento.prefix, "cp", "-", path], input=data, capture_output=True, check=False)
        assert failed.returncode != 0
        assert says in failed.stderr.decode()
        assert failed.stderr.count(b"\n") == 1


@ONE_RUNTIME
def test_archive_cannot_write_through_its_own_links(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    bento("create", "--name", "w", "-v", "v:/v", "host", "true")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        file = tarfile.TarInfo("out/file")
        archive.addfile(file)
    done = subprocess.run([*bento.prefix, "cp", "-", "w:/v"], input=made.getvalue(), capture_output=True, check=False)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


@ONE_RUNTIME
def test_bad_words(bento: BentoCli, tmp_path: Path) -> None:
    bento("create", "--name", "w", "host", "true")
    for words in (
        ("a", "b"), ("w:/a", "w:/b"), ("w:/a",), (":/a", "."), ("w:", "."), ("", "w:/a"), ("w:/a", ""), ("-", "x"),
        ("--nosuch", "w:/a", "."), ("-", "-"),
    ):  # fmt: skip
        bento.fails("cp", *words, code=2)
    assert "nobody" in bento.fails("cp", "nobody:/a", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert_clean_but(bento, "w")


def assert_clean_but(bento: BentoCli, *names: str) -> None:
    bento("rm", *names)
    assert_clean(bento)


@ONE_RUNTIME
def test_devices_and_what_is_read_from_them_are_safe(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    """No device is opened, or put in the place of a file or the other way round; a FIFO keeps none waiting."""
    bento.run("--name", "w", "host", *SH, "mkfifo /pipe; echo ready; exec sleep 1000")
    bento.wait_for_log("w", "ready")
    (tmp_path / "file").write_text("F")
    os.mkfifo(tmp_path / "fifo")
    for act in (lambda: engine.copy_in("w", f"{tmp_path}/file", "/dev/null"),
                lambda: engine.copy_in("w", f"{tmp_path}/file", "/pipe"),
                lambda: engine.copy_out("w", "/etc/passwd", str(tmp_path / "fifo"))):  # fmt: skip
        with pytest.raises(Conflict, match="device"):
            act()
    engine.copy_out("w", "/pipe", str(tmp_path / "pipe"))
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(BentoError):
        engine.copy_out("w", "/proc/1/root/etc/passwd", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


@ONE_RUNTIME
def test_errors_say_where_and_what(bento: BentoCli, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("F")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)
    bento("create", "--name", "w", "-v", "v:/v", "-v", "r:/ro:ro", "host", "true")
    top = engine.drivers.volumes.path("v")
    (top / "loop").symlink_to("loop")
    (top / "far").symlink_to("/not/there")
    (top / "near").symlink_to("missing")
    for words, says in (
        (("-L", "w:/v/far", "o"), "no such file in container w: /v/far (/v/far is a link to /not/there)"),
        (("-L", "w:/v/near", "o"), "no such file in container w: /v/near (/v/near is a link to missing)"),
        (("w:/v/loop/x", "o"), "too many links in container w: /v/loop/x (/v/loop is a link to loop)"),
        (("w:/v/far/x", "o"), "no such directory in container w: /v/far (/v/far is a link to /not/there)"),
        ((tmp_path / "file", "w:/v/far"), "no such file in container w: /v/far (/v/far is a link to /not/there)"),
        (("w:/etc/passwd", "/proc/x"), "cannot write /proc/x on this machine: no such file or directory"),
        ((tmp_path / "file", "w:/ro"), "cannot write /ro/file in container w: read-only file system"),
        (("/dev/null", "w:/v/null"), "a device node on this machine: /dev/null (copy it as one by -a)"),
        ((tmp_path / "socket", "w:/v/socket"), f"a socket on this machine: {tmp_path}/socket"),
        (("/proc/self/mem", "w:/v/mem"), "cannot read /proc/self/mem on this machine: input/output error"),
    ):  # fmt: skip
        assert bento.fails("cp", *words).removeprefix("bento: ") == says
    assert sorted(os.listdir(top)) == ["far", "loop", "near"]
    bento("cp", "-a", "/dev/null", "w:/v/null")

    for kind, name, target, says in (
        (tarfile.SYMTYPE, "out", "/etc", "cannot write /v/out in container w: a file is in the way, or a link"),
        (tarfile.LNKTYPE, "hard", "/etc/passwd", "cannot make hard a hard link to etc/passwd: no such file below"),
    ):  # fmt: skip
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
            archive.addfile(tarfile.TarInfo(f"{name}/f"))
        command = [*bento.prefix, "cp", "-", "w:/v"]
        done = subprocess.run(command, input=made.getvalue(), capture_output=True, check=False)
        assert done.returncode == 1
        assert says in done.stderr.decode()
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(BentoError, match="cannot read the archive: is a directory"):
            engine.archive_in("w", directory, "/v")
    finally:
        os.close(directory)


@ONE_RUNTIME
def test_three_paths_are_one_too_many(bento: BentoCli) -> None:
    assert "two paths" in bento.fails("cp", "a", "b", "c:/", code=2)


def test_hard_links_that_come_to_lie_on_two_mounts_become_two_files(bento: BentoCli, tmp_path: Path) -> None:
    (tmp_path / "d" / "vol").mkdir(parents=True)
    (tmp_path / "d" / "a").write_text("A")
    (tmp_path / "d" / "a").chmod(0o640)
    os.link(tmp_path / "d" / "a", tmp_path / "d" / "vol" / "b")
    (tmp_path / "v").mkdir()
    bento("create", "--name", "w", "-v", f"{tmp_path}/v:/srv/vol", "host", "true")
    bento("cp", f"{tmp_path}/d/.", "w:/srv")
    (copied,) = (tmp_path / "v").iterdir()
    assert (copied.name, copied.read_text(), stat.S_IMODE(copied.stat().st_mode)) == ("b", "A", 0o640)
