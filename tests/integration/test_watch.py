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
from support.workload import IGNORING, ONE_RUNTIME, PYTHON, Share, ended, wait_for_status

pytestmark = ONE_RUNTIME

SLOW = """
import os, signal, sys, time
def leave(number, frame):
    while not os.path.exists("/s/go"):
        time.sleep(0.05)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
open("/s/" + sys.argv[1], "w").close()
while True:
    time.sleep(100)
"""
"""Ends at the signal when the test says so: what is to be seen meanwhile is seen, however slow the machine is."""
MANY = (
    "trap 'while [ ! -e /s/go ]; do sleep 0.05; done; exit' TERM; sleep 1001 & sleep 1002 & sleep 1003 & >/s/many; wait"
)


def start(bento: BentoCli, terminal: Terminal, *words: str):
    env = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
    return bento.start("stop", "--watch", *words, stdout=terminal.slave, stderr=terminal.slave, env=env)


@pytest.fixture
def terminal():
    made = Terminal(rows=24, columns=110)
    yield made
    made.close()


def run_slow(bento: BentoCli, share: Share, name: str, *, wrapped: bool = False) -> None:
    words = [PYTHON, share.script("slow.py", SLOW), name]
    if wrapped:
        words = ["/bin/sh", "-c", f"{' '.join(words)}; true"]
    bento.run("--name", name, *share.flags, "host", *words)
    share.wait_for(name)


def test_s26_processes_their_masks_and_for_which_the_stop_waits(
    bento: BentoCli, share: Share, terminal: Terminal
) -> None:
    run_slow(bento, share, "wrapped", wrapped=True)
    run_slow(bento, share, "plain")
    with ended(start(bento, terminal, "-t", "60", "wrapped", "plain")) as process:
        terminal.read_until_shown(
            r"wrapped +signalled, \d+ s until SIGKILL.*"
            r"waits for python3 \(\d+\): PID 1 does not receive the signal, and waits for it.*"
            r"process +SIGTERM +told +does.*"
            r"\d+ sh +dropped +- +is held.*"
            r"\d+ python3 +handled +SIGTERM, \d+ s ago"
        )
        terminal.read_until_shown(r"waits for python3 \(\d+\): PID 1 has got the signal, and ends by itself")
        share.path.joinpath("go").touch()
        terminal.read_until_end(process)
    shown = terminal.screen()
    assert sorted(line for line in shown if line in ("wrapped", "plain")) == ["plain", "wrapped"]
    assert sum("stopped in" in line for line in shown) == 2
    assert not any("until SIGKILL" in line for line in shown)
    assert not re.search(r"\x1b\[[\d;]*m", terminal.text), "colours"


def test_s26_it_follows_the_size_of_the_terminal(bento: BentoCli, share: Share) -> None:
    terminal = Terminal(rows=7, columns=100)
    try:
        bento.run("--name", "many", *share.flags, "host", "/bin/sh", "-c", MANY)
        share.wait_for("many")
        with ended(start(bento, terminal, "-t", "60", "many")) as process:
            terminal.read_until_shown(r"process +SIGTERM +told +does.*\.\.\. and \d more lines")
            fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 44, 0, 0))
            begin = len(terminal.text)
            terminal.read_until_after(begin, "SIGTERM\x1b[K")  # no other column: from here on all is narrow
            begin = terminal.text.index("SIGTERM\x1b[K", begin)
            terminal.read_until_after(begin, "default")
            share.path.joinpath("go").touch()
            terminal.read_until_end(process)
        drawn = [line for line in re.findall(r"[^\x1b\r\n]+", terminal.text[begin:]) if "stopped in" not in line]
        narrow = [line for line in drawn if "default" in line]
        assert narrow
        assert all(len(line) < 44 for line in narrow)
        assert "more lines" not in "".join(drawn)
    finally:
        terminal.close()


def test_s06_ctrl_c_leaves_the_stop_going_on(bento: BentoCli, share: Share, terminal: Terminal) -> None:
    run_slow(bento, share, "slow")
    with ended(start(bento, terminal, "-t", "60", "slow")) as process:
        terminal.read_until("process")
        process.send_signal(signal.SIGINT)
        terminal.read_until_end(process)
        assert process.returncode == 130
    assert terminal.screen() == ["bento: the stop goes on by itself; to wait for it: bento wait slow"]
    assert bento.inspect("slow")["State"]["Status"] == "stopping"
    share.path.joinpath("go").touch()
    wait_for_status(bento, "slow", "stopped")


def test_s26_without_a_terminal_it_says_so_and_tells_it_in_lines(bento: BentoCli) -> None:
    bento.run("--name", "deaf", "host", *IGNORING)
    bento.wait_for_log("deaf", "ready")
    finished = bento("stop", "--watch", "-t", "0", "deaf")
    assert finished.stdout == "deaf\n"
    small = Terminal(rows=24, columns=39)
    try:
        with ended(start(bento, small, "nobody")) as process:
            small.read_until_end(process)
        assert "the terminal is too small" in small.text
    finally:
        small.close()
    told, outcome = finished.stderr.splitlines()
    assert told == "bento: there is no terminal to watch the stop on: it is told in lines, as with -v"
    assert outcome.startswith("deaf: stopped in ")
    assert "exclude each other" in bento.fails("stop", "--watch", "--no-wait", "deaf", code=2)
