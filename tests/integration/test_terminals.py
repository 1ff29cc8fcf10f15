"""Terminals and inputs of containers: ``run -it``, ``attach``, ``start -ai``, ``exec -it``, pipes, detach keys."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support import procs
from support.cli import BentoCli
from support.console import DETACH, Console
from support.workload import ONE_RUNTIME, assert_clean

SHELL = ("host", "/bin/bash", "--norc", "--noprofile")
PROMPT = ("-e", "PS1=ready> ")


def monitor_of(bento: BentoCli, name: str) -> procs.Process:
    process = procs.read(bento.inspect(name)["Monitor"]["Pid"])
    assert process is not None
    return process


# -- a terminal ----------------------------------------------------------------------------------


def test_run_at_a_terminal(bento: BentoCli) -> None:
    null = os.stat("/dev/null")
    with Console(bento, "run", "-it", "--rm", *PROMPT, *SHELL, rows=30, columns=90) as console:
        console.read_until("ready> ")
        assert console.is_raw()
        console.ask("echo $((6 * 7)) $TERM; tty; stty size", "42 xterm\r\n/dev/pts/0\r\n30 90\r\n")
        console.resize(40, 100)
        console.ask("stty size", "40 100\r\n")
        console.ask(r"printf 'gr\303\274n \e[3%dmred\n' 1", "grün \x1b[31mred")
        begin = len(console.text)
        console.type("sleep 4646\n")
        procs.wait_until(lambda: procs.with_word("4646"), what="the command")
        console.type(b"\x03")
        console.read_until_after(begin, "ready> ")
        console.ask("echo $((100 + $?))", "230")  # SIGINT has ended it: 130
        console.type("exit 7\n")
        assert console.end() == 7
    assert (os.stat("/dev/null").st_mode, os.stat("/dev/null").st_uid) == (null.st_mode, null.st_uid)
    assert_clean(bento)


def test_detached_from_and_attached_again_by_several(bento: BentoCli) -> None:
    with Console(bento, "run", "-it", "--name", "c", *PROMPT, *SHELL) as console:
        console.read_until("ready> ")
        console.type(DETACH)
        assert console.end() == 0
    assert bento.state("c")["Status"] == "running"
    config = bento.inspect("c")["Config"]
    assert (config["Tty"], config["OpenStdin"], config["StdinOnce"]) == (True, True, True)
    with (
        Console(bento, "attach", "--detach-keys", "a,ctrl-b", "c", rows=20, columns=70) as one,
        Console(bento, "attach", "--no-stdin", "c") as two,
    ):
        one.read_until("ready> ")  # drawn anew
        two.read_until("ready> ")
        one.ask("echo $((6 * 7))", "42\r\n")
        two.read_until("42\r")
        one.type(b"\x10\x11")  # these are not its keys
        one.ask("echo a$((6 * 8))", "a48\r\n")
        one.type("a\x02")
        assert one.end() == 0
        bento("kill", "c")
        assert two.end() == 137
    assert bento.state("c")["ExitCode"] == 137
    bento("rm", "c")
    assert_clean(bento)


@ONE_RUNTIME
def test_detached_run_is_attached_to_later(bento: BentoCli) -> None:
    bento("run", "-dit", "--name", "c", *PROMPT, *SHELL)
    with Console(bento, "attach", "c") as console:
        console.read_until("ready> ")
        console.type("exit 3\n")
        assert console.end() == 3
    with Console(bento, "start", "-ai", "c") as console:
        console.read_until("ready> ")
        console.type("exit 4\n")
        assert console.end() == 4
    assert "is stopped" in bento.fails("attach", "c")


@ONE_RUNTIME
@pytest.mark.parametrize("end", ["container", "monitor", "client", "terminal"])
def test_terminal_is_restored_whatever_ends(bento: BentoCli, end: str) -> None:
    """SIGTERM for the client is the container's, whose shell ignores it: SIGHUP, as from a closed window, ends both."""
    with Console(bento, "run", "-it", "--name", "c", *PROMPT, *SHELL) as console:
        console.read_until("ready> ")
        if end == "container":
            bento("kill", "c")
            assert console.end() == 137
        elif end == "monitor":
            procs.kill(monitor_of(bento, "c"))
            bento("kill", "c", check=False)
            console.end()
        elif end == "client":
            console.process.send_signal(signal.SIGHUP)
            assert console.end() == 129
        else:
            os.close(console.master)
            console.master = os.open("/dev/null", os.O_RDWR)
            assert console.process.wait(40.0) in (129, 141)
    procs.wait_until(lambda: bento.state("c")["Status"] == "stopped", what="the end")


@ONE_RUNTIME
@pytest.mark.parametrize(
    "words",
    [("run", "-it", "host", "true"), ("exec", "-it", "c", "true"), ("attach", "t"), ("start", "-ai", "u")],
    ids=lambda words: words[0],
)
def test_input_of_a_terminal_has_to_be_one(bento: BentoCli, words: tuple[str, ...]) -> None:
    bento.run("--name", "c", "host", "sleep", "1000")
    bento("run", "-dit", "--name", "t", "host", "sleep", "1000")
    bento("create", "-it", "--name", "u", "host", "true")
    assert bento.fails(*words, code=1) == "bento: the input device is not a TTY"
    assert len(bento("ps", "-aq").stdout.split()) == 3
    assert bento("run", "--rm", "-t", "host", "tty").stdout == "/dev/pts/0\n"
    assert bento("exec", "-t", "c", "tty").stdout == "/dev/pts/0\n"


# -- exec ----------------------------------------------------------------------------------------


def test_exec_at_a_terminal(bento: BentoCli) -> None:
    bento.run("--name", "c", "host", "sleep", "1000")
    words = ("exec", "-it", *PROMPT, "c", *SHELL[1:])
    with Console(bento, *words, rows=33, columns=77) as console:
        console.read_until("ready> ")
        console.ask("stty size; echo $TERM$((6 * 7))", "33 77\r\nxterm42\r\n")
        console.resize(40, 100)
        console.ask("stty size", "40 100\r\n")
        console.type("exit 5\n")
        assert console.end() == 5
    with Console(bento, *words) as console:
        console.read_until("ready> ")
        console.type("sleep 4747\n")
        procs.wait_until(lambda: procs.with_word("4747"), what="the command")
        console.type(DETACH)
        assert console.end() == 0
    assert len(bento.inspect("c")["ExecIDs"]) == 1  # it goes on, and its terminal with it
    assert len(bento.listing("events", "--until", "0s", "-f", "event=exec_detach")) == 1
    with Console(
        bento, "exec", "-it", "--detach-keys=", "c", "/bin/sh", "-c", "trap 'exit 9' HUP; echo there; read x"
    ) as one:
        one.read_until("there")
        one.type(DETACH)
        one.process.kill()  # a terminal of which nothing is left is hung up
    procs.wait_until(lambda: len(bento.inspect("c")["ExecIDs"]) == 1, what="the end of the session")
    assert bento("exec", "--privileged", "c", "grep", "CapEff", "/proc/self/status").stdout != (
        bento("exec", "c", "grep", "CapEff", "/proc/self/status").stdout
    )
    session = bento("exec", "-dt", "c", "sh", "-c", "tty > /tmp/tty; exec sleep 4748").stdout.strip()
    procs.wait_until(lambda: bento("exec", "c", "cat", "/tmp/tty").stdout.startswith("/dev/pts/"), what="a terminal")
    assert session in bento.inspect("c")["ExecIDs"]
    bento("rm", "-f", "-t", "0", "c")
    assert_clean(bento)


# -- without a terminal --------------------------------------------------------------------------


def test_input_through_a_pipe(bento: BentoCli) -> None:
    assert bento("run", "-i", "--rm", "host", "cat", stdin="x\n").stdout == "x\n"
    script = "cat; echo end; exit 3"
    done = bento("run", "-i", "--rm", "host", "sh", "-c", script, stdin="x\n", check=False)
    assert (done.stdout, done.returncode) == ("x\nend\n", 3)
    assert bento("run", "--rm", "host", "cat", stdin="x\n").stdout == ""
    assert bento("run", "-i", "--rm", "host", "head", "-c", "1", stdin="x" * 1_000_000).stdout == "x"


@ONE_RUNTIME
def test_input_is_binary_clean(bento: BentoCli, tmp_path: Path) -> None:
    data = os.urandom(6_000_011)
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as given, (tmp_path / "out").open("wb") as taken:
        words = [*bento.prefix, "run", "-i", "--rm", "--log-driver", "none", "host", "cat"]
        subprocess.run(words, stdin=given, stdout=taken, check=True, timeout=60)
    assert (tmp_path / "out").read_bytes() == data


@ONE_RUNTIME
def test_input_of_a_detached_run_stays_open(bento: BentoCli) -> None:
    bento("run", "-di", "--name", "c", "host", "sh", "-c", "while read -r line; do echo got $line; done; echo end")
    for word in ("one", "two"):
        with bento.start("attach", "c", stdin=subprocess.PIPE) as client:
            assert client.stdin is not None
            client.stdin.write(f"{word}\n")
            client.stdin.close()
            bento.wait_for_log("c", f"got {word}")
            client.kill()
    bento("kill", "c")
    assert "end" not in bento("logs", "c").stdout


@ONE_RUNTIME
def test_created_with_input_and_started_with_it(bento: BentoCli) -> None:
    bento("create", "-i", "--name", "c", "host", "sh", "-c", "cat; exit 6")
    done = bento("start", "-ai", "c", stdin="hello\n", check=False)
    assert (done.stdout, done.returncode) == ("hello\n", 6)
    with bento.start("start", "-ai", "c", stdin=subprocess.PIPE) as first:
        procs.wait_until(lambda: bento.state("c")["Status"] == "running", what="the start")
        with bento.start("attach", "--no-stdin", "--sig-proxy=false", "c") as second:
            assert first.stdin is not None
            assert second.stdout is not None
            first.stdin.write("more\n")
            first.stdin.flush()
            assert first.stdout is not None
            assert first.stdout.readline() == "more\n"
            second.send_signal(signal.SIGTERM)  # leaving ends neither the container nor its input
            assert second.wait(40.0) in (143, -15)
        first.stdin.write("last\n")
        first.stdin.close()
        assert first.wait(40.0) == 6
        assert first.stdout.read() == "last\n"
    bento("create", "--name", "d", "host", "sh", "-c", "echo out; exit 2")
    done = bento("start", "-a", "d", check=False)
    assert (done.stdout, done.returncode) == ("out\n", 2)
    assert "for one container" in bento.fails("start", "-a", "c", "d", code=2)


@ONE_RUNTIME
def test_program_that_ignores_ctrl_c_is_left_at_the_third(bento: BentoCli) -> None:
    with bento.start("run", "--name", "c", "host", "sh", "-c", "echo begun; exec sleep 1000") as client:
        assert client.stdout is not None
        assert client.stderr is not None
        assert client.stdout.readline() == "begun\n"
        pid = bento.state("c")["Pid"]
        procs.wait_until(lambda: procs.cmdline(pid).startswith("sleep"), what="the program")
        client.send_signal(signal.SIGINT)
        assert "sh does not take SIGINT in container c: Ctrl-C twice more leaves it running" in client.stderr.readline()
        while client.poll() is None:  # two of them, unless one comes before the other was taken
            client.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(0.2)
        assert client.returncode == 1
    assert bento.state("c")["Status"] == "running"


@ONE_RUNTIME
def test_shell_at_its_prompt_leaves_at_sighup(bento: BentoCli) -> None:
    bento("run", "-dit", "--name", "c", "--stop-signal", "HUP", *PROMPT, *SHELL)
    bento.wait_for_log("c", "ready> ")
    assert "SIGHUP to bash, exit code 129, graceful" in bento("stop", "-v", "-t", "60", "c").stderr
