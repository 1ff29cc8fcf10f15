"""Stop rules S1 to S11 on real runtimes: what may be asked, when, how often, and what survives which end."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from bento.drivers.state.sqlite import SqliteStore
from bento.model.container import Status

from support import procs
from support.cli import BentoCli, Roots
from support.workload import (
    COUNTER,
    ONE_RUNTIME,
    PYTHON,
    Share,
    assert_released,
    busybox_rootfs,
    ended,
    engine_processes,
    masks,
    run_ignoring,
    run_script,
    stop_report,
    wait_for_status,
)


def run_counter(bento: BentoCli, share: Share, lasts_s: float, *flags: str) -> str:
    """A program that counts its SIGTERMs and ends so long after the first."""
    path = share.script("count.py", COUNTER)
    identifier = bento.run("--name", "w", *share.flags, *flags, "host", PYTHON, path, str(lasts_s))
    share.wait_for("ready")
    return identifier


# -- S1: states -----------------------------------------------------------------------------------


@ONE_RUNTIME
def test_s01_unknown_container_is_an_error_that_names_it(bento: BentoCli) -> None:
    assert "nobody" in bento.fails("stop", "nobody", code=1)


@ONE_RUNTIME
def test_s01_created_container_is_an_error_that_says_so(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "sleep", "9")
    before = bento.inspect("w")
    assert "never started" in bento.fails("stop", "w", code=1)
    assert bento.inspect("w") == before


@ONE_RUNTIME
def test_s01_ignore_takes_what_is_unknown_created_or_stopped_for_success(bento: BentoCli) -> None:
    bento("create", "--name", "made", "host", "sleep", "9")
    bento.run("--name", "over", "host", "true")
    bento("wait", "over")
    finished = bento("stop", "--ignore", "made", "over", "nobody")
    assert finished.stderr == ""


@ONE_RUNTIME
def test_s28_one_failure_does_not_stop_the_others(bento: BentoCli) -> None:
    bento.run("--name", "a", "host", "sleep", "1000")
    bento.run("--name", "b", "host", "sleep", "1000")
    finished = bento("stop", "-t", "0", "a", "nobody", "b", check=False)
    assert finished.returncode == 1
    assert sorted(finished.stdout.split()) == ["a", "b"]
    assert "nobody" in finished.stderr
    assert [bento.state(name)["Status"] for name in "ab"] == ["stopped", "stopped"]


# -- S2, S3: record and process may disagree ------------------------------------------------------


@ONE_RUNTIME
def test_s02_ps_finds_a_container_whose_process_has_gone_and_releases_it(bento: BentoCli) -> None:
    identifier = bento.run("--name", "w", "host", "/bin/sh", "-c", "exit 12")
    wait_for_status(bento, "w", "stopped")
    assert bento.state("w")["ExitCode"] == 12
    assert_released(bento, identifier)


# -- S4: intent first -----------------------------------------------------------------------------


@ONE_RUNTIME
def test_s04_record_says_stopping_with_deadline_signal_and_asker_before_the_first_signal(
    bento: BentoCli, share: Share, roots: Roots
) -> None:
    """The program itself copies the database the moment it is told."""
    copier = """
import shutil, signal, sys
from pathlib import Path
def told(number, frame):
    for file in Path("/state").glob("bento.db*"):
        shutil.copy(file, "/s")
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
    identifier = run_script(bento, share, copier, "-v", f"{roots.root}:/state:ro")
    asked = time.clock_gettime(time.CLOCK_BOOTTIME)
    bento("stop", "-t", "7", "w")

    store = SqliteStore(share.path / "bento.db")
    seen = store.get(identifier)
    store.close()
    assert seen.status is Status.STOPPING
    assert seen.stop_asked
    assert seen.intent is not None
    assert (seen.intent.request.signal, seen.intent.request.asked_by.value, seen.intent.run) == (15, "user", 1)
    assert seen.intent.deadline_boot_s is not None
    assert asked + 7 <= seen.intent.deadline_boot_s < asked + 9


@ONE_RUNTIME
def test_s04_inspect_and_ps_tell_of_the_stop_under_way(bento: BentoCli) -> None:
    run_ignoring(bento)
    bento("stop", "--no-wait", "-t", "30", "-s", "TERM", "w")
    found = bento.inspect("w")
    assert found["State"]["Status"] == "stopping"
    assert found["State"]["Running"] is True
    assert (found["Stopping"]["AskedBy"], found["Stopping"]["Signal"]) == ("user", "SIGTERM")
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert now + 20 < found["Stopping"]["DeadlineBoottime"] <= now + 30
    assert "Stopping" in bento("ps").stdout
    assert bento("ps", "-q", "--filter", "status=stopping").stdout


# -- S5: one stop per run -------------------------------------------------------------------------


@ONE_RUNTIME
def test_s05_two_stops_at_once_both_succeed_and_the_program_is_signalled_once(bento: BentoCli, share: Share) -> None:
    run_counter(bento, share, 1)
    with ended(bento.start("stop", "w")) as first:
        share.wait_for("told")
        second = bento("stop", "w")
        assert second.stdout == "w\n"
        assert first.wait(30) == 0
    assert share.lines("told") == ["15"]
    assert bento.state("w")["ExitCode"] == 0


def test_s05_ten_stops_at_once_all_succeed_and_the_program_is_signalled_once(bento: BentoCli, share: Share) -> None:
    identifier = run_counter(bento, share, 1)
    stops = [bento.start("stop", "w") for _ in range(10)]
    results = [(stop.communicate(timeout=30), stop.returncode) for stop in stops]
    assert [code for _, code in results] == [0] * 10, results
    assert all(out == "w\n" for (out, _), _ in results)
    assert share.lines("told") == ["15"]
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s05_later_caller_brings_the_deadline_nearer(bento: BentoCli) -> None:
    run_ignoring(bento)
    with ended(bento.start("stop", "-t", "60", "w")) as first:
        wait_for_status(bento, "w", "stopping")
        finished = bento("stop", "-t", "1", "w")
        assert finished.seconds < 20
        assert first.wait(30) == 0
    assert bento.inspect("w")["Stop"]["verdict"] == "killed"


@ONE_RUNTIME
def test_s05_later_caller_does_not_make_it_later_without_extend(bento: BentoCli) -> None:
    run_ignoring(bento)
    begun = time.monotonic()
    bento("stop", "--no-wait", "-t", "2", "w")
    with ended(bento.start("stop", "-t", "60", "w")) as later:
        assert later.wait(30) == 0
    assert 1.9 <= time.monotonic() - begun < 30


@ONE_RUNTIME
def test_s05_extend_makes_it_later(bento: BentoCli, share: Share) -> None:
    run_counter(bento, share, 2.5)
    bento("stop", "--no-wait", "-t", "1.5", "w")
    bento("stop", "--extend", "-t", "20", "w")
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"
    assert share.lines("told") == ["15"]


@ONE_RUNTIME
def test_s05_kill_joins_and_means_now(bento: BentoCli) -> None:
    identifier = run_ignoring(bento)
    with ended(bento.start("stop", "-t", "60", "w")) as first:
        wait_for_status(bento, "w", "stopping")
        assert bento("kill", "w").seconds < 20
        assert first.wait(30) == 0
    assert bento.state("w")["ExitCode"] == 137
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s05_the_container_is_not_locked_while_a_stop_waits(bento: BentoCli) -> None:
    run_ignoring(bento)
    bento("stop", "--no-wait", "-t", "60", "w")
    assert bento("rename", "w", "w2").seconds < 20
    assert bento("logs", "w2").stdout == "ready\n"
    assert bento("kill", "-s", "USR2", "w2").seconds < 20


# -- S6: a stop survives its stopper --------------------------------------------------------------


@ONE_RUNTIME
def test_s06_worker_killed_too_the_next_ps_finishes_with_the_remaining_time(bento: BentoCli, share: Share) -> None:
    script = f"trap '' TERM; touch /s/ready; exec {PYTHON} -c 'import time; time.sleep(1000)'"
    identifier = bento.run("--name", "w", *share.flags, "host", "/bin/sh", "-c", script)
    share.wait_for("ready")
    begun = time.monotonic()
    with ended(bento.start("stop", "-t", "8", "w")):
        wait_for_status(bento, "w", "stopping")
        for process in engine_processes(bento, "stop"):
            procs.kill(process)
    procs.wait_until(lambda: time.monotonic() > begun + 6, what="a part of the grace")
    assert "Stopping" in bento("ps").stdout
    wait_for_status(bento, "w", "stopped")
    assert 8.0 <= time.monotonic() - begun < 13.5  # a fresh grace would end after 14 s
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s06_worker_killed_too_the_next_stop_finishes_and_no_process_is_signalled_twice(
    bento: BentoCli, share: Share
) -> None:
    run_counter(bento, share, 1.5)
    with ended(bento.start("stop", "w")):
        share.wait_for("told")
        for process in engine_processes(bento, "stop"):
            procs.kill(process)
    assert bento("stop", "w").stdout == "w\n"
    assert share.lines("told") == ["15"]
    report = bento.inspect("w")["Stop"]
    assert (report["verdict"], report["exit_code"]) == ("graceful", 0)


def test_s06_worker_killed_and_program_gone_meanwhile_is_cleaned_up_by_the_next_command(
    bento: BentoCli, share: Share
) -> None:
    identifier = run_counter(bento, share, 0.5)
    with ended(bento.start("stop", "w")):
        share.wait_for("told")
        for process in engine_processes(bento, "stop"):
            procs.kill(process)
    bento("wait", "w")
    assert_released(bento, identifier)
    assert bento.state("w")["ExitCode"] == 0


@ONE_RUNTIME
def test_s06_control_c_once_leaves_the_stop_going_and_says_so(bento: BentoCli, share: Share) -> None:
    run_counter(bento, share, 2)
    with ended(bento.start("stop", "w", start_new_session=True)) as stopper:
        share.wait_for("told")
        os.killpg(stopper.pid, signal.SIGINT)
        _, said = stopper.communicate(timeout=40)
        assert stopper.returncode == 130
    assert "goes on" in said
    assert "bento wait w" in said
    assert len(said.splitlines()) == 1
    assert bento.state("w")["Status"] == "stopping"
    assert bento("wait", "w").stdout == "0\n"
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"


@ONE_RUNTIME
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_s06_ending_the_command_line_neither_aborts_nor_hurries(bento: BentoCli, share: Share, number: int) -> None:
    run_counter(bento, share, 1.5)
    with ended(bento.start("stop", "w", start_new_session=True)) as stopper:
        share.wait_for("told")
        os.killpg(stopper.pid, number)
    assert bento("wait", "w").stdout == "0\n"
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"


@ONE_RUNTIME
def test_s06_no_wait_asks_and_returns_at_once(bento: BentoCli, share: Share) -> None:
    run_counter(bento, share, 1.5)
    finished = bento("stop", "--no-wait", "w")
    assert finished.stdout == "w\n"
    assert bento.state("w")["Status"] == "stopping"
    assert bento("wait", "w").stdout == "0\n"
    assert share.lines("told") == ["15"]


# -- S7: the grace --------------------------------------------------------------------------------


@ONE_RUNTIME
def test_s07_fractions_of_seconds_are_meant(bento: BentoCli) -> None:
    run_ignoring(bento)
    report = stop_report(bento, "-t", "0.5", "w")
    assert report["grace_s"] == 0.5
    assert 0.5 <= report["duration_s"] < 20


@ONE_RUNTIME
def test_s07_zero_kills_now(bento: BentoCli, share: Share) -> None:
    identifier = run_counter(bento, share, 60)
    report = stop_report(bento, "-t", "0", "w")
    assert (report["verdict"], report["exit_code"], report["signalled"]) == ("killed", 137, [])
    assert report["duration_s"] < 20
    assert share.lines("told") == []
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s07_minus_one_never_kills(bento: BentoCli, share: Share) -> None:
    run_counter(bento, share, 2)
    bento("stop", "--no-wait", "-t", "-1", "w")
    assert bento.inspect("w")["Stopping"]["DeadlineBoottime"] is None
    bento("wait", "w")
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"


@ONE_RUNTIME
def test_s07_containers_own_stop_timeout_holds_unless_the_call_says_otherwise(bento: BentoCli) -> None:
    bento.run(
        "--name", "w", "--stop-timeout", "0.6", "host", "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 99"
    )
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "w")
    assert report["grace_s"] == 0.6
    bento("start", "w")
    assert stop_report(bento, "-t", "0.2", "w")["grace_s"] == 0.2


# -- S8: the signal -------------------------------------------------------------------------------

SIGNAL_WRITER = """
import signal, sys
def told(number, frame):
    with open("/s/told", "a") as file:
        file.write(f"{number}\\n")
    sys.exit(0)
for number in range(1, 65):
    if number not in (9, 17, 19, 32, 33):
        signal.signal(number, told)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""


@ONE_RUNTIME
@pytest.mark.parametrize(
    ("word", "number"), [("INT", 2), ("SIGHUP", 1), ("sigusr1", 10), ("12", 12), ("RTMIN+3", 37), ("SIGRTMAX", 64)]
)
def test_s08_signal_by_name_number_or_real_time_offset(bento: BentoCli, share: Share, word: str, number: int) -> None:
    run_script(bento, share, SIGNAL_WRITER)
    report = stop_report(bento, "-s", word, "w")
    assert share.lines("told") == [str(number)]
    assert report["verdict"] == "graceful"


@ONE_RUNTIME
def test_s08_containers_own_stop_signal(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, SIGNAL_WRITER, "--stop-signal", "USR2")
    assert bento.inspect("w")["Config"]["StopSignal"] == "SIGUSR2"
    assert stop_report(bento, "w")["signal"] == "SIGUSR2"
    assert share.lines("told") == ["12"]


@ONE_RUNTIME
def test_s08_images_stop_signal(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", "--change", "STOPSIGNAL SIGQUIT", busybox_rootfs(tmp_path / "fs"), "bb")
    script = "trap 'echo quit; exit 7' QUIT; echo ready; while :; do sleep 0.05; done"
    bento.run("--name", "w", "bb", "/bin/sh", "-c", script)
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "w")
    assert (report["signal"], report["exit_code"], report["verdict"]) == ("SIGQUIT", 7, "graceful")
    assert bento("logs", "w").stdout == "ready\nquit\n"


@ONE_RUNTIME
@pytest.mark.parametrize("word", ["0", "65", "32", "NOPE", "RTMIN+40", "-1", ""])
def test_s08_bad_signal_is_a_usage_error_and_nothing_happens(bento: BentoCli, word: str) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    assert "signal" in bento.fails("stop", f"--signal={word}", "w", code=2)
    assert bento.state("w")["Status"] == "running"


# -- S11: paused ----------------------------------------------------------------------------------


def is_frozen(bento: BentoCli, name: str) -> bool:
    """Ask the kernel, not Bento."""
    for directory in bento.inspect(name)["Cgroups"].values():
        state = Path(directory) / "freezer.state"
        if state.exists():
            return state.read_text().strip() != "THAWED"
    return False


def test_s11_paused_is_refused_with_the_ways_out_and_stays_paused(bento: BentoCli, share: Share) -> None:
    run_counter(bento, share, 0)
    bento("pause", "w")
    assert is_frozen(bento, "w")
    said = bento.fails("stop", "w", code=1)
    assert "paused" in said
    assert "--paused thaw" in said
    assert "--paused kill" in said
    found = bento.inspect("w")
    assert (found["State"]["Status"], found["State"]["Paused"], found["Stop"]) == ("paused", True, None)
    assert is_frozen(bento, "w")
    bento("unpause", "w")
    assert not is_frozen(bento, "w")
    assert share.lines("told") == []
    assert stop_report(bento, "w")["verdict"] == "graceful"


def test_s11_thaw_wakes_it_up_into_its_shutdown(bento: BentoCli, share: Share) -> None:
    identifier = run_counter(bento, share, 0.3)
    bento("pause", "w")
    report = stop_report(bento, "--paused", "thaw", "w")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 0)
    assert share.lines("told") == ["15"]
    assert_released(bento, identifier)


@pytest.mark.parametrize("words", [("--paused", "kill"), ("-t", "0"), ("--force",), ("-s", "KILL", "-t", "60")])
def test_s11_kill_of_a_paused_container(bento: BentoCli, share: Share, words: tuple[str, ...]) -> None:
    identifier = run_counter(bento, share, 60)
    bento("pause", "w")
    report = stop_report(bento, *words, "w")
    assert (report["verdict"], report["exit_code"]) == ("killed", 137)
    assert report["duration_s"] < 20
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s07_force_kills_at_once(bento: BentoCli) -> None:
    for verb in ("stop", "restart"):
        for grace in ("5", "-1", "0.5"):
            assert "--force" in bento.fails(verb, "--force", "-t", grace, "w", code=2)
    run_ignoring(bento)
    bento("pause", "w")
    bento("restart", "--force", "w")
    assert bento.inspect("w")["Stop"]["verdict"] == "killed"
    bento.wait_for_log("w", "ready")
    finished = bento("stop", "--force", "-t", "0", "-v", "w")
    assert "killed: a kill was asked for" in finished.stderr
    assert finished.seconds < 20


@ONE_RUNTIME
def test_s08_kill_as_the_stop_signal_is_said_to_be_bentos_own_also_with_an_init(bento: BentoCli, share: Share) -> None:
    script = share.script("count.py", COUNTER)
    bento.run("--name", "w", "--init", *share.flags, "host", PYTHON, script, "60")
    share.wait_for("ready")
    report = stop_report(bento, "-s", "KILL", "w")
    assert (report["verdict"], report["exit_code"]) == ("killed", 137)
    assert "Bento killed it" in report["cause"]
    assert report["duration_s"] < 9


@ONE_RUNTIME
def test_s05_a_join_with_kill_ends_it_now_and_another_signal_is_said_to_be_left_out(bento: BentoCli) -> None:
    run_ignoring(bento)
    bento("stop", "--no-wait", "-t", "60", "w")
    finished = bento("stop", "--no-wait", "-s", "INT", "w")
    assert "under way already, by SIGTERM: SIGINT is not sent" in finished.stderr
    finished = bento("stop", "-s", "KILL", "w")
    assert (finished.stderr, finished.seconds < 9) == ("", True)
    assert bento.inspect("w")["Stop"]["cause"] == "a kill was asked for"


@ONE_RUNTIME
def test_s11_pid_1_stopped_by_sigstop_is_continued_after_the_stop_signal(bento: BentoCli, share: Share) -> None:
    run_counter(bento, share, 0)
    pid = bento.state("w")["Pid"]
    bento("kill", "-s", "STOP", "w")
    procs.wait_until(lambda: masks(pid)["State"].startswith("T"), what="state T")
    report = stop_report(bento, "-t", "5", "w")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 0)


# -- what is printed ------------------------------------------------------------------------------


@ONE_RUNTIME
def test_s23_stop_prints_names_for_programs_and_reports_as_json_when_asked(bento: BentoCli, share: Share) -> None:
    run_counter(bento, share, 0)
    finished = bento("stop", "--format", "json", "w")
    reports = json.loads(finished.stdout)
    assert [result["report"]["verdict"] for result in reports] == ["graceful"]
    identifier = bento.inspect("w")["Id"]
    assert [(one["id"], one["report"]["id"], one["report"]["name"]) for one in reports] == [(identifier,) * 2 + ("w",)]
    assert bento.inspect("w")["Stop"]["id"] == identifier
    assert finished.stderr == ""
