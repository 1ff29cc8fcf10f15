"""Rule S9 on real runtimes: hooks inside and on the host, their time, their failures, and their end."""

from __future__ import annotations

import time
from typing import Any

import pytest

from support import procs
from support.cli import BentoCli
from support.workload import (
    MARKER,
    ONE_RUNTIME,
    Share,
    assert_released,
    busybox_rootfs,
    ended,
    engine_processes,
    run_script,
    stop_report,
    wait_for_status,
)


def assert_gone(word: str) -> None:
    procs.wait_until(lambda: not procs.with_word(word), timeout_s=20.0, what=f"the end of everybody with {word}")


def hooks(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(hook["when"], hook["error"]) for hook in report["hooks"]]


def test_s09_hooks_run_in_order_with_the_containers_name_before_and_after(bento: BentoCli, share: Share) -> None:
    tell = 'echo "$0 $BENTO_CONTAINER_ID $BENTO_CONTAINER_NAME $BENTO_STOP_REASON" >> '
    identifier = run_script(
        bento, share, MARKER,
        "--pre-stop", f"echo first >> /s/order; {tell}/s/inside",
        "--pre-stop-sleep", "0.1",
        "--pre-stop-host", f"echo second >> {share.path}/order; test ! -e {share.path}/marker || echo late; pwd >&2",
        "--post-stop-host", f"cat {share.path}/marker >> {share.path}/order; {tell}{share.path}/host",
    )  # fmt: skip
    report = stop_report(bento, "w")
    assert share.lines("order") == ["first", "second", "done"]
    for side in ("inside", "host"):
        assert share.text(side).split()[1:] == [identifier, "w", "user"]
    assert hooks(report) == [("pre-stop", "")] * 3 + [("post-stop", "")]
    assert report["verdict"] == "graceful"
    assert report["notes"] == []
    assert_released(bento, identifier)


def test_s09_hooks_that_fail_are_reported_and_cancel_nothing(bento: BentoCli, share: Share) -> None:
    run_script(
        bento, share, MARKER,
        "--pre-stop", "echo broken >&2; exit 3", "--pre-stop-host", "kill -9 $$", "--post-stop-host", "exit 7",
    )  # fmt: skip
    report = stop_report(bento, "w")
    assert hooks(report) == [
        ("pre-stop", "exit status 3: broken"),
        ("pre-stop", "signal 9"),
        ("post-stop", "exit status 7"),
    ]
    assert share.lines("marker") == ["done"]
    assert len(report["notes"]) == 3


def test_s09_a_hook_inside_that_takes_too_long_is_ended_inside_too(bento: BentoCli, share: Share) -> None:
    """Not only the runtime's client, and with what it has started."""
    identifier = run_script(bento, share, MARKER)
    hook = "sleep 98761 & trap '' TERM HUP; sleep 98762; echo over > /s/over"
    report = stop_report(bento, "--hook-timeout", "0.5", "--pre-stop", hook, "--pre-stop", "touch /s/next", "w")
    assert hooks(report) == [("pre-stop", "took too long and was ended"), ("pre-stop", "")]
    assert share.text("over") == ""
    assert (share.path / "next").exists()
    assert share.lines("marker") == ["done"]
    assert {process["comm"] for process in report["processes"]} == {"python3"}
    assert_gone("98761")
    assert_gone("98762")
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s09_a_hook_on_the_host_that_takes_too_long_is_ended_with_its_children(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER)
    begun = time.monotonic()
    report = stop_report(bento, "-t", "3", "--pre-stop-host", "sleep 98763 & sleep 98764; wait", "w")
    assert hooks(report) == [("pre-stop", "took too long and was ended")]
    assert 0.9 < time.monotonic() - begun < 9  # of the grace of 3 s two are left for the signal
    assert share.lines("marker") == ["done"]
    assert_gone("98763")
    assert_gone("98764")


@ONE_RUNTIME
def test_s09_an_orphan_that_a_hook_leaves_on_purpose_holds_nothing_up(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER)
    begun = time.monotonic()
    report = stop_report(bento, "--pre-stop-host", "sleep 98790 & exit 0", "w")
    assert hooks(report) == [("pre-stop", "")]
    assert time.monotonic() - begun < 60
    (orphan,) = procs.with_word("98790")
    procs.kill(orphan)


@ONE_RUNTIME
@pytest.mark.parametrize("side", ["--pre-stop", "--pre-stop-host"])
def test_s09_a_hook_may_say_more_than_a_pipe_holds(bento: BentoCli, share: Share, side: str) -> None:
    run_script(bento, share, MARKER)
    report = stop_report(bento, side, "head -c 1000000 /dev/zero | tr '\\0' 'x'; printf '\\033[1mend' >&2; exit 5", "w")
    ((_, error),) = hooks(report)
    assert error == "exit status 5: ?[1mend"


def test_s09_a_hook_that_cannot_run_inside_is_reported(bento: BentoCli, leak_check: Any) -> None:
    rootfs = busybox_rootfs(leak_check.base / "fs")
    (rootfs / "bin/sh").unlink()
    bento("import", rootfs, "noshell")
    bento.run("--name", "w", "noshell", "/bin/sleep", "1000")
    report = stop_report(bento, "--start-window", "0", "--pre-stop", "true", "w")
    ((_, error),) = hooks(report)
    assert "/bin/sh" in error
    assert report["verdict"] == "default-action"


def test_s09_a_hook_that_ends_the_container_is_the_end_of_it(bento: BentoCli, share: Share) -> None:
    identifier = run_script(bento, share, MARKER)
    report = stop_report(bento, "--pre-stop", "kill -TERM 1; sleep 98765", "--pre-stop", "touch /s/never", "w")
    assert report["verdict"] == "graceful"
    assert report["exit_code"] == 0
    first, _ = (error for _, error in hooks(report))
    assert first in ("was ended: the container had ended", "exit status 137")  # whichever end is seen first
    assert share.text("never") == ""
    assert share.lines("marker") == ["done"]
    assert_released(bento, identifier)


def test_s09_s11_a_paused_container_gets_its_hooks_on_the_host_alone(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER)
    bento("pause", "w")
    host = f"touch {share.path}/host"
    report = stop_report(bento, "--paused", "thaw", "--pre-stop", "touch /s/inside", "--pre-stop-host", host, "w")
    assert hooks(report) == [("pre-stop", "left out: the container is paused"), ("pre-stop", "")]
    assert (share.path / "host").exists()
    assert not (share.path / "inside").exists()
    assert share.lines("marker") == ["done"]


@ONE_RUNTIME
def test_s05_a_shorter_stop_shortens_the_hook_and_leaves_time_for_the_signal(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER)
    with ended(bento.start("stop", "-t", "60", "--pre-stop", "touch /s/hook; sleep 98766", "w")) as first:
        share.wait_for("hook")
        begun = time.monotonic()
        bento("stop", "-t", "3", "w")
        assert time.monotonic() - begun < 30
        first.wait(timeout=60)
    assert bento.inspect("w")["Stop"]["verdict"] == "graceful"
    assert share.lines("marker") == ["done"]


@ONE_RUNTIME
def test_s05_a_kill_ends_the_hook(bento: BentoCli, share: Share) -> None:
    identifier = run_script(bento, share, MARKER)
    with ended(bento.start("stop", "-t", "60", "--pre-stop", "touch /s/hook; sleep 98767", "w")):
        share.wait_for("hook")
        bento("kill", "w")
    report = bento.inspect("w")["Stop"]
    assert report["verdict"] == "killed"
    assert hooks(report) == [("pre-stop", "was ended: the time for it was over")]
    assert_released(bento, identifier)


def test_s06_a_hook_whose_stopper_is_killed_is_ended_and_not_run_again(bento: BentoCli, share: Share) -> None:
    identifier = run_script(bento, share, MARKER)
    inside = "echo begun >> /s/hook; sleep 98768; echo over >> /s/hook"
    host = f"echo begun >> {share.path}/host; touch {share.path}/second; sleep 98769"
    with ended(bento.start("stop", "-t", "8", "--pre-stop", inside, "--pre-stop-host", host, "w")):
        share.wait_for("hook")
        for process in engine_processes(bento, "stop"):
            procs.kill(process)
    bento("ps")  # another process meets it, and its stop goes on
    share.wait_for("second")
    assert_gone("98768")
    for process in engine_processes(bento, "finish-stop"):
        procs.kill(process)
    bento("stop", "--ignore", "w")
    assert_gone("98769")
    assert share.lines("hook") == ["begun"]
    assert share.lines("host") == ["begun"]
    assert share.lines("marker") == ["done"]
    report = bento.inspect("w")["Stop"]
    assert hooks(report) == [("pre-stop", "interrupted: the process that ran it died")] * 2
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s06_a_hook_after_the_clean_up_is_not_run_again(bento: BentoCli, share: Share) -> None:
    identifier = run_script(bento, share, MARKER)
    after = f"echo begun >> {share.path}/after; sleep 98770"
    last = f"echo begun >> {share.path}/last"
    with ended(bento.start("stop", "--post-stop-host", after, "--post-stop-host", last, "w")):
        share.wait_for("after")
        for process in engine_processes(bento, "stop"):
            procs.kill(process)
    bento("stop", "--ignore", "w")
    wait_for_status(bento, "w", "stopped")
    assert share.lines("after") == ["begun"]
    assert share.lines("last") == ["begun"]
    assert_gone("98770")
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s09_nonsense_is_refused_and_nothing_is_changed(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    for words in (
        ["--pre-stop", " "], ["--pre-stop-host", ""], ["--post-stop-host", ""], ["--pre-stop-sleep", "-1"],
        ["--pre-stop-sleep", "soon"], ["--hook-timeout", "0"], ["--hook-timeout", "nan"], ["--hook-timeout", "-1"],
    ):  # fmt: skip
        bento.fails("stop", *words, "w", code=2)
        bento.fails("create", *words, "host", "true", code=2)
    assert bento.state("w")["Status"] == "running"
    assert len(bento("ps", "-a", "-q").stdout.split()) == 1
