"""``stop --watch``: processes in the middle of a stop, redrawn in place on a real pseudo-terminal; else plain lines."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import termios

import pytest

from support.cli import BentoCli
from support.terminal import Terminal
from support.workload import IGNORING, ONE_RUNTIME, PYTHON, ended, wait_for_status

pytestmark = ONE_RUNTIME

SLOW = """
import signal, sys, time
def leave(number, frame):
    time.sleep(1.5)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
while True:
    time.sleep(100)
"""


def start(bento: BentoCli, terminal: Terminal, *words: str):
    env = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
    return bento.start("stop", "--watch", *words, stdout=terminal.slave, stderr=terminal.slave, env=env)


@pytest.fixture
def terminal():
    made = Terminal(rows=24, columns=110)
    yield made
    made.close()


def test_s26_processes_their_masks_and_for_which_the_stop_waits(bento: BentoCli, terminal: Terminal) -> None:
    bento.run("--name", "wrapped", "host", "/bin/sh", "-c", f"{PYTHON} -c '{SLOW}'; true")
    bento.run("--name", "deaf", "host", *IGNORING)
    for name in ("wrapped", "deaf"):
        bento.wait_for_log(name, "ready")
    with ended(start(bento, terminal, "-t", "3", "wrapped", "deaf")) as process:
        terminal.read_until_shown(
            r"wrapped +signalled, \d s until SIGKILL.*"
            r"waits for python3 \(\d+\): PID 1 does not receive the signal, and waits for it.*"
            r"process +SIGTERM +told +does.*"
            r"\d+ sh +dropped +- +is held.*"
            r"\d+ python3 +handled +SIGTERM, \d s ago"
        )
        terminal.read_until_shown(r"\d+ sleep +ignored")
        terminal.read_until_end(process)
    shown = terminal.screen()
    assert sorted(line for line in shown if line in ("wrapped", "deaf")) == ["deaf", "wrapped"]
    assert sum("stopped in" in line for line in shown) == 2
    assert not any("until SIGKILL" in line for line in shown)
    assert not re.search(r"\x1b\[[\d;]*m", terminal.text), "colours"


def test_s26_it_follows_the_size_of_the_terminal(bento: BentoCli) -> None:
    terminal = Terminal(rows=7, columns=100)
    try:
        bento.run(
            "--name",
            "deaf",
            "host",
            "/bin/sh",
            "-c",
            "trap '' TERM; sleep 1001 & sleep 1002 & sleep 1003 & echo ready; wait",
        )
        bento.wait_for_log("deaf", "ready")
        with ended(start(bento, terminal, "-t", "4", "deaf")) as process:
            terminal.read_until_shown(r"process +SIGTERM +told +does.*\.\.\. and \d more lines")
            fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 44, 0, 0))
            begin = len(terminal.text)
            terminal.read_until_after(begin, "process")
            begin = terminal.text.index("process", begin)
            terminal.read_until_end(process)
        drawn = [line for line in re.findall(r"[^\x1b\r\n]+", terminal.text[begin:]) if "stopped in" not in line]
        narrow = [line for line in drawn if "ignored" in line]
        assert narrow
        assert all(len(line) < 44 for line in narrow)
        assert "more lines" not in "".join(drawn)
    finally:
        terminal.close()


def test_s06_ctrl_c_leaves_the_stop_going_on(bento: BentoCli, terminal: Terminal) -> None:
    bento.run("--name", "deaf", "host", *IGNORING)
    bento.wait_for_log("deaf", "ready")
    with ended(start(bento, terminal, "-t", "2", "deaf")) as process:
        terminal.read_until("process")
        process.send_signal(signal.SIGINT)
        terminal.read_until_end(process)
        assert process.returncode == 130
    assert terminal.screen() == ["bento: the stop goes on by itself; to wait for it: bento wait deaf"]
    wait_for_status(bento, "deaf", "stopped")


def test_s26_without_a_terminal_it_says_so_and_tells_it_in_lines(bento: BentoCli) -> None:
    bento.run("--name", "deaf", "host", *IGNORING)
    bento.wait_for_log("deaf", "ready")
    finished = bento("stop", "--watch", "-t", "0", "deaf")
    assert finished.stdout == "deaf\n"
    told, outcome = finished.stderr.splitlines()
    assert told == "bento: there is no terminal to watch the stop on: it is told in lines, as with -v"
    assert outcome.startswith("deaf: stopped in ")
    assert "exclude each other" in bento.fails("stop", "--watch", "--no-wait", "deaf", code=2)
