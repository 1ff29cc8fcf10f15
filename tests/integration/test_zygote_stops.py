"""Stops by a zygote: a worker that waits carries them out, and what ends the command does not reach it (rule S6)."""

from __future__ import annotations

import os
import signal

import pytest

from support import procs
from support.cli import BentoCli
from support.workload import COUNTER, ONE_RUNTIME, PYTHON, Share, ended, run_ignoring
from support.zygote import Zygote

pytestmark = ONE_RUNTIME

QUICK = "trap 'exit 0' TERM; echo ready; sleep 600 & wait"


def run_counter(bento: BentoCli, share: Share, lasts_s: float) -> None:
    """A program that counts its SIGTERMs and ends so long after the first."""
    path = share.script("count.py", COUNTER)
    bento.run("--name", "w", *share.flags, "--network", "none", "host", PYTHON, path, str(lasts_s))
    share.wait_for("ready")


def is_at_work(zygote: Zygote, worker: procs.Process) -> bool:
    """Whether this one carries out the stop for which a child of the zygote waits: both have the program's name."""
    pids = [each.pid for each in zygote.children()]
    return worker.pid in pids and len(pids) == 2


def assert_told_once_and_graceful(bento: BentoCli, share: Share) -> None:
    assert bento("wait", "w").stdout == "0\n"
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"
    assert share.lines("told") == ["15"]


def test_one_worker_carries_out_one_stop_after_another(bento: BentoCli, zygote: Zygote) -> None:
    bento("ps")
    first = zygote.worker()
    for verb in (("stop", "-t", "0.2"), ("restart", "-t", "0.2"), ("stop", "-t", "0.2"), ("rm", "-f")):
        if verb[0] == "stop":
            bento("rm", "-f", "w")
            run_ignoring(bento)
        assert zygote.worker() == first
        done = zygote.by(*verb, "w")
        assert (done.returncode, done.stdout, done.stderr) == (0, "w\n", ""), done
    assert zygote.worker() == first
    assert zygote.by("stop", "w").stderr == bento("stop", "w", check=False).stderr != ""
    assert zygote.by("stop", "--format", "json", "w").returncode == 1
    assert zygote.worker() == first


def test_s06_whatever_is_killed_the_worker_goes_on(bento: BentoCli, zygote: Zygote, share: Share) -> None:
    waiting = zygote.worker()
    for victim in ("program", "child", "zygote"):
        run_counter(bento, share, 1.5)
        assert zygote.worker() == waiting
        with zygote.start("stop", "w") as stopper:
            share.wait_for("told")
            assert is_at_work(zygote, waiting)
            if victim == "program":
                stopper.kill()
            elif victim == "child":
                [child] = [each for each in zygote.children() if each.pid != waiting.pid]
                procs.kill(child)
            else:
                zygote.process.kill()
                zygote.process.wait()
            stopper.wait(60)
            assert stopper.returncode == (0 if victim == "zygote" else -signal.SIGKILL)
        assert_told_once_and_graceful(bento, share)
        bento("rm", "w")
        for name in ("ready", "told"):
            (share.path / name).unlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_s06_a_signal_ends_the_command_alone(bento: BentoCli, zygote: Zygote, share: Share, number: int) -> None:
    zygote.worker()
    run_counter(bento, share, 1.5)
    with ended(zygote.start("stop", "w", start_new_session=True)) as stopper:
        share.wait_for("told")
        os.killpg(stopper.pid, number)
        _, said = stopper.communicate(timeout=40)
        assert stopper.returncode == (130 if number == signal.SIGINT else -number)
        assert ("goes on by itself" in said) == (number == signal.SIGINT)
    assert bento.state("w")["Status"] == "stopping"
    assert_told_once_and_graceful(bento, share)


def test_s06_when_the_worker_is_killed_the_command_says_so_and_the_next_one_goes_on(
    bento: BentoCli, zygote: Zygote, share: Share
) -> None:
    waiting = zygote.worker()
    run_counter(bento, share, 1.5)
    with zygote.start("stop", "w") as stopper:
        share.wait_for("told")
        procs.kill(waiting)
        _, said = stopper.communicate(timeout=40)
    assert stopper.returncode == 1
    assert "was killed before it was done" in said
    assert zygote.worker() != waiting
    assert zygote.by("stop", "w").stdout == "w\n"
    assert_told_once_and_graceful(bento, share)


def test_beside_a_worker_at_work_a_stop_forks_one(bento: BentoCli, zygote: Zygote, share: Share) -> None:
    waiting = zygote.worker()
    run_ignoring(bento, "x")
    run_counter(bento, share, 3)
    with zygote.start("stop", "w") as stopper:
        share.wait_for("told")
        assert zygote.by("stop", "-t", "0.2", "x").stdout == "x\n"
        assert bento.state("w")["Status"] == "stopping"
        assert stopper.wait(60) == 0
    assert_told_once_and_graceful(bento, share)
    assert zygote.worker() == waiting
    assert zygote.by("stop", "--no-wait", "w").returncode == 1


def test_s06_no_wait_returns_at_once(bento: BentoCli, zygote: Zygote, share: Share) -> None:
    waiting = zygote.worker()
    run_counter(bento, share, 1.5)
    assert zygote.by("stop", "--no-wait", "w").stdout == "w\n"
    assert bento.state("w")["Status"] == "stopping"
    assert_told_once_and_graceful(bento, share)
    assert zygote.worker() == waiting


def test_a_worker_that_is_halted_has_the_stop_done_without_it_and_not_twice(
    bento: BentoCli, zygote: Zygote, share: Share
) -> None:
    waiting = zygote.worker()
    run_counter(bento, share, 0.1)
    os.kill(waiting.pid, signal.SIGSTOP)
    assert zygote.by("stop", "w").stdout == "w\n"
    os.kill(waiting.pid, signal.SIGCONT)
    assert_told_once_and_graceful(bento, share)
    assert zygote.worker() != waiting  # it saw that it was too late


def test_a_caller_of_other_surroundings_gets_a_worker_of_its_own(bento: BentoCli, zygote: Zygote) -> None:
    waiting = zygote.worker()
    said = zygote.program.parent / "limit"
    for count in (300, 400, 400):
        bento.run("--name", "w", "--network", "none", "host", "sh", "-c", QUICK)
        bento.wait_for_log("w", "ready")
        words = ("stop", "--pre-stop-host", f"ulimit -n > {said}", "w")
        done = zygote.by(*words, launcher=["prlimit", f"--nofile={count}:{count}"])
        assert done.stdout == "w\n", done
        assert said.read_text() == f"{count}\n"
        bento("rm", "w")
        assert (zygote.worker() == waiting) == (count == 300)
