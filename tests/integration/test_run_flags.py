"""Every flag of ``run`` and ``create`` by what it does in the container, and what the foreground shows outside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support import leaks, procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME, PYTHON, Share, assert_clean, busybox_rootfs, ended, wait_for_status

SH = ("/bin/sh", "-c")


def out(bento: BentoCli, *words: str | Path, code: int = 0, **options) -> str:
    """Run in the foreground and remove; return what the container printed."""
    finished = bento("run", "--rm", *words, check=False, **options)
    assert finished.returncode == code, str(finished)
    return finished.stdout


# -- environment, files, user ---------------------------------------------------------------------


@ONE_RUNTIME
def test_env_from_flags_from_the_caller_and_from_a_file(bento: BentoCli, tmp_path: Path) -> None:
    file = tmp_path / "vars"
    file.write_text("# a comment\n\nFROM_FILE=one two\nBOTH=file\nBENTO_T_CALLER\n")
    text = out(
        bento, "-e", "GIVEN=a=b", "-e", "BOTH=flag", "-e", "BENTO_T_ALONE", "-e", "BENTO_T_UNSET", "--env-file", file,
        "host", "env", env={"BENTO_T_ALONE": "x", "BENTO_T_CALLER": "y", "BENTO_T_SECRET": "z"},
    )  # fmt: skip
    env = dict(line.split("=", 1) for line in text.splitlines())
    assert env["GIVEN"] == "a=b"
    assert env["FROM_FILE"] == "one two"
    assert env["BOTH"] == "flag"
    assert (env["BENTO_T_ALONE"], env["BENTO_T_CALLER"]) == ("x", "y")
    assert "BENTO_T_UNSET" not in env
    assert "BENTO_T_SECRET" not in env
    assert "/usr/bin" in env["PATH"]
    assert env["HOME"] == "/root"


@ONE_RUNTIME
def test_variable_the_caller_does_not_have_is_taken_away(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", "-c", "ENV BENTO_T_A=image BENTO_T_B=image", busybox_rootfs(tmp_path / "fs"), "bb")
    env = out(bento, "-e", "BENTO_T_A", "bb", "/bin/env").splitlines()
    assert "BENTO_T_B=image" in env
    assert not [line for line in env if line.startswith("BENTO_T_A")]
    bento.run("--name", "w", "bb", "/bin/sleep", "1000")
    env = bento("exec", "-e", "BENTO_T_A", "w", "/bin/env").stdout.splitlines()
    assert "BENTO_T_B=image" in env
    assert not [line for line in env if line.startswith("BENTO_T_A")]


@ONE_RUNTIME
@pytest.mark.parametrize(("content", "said"), [(b"\xef\xbb\xbfA=1\n", ""), (b"A B=1\n", "'A B'"), (b"=1\n", "''")])
def test_env_file_as_editors_and_shells_leave_it(bento: BentoCli, tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "vars"
    file.write_bytes(content)
    if said:
        assert said in bento.fails("run", "--env-file", file, "host", "env", code=125)
    else:
        assert "A=1" in out(bento, "--env-file", file, "host", "env").splitlines()


def test_volumes_read_write_and_read_only(bento: BentoCli, share: Share, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from outside\n")
    text = out(
        bento, *share.flags, "-v", f"{tmp_path}:/ro:ro", "host",
        *SH, "cat /ro/file; echo inside >/s/new; touch /ro/x 2>&1; touch /ro/file 2>&1",
        code=1,
    )  # fmt: skip
    assert text.startswith("from outside\n")
    assert text.count("Read-only") == 2
    assert share.text("new") == "inside\n"
    assert not (tmp_path / "x").exists()


@ONE_RUNTIME
def test_volume_of_a_single_file(bento: BentoCli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello\n")
    assert out(bento, "-v", f"{tmp_path}/file:/srv/deep/there:ro", "host", "cat", "/srv/deep/there") == "hello\n"
    assert not Path("/srv/deep").exists()


@ONE_RUNTIME
def test_tmpfs_is_empty_writable_and_sized(bento: BentoCli) -> None:
    script = "ls -A /var/lib | wc -l; touch /var/lib/x && df -k --output=size,fstype /var/lib | tail -1"
    lines = out(bento, "--tmpfs", "/var/lib:size=1m", "host", *SH, script).splitlines()
    assert lines[0] == "0"
    assert lines[1].split() == ["1024", "tmpfs"]


def test_tmpfs_is_exec_when_that_is_asked_for(bento: BentoCli) -> None:
    script = "cp /bin/true /t && /t/true"
    assert bento("run", "--rm", "--tmpfs", "/t:exec", "host", "sh", "-c", script).returncode == 0
    assert bento("run", "--rm", "--tmpfs", "/t", "host", "sh", "-c", script, check=False).returncode == 126


@ONE_RUNTIME
def test_workdir_is_entered_and_made_when_missing(bento: BentoCli) -> None:
    assert out(bento, "-w", "/usr/lib", "host", "pwd") == "/usr/lib\n"
    assert out(bento, "-w", "/new/deep", "host", "pwd") == "/new/deep\n"
    assert not Path("/new").exists()


@ONE_RUNTIME
@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("nobody", "65534:65534"),
        ("65534", "65534:65534"),
        ("4321:8765", "4321:8765"),
        ("nobody:tty", "65534:5"),
        ("0", "0:0"),
    ],
)
def test_user_by_name_or_number(bento: BentoCli, user: str, expected: str) -> None:
    assert out(bento, "-u", user, "host", *SH, "echo $(id -u):$(id -g)") == f"{expected}\n"


@ONE_RUNTIME
def test_user_is_resolved_in_the_image_and_gets_its_groups(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    assert out(bento, "-u", "ann", "bb", "/bin/sh", "-c", "echo $(id -u):$(id -g) $(id -G)") == "1234:1235 1235 77\n"


@ONE_RUNTIME
def test_user_without_root_has_no_effective_capabilities(bento: BentoCli) -> None:
    assert "0000000000000000" in out(bento, "-u", "nobody", "host", "grep", "CapEff", "/proc/self/status")


@ONE_RUNTIME
def test_h_is_the_host_name_and_help_is_not(bento: BentoCli) -> None:
    assert out(bento, "-h", "short", "--net", "none", "host", "hostname") == "short\n"
    for verb in ("run", "create"):
        assert bento(verb, "--help").stdout.startswith(f"usage: bento {verb}")
    assert "usage: bento ps" in bento("ps", "-h").stdout


@ONE_RUNTIME
def test_hostname_given_and_default(bento: BentoCli) -> None:
    script = "hostname; cat /etc/hostname; grep -c $(hostname) /etc/hosts"
    assert out(bento, "--hostname", "my-host.example", "host", *SH, script).splitlines()[:2] == ["my-host.example"] * 2
    identifier = bento.run("--name", "w", "host", "hostname")
    bento("wait", "w")
    assert bento("logs", "w").stdout == f"{identifier[:12]}\n"


def test_read_only_root(bento: BentoCli) -> None:
    script = "touch /x 2>&1; touch /dev/shm/y && echo shm"
    text = out(bento, "--read-only", "--tmpfs", "/tmp", "host", *SH, f"{script}; touch /tmp/z && echo tmp")
    assert "Read-only" in text
    assert text.endswith("shm\ntmp\n")


@ONE_RUNTIME
def test_root_is_copy_on_write(bento: BentoCli) -> None:
    assert out(bento, "host", *SH, "echo x >/etc/bento-test; rm /etc/passwd; ls /etc/passwd 2>&1 || true")
    assert not Path("/etc/bento-test").exists()
    assert Path("/etc/passwd").exists()


@ONE_RUNTIME
def test_entrypoint_replaces_the_images_and_resets_its_command(bento: BentoCli, tmp_path: Path) -> None:
    rootfs = busybox_rootfs(tmp_path / "fs")
    bento("import", "-c", 'ENTRYPOINT ["/bin/echo", "entry"]', "-c", 'CMD ["default"]', rootfs, "bb")
    assert out(bento, "bb") == "entry default\n"
    assert out(bento, "bb", "mine") == "entry mine\n"
    assert out(bento, "--entrypoint", "/bin/echo", "bb", "only") == "only\n"
    assert out(bento, "--entrypoint", "", "bb", "/bin/echo", "bare") == "bare\n"
    assert "no command" in bento.fails("run", "--entrypoint", "", "bb", code=125)
    assert out(bento, "--entrypoint", '["/bin/echo", "a b"]', "bb", "c") == "a b c\n"
    assert "[1" in bento.fails("run", "--entrypoint", "[1", "bb", code=127)


@ONE_RUNTIME
def test_empty_workdir_is_the_images(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", "-c", "WORKDIR /etc", busybox_rootfs(tmp_path / "fs"), "bb")
    assert out(bento, "-w", "", "bb", "/bin/sh", "-c", "pwd") == "/etc\n"


def test_init_is_pid_1_and_reaps(bento: BentoCli) -> None:
    script = "(sleep 0.05 &); sleep 0.3; ps -eo stat= | grep -c Z; cat /proc/1/comm"
    assert out(bento, "--init", "host", *SH, script) == "0\ncatatonit\n"


@ONE_RUNTIME
def test_network_none_has_loopback_up_and_nothing_else(bento: BentoCli) -> None:
    program = "import socket; print(socket.create_server(('127.0.0.1', 0)).getsockname()[0])"
    none = ("--network", "none", "host")
    assert out(bento, *none, PYTHON, "-W", "ignore", "-c", program) == "127.0.0.1\n"
    assert out(bento, *none, "ls", "/sys/class/net") == "lo\n"


@ONE_RUNTIME
def test_network_host_is_the_hosts(bento: BentoCli) -> None:
    assert out(bento, "--network", "host", "host", "readlink", "/proc/self/ns/net").strip() == os.readlink(
        "/proc/self/ns/net"
    )


@ONE_RUNTIME
def test_ulimit(bento: BentoCli) -> None:
    assert out(bento, "--ulimit", "nofile=100:200", "host", *SH, "ulimit -Sn; ulimit -Hn") == "100\n200\n"


@ONE_RUNTIME
def test_cidfile_holds_the_id_and_must_not_exist(bento: BentoCli, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    identifier = bento.run("--cidfile", file, "host", "true")
    assert file.read_text() == identifier
    assert "exists" in bento.fails("run", "-d", "--cidfile", file, "host", "true", code=125)
    assert bento("ps", "-a", "-q").stdout.count("\n") == 1


# -- --rm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["foreground", "detached", "stop", "kill", "rm"])
def test_rm_leaves_nothing_however_it_ends(bento: BentoCli, how: str) -> None:
    if how == "foreground":
        bento("run", "--rm", "--name", "w", "host", "true")
    elif how == "detached":
        bento.run("--rm", "--name", "w", "host", "sleep", "0.2")
        procs.wait_until(lambda: bento("ps", "-aq").stdout == "", what="the removal", every_s=0.05)
    else:
        bento.run("--rm", "--name", "w", "host", "sleep", "1000")
        words = {"stop": ("stop", "-t", "0"), "kill": ("kill",), "rm": ("rm", "-f")}[how]
        assert bento(*words, "w").stdout == "w\n"
        procs.wait_until(lambda: bento("ps", "-aq").stdout == "", what="the removal", every_s=0.05)
    procs.wait_until(lambda: not leaks.mounts_naming(str(bento.roots.root)), what="the release")
    assert_clean(bento)


@ONE_RUNTIME
def test_rm_of_a_short_detached_run_can_be_done_again_and_again(bento: BentoCli) -> None:
    for _ in range(5):
        bento.run("--rm", "host", "true")
    procs.wait_until(lambda: bento("ps", "-aq").stdout == "", what="the removal", every_s=0.05)
    assert_clean(bento)


# -- the foreground -------------------------------------------------------------------------------


def test_foreground_streams_come_through_apart(bento: BentoCli) -> None:
    finished = bento(
        "run", "--name", "w", "host", *SH, "echo out; echo err >&2; printf unfinished; exit 3", check=False
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (3, "out\nunfinished", "err\n")
    assert bento.state("w")["ExitCode"] == 3


@ONE_RUNTIME
def test_foreground_output_is_whole_when_it_is_much(bento: BentoCli) -> None:
    assert len(out(bento, "host", *SH, "head -c 3000000 /dev/zero | tr '\\0' x")) == 3_000_000


@ONE_RUNTIME
def test_foreground_stdin_is_empty(bento: BentoCli) -> None:
    assert out(bento, "host", *SH, "cat; echo done", stdin="not for you") == "done\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("host", *SH, "exit 0"), 0),
        (("host", *SH, "exit 77"), 77),
        (("host", *SH, "kill -9 $$; exit 1"), 1),  # PID 1 does not receive its own SIGKILL
        (("--init", "host", *SH, "kill -TERM $$"), 143),
        (("host", "/no/such/program"), 127),
        (("host", "no-such-program-at-all"), 127),
        (("host", "/etc/passwd"), 126),
        (("host", "/etc"), 126),
        (("no-such-image", "true"), 125),
        (("--no-such-flag", "host", "true"), 125),
    ],
)
def test_foreground_exit_status(bento: BentoCli, words: tuple[str, ...], code: int) -> None:
    finished = bento("run", "--rm", *words, check=False)
    assert finished.returncode == code, str(finished)
    assert_clean(bento)


@ONE_RUNTIME
@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_foreground_passes_signals_on(bento: BentoCli, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.02; done"
    with ended(bento.start("run", "--rm", "host", *SH, script, start_new_session=True)) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        text, _ = process.communicate(timeout=40)
        assert (process.returncode, text) == (9, f"got {name}\n")
    assert_clean(bento)


@ONE_RUNTIME
def test_foreground_killed_leaves_the_container_running(bento: BentoCli) -> None:
    with ended(bento.start("run", "--name", "w", "host", *SH, "echo ready; exec sleep 1000")) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert bento.state("w")["Status"] == "running"
    bento("stop", "-t", "0", "w")


@ONE_RUNTIME
def test_foreground_stopped_from_elsewhere_ends_with_the_containers_code(bento: BentoCli) -> None:
    script = "trap 'exit 21' TERM; echo ready; while :; do sleep 0.02; done"
    with ended(bento.start("run", "--name", "w", "host", *SH, script)) as process:
        assert process.stdout.readline() == "ready\n"
        bento("stop", "w")
        process.communicate(timeout=40)
        assert process.returncode == 21


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_foreground_whose_reader_goes_away_ends_and_the_container_goes_on(bento: BentoCli, stream: str) -> None:
    to = ">&2" if stream == "stderr" else ""
    script = f"trap 'exit 0' TERM; while :; do echo line {to}; sleep 0.02; done"
    with ended(bento.start("run", "--name", "w", "host", *SH, script)) as process:
        reader = getattr(process, stream)
        assert reader.readline() == "line\n"
        reader.close()
        assert process.wait(30) == 141
        process.stdout, process.stderr = (None, process.stderr) if stream == "stdout" else (process.stdout, None)
    assert bento.state("w")["Status"] == "running"
    before = bento("logs", "w").stdout + bento("logs", "w").stderr
    procs.wait_until(lambda: len(getattr(bento("logs", "w"), stream)) > len(before), what="more output", every_s=0.05)
    bento("stop", "w")


@ONE_RUNTIME
def test_rm_of_a_foreground_whose_reader_went_away(bento: BentoCli, tmp_path: Path) -> None:
    script = "while [ ! -e /t/go ]; do echo line; sleep 0.02; done"
    with ended(bento.start("run", "--rm", "--name", "w", "-v", f"{tmp_path}:/t", "host", *SH, script)) as process:
        assert process.stdout.readline() == "line\n"
        process.stdout.close()
        assert process.wait(30) == 141
        process.stdout = None
    assert bento.state("w")["Status"] == "running"
    (tmp_path / "go").touch()
    procs.wait_until(lambda: bento("ps", "-aq").stdout == "", what="the removal", every_s=0.05)
    assert_clean(bento)


# -- create and start -----------------------------------------------------------------------------


def test_create_then_start_stop_start_again(bento: BentoCli) -> None:
    identifier = bento("create", "--name", "w", "host", *SH, "echo run; exec sleep 1000").stdout.strip()
    assert len(identifier) == 64
    state = bento.state("w")
    assert (state["Status"], state["Pid"], state["Running"]) == ("created", 0, False)
    assert bento("start", "w").stdout == "w\n"
    first = bento.state("w")
    bento("stop", "-t", "0", "w")
    assert bento("start", identifier[:8]).stdout == "w\n"
    second = bento.inspect("w")
    assert second["State"]["Status"] == "running"
    assert second["State"]["Pid"] != first["Pid"]
    assert second["Run"] == 2
    bento.wait_for_log("w", "run\nrun\n")
    bento("rm", "-f", "w")
    assert_clean(bento)


@ONE_RUNTIME
def test_start_of_a_running_container_leaves_it_alone(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    before = bento.inspect("w")
    assert bento("start", "w").stdout == "w\n"
    assert bento.inspect("w") == before


@ONE_RUNTIME
def test_start_that_fails_leaves_the_container_as_it_was_and_says_why(bento: BentoCli, tmp_path: Path) -> None:
    source = tmp_path / "gone"
    source.mkdir()
    bento("create", "--name", "w", "-v", f"{source}:/x", "host", "true")
    before = bento.inspect("w")
    source.rmdir()
    line = bento.fails("start", "w", code=2)
    assert str(source) in line
    after = bento.inspect("w")
    assert after.pop("State") == before.pop("State") | {"Error": line.removeprefix("bento: "), "ExitCode": 2}
    assert after == before
    source.mkdir()
    bento("start", "w")
    wait_for_status(bento, "w", "stopped")
