"""A stop whose worker hangs, here by SIGSTOP: others take it over, and nothing is done twice (rules S3, S5, S6)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import procs
from support.cli import BentoCli, Roots
from support.workload import COUNTER, ONE_RUNTIME, PYTHON, Share, assert_released, ended

SLOW_S = "600"


def run_slow(bento: BentoCli, share: Share, *flags: str) -> str:
    """A program that is told once, notes it, and needs ten minutes to end."""
    path = share.script("count.py", COUNTER)
    identifier = bento.run("--name", "w", *share.flags, *flags, "host", PYTHON, path, SLOW_S)
    share.wait_for("ready")
    return identifier


def worker_of(bento: BentoCli, identifier: str, roots: Roots) -> procs.Process:
    """Return the process that drives the stop, as it says itself."""
    path = roots.run_root / "locks" / f"{identifier}.stop"
    procs.wait_until(lambda: path.exists() and bool(path.read_text()), what="a driver")
    process = procs.read(json.loads(path.read_text())["process"]["pid"])
    assert process is not None
    return process


@contextmanager
def hung_stop(bento: BentoCli, share: Share, roots: Roots, identifier: str, *args: str) -> Iterator[procs.Process]:
    """Begin a stop, and stop its worker by SIGSTOP once the program was told. Afterwards it must be gone."""
    with ended(bento.start("stop", "-t", SLOW_S, *args, "w")) as caller:
        share.wait_for("told")
        worker = worker_of(bento, identifier, roots)
        assert worker.pid != caller.pid
        os.kill(worker.pid, signal.SIGSTOP)
        procs.wait_until(lambda: (now := procs.read(worker.pid)) is not None and now.state == "T", what="state T")
        yield worker
        now = procs.read(worker.pid)
        assert now is None or now.key != worker.key or not now.is_alive
        caller.wait(timeout=30)  # its worker has ended: it says so, and ends


@ONE_RUNTIME
@pytest.mark.parametrize("how", [("kill",), ("rm", "-f"), ("stop", "-t", "1")])
def test_s06_a_worker_that_hangs_holds_no_other_stop_up_and_nothing_is_done_twice(
    bento: BentoCli, share: Share, roots: Roots, tmp_path: Path, how: tuple[str, ...]
) -> None:
    hooks = tmp_path / "hooks"
    before, after = f"echo before >>{hooks}", f"echo after >>{hooks}"
    identifier = run_slow(bento, share, "--pre-stop-host", before, "--post-stop-host", after)
    with hung_stop(bento, share, roots, identifier) as worker:
        finished = bento(*how, "w", timeout_s=90)
    assert f"process {worker.pid}" in finished.stderr
    assert "was ended" in finished.stderr
    assert share.lines("told") == ["15"]
    assert hooks.read_text().split() == ["before", "after"]
    if how[0] == "rm":
        assert "no such container" in bento.fails("inspect", "w")
        return
    assert_released(bento, identifier)
    report = bento.inspect("w")["Stop"]
    assert report["verdict"] == "killed"
    assert any(f"process {worker.pid}" in note and "was ended" in note for note in report["notes"])


@ONE_RUNTIME
def test_s05_a_worker_that_goes_on_in_time_is_left_to_it(bento: BentoCli, share: Share, roots: Roots) -> None:
    """SIGCONT before the deadline that the later caller asked for: nothing was done twice."""
    path = share.script("count.py", COUNTER)
    bento.run("--name", "w", *share.flags, "host", PYTHON, path, "1")
    share.wait_for("ready")
    identifier = bento.inspect("w")["Id"]
    with ended(bento.start("stop", "-t", "600", "w")) as first:
        share.wait_for("told")
        worker = worker_of(bento, identifier, roots)
        os.kill(worker.pid, signal.SIGSTOP)
        with ended(bento.start("stop", "-t", "300", "w")) as second:
            assert second.stderr is not None
            assert f"process {worker.pid}, which drives the stop of w, does not answer" in second.stderr.readline()
            os.kill(worker.pid, signal.SIGCONT)
            assert second.wait(timeout=60) == 0
        assert first.wait(timeout=60) == 0
    assert share.lines("told") == ["15"]
    report = bento.inspect("w")["Stop"]
    assert (report["verdict"], report["notes"]) == ("graceful", [])


LIBRARY = """
import os, sys, signal
from bento import Engine, Settings, StopOptions
with Engine(Settings(root=sys.argv[1], run_root=sys.argv[2])) as engine:
    engine.stop("w", StopOptions(grace_s=600.0))
"""


@ONE_RUNTIME
def test_s03_another_program_that_hangs_is_named_and_not_ended(bento: BentoCli, share: Share, roots: Roots) -> None:
    identifier = run_slow(bento, share)
    argv = [sys.executable, "-c", LIBRARY, str(roots.root), str(roots.run_root)]
    with ended(subprocess.Popen(argv)) as program:
        share.wait_for("told")
        program.send_signal(signal.SIGSTOP)
        finished = bento("stop", "-t", "0", "w", check=False, timeout_s=90)
        assert finished.returncode == 1
        assert f"kill -CONT {program.pid}" in finished.stderr
        assert program.poll() is None
        program.send_signal(signal.SIGCONT)
        bento("stop", "-t", "0", "w", timeout_s=90)
        program.wait(timeout=60)
    assert_released(bento, identifier)
