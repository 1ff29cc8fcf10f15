"""A caller that ignores or blocks signals: Bento does its work all the same, and hands none of that on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.cli import BentoCli, Finished
from support.registry import free_port
from support.workload import ONE_RUNTIME, Share, assert_clean, assert_released

LAUNCH = """
import os, signal, sys
numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
for number in numbers if sys.argv[1] == "all" else (signal.SIGCHLD,):
    signal.signal(number, signal.SIG_IGN)
if sys.argv[1] == "all":
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
os.execvp(sys.argv[2], sys.argv[2:])
"""
MASKS = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
LIBRARY_OWN = 3 << 31
"""Signals 32 and 33: posix_spawn(3) of the C library ignores them in every child, for it alone uses them."""


def by(bento: BentoCli, how: str, *args: str) -> Finished:
    """Run a command of Bento's by a caller that ignores SIGCHLD, or ignores and blocks all signals; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, how, *bento.prefix, *args],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    finished = Finished(args, done.returncode, done.stdout, done.stderr, 0.0)
    assert (finished.returncode, finished.stderr) == (0, ""), str(finished)
    return finished


def assert_default(text: str) -> None:
    masks = {line.partition(":")[0]: int(line.split()[1], 16) for line in text.splitlines()}
    assert masks["SigBlk"] == 0
    assert masks["SigIgn"] & ~LIBRARY_OWN == 0


@ONE_RUNTIME
@pytest.mark.parametrize("how", ["ignore", "all"])
def test_c12_every_verb_works_whatever_signals_its_caller_ignores_or_blocks(bento: BentoCli, how: str) -> None:
    leaves = "trap 'exit 3' TERM; while :; do sleep 0.05; done"
    flags = ("-d", "--name", "w", "-p", f"{free_port()}:80")
    identifier = by(bento, how, "run", *flags, "host", "sh", "-c", leaves).stdout
    assert by(bento, how, "restart", "w").stdout == "w\n"
    assert by(bento, how, "stop", "w").stdout == "w\n"
    assert bento.state("w")["ExitCode"] == 3
    assert_released(bento, identifier.strip())
    by(bento, how, "start", "w")
    assert by(bento, how, "rm", "-f", "w").stdout == "w\n"
    assert_clean(bento)


def test_c12_no_program_inherits_what_its_caller_ignored_or_blocked(bento: BentoCli, share: Share) -> None:
    assert_default(by(bento, "all", "run", "--rm", "host", "sh", "-c", MASKS).stdout)
    hooks = ("--pre-stop", f"{MASKS} > /s/inside", "--pre-stop-host", f"{MASKS} > {share.path}/outside")
    by(bento, "all", "run", "-d", "--name", "w", *share.flags, *hooks, "host", "sh", "-c", f"{MASKS}; exec sleep 1000")
    assert_default(by(bento, "all", "exec", "w", "sh", "-c", MASKS).stdout)
    by(bento, "all", "exec", "-d", "w", "sh", "-c", f"{MASKS} > /s/detached.new; mv /s/detached.new /s/detached")
    share.wait_for("detached")
    assert_default(share.text("detached"))
    bento.wait_for_log("w", "SigIgn")
    assert_default(bento("logs", "w").stdout)
    by(bento, "all", "stop", "w")
    assert_default(share.text("inside"))
    assert_default(share.text("outside"))


def test_c12_a_program_that_uses_the_library_is_told_before_anything_is_made(tmp_path) -> None:
    program = (
        "import signal, sys\n"
        "from bento import Engine, Settings\n"
        "from bento.errors import BentoError\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "try:\n    Engine(Settings(root=sys.argv[1], run_root=sys.argv[2]))\n"
        "except BentoError as error:\n    print(type(error).__name__, error)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "root"), str(tmp_path / "run")]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("UsageError")
    assert "SIGCHLD" in said
    assert os.listdir(tmp_path) == []


def test_c12_a_hangup_that_the_caller_ignores_ends_nothing() -> None:
    """As nohup(1) wants it, where a command otherwise tidies up at SIGHUP."""
    program = (
        "import os, signal\n"
        "from bento.cli.context import end_cleanly\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "end_cleanly()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('goes on', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "goes on\n"
    assert "Ended" in done.stderr
