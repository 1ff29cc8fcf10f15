"""Rules S2 and S20: a record that does not know its processes. They are found again, or ended by what is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.drivers.state.sqlite import SqliteStore
from bento.model.container import Container, Status

from support import leaks, procs
from support.cli import BentoCli, Roots
from support.workload import MARKER, ONE_RUNTIME, Share, assert_clean, assert_released, run_script, stop_report


def forget(roots: Roots, identifier: str, change: Callable[[Container], Container]) -> None:
    store = SqliteStore(roots.root / "bento.db")
    store.modify(identifier, change)
    store.close()


def without(**fields: object) -> Callable[[Container], Container]:
    """Take fields of the run away."""

    def change(container: Container) -> Container:
        assert container.run is not None
        return replace(container, run=replace(container.run, **fields))

    return change


def another_time(container: Container) -> Container:
    assert container.run is not None
    assert container.run.init is not None
    init = replace(container.run.init, start_ticks=container.run.init.start_ticks + 1)
    return replace(container, run=replace(container.run, init=init))


LOST = {
    "init": without(init=None),
    "all": without(init=None, monitor=None, cgroups={}),
    "run": lambda container: replace(container, run=None),
    "start time": another_time,
}


def pid_files(roots: Roots, identifier: str) -> list[Path]:
    found = [roots.run_root / "containers" / identifier / name for name in ("pidfile", "conmon.pid")]
    assert all(path.exists() for path in found)
    return found


@pytest.mark.parametrize("files", [True, False], ids=["pid files", "cgroup alone"])
@pytest.mark.parametrize("lost", LOST)
def test_s20_what_the_record_has_lost_is_found_again_and_stopped_gracefully(
    bento: BentoCli, roots: Roots, share: Share, lost: str, files: bool
) -> None:
    identifier = run_script(bento, share, MARKER)
    forget(roots, identifier, LOST[lost])
    for path in pid_files(roots, identifier) if not files else ():
        path.unlink()
    report = stop_report(bento, "w")
    assert (report["verdict"], share.lines("marker")) == ("graceful", ["done"])
    assert report["exit_code"] == 0
    assert report["duration_s"] < 9
    assert_released(bento, identifier)


@ONE_RUNTIME
@pytest.mark.parametrize("lost", LOST)
def test_s02_a_look_puts_the_record_right_and_ends_no_process(
    bento: BentoCli, roots: Roots, share: Share, lost: str
) -> None:
    identifier = run_script(bento, share, MARKER)
    before = bento.state("w")
    forget(roots, identifier, LOST[lost])
    listed = bento("ps", "--format", "{{.Names}} {{.State}}")
    assert listed.stdout == "w running\n"
    assert "did not know its processes" in listed.stderr
    assert bento.state("w")["Pid"] == before["Pid"]
    assert bento("ps", "-q").stderr == ""
    assert share.lines("marker") == []


@ONE_RUNTIME
@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("status", [Status.RUNNING, Status.STOPPING])
def test_s20_it_is_removed_by_force(bento: BentoCli, roots: Roots, share: Share, lost: str, status: Status) -> None:
    identifier = run_script(bento, share, MARKER)
    forget(roots, identifier, LOST[lost])
    forget(roots, identifier, lambda container: replace(container, status=status))
    finished = bento("rm", "-f", "w")
    assert finished.seconds < 10, str(finished)
    assert_clean(bento)
    assert [path for path in leaks.bento_cgroups() if identifier in path] == []


@ONE_RUNTIME
def test_s20_one_that_only_the_runtime_knows_is_not_taken_for_ended(
    bento: BentoCli, roots: Roots, share: Share
) -> None:
    """It was moved out of its cgroups, too."""
    identifier = run_script(bento, share, MARKER)
    pid = bento.state("w")["Pid"]
    for directory in leaks.bento_cgroups():
        if identifier in directory:
            (Path(directory).parent / "cgroup.procs").write_text(str(pid))
    forget(roots, identifier, without(init=None, cgroups={}))
    pid_files(roots, identifier)[0].unlink()
    assert bento("ps", "-q").stdout != ""
    assert share.lines("marker") == []
    assert os.path.exists(f"/proc/{pid}")
    report = stop_report(bento, "--force", "w")
    assert report["verdict"] == "killed"
    assert report["exit_code"] == 137
    assert report["duration_s"] < 20
    procs.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what="its end")
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s20_a_record_of_one_that_has_ended_is_settled(bento: BentoCli, roots: Roots) -> None:
    identifier = bento.run("--name", "w", "host", "sleep", "1000")
    pid = bento.state("w")["Pid"]
    forget(roots, identifier, without(init=None, cgroups={}))
    found = procs.read(pid)
    assert found is not None
    procs.kill(found)
    finished = bento("rm", "-f", "w")
    assert finished.seconds < 10
    assert_clean(bento)
