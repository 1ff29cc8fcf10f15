"""Rule S4 with restart policies: started again after an exit that was not asked for, once, and never after a stop."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from bento.drivers.state.sqlite import SqliteStore
from bento.model.container import Container

from support import procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME, Share, assert_clean, assert_released, ended, engine_processes, wait_for_status

COUNTING = 'echo run >> /s/runs; exec sleep "$0"'
FAILING = "echo run >> /s/runs; exit 3"


def record(bento: BentoCli, name: str = "w") -> Container:
    store = SqliteStore(bento.roots.root / "bento.db")
    try:
        return store.find(name)
    finally:
        store.close()


def wait_for_runs(share: Share, count: int) -> None:
    procs.wait_until(
        lambda: len(share.lines("runs")) >= count, timeout_s=40, what=f"run {count}, after {share.lines('runs')}"
    )


def wait_for_backoff(bento: BentoCli, share: Share, runs: int = 4) -> None:
    """Return in a pause of at least 0.4 s, whose helper sleeps."""
    wait_for_runs(share, runs)
    procs.wait_until(lambda: record(bento).status.value == "restarting", what="the pause")
    exit_owner = bento.roots.run_root / "containers" / record(bento).id / "exit-owner"
    procs.wait_until(exit_owner.exists, what="the helper")


def end_main(bento: BentoCli) -> None:
    run = record(bento).run
    assert run is not None
    assert run.init is not None
    found = procs.read(run.init.pid)
    assert found is not None
    procs.kill(found)


def helpers(bento: BentoCli) -> list[procs.Process]:
    """Monitors name the verb among their arguments, too."""
    return [process for process in engine_processes(bento, "after-exit") if "conmon" not in str(process)]


def test_always_starts_it_again_and_a_stop_ends_that(bento: BentoCli, share: Share) -> None:
    identifier = bento.run(
        "--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", COUNTING, "1000"
    )
    wait_for_runs(share, 1)
    end_main(bento)
    wait_for_runs(share, 2)
    wait_for_status(bento, "w", "running")
    assert bento.inspect("w")["RestartCount"] == 1
    bento("stop", "-t", "0", "w")
    assert bento.state("w")["Status"] == "stopped"
    assert helpers(bento) == []
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s04_on_failure_counts_and_gives_up(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", "--restart", "on-failure:2", *share.flags, "host", "/bin/sh", "-c", FAILING)
    state = wait_for_status(bento, "w", "stopped")
    assert state["ExitCode"] == 3
    assert len(share.lines("runs")) == 3
    procs.wait_until(lambda: not helpers(bento), what="the last helper")


@ONE_RUNTIME
def test_s04_on_failure_leaves_a_success_alone(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", "--restart", "on-failure", *share.flags, "host", "/bin/sh", "-c", "echo run >> /s/runs")
    bento("wait", "w")
    wait_for_status(bento, "w", "stopped")
    procs.wait_until(lambda: not helpers(bento), what="the helper")
    assert len(share.lines("runs")) == 1


@ONE_RUNTIME
def test_pauses_double(bento: BentoCli, share: Share) -> None:
    bento.run(
        "--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", "date +%s.%N >> /s/runs; exit 1"
    )
    wait_for_runs(share, 5)
    times = [float(line) for line in share.lines("runs")]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert all(pause > least for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=False))
    bento("stop", "w")


def test_s04_a_stop_in_the_pause_calls_the_restart_off(bento: BentoCli, share: Share) -> None:
    identifier = bento.run("--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", FAILING)
    wait_for_backoff(bento, share)
    assert bento("stop", "w").stdout.strip() == "w"
    runs = len(share.lines("runs"))
    procs.wait_until(lambda: not helpers(bento), what="the helper")
    time.sleep(1.0)  # longer than the pause was
    assert len(share.lines("runs")) == runs
    assert bento.state("w")["Status"] == "stopped"
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s04_stop_all_reaches_those_that_wait_for_their_restart(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", FAILING)
    wait_for_backoff(bento, share)
    bento("stop", "--all")
    assert bento.state("w")["Status"] == "stopped"


@ONE_RUNTIME
def test_s04_whenever_a_stop_comes_it_is_the_last_word(bento: BentoCli, share: Share) -> None:
    """Also between the exit and the record of it, and while the next run is on its way."""
    for number in range(12):
        name = f"w{number}"
        bento.run("--name", name, "--restart", "always", "host", "/bin/sh", "-c", "exit 1")
        time.sleep(0.013 * number)
        finished = bento("stop", "--ignore", name)
        assert finished.stderr == ""
    procs.wait_until(lambda: not helpers(bento), what="the helpers")
    for number in range(12):
        assert bento.state(f"w{number}")["Status"] == "stopped"
    assert bento("ps", "-q").stdout == ""


@ONE_RUNTIME
def test_s04_a_kill_is_no_stop(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", COUNTING, "1000")
    wait_for_runs(share, 1)
    bento("kill", "w")
    wait_for_runs(share, 2)
    bento("stop", "-t", "0", "w")


@ONE_RUNTIME
def test_removed_in_the_pause_it_is_gone(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", FAILING)
    wait_for_backoff(bento, share)
    assert "restarting" in bento.fails("rm", "w")
    bento("rm", "-f", "w")
    procs.wait_until(lambda: not helpers(bento), what="the helper")
    assert_clean(bento)


@ONE_RUNTIME
def test_a_policy_that_comes_later_is_followed(bento: BentoCli, share: Share) -> None:
    """The monitor was told of no helper when the container was started."""
    bento.run("--name", "w", *share.flags, "host", "/bin/sh", "-c", COUNTING, "1000")
    wait_for_runs(share, 1)
    assert bento("update", "--restart", "always", "w").stdout == "w\n"
    end_main(bento)
    wait_for_runs(share, 2)
    wait_for_status(bento, "w", "running")
    bento("update", "--restart", "no", "w")
    end_main(bento)
    wait_for_status(bento, "w", "stopped")
    procs.wait_until(lambda: not helpers(bento), what="the helpers")
    assert len(share.lines("runs")) == 2


@ONE_RUNTIME
def test_started_in_the_pause_it_runs_once_and_counts_anew(bento: BentoCli, share: Share) -> None:
    script = "echo run >> /s/runs; test -e /s/stay && exec sleep 1000; exit 3"
    bento.run("--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", script)
    wait_for_backoff(bento, share)
    (share.path / "stay").touch()
    bento("start", "w")
    runs = len(share.lines("runs"))
    procs.wait_until(lambda: not helpers(bento), what="the helper")
    time.sleep(1.0)
    assert len(share.lines("runs")) == runs
    assert bento.state("w")["Status"] == "running"
    assert bento.inspect("w")["RestartCount"] == 0
    bento("stop", "-t", "0", "w")


@ONE_RUNTIME
def test_helper_killed_in_the_pause_is_replaced_by_the_next_command(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", FAILING)
    wait_for_backoff(bento, share)
    for process in helpers(bento):
        procs.kill(process)
    runs = len(share.lines("runs"))
    time.sleep(1.0)
    assert len(share.lines("runs")) == runs
    assert "w" in bento("ps").stdout
    wait_for_runs(share, runs + 1)
    bento("stop", "--ignore", "w")
    procs.wait_until(lambda: not helpers(bento), what="the helper")


@pytest.mark.parametrize("has_monitor", [True, False])
@ONE_RUNTIME
def test_whatever_sees_the_exit_first_one_restart_follows(bento: BentoCli, share: Share, has_monitor: bool) -> None:
    """The monitor's helper and several commands see it at once; or commands alone, when the monitor has died."""
    bento.run("--name", "w", "--restart", "always", *share.flags, "host", "/bin/sh", "-c", COUNTING, "1000")
    wait_for_runs(share, 1)
    if not has_monitor:
        monitor = procs.read(bento.inspect("w")["Monitor"]["Pid"])
        assert monitor is not None
        procs.kill(monitor)
    end_main(bento)
    watchers: list[Any] = [bento.start("ps") for _ in range(4)]
    for watcher in watchers:
        with ended(watcher):
            watcher.communicate(timeout=40)
    if not has_monitor:
        bento("ps")
    wait_for_runs(share, 2)
    wait_for_status(bento, "w", "running")
    procs.wait_until(lambda: not helpers(bento), what="the helpers")
    assert len(share.lines("runs")) == 2
    assert bento.inspect("w")["RestartCount"] == 1
    bento("stop", "-t", "0", "w")


@ONE_RUNTIME
def test_restart_that_fails_is_tried_again_as_the_policy_says(bento: BentoCli, share: Share) -> None:
    extra = share.path / "extra"
    extra.mkdir()
    bento.run(
        "--name", "w", "--restart", "on-failure:2", *share.flags, "-v", f"{extra}:/x",
        "host", "/bin/sh", "-c", COUNTING, "1000",
    )  # fmt: skip
    wait_for_runs(share, 1)
    extra.rmdir()
    end_main(bento)
    wait_for_status(bento, "w", "stopped")
    exit_ = record(bento).exit
    assert exit_ is not None
    assert "the restart failed" in exit_.note
    assert record(bento).restarts == 2


@ONE_RUNTIME
def test_nonsense_is_refused(bento: BentoCli) -> None:
    for policy in ("", "sometimes", "on-failure:", "on-failure:-1", "on-failure:x", "always:3", "no:1"):
        bento.fails("create", "--restart", policy, "host", "true", code=2)
    bento.fails("create", "--rm", "--restart", "always", "host", "true", code=2)
    bento.fails("run", "--restart", "always", "host", "true", code=125)
    assert bento("ps", "-a", "-q").stdout == ""
