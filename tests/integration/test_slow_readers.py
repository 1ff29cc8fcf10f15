"""The process that watches a container's output holds up neither the container, nor its log, nor its end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from support.cli import BentoCli, Finished
from support.workload import assert_clean

COUNT = 20_000
SCRIPT = (
    f"trap 'echo last words; exit 7' TERM; seq -f 'a line of output, number %.0f, that nobody reads' {COUNT};"
    " echo all; sleep 1000 & wait"
)
"""Writes a megabyte, which is more than pipes and sockets hold, and waits."""

Watched = Callable[[BentoCli], tuple["subprocess.Popen[str]", int]]


def into_full_pipe(bento: BentoCli) -> tuple[subprocess.Popen[str], int]:
    """Start it with an output that is not read; return it, and what is to be read at the end."""
    reader, writer = os.pipe()
    watching = bento.start("run", "--name", "c", "host", "/bin/sh", "-c", SCRIPT, stdout=writer)
    os.close(writer)
    return watching, reader


def stopped(bento: BentoCli) -> tuple[subprocess.Popen[str], int]:
    """The same with a ``run`` that stands still."""
    watching, reader = into_full_pipe(bento)
    os.read(reader, 1)  # the program has begun
    watching.send_signal(signal.SIGSTOP)
    return watching, reader


def logged(bento: BentoCli) -> list[str]:
    return bento("logs", "c").stdout.splitlines()


def wait_for_line(bento: BentoCli, line: str) -> None:
    deadline_s = time.monotonic() + 60
    while (found := bento("logs", "--tail", "1", "c", check=False).stdout.strip()) != line:
        assert time.monotonic() < deadline_s, f"the program stands still at {found!r}"
        time.sleep(0.05)


def finish(watching: subprocess.Popen[str], reader: int) -> list[str]:
    watching.send_signal(signal.SIGCONT)
    with open(reader, encoding="ascii") as rest:
        lines = rest.read().splitlines()
    assert watching.communicate(timeout=60)[1] == ""
    return lines


@pytest.mark.parametrize("watch", [into_full_pipe, stopped])
def test_c11_a_reader_that_does_not_read_holds_nothing_up(bento: BentoCli, watch: Watched) -> None:
    watching, reader = watch(bento)
    wait_for_line(bento, "all")
    said: Finished = bento("stop", "-v", "-t", "30", "c")
    assert "exit code 7, graceful" in said.stderr
    assert len(logged(bento)) == COUNT + 2
    assert logged(bento)[-1] == "last words"
    lines = finish(watching, reader)  # what is read late is all there, and so is the exit code
    assert (len(lines), lines[-2:]) == (COUNT + 2, ["all", "last words"])
    assert watching.returncode == 7
    bento("rm", "c")
    assert_clean(bento)


def test_c11_what_follows_the_end_does_not_wait_for_the_reader(bento: BentoCli) -> None:
    reader, writer = os.pipe()
    words = f"seq {COUNT * 10}; exit 7"
    watching = bento.start("run", "--rm", "--name", "c", "host", "/bin/sh", "-c", words, stdout=writer)
    os.close(writer)
    os.read(reader, 1)
    deadline_s = time.monotonic() + 60
    while bento("ps", "-aq").stdout:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert watching.poll() is None
    lines = finish(watching, reader)
    assert lines[-1] == str(COUNT * 10)
    assert watching.returncode == 7
    assert_clean(bento)
