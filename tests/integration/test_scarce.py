"""Commands that are ended, or lack descriptors or memory, say so and leave nothing half made."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time

import pytest

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME


def limited(bento: BentoCli, limit: str, *words: str) -> tuple[int, str]:
    """Run a command with a limit of ``ulimit``; return its exit status and what it said."""
    line = f"ulimit {limit}; exec {shlex.join([*bento.prefix, *words])}"
    done = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_a_run_with_too_few_descriptors_or_too_little_memory_is_refused_and_leaves_nothing(bento: BentoCli) -> None:
    words = ("run", "--rm", "host", "/bin/sh", "-c", "exit 7")
    for limit, said in (("-n 12", "raise the limit"), ("-n 31", "ulimit -n"), ("-v 30000", "ulimit -v")):
        code, stderr = limited(bento, limit, *words)
        assert code == 125, (limit, stderr)
        assert said in stderr
        assert len(stderr.splitlines()) == 1
    assert limited(bento, "-n 64", *words) == (7, "")
    assert_clean(bento)


def test_a_look_with_too_few_descriptors_takes_no_container_for_dead(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    pid = bento.state("w")["Pid"]
    for count in range(8, 15):
        limited(bento, f"-n {count}", "ps", "-a")
    assert bento.state("w") | {"Status": "running", "Pid": pid} == bento.state("w")


TRAP = ("/bin/sh", "-c", "trap 'exit 3' TERM; echo ready; sleep 1000 & wait; exit 3")


@pytest.mark.parametrize("words", [("stop", "-t", "5"), ("rm", "-f")], ids=["stop", "rm"])
def test_a_stop_with_too_few_descriptors_says_so_before_anything_is_done(
    bento: BentoCli, words: tuple[str, ...]
) -> None:
    bento.run("--name", "w", "host", *TRAP)
    bento.wait_for_log("w", "ready")
    before = bento.state("w")
    for count in (16, 18):
        code, stderr = limited(bento, f"-n {count}", *words, "w")
        assert code == 1
        assert "raise the limit" in stderr
        assert len(stderr.splitlines()) == 1
        assert bento.state("w") == before
    assert limited(bento, "-n 24", *words, "w") == (0, "")
    if words[0] == "stop":
        assert bento.state("w")["ExitCode"] == 3
        bento("rm", "w")
    assert_clean(bento)


def test_of_many_those_are_stopped_for_which_there_are_descriptors_and_the_others_run_on(bento: BentoCli) -> None:
    for number in range(3):
        bento.run("--name", f"w{number}", "host", *TRAP)
        bento.wait_for_log(f"w{number}", "ready")
    code, stderr = limited(bento, "-n 30", "stop", "-t", "5", "-a")
    states = [bento.state(f"w{number}") for number in range(3)]
    ended = [state for state in states if state["Status"] == "stopped"]
    assert code == 1
    assert all(state["ExitCode"] == 3 for state in ended)
    assert [state["Status"] for state in states if state not in ended] == ["running"] * len(stderr.splitlines())
    assert ended
    bento("rm", "-f", "w0", "w1", "w2")
    assert_clean(bento)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_while_it_begins_leaves_nothing(bento: BentoCli, number: int) -> None:
    containers = bento.roots.root / "containers"
    for delay_s in (0.0, 0.01, 0.02, 0.04):
        with bento.start("run", "--rm", "--init", "host", "sleep", "1000") as run:
            while run.poll() is None and not (containers.exists() and os.listdir(containers)):
                time.sleep(0.0005)
            time.sleep(delay_s)
            run.send_signal(number)
            try:
                run.communicate(timeout=6)
            except subprocess.TimeoutExpired:  # it had begun: the signal was the init's, before it could take one
                while run.poll() is None:
                    bento("rm", "-fa")
                run.communicate(timeout=60)
        assert run.returncode in (128 + number, -number, 137)
        assert not containers.exists() or os.listdir(containers) == []
    assert_clean(bento)


def test_a_volume_that_could_not_be_made_is_not_there(bento: BentoCli) -> None:
    assert "UTF-8" in bento.fails("volume", "create", "--label", os.fsdecode(b"a=\xff"), "v", code=2)
    assert not (bento.roots.root / "volumes" / "v").exists()
    bento("volume", "create", "v")
    assert "UTF-8" in bento.fails("volume", "create", "--label", os.fsdecode(b"a=\xff"), "w", code=2)
    assert (bento.roots.root / "volumes" / "v").exists()
    bento("volume", "rm", "v")
