"""``bento explain``: what it says beforehand is what the stop then does; and it sends nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support import procs
from support.cli import BentoCli
from support.workload import IGNORING, MARKER, ONE_RUNTIME, POLITE, PYTHON, Share, ended, run_script, stop_report

pytestmark = ONE_RUNTIME

SLEEPER = "import time; print('ready', flush=True); time.sleep(1000)"
POLITE_ONE_LINE = (
    'import signal, sys, time; signal.signal(15, lambda *a: sys.exit(0)); print("ready", flush=True); time.sleep(1000)'
)
SUPERVISOR = """
import signal, subprocess, sys
child = subprocess.Popen(["/usr/bin/sleep", "1000"])
def leave(number, frame):
    child.terminate()
    child.wait()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
SWALLOWER = """
import os, signal
def swallow(number, frame):
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
signal.signal(signal.SIGTERM, swallow)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""


def explain(bento: BentoCli, *args: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bento("explain", "--format", "json", *args).stdout)
    return document


def parts(found: dict[str, Any]) -> dict[str, str]:
    return {process["comm"]: process["part"] for process in found["processes"]}


def wait_for_processes(bento: BentoCli, name: str, count: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [explain(bento, name)]
        return len(found[0]["processes"]) == count

    procs.wait_until(is_there, timeout_s=40, what=f"{count} processes", every_s=0.05)
    return found[0]


def assert_comes_true(bento: BentoCli, found: dict[str, Any], *args: str, name: str = "w") -> dict[str, Any]:
    """The forecast's verdict, what is signalled and what is held are those of the stop."""
    report = stop_report(bento, *args, name)
    assert report["verdict"] == found["verdict"], report
    for key, word in (("signalled", "signalled"), ("held", "held:")):
        expected = {process["pid"] for process in found["processes"] if process["part"].startswith(word)}
        assert {one["pid"] for one in report[key]} == expected, (key, report)
    return report


def test_s13_wrapper_is_held(bento):
    bento.run("--name", "w", "host", "/bin/sh", "-c", "sleep 1000; true")
    found = wait_for_processes(bento, "w", 2)
    assert found["verdict"] == "forwarded"
    assert parts(found) == {"sh": "held: it goes no further", "sleep": "signalled: it ends by the default action"}
    assert [process["is_resting"] for process in found["processes"]] == [True, True]
    assert found["processes"][0]["waits"] == "waits for a child"
    assert found["processes"][1]["wakes_in_s"] > 900
    assert any("exec" in text for text in found["advice"])
    assert_comes_true(bento, found)


def test_s14_what_is_at_work_is_named_and_waited_for(bento):
    bento.run("--name", "w", "host", "/bin/sh", "-c", "echo ready; while :; do :; done | cat; true")
    bento.wait_for_log("w", "ready")
    found = wait_for_processes(bento, "w", 3)
    assert found["verdict"] == "killed"
    assert any("is at work, which is waited for: it runs" in text for text in found["unsure"])
    text = bento("explain", "w").stdout
    assert "may be at work: it runs" in text
    assert "\nunsure\n  - whether sh (" in text
    assert_comes_true(bento, found | {"verdict": "killed"}, "-t", "0.6")


def test_s14_program_that_receives_nothing_is_ended_and_what_it_would_receive_is_said(bento):
    bento.run("--name", "w", "host", PYTHON, "-c", SLEEPER)
    bento.wait_for_log("w", "ready")
    found = explain(bento, "--start-window", "0", "w")
    assert (found["verdict"], found["processes"][0]["receives"]) == ("default-action", "dropped")
    assert any("--stop-signal INT" in text for text in found["advice"])
    assert_comes_true(bento, found, "--start-window", "0")


def test_s13a_init_over_a_shell(bento):
    bento.run("--name", "w", "--init", "host", "/bin/sh", "-c", f"{PYTHON} -c '{POLITE_ONE_LINE}'; true")
    bento.wait_for_log("w", "ready")
    found = wait_for_processes(bento, "w", 3)
    assert found["verdict"] == "graceful"
    main = found["processes"][0]["pid"]
    assert [process["part"] for process in found["processes"]] == [
        "signalled, and held at its exit",
        f"gets the signal from catatonit ({main})",
        "signalled while PID 1 is held at its exit",
    ]
    assert_comes_true(bento, found)


def test_s13_tini_over_a_program_passes_it_on(bento):
    tini = shutil.which("tini")
    if tini is None:
        pytest.skip("tini is not installed")
    bento.run("--name", "w", "host", tini, "--", PYTHON, "-c", POLITE)
    bento.wait_for_log("w", "ready")
    found = explain(bento, "w")
    assert found["verdict"] == "graceful"
    assert found["processes"][0]["receives"] == "waiting"
    assert found["processes"][1]["part"] == f"gets the signal from tini ({found['processes'][0]['pid']})"
    assert_comes_true(bento, found)


def test_s12_one_that_may_swallow_it_as_node_does(bento, share: Share):
    """A program under node's name that does what node does without a handler of its own."""
    (share.path / "node").symlink_to(PYTHON)
    path = share.script("app.py", SWALLOWER)
    bento.run("--name", "w", *share.flags, "host", "/s/node", path)
    share.wait_for("ready")
    found = explain(bento, "--start-window", "0", "w")
    assert found["verdict"] == "graceful"
    assert found["otherwise"].startswith("default-action")
    assert stop_report(bento, "--start-window", "0", "w")["verdict"] == "default-action"


def test_s14_ignoring_gets_the_whole_grace(bento):
    bento.run("--name", "w", "host", *IGNORING)
    bento.wait_for_log("w", "ready")
    found = explain(bento, "-t", "1", "w")
    assert (found["verdict"], found["duration_s"], found["processes"][0]["receives"]) == ("killed", 1.0, "ignored")
    assert_comes_true(bento, found, "-t", "1")


def test_s13_handler_is_signalled_and_explaining_signals_nothing(bento, share: Share):
    run_script(bento, share, MARKER)
    found = explain(bento, "w")
    text = bento("explain", "w").stdout
    assert "graceful" in text
    assert "it has a handler for SIGTERM" in text
    assert "what a stop would do" in text
    assert bento.state("w")["Status"] == "running"
    assert share.text("marker") == ""
    assert_comes_true(bento, found)
    assert share.lines("marker") == ["done"]


def test_s13_supervisor_answers_for_its_children(bento, share: Share):
    run_script(bento, share, SUPERVISOR)
    found = wait_for_processes(bento, "w", 2)
    main = found["processes"][0]["pid"]
    assert [process["part"] for process in found["processes"]] == ["signalled", f"left to python3 ({main})"]
    assert_comes_true(bento, found)


def test_s11_a_paused_container_stays_paused(bento):
    bento.run("--name", "w", "host", *IGNORING)
    bento("pause", "w")
    found = explain(bento, "w")
    assert (found["verdict"], found["is_paused"]) == (None, True)
    assert explain(bento, "--paused", "kill", "w")["verdict"] == "killed"
    assert bento.state("w")["Status"] == "paused"


@pytest.fixture
def stranger() -> Iterator[int]:
    """PID 1 of a PID namespace that no engine of this test has made: a shell over a program."""
    script = f"{PYTHON} -c '{POLITE_ONE_LINE}'; true"
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script]
    with ended(subprocess.Popen(words, stdout=subprocess.PIPE, text=True)) as unshare:
        assert unshare.stdout.readline() == "ready\n"
        shell = next(process for process in procs.all_processes() if process.ppid == unshare.pid)
        yield shell.pid


def test_s13_any_pid_1_of_a_namespace_whatever_started_it(bento, stranger):
    found = explain(bento, "--pid", str(stranger))
    assert found["name"] == f"process {stranger}"
    assert found["verdict"] == "forwarded"
    assert parts(found) == {"sh": "held: it goes no further", "python3": "signalled in the place of PID 1"}
    below = found["processes"][1]["pid"]
    assert f"that would be {stranger}" in bento.fails("explain", "--pid", str(below))
    assert procs.read(stranger) is not None


def test_s01_what_cannot_be_explained(bento):
    assert "the PID namespace of Bento itself" in bento.fails("explain", "--pid", str(os.getpid()))
    assert "the init of this host" in bento.fails("explain", "--pid", "1")
    assert "no such process" in bento.fails("explain", "--pid", str(1 << 22))
    assert "no such container" in bento.fails("explain", "nope")
    for words in ([], ["--pid", "0"], ["--pid", "-3"], ["--pid", "²"], ["--pid", "1", "w"], ["-s", "NOPE", "w"]):
        bento.fails("explain", *words, code=2)
    bento("create", "--name", "w", "host", "true")
    assert "does not run" in bento.fails("explain", "w")


def test_s13_explaining_many_processes_is_quick(bento):
    script = "for i in $(seq 200); do sleep 1000 & done; wait"
    bento.run("--name", "w", "host", "/bin/sh", "-c", script)
    wait_for_processes(bento, "w", 201)
    begun = time.monotonic()
    explain(bento, "w")
    assert time.monotonic() - begun < 5
