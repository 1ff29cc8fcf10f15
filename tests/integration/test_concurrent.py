"""Rule S5 and its neighbours under fire: many commands at one container at once, round after round (make soak T=100).

Each round draws its own moments, by its number: a round that failed can be run again by its name.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator, Sequence
from subprocess import Popen
from typing import NamedTuple

import pytest

from support.cli import BentoCli
from support.workload import (
    PYTHON,
    Share,
    assert_clean,
    assert_released,
    ended,
    run_ignoring,
    wait_for_status,
)

ROUNDS = int(os.environ.get("BENTO_TEST_ROUNDS", "2"))
LIMIT_S = 90
EVERY_ROUND = pytest.mark.parametrize(
    ("turn", "runtime"), [(turn, ("crun", "runc")[turn % 2]) for turn in range(ROUNDS)], indirect=["runtime"]
)
GONE = ("no such container", "already stopped", "it is stopped", "it has just ended")
"""What a command that comes too late says."""

COUNT = """
import os, signal, sys, time
def told(number, frame):
    fd = os.open("/s/told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"%d %d\\n" % (number, begun))
    global left_s
    left_s = left_s or time.monotonic() + float(sys.argv[1])
left_s, begun = None, time.monotonic_ns()
signal.signal(signal.SIGTERM, told)
ends_s = time.monotonic() + float(sys.argv[2])
fd = os.open("/s/ready", os.O_WRONLY | os.O_CREAT)
while time.monotonic() < min(left_s or ends_s, ends_s):
    time.sleep(0.005)
os._exit(0)
"""
"""Counts its SIGTERMs by runs; ends so many seconds after the first, or by itself so many after its start."""


class Said(NamedTuple):
    """How one of many commands has ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def is_too_late(self) -> bool:
        return self.code == 1 and any(part in self.err for part in GONE)


def run_counter(bento: BentoCli, share: Share, *, lasts_s: float, ends_s: float = 1000.0) -> str:
    path = share.script("count.py", COUNT)
    identifier = bento.run("--name", "w", *share.flags, "host", PYTHON, path, str(lasts_s), str(ends_s))
    share.wait_for("ready")
    return identifier


def at_once(bento: BentoCli, commands: Sequence[tuple[str, ...]], pauses_s: Sequence[float] = ()) -> list[Said]:
    """Start all of them, each after its pause, and wait for them. None of them may fall over, or hang."""
    begun: list[tuple[tuple[str, ...], Popen[str]]] = []
    with contextlib.ExitStack() as stack:
        for place, words in enumerate(commands):
            time.sleep(pauses_s[place] if pauses_s else 0)
            begun.append((words, stack.enter_context(ended(bento.start(*words)))))
        said = []
        for words, process in begun:
            out, err = process.communicate(timeout=LIMIT_S)
            said.append(Said(words, process.returncode, out, err))
    for one in said:
        assert one.code in (0, 1), said
        assert len(one.err.splitlines()) <= 1, said
        assert "Traceback" not in one.err, said
        assert "please report" not in one.err, said
    return said


def told_by_run(share: Share) -> list[int]:
    """How often each run of the program was told."""
    runs = [line.split()[1] for line in share.lines("told")]
    return [runs.count(run) for run in dict.fromkeys(runs)]


def assert_done_or_too_late(said: Sequence[Said]) -> None:
    """A command that begins after the end that others have brought finds it ended. One of them has brought it."""
    assert [one for one in said if one.code != 0 and not one.is_too_late] == []
    assert 0 in [one.code for one in said], said


@EVERY_ROUND
def test_s05_two_stops_of_one_container(bento: BentoCli, share: Share, turn: int) -> None:
    identifier = run_counter(bento, share, lasts_s=random.Random(turn).choice((0.0, 0.02, 0.3)))
    said = at_once(bento, [("stop", "w")] * 2)
    assert_done_or_too_late(said)
    assert told_by_run(share) == [1]
    found = bento.inspect("w")
    assert (found["State"]["Status"], found["State"]["ExitCode"]) == ("stopped", 0)
    assert found["Stop"]["verdict"] == "graceful"
    assert_released(bento, identifier)


@EVERY_ROUND
def test_s05_ten_stops_and_kills_of_one_container(bento: BentoCli, share: Share, turn: int) -> None:
    dice = random.Random(turn)
    identifier = run_counter(bento, share, lasts_s=dice.choice((0.0, 0.1, 1.0)))
    commands: list[tuple[str, ...]] = [("stop", "w"), ("stop", "-t", "30", "w"), ("stop", "-t", "0.5", "w")] * 2
    commands += [("kill", "w")] * 4
    dice.shuffle(commands)
    assert_done_or_too_late(at_once(bento, commands))
    assert told_by_run(share) in ([], [1])
    found = bento.inspect("w")
    assert found["State"]["Status"] == "stopped"
    assert found["State"]["ExitCode"] in (0, 137)
    assert_released(bento, identifier)


@EVERY_ROUND
def test_s05_a_short_stop_during_a_long_one(bento: BentoCli, turn: int) -> None:
    identifier = run_ignoring(bento)
    with ended(bento.start("stop", "-t", "600", "w")) as first:
        time.sleep(random.Random(turn).uniform(0.0, 0.3))
        begun = time.monotonic()
        at_once(bento, [("stop", "-t", "1", "w")])
        first.communicate(timeout=LIMIT_S)
        # The two may have come in either order: then the long one has joined the short one.
        assert first.returncode == 0
        assert time.monotonic() - begun < LIMIT_S
    report = bento.inspect("w")["Stop"]
    assert report["verdict"] == "killed"
    assert report["duration_s"] < LIMIT_S
    assert_released(bento, identifier)


@EVERY_ROUND
def test_s05_more_time_for_a_stop_under_way(bento: BentoCli, share: Share, turn: int) -> None:
    """Without it, the program would not live to its own end."""
    run_counter(bento, share, lasts_s=4.0)
    bento("stop", "--no-wait", "-t", "3", "w")
    others: list[tuple[str, ...]] = [("stop", "--extend", "-t", "60", "w"), ("stop", "w"), ("wait", "w"), ("ps",)]
    random.Random(turn).shuffle(others)
    said = at_once(bento, others)
    assert [one.code for one in said] == [0] * len(others), said
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"
    assert told_by_run(share) == [1]


@EVERY_ROUND
def test_s05_an_exit_of_its_own_while_it_is_stopped(bento: BentoCli, share: Share, turn: int) -> None:
    dice = random.Random(turn)
    ends_s = dice.uniform(0.05, 0.6)
    identifier = run_counter(bento, share, lasts_s=1000.0, ends_s=ends_s)
    commands = dice.sample([("stop", "w"), ("stop", "-t", "5", "w"), ("kill", "w"), ("ps",), ("wait", "w")], 4)
    said = at_once(bento, commands, [dice.uniform(0, 0.1) for _ in commands])
    assert_done_or_too_late([*said, Said(("nobody",), 0, "", "")])  # it may have ended before any of them
    assert told_by_run(share) in ([], [1])
    assert wait_for_status(bento, "w", "stopped")["ExitCode"] in (0, 137)
    assert_released(bento, identifier)


def moments(dice: random.Random, count: int) -> Iterator[float]:
    return (dice.choice((0.0, 0.0, dice.uniform(0, 0.1))) for _ in range(count))


@EVERY_ROUND
def test_s05_stop_kill_rm_and_restart_of_one_that_also_ends_by_itself(bento: BentoCli, share: Share, turn: int) -> None:
    dice = random.Random(turn)
    run_counter(bento, share, lasts_s=dice.choice((0.0, 0.2)), ends_s=dice.choice((0.3, 1000.0)))
    commands: list[tuple[str, ...]] = [
        ("stop", "w"), ("stop", "-t", "1", "w"), ("stop", "--extend", "-t", "30", "w"), ("kill", "w"), ("restart", "w"),
        ("restart", "-t", "1", "w"), ("rm", "-f", "w"), ("ps", "-a"), ("inspect", "w"), ("wait", "w"),
    ]  # fmt: skip
    if turn % 3 == 2:
        commands.remove(("rm", "-f", "w"))
        commands.remove(("wait", "w"))  # a restart may be the last word
    dice.shuffle(commands)
    at_once(bento, commands, list(moments(dice, len(commands))))
    assert all(count == 1 for count in told_by_run(share))
    left = bento("ps", "-aq").stdout.split()
    if left:
        found = bento.state("w")
        assert found["Status"] in ("running", "stopped")
        bento("rm", "-f", "w")
    assert_clean(bento)
