"""Units by systemctl and systemd-run: what these are asked, and what their refusals become. Stand-ins play them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bento.drivers.units.base import ScopeWanted, StopWanted
from bento.drivers.units.systemd import SystemdUnits
from bento.errors import UnitsFailed

ID = "ab" * 32
SCOPE = f"bento-{ID}.scope"
RUNS = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
"""What systemd-run --scope does once it has a scope: it becomes the program."""
NO_BUS = "echo 'Failed to connect to bus: No such file or directory' >&2; exit 1"

Play = Callable[..., SystemdUnits]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Put stand-ins on PATH that log their words and then do what is given; return a driver with a short limit."""
    programs, root, booted = tmp_path / "bin", tmp_path / "cgroup", tmp_path / "booted"
    for directory in (programs, root, booted):
        directory.mkdir()
    (root / "cgroup.controllers").touch()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def put(run: str = RUNS, control: str = "exit 0", limit_s: float = 20.0) -> SystemdUnits:
        for name, script in (("systemd-run", run), ("systemctl", control)):
            text = f'#!/bin/sh\nprintf "%s\\n" "{name}" "$@" "" >> {tmp_path}/log\n{script}\n'
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        own = Path("/proc/self/cgroup").read_text().splitlines()
        (root / next(line for line in own if line.startswith("0::"))[4:]).mkdir(parents=True, exist_ok=True)
        return SystemdUnits(str(booted), str(root), limit_s)

    return put


def calls(tmp_path: Path) -> list[list[str]]:
    """What the stand-ins were asked, in order."""
    return [block.split("\n") for block in (tmp_path / "log").read_text().strip("\n").split("\n\n")]


def wanted(**more: str) -> ScopeWanted:
    return ScopeWanted(container_id=ID, slice="web.slice", description="container w (x)", properties=("TasksMax=8",))


def test_a_scope_is_held_until_it_is_closed(play: Play, tmp_path: Path) -> None:
    scope = play().make_scope(wanted())
    (asked,) = calls(tmp_path)
    assert asked[:6] == ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={SCOPE}", "--slice=web.slice"]
    assert {"--description=container w (x)", "--property=Delegate=yes", "--property=TasksMax=8"} < set(asked)
    (leaf,) = (tmp_path / "cgroup").rglob("start")
    holder = int((leaf / "cgroup.procs").read_text())
    assert Path(f"/proc/{holder}").exists()
    assert leaf == Path(f"{tmp_path}/cgroup{scope.cgroup}/start")
    scope.close()
    scope.close()
    assert not Path(f"/proc/{holder}").exists()


def test_a_scope_of_the_last_run_is_waited_for(play: Play, tmp_path: Path) -> None:
    once = f"[ -e {tmp_path}/gone ] || {{ echo 'Unit x was already loaded or has a fragment file.' >&2; exit 1; }}"
    units = play(f"{once}; {RUNS}", f"touch {tmp_path}/gone")
    units.make_scope(wanted()).close()
    assert ["systemctl", "stop", SCOPE, f"bento-stop-{ID}.service"] in calls(tmp_path)


@pytest.mark.parametrize(
    ("run", "said"),
    [(NO_BUS, "no scope: Failed to connect to bus"), ("echo 'Access denied' >&2; exit 1", "no scope: Access denied")],
)
def test_a_refusal_is_one_error_and_leaves_nothing(play: Play, tmp_path: Path, run: str, said: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(UnitsFailed, match=said) as error:
        play(run).make_scope(wanted())
    assert "\n" not in str(error.value)
    assert "--cgroup-manager cgroupfs" in error.value.hint
    assert not list((tmp_path / "cgroup").rglob("start"))
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_systemd_that_does_not_answer_is_waited_for_no_longer_than_the_limit(play: Play, tmp_path: Path) -> None:
    units = play(f"echo $$ > {tmp_path}/pid; exec sleep 100", "exec sleep 100", 0.5)
    with pytest.raises(UnitsFailed, match="systemd does not answer"):
        units.make_scope(wanted())
    # It is not left behind, if it got as far as to say what it is.
    pid = (tmp_path / "pid").read_text().strip() if (tmp_path / "pid").exists() else "0"
    assert not Path(f"/proc/{pid or 0}").exists()
    assert units.refusal().startswith("systemd does not answer: systemctl did not end within")
    assert not units.is_stopping()
    units.forget(ID)  # what is only tidied up is no error
    units.discard(ID)


def test_why_there_can_be_no_units(play: Play, tmp_path: Path) -> None:
    assert play().refusal() == ""
    assert play(control=NO_BUS).refusal().startswith("systemd does not answer: Failed to connect to bus")
    (tmp_path / "cgroup/cgroup.controllers").unlink()
    assert "need version 2 of cgroups" in play().refusal()
    (tmp_path / "booted").rmdir()
    assert play().refusal() == "systemd does not run here"


def test_the_stop_comes_before_its_scopes_and_only_while_its_mark_is_there(play: Play, tmp_path: Path) -> None:
    mark = tmp_path / 'a "$b" c'
    stop = StopWanted(
        container_id=ID, description="Stop", argv=("touch", f"{tmp_path}/o ne"), mark=str(mark), timeout_s=90.0
    )
    play("exit 0").make_stop(stop)
    (asked,) = calls(tmp_path)
    properties = dict(word.removeprefix("--property=").split("=", 1) for word in asked if "--property=" in word)
    assert properties["PartOf"] == SCOPE
    assert properties["After"] == f"{SCOPE} bento-conmon-{ID}.scope"
    assert (properties["Before"], properties["TimeoutStopSec"]) == ("bento.service", "90")
    command = properties["ExecStop"]
    assert command.startswith('/bin/sh -c "')
    script = command[len('/bin/sh -c "') : -1].replace("$$", "$").replace('\\"', '"').replace("\\\\", "\\")
    mark.rename(tmp_path / "away")
    assert os.system(script) == 0
    assert not (tmp_path / "o ne").exists()
    (tmp_path / "away").rename(mark)
    assert os.system(script) == 0
    assert (tmp_path / "o ne").exists()


def test_a_stop_that_systemd_refuses_is_an_error(play: Play, tmp_path: Path) -> None:
    stop = StopWanted(container_id=ID, description="Stop", argv=("x",), mark=str(tmp_path / "mark"), timeout_s=90.0)
    with pytest.raises(UnitsFailed, match="not taken the service that stops the container: Failed to connect"):
        play(NO_BUS).make_stop(stop)
    with pytest.raises(UnitsFailed, match=f"has not changed {SCOPE}: Failed to connect"):
        play(control=NO_BUS).set_properties(ID, ("MemoryMax=1",))


def test_a_monitor_has_a_scope_that_no_stop_of_the_container_ends(play: Play) -> None:
    words = play().monitor_words(ID, "web.slice", "Monitor of w")
    assert words[-1] == "--"
    assert f"--unit=bento-conmon-{ID}.scope" in words
    assert {"--property=KillSignal=SIGCONT", "--property=RefuseManualStop=yes"} < set(words)


def test_what_systemd_is_stopping(play: Play) -> None:
    a, b, c = "a" * 64, "b" * 64, "c" * 64
    text = "ActiveState=active\\nJob=\\n\\nActiveState=active\\nJob=17\\n\\nActiveState=deactivating\\nJob=\\n"
    assert play(control=f'printf "{text}"').being_stopped([a, b, c]) == (b, c)
    assert play(control="echo stopping; exit 1").is_stopping()
    assert not play(control="echo running").is_stopping()
