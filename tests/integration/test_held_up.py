"""What stands still holds no stop up: it is named, and ended where it is Bento's own (rules S5, S6)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from support import procs
from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, assert_clean, assert_released, ended

SLEEP = ("host", "sleep", "1000")
ATTEMPTS = 60


def stop_process(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    procs.wait_until(lambda: (now := procs.read(process.pid)) is None or now.state in "TZ", what="state T")


def has_store(roots: Roots) -> bool:
    """Whether some process has the store locked: that would be ended first, by another message."""
    with closing(sqlite3.connect(roots.root / "bento.db", timeout=0, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        database.execute("ROLLBACK")
    return False


def stops_with_lock(process: subprocess.Popen[str], roots: Roots, identifier: str) -> bool:
    """Stop a process by SIGSTOP as soon as it has a container's operation lock and no other; False: it ended."""
    path = roots.run_root / "locks" / f"{identifier}.op"
    while process.poll() is None:
        if not path.exists():
            continue
        stop_process(process)
        with suppress(OSError, ValueError):
            holder: dict[str, Any] = json.loads(path.read_text())
            if holder["process"]["pid"] == process.pid and not has_store(roots):
                return True
        process.send_signal(signal.SIGCONT)
    return False


@contextmanager
def hung(bento: BentoCli, roots: Roots, identifier: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that stands still with a container's operation lock."""
    for _ in range(ATTEMPTS):
        with ended(bento.start(*words)) as process:
            if stops_with_lock(process, roots, identifier):
                yield process
                return
        if words[0] == "start":
            bento("stop", "-t", "0", "w", check=False)
    raise AssertionError("it never had the lock")


@ONE_RUNTIME
@pytest.mark.parametrize("how", [("stop", "-t", "1"), ("rm", "-f"), ("kill",)], ids=lambda how: how[0])
def test_s06_a_command_that_stands_still_with_the_lock_is_ended_at_the_deadline(
    bento: BentoCli, roots: Roots, how: tuple[str, ...]
) -> None:
    identifier = bento.run("--name", "w", *SLEEP)
    with hung(bento, roots, identifier, "exec", "w", "true") as holder:
        finished = bento(*how, "w")
        assert holder.wait(timeout=30) == -signal.SIGKILL
    assert finished.seconds < 20
    assert f"process {holder.pid} (bento exec, for " in finished.stderr
    assert "was ended" in finished.stderr
    if how[0] == "rm":
        assert_clean(bento)
    else:
        assert_released(bento, identifier)


def test_s06_a_start_that_stands_still_is_ended_and_undone(bento: BentoCli, roots: Roots) -> None:
    identifier = bento("create", "--name", "w", *SLEEP).stdout.strip()
    with hung(bento, roots, identifier, "start", "w") as holder:
        assert f"process {holder.pid} (bento start, for " in bento("rm", "-f", "w").stderr
    assert_clean(bento)


HANGS = """#!/bin/sh
case " $* " in *" {verb} "*) [ ! -e {hung} ] && echo $$ >{hung}.new && mv {hung}.new {hung} && sleep 1000;; esac
exec {program} "$@"
"""


@ONE_RUNTIME
@pytest.mark.parametrize("verb", ["start", "create", "exec"])
def test_s06_a_runtime_that_hangs_is_ended_with_the_command_that_waits_for_it(
    bento: BentoCli, roots: Roots, runtime: str, tmp_path: Path, verb: str
) -> None:
    script, hung = tmp_path / "hangs", tmp_path / "hung"
    script.write_text(HANGS.format(verb=verb, hung=hung, program=shutil.which(runtime)))
    script.chmod(0o755)
    broken = BentoCli(roots, str(script))
    if verb == "exec":
        broken.run("--name", "w", *SLEEP)
        words: tuple[str, ...] = ("exec", "w", "true")
    else:
        broken("create", "--name", "w", *SLEEP)
        words = ("start", "w")
    with ended(broken.start(*words)) as holder:
        procs.wait_until(hung.exists, timeout_s=60.0, what="a runtime that hangs")
        pid = int(hung.read_text())
        procs.wait_until(lambda: procs.descendants(pid), what="what it waits for")
        family = {pid, *(process.pid for process in procs.descendants(pid))}
        stop_process(holder)
        stopped = broken("stop", "-t", "0", "w")
        assert f"process {holder.pid} (bento " in stopped.stderr
        assert "log drain" not in stopped.stderr
    procs.wait_until(lambda: not any(one.pid in family and one.is_alive for one in procs.descendants()), what="its end")
    bento("rm", "w")
    assert_clean(bento)


LIBRARY = """
import os, signal, sys
from bento import Engine, Settings
with Engine(Settings(root=sys.argv[1], run_root=sys.argv[2])) as engine:
    with engine.drivers.locks.hold(sys.argv[3], 5):
        os.kill(os.getpid(), signal.SIGSTOP)
"""


@ONE_RUNTIME
def test_s03_a_program_that_stands_still_with_the_lock_is_named_and_left_alone(bento: BentoCli, roots: Roots) -> None:
    identifier = bento.run("--name", "w", *SLEEP)
    argv = [sys.executable, "-c", LIBRARY, str(roots.root), str(roots.run_root), identifier]
    with ended(subprocess.Popen(argv, text=True)) as program:
        procs.wait_until(lambda: (now := procs.read(program.pid)) is not None and now.state == "T", what="state T")
        stop = bento.start("stop", "-t", "0", "w")
        assert stop.stderr is not None
        assert f"process {program.pid} (a program that uses Bento, for " in stop.stderr.readline()
        assert program.poll() is None
        os.kill(program.pid, signal.SIGCONT)
        assert stop.communicate(timeout=60)[0] == "w\n"
    assert_released(bento, identifier)


IN_TRANSACTION = """
import os, signal, sys
from bento import Engine, Settings
with Engine(Settings(root=sys.argv[1], run_root=sys.argv[2])) as engine:
    engine.drivers.verb = sys.argv[4]

    def change(container):
        os.kill(os.getpid(), signal.SIGSTOP)
        return container

    engine.drivers.store.modify(sys.argv[3], change)
"""


@ONE_RUNTIME
@pytest.mark.parametrize("verb", ["rename", ""], ids=["bento", "a program"])
def test_s06_a_process_that_stands_still_in_a_transaction_stops_no_other_container(
    bento: BentoCli, roots: Roots, verb: str
) -> None:
    identifier = bento("create", "--name", "other", *SLEEP).stdout.strip()
    bento.run("--name", "w", *SLEEP)
    argv = [sys.executable, "-c", IN_TRANSACTION, str(roots.root), str(roots.run_root), identifier, verb]
    with ended(subprocess.Popen(argv)) as program:
        procs.wait_until(lambda: (now := procs.read(program.pid)) is not None and now.state == "T", what="state T")
        stop = bento("stop", "-t", "0", "w", check=False)
        assert f"process {program.pid} (" in stop.stderr
        if verb:
            assert stop.returncode == 0, str(stop)
            assert program.wait(timeout=30) == -signal.SIGKILL
            assert bento.state("w")["Status"] == "stopped"
        else:  # it is not Bento's to end
            assert (stop.returncode, program.poll()) == (1, None)
