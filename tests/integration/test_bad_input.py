"""What goes wrong is said in one line, with what to do; nothing half-made is left, and ``doctor`` is clean."""

from __future__ import annotations

import ctypes
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import procs
from support.cli import BentoCli, Finished, Roots
from support.workload import ONE_RUNTIME, assert_clean, assert_one_line, busybox_rootfs

pytestmark = ONE_RUNTIME
CLONE_NEWNS = 0x00020000
MS_REC_SLAVE = 0x4000 | 0x80000
SH = ("/bin/sh", "-c")
TOOL_DIRECTORIES = (
    "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec/podman", "/usr/lib/podman",
    "/usr/libexec/catatonit",
)  # fmt: skip


def refused(bento: BentoCli, *words: str | Path, code: int, says: tuple[str, ...] = ()) -> str:
    """This command fails in one line, and nothing is left."""
    line = bento.fails(*words, code=code)
    assert line.startswith("bento: ")
    for part in says:
        assert part in line, line
    return line


# -- names, images, commands ----------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "code"), [("run", 125), ("create", 1)])
def test_unknown_image(bento: BentoCli, verb: str, code: int) -> None:
    refused(bento, verb, "nginx:latest", "true", code=code, says=("no such image: nginx:latest", "cannot be fetched"))
    refused(bento, verb, "--pull=never", "nginx:latest", "true", code=code, says=("no such image: nginx:latest",))
    assert_clean(bento)


@pytest.mark.parametrize("detach", [(), ("-d",)])
@pytest.mark.parametrize(("command", "code"), [("/no/such", 127), ("nosuchcmd", 127), ("/etc/passwd", 126), ("/", 126)])
def test_command_that_cannot_be_run(bento: BentoCli, detach: tuple[str, ...], command: str, code: int) -> None:
    refused(bento, "run", *detach, "host", command, code=code, says=(command,))
    assert_clean(bento)


@pytest.mark.parametrize(("command", "code"), [("/no/such", 127), ("nosuchcmd", 127), ("/etc/passwd", 126)])
def test_command_that_cannot_be_run_behind_init(bento: BentoCli, command: str, code: int) -> None:
    refused(bento, "run", "-d", "--init", "host", command, code=code, says=(command,))
    assert_clean(bento)


def test_command_not_found_at_start_keeps_the_created_container(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "/no/such")
    before = bento.inspect("w")
    line = refused(bento, "start", "w", code=127, says=("/no/such",))
    after = bento.inspect("w")
    assert after["State"].pop("Error") == line.removeprefix("bento: ")
    assert after["State"].pop("ExitCode") == 127
    assert before | {"State": before["State"] | after["State"]} == before == after | {"State": before["State"]}
    assert bento("doctor").returncode == 0
    bento("rm", "w")
    assert_clean(bento)


def test_name_that_is_taken(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "true")
    before = bento("ps", "-aq").stdout
    refused(bento, "run", "-d", "--name", "w", "host", "true", code=125, says=("w", "taken"))
    refused(bento, "create", "--name", "w", "host", "true", code=1, says=("w",))
    assert bento("ps", "-aq").stdout == before
    assert bento("doctor").returncode == 0


@pytest.mark.parametrize("name", ["", "-x", ".hidden", "a/b", "a b", "ä", "x" * 200, "../../etc", "a\nb"])
def test_invalid_name(bento: BentoCli, name: str) -> None:
    refused(bento, "create", f"--name={name}", "host", "true", code=2, says=("invalid name",))
    assert_clean(bento)


# -- values of flags ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        ("--stop-signal", "NOPE"), ("--stop-signal", "0"), ("--stop-timeout", "soon"), ("--stop-timeout", "-2"),
        ("--stop-timeout", "nan"), ("-v", "tmp"), ("-v", ":/x"), ("-v", "/tmp:relative"), ("-v", "/tmp:/"),
        ("-v", "/tmp:/x:exe"), ("-v", "/no/such/source:/x"), ("-v", "a/b:/x"), ("--tmpfs", "relative"),
        ("-w", "relative"), ("--hostname", "bad_host!"), ("--ulimit", "nofile"), ("--ulimit", "nosuch=1:2"),
        ("--ulimit", "nofile=10:20"),
        ("--label", "=v"), ("-e", "=v"), ("--env-file", "/no/such/file"), ("--network", "token-ring"),
        ("-u", "no-such-user"), ("-u", "0:no-such-group"), ("--cidfile", "/no/such/dir/cid"),
        ("--no-such-flag",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_bad_flag_of_run(bento: BentoCli, flags: tuple[str, ...]) -> None:
    refused(bento, "run", "-d", *flags, "host", "true", code=125)
    assert_clean(bento)


@pytest.mark.parametrize(
    "words",
    [
        ("stop", "-t", "soon", "w"), ("stop", "-t", "-2", "w"), ("stop", "-t", "inf", "w"), ("stop", "-t", "", "w"),
        ("stop", "--signal", "NOPE", "w"), ("stop", "--paused", "maybe", "w"), ("stop", "--deaf", "maybe", "w"),
        ("stop", "--extend", "w"), ("stop", "--kill-timeout", "-1", "w"), ("stop",), ("kill", "-s", "0", "w"),
        ("restart", "-t", "x", "w"), ("ps", "--format", "xml"), ("logs", "--since", "soon", "w"), ("rename", "w"),
        ("--log-level", "loud", "ps"), ("--no-such", "ps"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_bad_words_of_other_verbs(bento: BentoCli, words: tuple[str, ...]) -> None:
    bento("create", "--name", "w", "host", "true")
    before = bento.inspect("w")
    refused(bento, *words, code=2)
    assert bento.inspect("w") == before


@pytest.mark.parametrize(
    "verb", ["start", "stop", "kill", "pause", "unpause", "restart", "rm", "inspect", "logs", "wait"]
)
def test_unknown_container(bento: BentoCli, verb: str) -> None:
    finished = bento(verb, "nobody", check=False)
    assert finished.returncode == 1, str(finished)
    assert_one_line(finished, "nobody")
    assert_clean(bento)


def test_runtime_that_is_missing_names_the_package(bento: BentoCli, roots: Roots) -> None:
    broken = BentoCli(roots, "youki")
    refused(broken, "run", "-d", "host", "true", code=125, says=("youki",))
    broken = BentoCli(roots, "/no/such/runc")
    refused(broken, "run", "-d", "host", "true", code=125, says=("/no/such/runc",))
    assert_clean(bento)


@pytest.mark.parametrize(("missing", "package"), [("conmon", "conmon"), ("crun", "crun"), ("catatonit", "catatonit")])
def test_missing_tool_names_the_package(bento: BentoCli, missing: str, package: str) -> None:
    """Its place is taken in a private view of the file system."""

    def hide() -> None:
        for directory in TOOL_DIRECTORIES:
            if os.path.lexists(f"{directory}/{missing}") and not os.path.islink(directory):
                _mount("/dev/null", f"{directory}/{missing}", flags=4096)

    finished = in_private_mounts(bento, hide, "run", "-d", "--init", "host", "sleep", "1")
    assert finished.returncode == 125, str(finished)
    assert_one_line(finished, package)
    assert_clean(bento)


@pytest.mark.parametrize(
    "make", ["nothing", "file", "empty-tar", "garbage"], ids=["missing", "plain file", "cut archive", "garbage"]
)
def test_import_of_what_is_no_root_filesystem(bento: BentoCli, tmp_path: Path, make: str) -> None:
    source = tmp_path / "source.tar"
    if make == "file":
        source.write_text("hello")
    elif make == "garbage":
        source.write_bytes(random.Random(1).randbytes(20000))
    elif make == "empty-tar":
        fs = busybox_rootfs(tmp_path / "fs")
        subprocess.run(["tar", "-C", str(fs), "-czf", str(source), "."], check=True)
        source.write_bytes(source.read_bytes()[:50000])
    finished = bento("import", source, "bb", check=False)
    assert finished.returncode in (1, 2), str(finished)
    assert_one_line(finished, str(source))
    assert bento("images", "-q").stdout == ""
    assert_clean(bento)


# -- the host -------------------------------------------------------------------------------------


def in_private_mounts(bento: BentoCli, prepare: Callable[[], None], *words: str | Path) -> Finished:
    """Run a command in a mount namespace that ``prepare`` has changed; its children see it too."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter() -> None:
        assert libc.unshare(CLONE_NEWNS) == 0
        _mount(None, "/", flags=MS_REC_SLAVE)
        prepare()

    done = subprocess.run(
        [*bento.prefix, *map(str, words)], capture_output=True, text=True, preexec_fn=enter, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Finished(tuple(map(str, words)), done.returncode, done.stdout, done.stderr, 0.0)


def _mount(source: str | None, target: str | Path, kind: str | None = None, *, flags: int = 0, data: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    encoded = [None if text is None else str(text).encode() for text in (source, target, kind)]
    assert libc.mount(*encoded, flags, data.encode() or None) == 0, (target, os.strerror(ctypes.get_errno()))


def test_not_root_is_told_what_is_needed(bento: BentoCli) -> None:
    as_user_65534 = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
    done = subprocess.run(
        [*as_user_65534, *bento.prefix, "run", "-d", "host", "true"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    finished = Finished(("run",), done.returncode, done.stdout, done.stderr, 0.0)
    if "No module named" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("this checkout cannot be read by others")
    assert done.returncode == 125, str(finished)
    assert "root" in assert_one_line(finished, "sudo")
    assert not bento.roots.root.exists()


def test_not_root_is_told_for_every_verb(bento: BentoCli) -> None:
    """Also from a checkout that only root can read: its modules are loaded first."""
    program = (
        "import locale, os, bento.cli.main, bento.cli.views.ps, bento.wiring, bento.engine.facade\n"
        "os.setresuid(65534, 65534, 65534)\nbento.cli.main.main(['ps'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "root" in done.stderr


def test_root_on_a_filesystem_that_overlay_cannot_use(bento: BentoCli, tmp_path: Path) -> None:
    """An overlay cannot be the writable layer of another one."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    there = BentoCli(Roots(tmp_path / "merged" / "root", bento.roots.run_root), bento.runtime)

    def prepare() -> None:
        _mount("overlay", tmp_path / "merged", "overlay", data=options)

    finished = in_private_mounts(there, prepare, "run", "-d", "host", "true")
    assert finished.returncode == 125, str(finished)
    assert_one_line(finished, str(tmp_path / "merged"), "--root")
    left = [p for p in (tmp_path / "upper/root").rglob("*") if len(p.name) == 64]
    assert left == []
    assert_clean(bento)


def test_root_that_cannot_be_written(bento: BentoCli, tmp_path: Path) -> None:
    there = BentoCli(Roots(tmp_path / "ro" / "root", bento.roots.run_root), bento.runtime)
    (tmp_path / "ro").mkdir()

    def prepare() -> None:
        _mount("tmpfs", tmp_path / "ro", "tmpfs", flags=1)

    finished = in_private_mounts(there, prepare, "run", "-d", "host", "true")
    assert finished.returncode == 125, str(finished)
    assert_one_line(finished, str(tmp_path / "ro"), "Read-only")


@pytest.mark.parametrize("kib", [4, 128, 160, 168, 176, 184, 192])
def test_full_disk(bento: BentoCli, tmp_path: Path, kib: int) -> None:
    """A root of so many KiB: it fills up at different moments of a run. Nothing half-made is left on it."""
    (tmp_path / "small").mkdir()
    there = BentoCli(Roots(tmp_path / "small" / "root", bento.roots.run_root), bento.runtime)
    script = f"""
set -u
mount -t tmpfs -o size={kib}k tmpfs {tmp_path}/small
"$@" run -d --name w host sleep 1000 >{tmp_path}/out 2>{tmp_path}/err
echo $? >{tmp_path}/code
mount -o remount,size=8m {tmp_path}/small
"$@" ps -a -q >{tmp_path}/list 2>{tmp_path}/list.err
for id in $(cat {tmp_path}/list); do "$@" rm -f $id; done
"$@" doctor >{tmp_path}/doctor 2>&1
echo $? >>{tmp_path}/code
ls {tmp_path}/small/root/containers >{tmp_path}/left 2>/dev/null || :
"""
    subprocess.run(
        ["unshare", "-m", "--propagation", "slave", *SH, script, "sh", *there.prefix], check=True, timeout=60
    )
    code, doctor = map(int, (tmp_path / "code").read_text().split())
    said = (tmp_path / "err").read_text()
    assert "Traceback" not in said
    assert (tmp_path / "list.err").read_text() == ""
    if code:
        assert code == 125, said
        assert len(said.splitlines()) == 1, said
        assert "space" in said or "full" in said, said
    # A record may be left where the full disk was in the way of its removal, too: it is listed, and can be removed.
    assert doctor == 0, (tmp_path / "doctor").read_text()
    assert (tmp_path / "left").read_text() == ""


@pytest.mark.parametrize("damage", ["garbage", "cut", "header", "json"])
def test_corrupted_database_is_refused_named_and_left_as_it_is(bento: BentoCli, damage: str) -> None:
    bento("create", "--name", "w", "host", "true")
    file = bento.roots.root / "bento.db"
    whole = file.read_bytes()
    for extra in ("bento.db-wal", "bento.db-shm"):
        assert not (bento.roots.root / extra).exists() or not (bento.roots.root / extra).stat().st_size
    if damage == "garbage":
        broken = b"this is no database" * 100
    elif damage == "cut":
        broken = whole[: len(whole) // 2]
    elif damage == "header":
        broken = b"\0" * 100 + whole[100:]
    else:
        broken = whole.replace(b'"image"', b'"im\0ge"')
        assert broken != whole
    file.write_bytes(broken)
    verbs: list[tuple[str, ...]] = [("ps", "-a"), ("stop", "w"), ("rm", "w"), ("start", "w"), ("inspect", "w")]
    if damage != "json":  # one record that cannot be read does not keep others from running, and goes by -f
        verbs += [("rm", "-f", "w"), ("run", "-d", "host", "true")]
    try:
        for words in verbs:
            finished = bento(*words, check=False)
            assert finished.returncode == (125 if words[0] == "run" else 1), str(finished)
            assert_one_line(finished, str(file))
        assert file.read_bytes() == broken
    finally:
        file.write_bytes(whole)
    assert bento.inspect("w")["Name"] == "w"
    assert bento("doctor").returncode == 0


def test_a_record_that_cannot_be_read_does_not_hide_the_others(bento: BentoCli) -> None:
    bento("create", "--name", "good", "host", "/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")
    bad = bento("create", "--name", "bad", "host", "true").stdout.strip()
    file = bento.roots.root / "bento.db"

    def damage(old: str, new: str) -> None:
        with sqlite3.connect(file) as db:
            db.execute(
                "UPDATE containers SET document = replace(CAST(document AS TEXT), ?, ?) WHERE id = ?", (old, new, bad)
            )
        db.close()

    damage('"image"', '"im\u0001ge"')
    with sqlite3.connect(file) as db:
        before = db.execute("SELECT * FROM containers ORDER BY id").fetchall()
    db.close()
    finished = bento("ps", "-a", check=False)
    assert finished.returncode == 1
    assert "good" in finished.stdout
    assert "bad" not in finished.stdout
    assert_one_line(finished, bad)
    assert [one["Names"] for one in bento.listing("ps", "-a", check=False)] == ["good"]
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT * FROM containers ORDER BY id").fetchall() == before
    db.close()
    for words in (("stop", "--all"), ("shutdown",)):  # one bad record is no reason to stop none
        bento("start", "good")
        finished = bento(*words, check=False)
        assert finished.returncode == 1
        assert_one_line(finished, bad)
        assert bento.state("good")["Status"] == "stopped"
    damage('"im\u0001ge"', '"image"')
    assert bento("ps", "-a", "-q").stdout.count("\n") == 2


def test_database_of_a_later_version_is_refused(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "true")
    with sqlite3.connect(bento.roots.root / "bento.db") as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute("PRAGMA user_version = 9999")
    db.close()
    assert "bento.db" in bento.fails("ps", code=1)
    with sqlite3.connect(bento.roots.root / "bento.db") as db:
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    assert bento.state("w")["Status"] == "created"


# -- two engines at once --------------------------------------------------------------------------


def test_ten_starts_at_once_start_it_once(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "sleep", "1000")
    starts = [bento.start("start", "w") for _ in range(10)]
    results = [(process.communicate(timeout=60), process.returncode) for process in starts]
    assert [code for _, code in results] == [0] * 10, results
    found = bento.inspect("w")
    assert found["Run"] == 1
    root = str(bento.roots.run_root)
    monitors = [p for p in procs.all_processes() if p.comm == "conmon" and root in procs.whole_cmdline(p.pid)]
    assert len(monitors) == 1, monitors


def test_ten_names_at_once_are_given_once(bento: BentoCli) -> None:
    bento("ps")
    creates = [bento.start("create", "--name", "w", "host", "true") for _ in range(10)]
    results = [(process.communicate(timeout=60), process.returncode) for process in creates]
    assert sorted(code for _, code in results) == [0] + [1] * 9, results
    assert all("w" in err and len(err.splitlines()) == 1 for (_, err), code in results if code)
    assert bento("ps", "-aq").stdout.count("\n") == 1
    assert bento("doctor").returncode == 0


def test_ten_removals_at_once(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    removals = [bento.start("rm", "-f", "w") for _ in range(10)]
    results = [(process.communicate(timeout=60), process.returncode) for process in removals]
    assert 0 in [code for _, code in results], results
    assert all(len(err.splitlines()) == 1 and "no such container" in err for (_, err), code in results if code), results
    assert_clean(bento)


def test_start_stop_and_rm_at_once_leave_nothing_half_made(bento: BentoCli) -> None:
    dice = random.Random(7)
    for turn in range(3):
        name = f"w{turn}"
        bento.run("--name", name, "host", "sleep", "1000")
        words = [["start", name], ["stop", "-t", "0", name], ["rm", "-f", name], ["restart", "-t", "0", name]] * 3
        words += [["ps", "-a"], ["inspect", name], ["kill", name]]
        dice.shuffle(words)
        running = [bento.start(*command) for command in words]
        ends = [(process.communicate(timeout=60)[1], process) for process in running]
        for err, process in ends:
            assert process.returncode in (0, 1), err
            assert "Traceback" not in err
            assert "please report" not in err, err
            assert len(err.splitlines()) <= 1, err
    left = bento("ps", "-aq").stdout.split()
    if left:
        bento("rm", "-f", *left)
    assert_clean(bento)
