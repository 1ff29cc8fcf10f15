"""Several stops on a terminal: a line each, redrawn in place; elsewhere plain lines. On a real pseudo-terminal."""

from __future__ import annotations

import os
import re
import signal

import pytest

from support.cli import BentoCli
from support.terminal import Terminal
from support.workload import IGNORING, ONE_RUNTIME, ended, wait_for_status

pytestmark = ONE_RUNTIME


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


def start(bento: BentoCli, terminal: Terminal, *words: str, term: str = "xterm"):
    env = os.environ | {"TERM": term}
    return bento.start(*words, stdout=terminal.slave, stderr=terminal.slave, env=env)


def run_two(bento: BentoCli) -> None:
    for name in ("one", "two"):
        bento.run("--name", name, "host", *IGNORING)
        bento.wait_for_log(name, "ready")


def test_s26_a_line_for_each_with_phase_and_time_left(bento, terminal):
    run_two(bento)
    with ended(start(bento, terminal, "stop", "-t", "3", "one", "two")) as process:
        text = terminal.read_until_end(process)
    for name in ("one", "two"):
        left_s = set(re.findall(rf"{name} +signalled, (\d) s until SIGKILL", text))
        assert left_s <= set("0123"), text
        assert len(left_s) > 1, text
    assert "\x1b[2A" in text
    shown = terminal.screen()
    assert sorted(line for line in shown if line in ("one", "two")) == ["one", "two"]
    assert sum("stopped in" in line for line in shown) == 2
    assert not any("until SIGKILL" in line for line in shown)
    assert len(shown) == 4


def test_s26_what_ends_early_leaves_the_list(bento, terminal):
    bento.run("--name", "one", "--stop-timeout", "0", "host", *IGNORING)
    bento.run("--name", "two", "--stop-timeout", "1", "host", *IGNORING)
    bento.run("--name", "three", "--requires", "two", "--stop-timeout", "5", "host", *IGNORING)
    for name in ("one", "two", "three"):
        bento.wait_for_log(name, "ready")
    with ended(start(bento, terminal, "stop", "one", "two", "three")) as process:
        terminal.read_until("one: stopped in")
        terminal.read_until_shown(r"\A(?!.*one  ).*two +waits for those that require it.*three +signalled")
        terminal.read_until_end(process)


def test_s26_a_small_terminal_shows_what_fits(bento):
    terminal = Terminal(rows=4, columns=40)
    try:
        for name in ("one", "two", "three"):
            bento.run("--name", name, "host", *IGNORING)
            bento.wait_for_log(name, "ready")
        with ended(start(bento, terminal, "stop", "-t", "1", "one", "two", "three")) as process:
            text = terminal.read_until_end(process)
        assert "... and 2 more" in text
        assert all(len(line) < 40 for line in re.findall(r"[a-z]+ +signalled[^\x1b\r\n]*", text))
    finally:
        terminal.close()


@pytest.mark.parametrize("words", [("one",), ("--no-wait", "one", "two")], ids=["alone", "no-wait"])
def test_s26_nothing_is_drawn_where_it_would_not_help(bento, terminal, words):
    run_two(bento)
    with ended(start(bento, terminal, "stop", "-t", "1", *words)) as process:
        assert "\x1b" not in terminal.read_until_end(process)
    for name in words:
        if not name.startswith("-"):
            wait_for_status(bento, name, "stopped")


def test_s26_a_dumb_terminal_and_a_pipe_get_plain_lines(bento, terminal):
    run_two(bento)
    with ended(start(bento, terminal, "stop", "-t", "1", "one", "two", term="dumb")) as process:
        assert "\x1b" not in terminal.read_until_end(process)
    bento("start", "one", "two")
    finished = bento("stop", "-t", "0", "one", "two")
    assert "\x1b" not in finished.stdout + finished.stderr
    assert finished.stderr == ""


def test_s06_ctrl_c_clears_the_lines_and_the_stops_go_on(bento, terminal):
    run_two(bento)
    with ended(start(bento, terminal, "stop", "-t", "3", "one", "two")) as process:
        terminal.read_until("until SIGKILL")
        process.send_signal(signal.SIGINT)
        terminal.read_until_end(process)
        assert process.returncode == 130
    assert terminal.screen() == ["bento: the stop goes on by itself; to wait for it: bento wait one two"]
    for name in ("one", "two"):
        wait_for_status(bento, name, "stopped")


def test_s05_a_stop_that_was_joined_says_so(bento, terminal):
    run_two(bento)
    bento("stop", "--no-wait", "-t", "2", "one", "two")
    with ended(start(bento, terminal, "stop", "one", "two")) as process:
        assert "is being stopped by another process" in terminal.read_until_end(process)
