"""The other verbs and their flags, each by its visible effect."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from bento import __version__

from support import leaks, procs
from support.cli import BentoCli, Roots
from support.workload import (
    ONE_RUNTIME,
    PYTHON,
    Share,
    assert_clean,
    assert_one_line,
    busybox_rootfs,
    ended,
    wait_for_status,
)

SH = ("/bin/sh", "-c")
pytestmark = ONE_RUNTIME


# -- names ----------------------------------------------------------------------------------------


def test_names_and_prefixes_of_ids_name_a_container(bento: BentoCli) -> None:
    identifier = bento.run("--name", "w", "host", "sleep", "1000")
    for ref in ("w", identifier, identifier[:12], identifier[:4]):
        assert bento.inspect(ref)["Id"] == identifier


def test_ambiguous_prefix_is_refused(bento: BentoCli) -> None:
    ids = [bento("create", "host", "true").stdout.strip() for _ in range(17)]  # two of them begin with one digit
    prefix = next(d for d in "0123456789abcdef" if sum(i.startswith(d) for i in ids) > 1)
    assert prefix in bento.fails("rm", prefix, code=1)
    assert bento("ps", "-aq").stdout.count("\n") == 17


def test_name_is_made_up_when_none_is_given(bento: BentoCli) -> None:
    identifier = bento("create", "host", "true").stdout.strip()
    assert re.fullmatch(r"[a-z]+_[a-z]+(_[0-9a-f]{6})?", bento.inspect(identifier)["Name"])


def test_rename(bento: BentoCli) -> None:
    identifier = bento.run("--name", "old", "host", "sleep", "1000")
    bento("create", "--name", "taken", "host", "true")
    bento("rename", "old", "new")
    assert bento.inspect("new")["Id"] == identifier
    assert "old" in bento.fails("rm", "old", code=1)
    assert "taken" in bento.fails("rename", "new", "taken", code=1)
    assert "invalid name" in bento.fails("rename", "new", "no/slash", code=2)
    assert bento.inspect("new")["Id"] == identifier


# -- ps -------------------------------------------------------------------------------------------


def test_ps_shows_the_live_ones_and_all_with_a(bento: BentoCli) -> None:
    live = bento.run("--name", "live", "host", "sleep", "1000")
    bento("create", "--name", "made", "host", "true")
    bento.run("--name", "over", "host", *SH, "exit 7")
    wait_for_status(bento, "over", "stopped")
    lines = bento("ps").stdout.splitlines()
    assert lines[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert len(lines) == 2
    assert lines[1].startswith(live[:12])
    assert "Up " in lines[1]
    assert '"sleep 1000"' in lines[1]
    every = bento("ps", "-a").stdout
    assert "Exited (7)" in every
    assert "Created" in every
    assert bento("ps", "-q").stdout == f"{live[:12]}\n"
    assert bento("ps", "-q", "--no-trunc").stdout == f"{live}\n"


def test_ps_json(bento: BentoCli) -> None:
    identifier = bento.run("--name", "w", "--label", "a=b", "host", "sleep", "1000")
    (record,) = bento.listing("ps", "--no-trunc")
    assert (record["ID"], record["Names"], record["State"], record["Image"]) == (identifier, "w", "running", "host")
    assert record["Labels"] == "a=b"
    assert record["Pid"] == bento.state("w")["Pid"]


def test_ps_filters(bento: BentoCli) -> None:
    one = bento.run("--name", "one", "--label", "tier=front", "--label", "x", "host", "sleep", "1000")
    bento("create", "--name", "two", "--label", "tier=back", "host", "true")
    bento.run("--name", "three", "host", *SH, "exit 7")
    wait_for_status(bento, "three", "stopped")

    def names(*filters: str) -> set[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return {record["Names"] for record in bento.listing("ps", "-a", *words)}

    assert names() == {"one", "two", "three"}
    assert names("name=t") == {"two", "three"}
    assert names(f"id={one[:6]}") == {"one"}
    assert names("status=running") == {"one"}
    assert names("status=exited") == names("status=stopped") == {"three"}
    assert names("status=created", "status=running") == {"one", "two"}
    assert names("label=tier") == {"one", "two"}
    assert names("label=tier=front") == names("label=x") == {"one"}
    assert names("exited=7") == {"three"}
    assert names("ancestor=host", "name=two") == {"two"}
    assert names("name=^t") == {"two", "three"}
    assert names("since=one") == {"two", "three"}
    assert bento("ps", "-aq", "-f", "name=^two$").stdout.strip() == bento.inspect("two")["Id"][:12]
    for wrong in ("nonsense=1", "status=bogus", "exited=abc", "name=["):
        assert "filter" in bento.fails("ps", "--filter", wrong, code=2)
    assert "nobody" in bento.fails("ps", "--filter", "before=nobody")


def test_ps_shows_the_whole_command_when_asked(bento: BentoCli) -> None:
    bento("create", "host", "echo", "x" * 60)
    assert "x" * 60 not in bento("ps", "-a").stdout
    assert f'"echo {"x" * 60}"' in bento("ps", "-a", "--no-trunc").stdout


def test_rm_of_what_is_gone_of_all_and_with_a_grace(bento: BentoCli) -> None:
    for words in (("-f",), ("--ignore",), ("-i",)):
        finished = bento("rm", *words, "nobody")
        assert (finished.stdout, finished.stderr) == ("", "")
    assert "nobody" in bento.fails("rm", "nobody")
    bento("create", "--name", "made", "host", "true")
    assert bento("rm", "-f", "nobody", "made").stdout == "made\n"
    for wrong in ((), ("-a", "x"), ("-t", "1", "x"), ("-f", "-t", "soon", "x")):
        bento.fails("rm", *wrong, code=2)

    bento("create", "--name", "made", "host", "true")
    bento.run("--name", "runs", "host", *SH, "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.02; done")
    bento.wait_for_log("runs", "ready")
    assert "runs" in bento.fails("rm", "--all")
    assert bento("ps", "-aq").stdout.count("\n") == 1
    with ended(bento.start("logs", "-f", "runs")) as following:
        assert following.stdout.readline() == "ready\n"
        assert bento("rm", "-f", "-a", "-t", "20").stdout == "runs\n"
        assert following.communicate(timeout=30)[0] == "told\n"
    assert bento("ps", "-aq").stdout == ""


def test_ps_of_an_empty_engine(bento: BentoCli) -> None:
    assert len(bento("ps", "-a").stdout.splitlines()) == 1
    assert bento.listing("ps") == []


# -- inspect --------------------------------------------------------------------------------------


def test_inspect_has_dockers_fields(bento: BentoCli, tmp_path: Path) -> None:
    words = ("--name", "w", "-e", "K=V", "-v", f"{tmp_path}:/x:ro", "--tmpfs", "/t", "-w", "/usr", "-u", "nobody")
    more = (
        "--stop-signal",
        "INT",
        "--stop-timeout",
        "3",
        "--label",
        "l=m",
        "--hostname",
        "hn",
        "--read-only",
        "--init",
    )
    identifier = bento.run(*words, *more, "host", "sleep", "1000")
    found = bento.inspect("w")
    assert (found["Id"], found["Name"], found["Path"], found["Args"]) == (identifier, "w", "sleep", ["1000"])
    state = found["State"]
    assert (state["Status"], state["Running"], state["Paused"], state["OOMKilled"]) == ("running", True, False, False)
    assert procs.read(state["Pid"]) is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", state["StartedAt"])
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
    config = found["Config"]
    assert (config["Hostname"], config["User"], config["WorkingDir"]) == ("hn", "nobody", "/usr")
    assert (config["StopSignal"], config["StopTimeout"], config["Image"]) == ("SIGINT", 3, "host")
    assert "K=V" in config["Env"]
    assert config["Labels"] == {"l": "m"}
    host = found["HostConfig"]
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["Init"], host["AutoRemove"]) == (
        "bridge",
        True,
        True,
        False,
    )
    assert host["Binds"] == [f"{tmp_path}:/x:ro"]
    assert {(m["Type"], m["Destination"], m["RW"]) for m in found["Mounts"]} == {
        ("bind", "/x", False),
        ("tmpfs", "/t", True),
    }
    assert found["Stop"] is None


def test_inspect_of_several_and_of_unknown_ones(bento: BentoCli) -> None:
    bento("create", "--name", "a", "host", "true")
    bento("create", "--name", "b", "host", "true")
    assert [c["Name"] for c in json.loads(bento("inspect", "a", "b").stdout)] == ["a", "b"]
    finished = bento("inspect", "a", "nobody", check=False)
    assert finished.returncode == 1
    assert [c["Name"] for c in json.loads(finished.stdout)] == ["a"]
    assert_one_line(finished, "nobody")


# -- logs -----------------------------------------------------------------------------------------


def test_logs_keep_streams_apart_and_survive_a_restart(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", *SH, "echo out; echo err >&2")
    bento("wait", "w")
    finished = bento("logs", "w")
    assert (finished.stdout, finished.stderr) == ("out\n", "err\n")
    bento("start", "w")
    bento("wait", "w")
    assert bento("logs", "w").stdout == "out\nout\n"


def test_logs_tail_counts_whole_lines(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", *SH, "seq 1 100; printf half")
    bento("wait", "w")
    assert bento("logs", "--tail", "3", "w").stdout == "99\n100\nhalf"
    assert bento("logs", "--tail", "0", "w").stdout == ""
    assert bento("logs", "-n", "all", "w").stdout.count("\n") == 100
    assert "lines" in bento.fails("logs", "--tail", "x", "w", code=2)


def test_logs_put_long_lines_together_again(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", PYTHON, "-c", "print('x' * 50000); print('end')")
    bento("wait", "w")
    lines = bento("logs", "w").stdout.splitlines()
    assert [len(line) for line in lines] == [50000, 3]
    assert bento("logs", "--tail", "2", "w").stdout.splitlines() == lines
    stamped = bento("logs", "-t", "w").stdout.splitlines()
    assert len(stamped) == 2
    assert stamped[0].count("T") == 1


def test_logs_timestamps_and_since(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", *share.flags, "host", *SH, "echo old; while [ ! -e /s/go ]; do sleep 0.02; done; echo new")
    bento.wait_for_log("w", "old")
    time.sleep(0.05)
    now = time.time()
    (share.path / "go").touch()
    bento("wait", "w")
    stamped = bento("logs", "-t", "w").stdout.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z (old|new)$", line) for line in stamped)
    assert bento("logs", "--since", f"{now:.6f}", "w").stdout == "new\n"
    assert bento("logs", "--since", stamped[1].split()[0], "w").stdout == "new\n"
    assert bento("logs", "--since", "1h", "w").stdout == "old\nnew\n"
    assert bento("logs", "-f", "--until", stamped[0].split()[0], "w").stdout == "old\n"
    assert bento("logs", "--until", "0s", "w").stdout == "old\nnew\n"
    assert bento("logs", "--until", "0s", "--tail", "1", "w").stdout == "new\n"
    assert "time" in bento.fails("logs", "--since", "yesterday", "w", code=2)


def test_logs_follow_until_the_end(bento: BentoCli, share: Share) -> None:
    script = "echo one; while [ ! -e /s/go ]; do sleep 0.02; done; printf 'two\\nthr'; sleep 0.1; echo ee"
    bento.run("--name", "w", *share.flags, "host", *SH, script)
    with ended(bento.start("logs", "-f", "w")) as follower:
        assert follower.stdout.readline() == "one\n"
        assert follower.poll() is None
        (share.path / "go").touch()
        rest, _ = follower.communicate(timeout=40)
    assert rest == "two\nthree\n"
    assert follower.returncode == 0
    assert bento("logs", "-f", "--tail", "1", "w").stdout == "three\n"


def test_logs_follow_into_a_closed_pipe_ends(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", *SH, "while :; do echo line; sleep 0.02; done")
    with bento.start("logs", "-f", "w") as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        assert follower.stdout.readline() == "line\n"
        follower.stdout.close()
        assert follower.wait(30) in (0, 141)
        assert "Traceback" not in follower.stderr.read()


# -- wait, kill, pause, restart, rm ---------------------------------------------------------------


def test_wait_prints_exit_codes_when_they_have_ended(bento: BentoCli) -> None:
    bento.run("--name", "a", "host", *SH, "sleep 0.3; exit 3")
    bento.run("--name", "b", "host", *SH, "exit 4")
    assert bento("wait", "a", "b").stdout == "3\n4\n"
    assert bento("wait", "a").stdout == "3\n"
    assert "nobody" in bento.fails("wait", "nobody", code=1)


def test_kill_sends_a_signal_and_is_no_stop(bento: BentoCli) -> None:
    script = "trap 'echo hup' HUP; trap 'echo usr' USR1; echo ready; while :; do sleep 0.02; done"
    bento.run("--name", "w", "host", *SH, script)
    bento.wait_for_log("w", "ready")
    assert bento("kill", "-s", "HUP", "w").stdout == "w\n"
    bento.wait_for_log("w", "hup")
    bento("kill", "--signal", "10", "w")
    bento.wait_for_log("w", "usr")
    found = bento.inspect("w")
    assert (found["State"]["Status"], found["Stop"], found["Stopping"]) == ("running", None, None)
    bento("kill", "w")
    state = bento.state("w")
    assert (state["Status"], state["ExitCode"]) == ("stopped", 137)
    assert "stopped" in bento.fails("kill", "w", code=1)
    assert "signal" in bento.fails("kill", "-s", "NOPE", "w", code=2)


def test_pause_freezes_and_unpause_thaws(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", *share.flags, "host", *SH, "while :; do echo x >>/s/ticks; sleep 0.01; done")
    share.wait_for("ticks")
    assert bento("pause", "w").stdout == "w\n"
    before = share.text("ticks")
    assert bento.state("w")["Paused"] is True
    assert "(Paused)" in bento("ps").stdout
    time.sleep(0.1)
    assert share.text("ticks") == before
    assert "paused" in bento.fails("pause", "w", code=1)
    assert bento("unpause", "w").stdout == "w\n"
    procs.wait_until(lambda: share.text("ticks") != before, what="ticks")
    assert "running" in bento.fails("unpause", "w", code=1)
    bento("pause", "w")
    bento("kill", "w")
    assert bento.state("w")["ExitCode"] == 137


def test_restart_of_a_running_and_of_a_stopped_container(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", *SH, "trap 'echo bye; exit 0' TERM; echo hi; while :; do sleep 0.02; done")
    bento.wait_for_log("w", "hi")
    first = bento.state("w")["Pid"]
    assert bento("restart", "w").stdout == "w\n"
    assert bento.state("w")["Pid"] not in (0, first)
    bento.wait_for_log("w", "hi\nbye\nhi\n")
    bento("stop", "-t", "0", "w")
    bento("restart", "-t", "1", "w")
    assert bento.state("w")["Status"] == "running"


def test_rm_refuses_what_runs_and_force_kills_it(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    assert "running" in bento.fails("rm", "w", code=1)
    assert bento.state("w")["Status"] == "running"
    assert bento("rm", "-f", "w").stdout == "w\n"
    bento.run("--name", "p", "host", "sleep", "1000")
    bento("pause", "p")
    bento("rm", "-f", "p")
    assert_clean(bento)


def test_rm_of_many_goes_on_after_a_failure(bento: BentoCli) -> None:
    for name in "ab":
        bento("create", "--name", name, "host", "true")
    finished = bento("rm", "a", "nobody", "b", check=False)
    assert (finished.returncode, finished.stdout) == (1, "a\nb\n")
    assert_one_line(finished, "nobody")
    assert_clean(bento)


# -- aliases as Docker has them -------------------------------------------------------------------


def test_container_and_image_groups(bento: BentoCli, tmp_path: Path) -> None:
    identifier = bento("container", "run", "--detach", "--name", "my-nginx", "host", "sleep", "1000").stdout.strip()
    assert bento("container", "ls", "-q").stdout == f"{identifier[:12]}\n"
    assert json.loads(bento("container", "inspect", "my-nginx").stdout)[0]["Id"] == identifier
    assert bento("container", "stop", "-t", "0", "my-nginx").stdout == "my-nginx\n"
    assert bento("container", "start", "my-nginx").stdout == "my-nginx\n"
    assert bento("container", "kill", "my-nginx").stdout == "my-nginx\n"
    assert bento("container", "rm", "my-nginx").stdout == "my-nginx\n"
    bento("image", "import", busybox_rootfs(tmp_path / "fs"), "bb")
    assert "bb" in bento("image", "ls").stdout
    bento("image", "rm", "bb")
    assert "no verb" in bento.fails("container", code=2)
    assert "unknown verb" in bento.fails("nonsense", code=2)


# -- images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["directory", "tar", "tar.gz", "stdin"])
def test_import_run_and_remove(bento: BentoCli, tmp_path: Path, kind: str) -> None:
    source = busybox_rootfs(tmp_path / "fs")
    if kind != "directory":
        archive = tmp_path / f"fs.{kind}"
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as tar:
            tar.add(source, ".")
        source = archive
    if kind == "stdin":
        with source.open("rb") as stream:
            image_id = subprocess.check_output([*bento.prefix, "import", "-", "bb"], stdin=stream, text=True).strip()
    else:
        image_id = bento("import", source, "bb").stdout.strip()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", image_id)
    assert bento("run", "--rm", "bb", "/bin/cat", "/etc/group").stdout == "root:x:0:\nstaff:x:77:ann\n"
    assert [(image["Repository"], image["Tag"]) for image in bento.listing("images")] == [("bb", "latest")]
    assert bento("images", "-q").stdout.strip() == image_id.removeprefix("sha256:")[:12]
    assert bento("rmi", "bb").returncode == 0
    assert bento.listing("images") == []
    assert_clean(bento)


def test_import_with_changes(bento: BentoCli, tmp_path: Path) -> None:
    changes = [
        "ENV A=b",
        "WORKDIR /etc",
        "USER ann",
        "LABEL k=v",
        'CMD ["/bin/sh", "-c", "echo $A $(id -u); ls group"]',
    ]
    words = [word for change in changes for word in ("--change", change)]
    bento("import", *words, busybox_rootfs(tmp_path / "fs"), "bb")
    assert bento("run", "--name", "w", "bb").stdout == "b 1234\ngroup\n"
    assert bento.inspect("w")["Config"]["Labels"] == {"k": "v"}
    assert "CHANGE" in bento.fails("import", "-c", "CHANGE x", tmp_path / "fs", "b2", code=2)


def test_image_is_not_changed_by_its_containers(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento("run", "--rm", "bb", "/bin/sh", "-c", "echo x >/etc/new; echo y >/etc/group")
    assert bento("run", "--rm", "bb", "/bin/cat", "/etc/group").stdout == "root:x:0:\nstaff:x:77:ann\n"
    assert bento("run", "--rm", "bb", "/bin/ls", "/etc/new", check=False).returncode == 1


def test_rmi_refuses_an_image_in_use_and_the_host(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento.run("--name", "w", "bb", "/bin/sleep", "1000")
    assert "w" in bento.fails("rmi", "bb", code=1)
    bento("rm", "-f", "w")
    bento("rmi", "bb")
    assert "bb" in bento.fails("rmi", "bb", code=1)
    assert "host" in bento.fails("rmi", "host", code=2)


def test_import_of_a_taken_name_moves_the_name(bento: BentoCli, tmp_path: Path) -> None:
    rootfs = busybox_rootfs(tmp_path / "fs")
    first = bento("import", rootfs, "bb").stdout
    bento("create", "--name", "w", "bb", "/bin/cat", "/etc/group")
    (rootfs / "etc/group").write_text("changed\n")
    second = bento("import", rootfs, "bb").stdout
    assert first != second
    assert bento("run", "--rm", "bb", "/bin/cat", "/etc/group").stdout == "changed\n"
    bento("start", "w")
    bento("wait", "w")
    assert bento("logs", "w").stdout == "root:x:0:\nstaff:x:77:ann\n"
    bento("rm", "w")
    bento("rmi", "bb")
    assert bento("images", "-q").stdout.strip() == first.removeprefix("sha256:")[:12]
    bento("rmi", first.strip())
    assert_clean(bento)


# -- doctor, info, version, help ------------------------------------------------------------------


def test_doctor_finds_and_fixes_what_is_left_over(bento: BentoCli, roots: Roots) -> None:
    bento("create", "--name", "w", "host", "true")
    assert bento("doctor").stdout == "nothing is left over\n"
    stray = roots.root / "containers" / ("ab" * 32)
    stray.mkdir()
    finished = bento("doctor", check=False)
    assert finished.returncode == 1
    assert str(stray) in finished.stdout
    assert [f["kind"] for f in json.loads(bento("doctor", "--format", "json", check=False).stdout)] == ["directory"]
    assert "removed" in bento("doctor", "--fix").stdout
    assert not stray.exists()
    assert bento("doctor").returncode == 0
    assert bento.state("w")["Status"] == "created"


def test_doctor_leaves_what_runs_alone(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    assert bento("doctor", "--fix").stdout == "nothing is left over\n"
    assert bento.state("w")["Status"] == "running"


def test_info_and_version(bento: BentoCli, roots: Roots) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    facts = json.loads(bento("info", "--format", "json").stdout)
    assert (facts["Containers"], facts["ContainersRunning"], facts["Images"]) == (1, 1, 0)
    assert (facts["Root"], facts["RunRoot"]) == (str(roots.root), str(roots.run_root))
    assert facts["Runtime"].endswith(bento.runtime)
    assert facts["CgroupMode"] in ("v1", "v2", "hybrid")
    assert "Runtime: " in bento("info").stdout
    assert json.loads(bento("version", "--format", "json").stdout)["Version"] == __version__
    assert __version__ in bento("version").stdout
    assert __version__ in bento("--version").stdout


@pytest.mark.parametrize("verb", ["run", "stop", "ps", "logs", "import", "doctor"])
def test_help_of_verbs(bento: BentoCli, verb: str) -> None:
    finished = bento(verb, "--help")
    assert finished.stdout.startswith(f"usage: bento {verb}")
    assert verb in bento("--help").stdout


def test_two_engines_do_not_touch_each_other(bento: BentoCli, leak_check: leaks.LeakWatch) -> None:
    other = BentoCli(Roots(leak_check.base / "l2", leak_check.base / "r2"), bento.runtime)
    bento.run("--name", "w", "host", "sleep", "1000")
    other.run("--name", "w", "host", "sleep", "1000")
    other("doctor", "--fix")
    assert bento.state("w")["Status"] == "running"
    other("rm", "-f", "w")
    assert bento.state("w")["Status"] == "running"


def test_wait_prints_the_code_of_a_container_that_is_removed_at_its_end(bento):
    bento("run", "-d", "--rm", "--name", "w", "host", "/bin/sh", "-c", "sleep 0.5; exit 9")
    assert bento("wait", "w").stdout == "9\n"
    assert bento("ps", "-aq").stdout == ""
