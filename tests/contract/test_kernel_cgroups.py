"""Freezing, killing and removing real cgroups, in each version this host has."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bento import command
from bento.kernel import cgroup

LIMIT_S = 20.0
FORK_LOOP = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.001)
"""


def _host_directory(controller: str) -> Path:
    if controller:
        return Path("/sys/fs/cgroup") / controller
    return Path("/sys/fs/cgroup" if cgroup.mode() == "v2" else "/sys/fs/cgroup/unified")


@pytest.fixture(params=["v2", "v1", "v1 without pids", "hybrid"])
def groups(request: pytest.FixtureRequest) -> Iterator[cgroup.Cgroups]:
    """A cgroup of the test's own, as if a container's. On version 1 "pids" always bounds the fork loop."""
    wanted = {"v2": [""], "v1": ["freezer", "pids"], "v1 without pids": ["freezer"], "hybrid": ["", "freezer", "pids"]}
    controllers = wanted[request.param]
    name = f"bento-test-{os.getpid()}-{os.urandom(6).hex()}"
    created = {controller: _host_directory(controller) / name for controller in {*controllers, "pids"}}
    for controller in list(created):
        usable = controller == "" or cgroup.mode() != "v2"
        if not usable or not created[controller].parent.joinpath("cgroup.procs").exists():
            created.pop(controller)
    if not created.keys() >= set(controllers):
        pytest.skip("kernel: this host does not have these hierarchies")
    for path in created.values():
        path.mkdir()
        limit = path / "pids.max"
        if limit.exists():
            limit.write_text("40")
    everything = cgroup.Cgroups({controller: str(path) for controller, path in created.items()})
    yield cgroup.Cgroups({controller: everything.paths[controller] for controller in controllers})
    _kill_all(everything)
    assert everything.remove() == []


def _kill_all(groups: cgroup.Cgroups) -> list[int]:
    deadline = time.monotonic() + LIMIT_S
    rounds = [groups.kill()]
    while rounds[-1] and time.monotonic() < deadline:
        time.sleep(0.002)
        rounds.append(groups.kill())
    return rounds


def _join_then(groups: cgroup.Cgroups, program: str) -> list[str]:
    """Return the arguments of a program that moves itself into the cgroups, and those they go with."""
    name = Path(next(iter(groups.paths.values()))).name
    places = [str(_host_directory(c) / name / "cgroup.procs") for c in ("", "freezer", "pids")]
    moves = "".join(f"os.path.exists({place!r}) and open({place!r}, 'w').write('0')\n" for place in places)
    return [sys.executable, "-c", f"import os\n{moves}{program}"]


def _joined(path: str) -> list[str]:
    return Path(path, "cgroup.procs").read_text().split()


@pytest.fixture
def start(groups: cgroup.Cgroups) -> Iterator[Callable[[str], command.Child]]:
    children: list[command.Child] = []

    def begin(program: str) -> command.Child:
        children.append(command.spawn(_join_then(groups, program)))
        deadline = time.monotonic() + LIMIT_S
        while not all(str(children[-1].pid) in _joined(path) for path in groups.paths.values()):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return children[-1]

    yield begin
    for child in children:
        groups.thaw()
        child.kill()


def test_a_process_tells_its_own_cgroups(groups, start):
    child = start("import time; time.sleep(600)")
    found = cgroup.Cgroups.of_process(child.pid).paths
    assert found.items() >= groups.paths.items()
    assert not {path for path in found.values() if Path(path).name != Path(next(iter(groups.paths.values()))).name}


def test_s18_a_fork_loop_is_killed_whole(groups, start):
    loop = start(FORK_LOOP)
    if (Path(groups.paths.get("", "/nowhere")) / "pids.max").exists() or "freezer" in groups.paths:
        deadline = time.monotonic() + LIMIT_S
        while len(groups.pids()) < 10:
            assert time.monotonic() < deadline
            time.sleep(0.002)
    rounds = _kill_all(groups)
    assert rounds[-1] == 0
    assert len(rounds) < 20
    assert groups.pids() == []
    assert not groups.is_frozen()
    assert loop.finish(LIMIT_S).returncode == -9


def test_s11_frozen_shows_and_thaws(groups, start):
    start("import time; time.sleep(600)")
    assert not groups.is_frozen()
    groups.freeze()
    groups.freeze()
    assert groups.is_frozen()
    groups.thaw()
    groups.thaw()
    assert not groups.is_frozen()


def test_s18_the_frozen_are_killed_also_below(groups, start):
    """Version 1 delivers no SIGKILL to a frozen process: not until it is thawed."""
    child = start("import time; time.sleep(600)")
    kind = "freezer" if "freezer" in groups.paths else ""
    nested = Path(groups.paths[kind]) / "nested"
    nested.mkdir()
    (nested / "cgroup.procs").write_text(str(child.pid))
    name, word = ("freezer.state", "FROZEN") if kind else ("cgroup.freeze", "1")
    (nested / name).write_text(word)
    groups.freeze()
    assert _kill_all(groups)[0] == 1
    assert child.finish(LIMIT_S).returncode == -9
    assert groups.remove() == []
    assert not nested.exists()


def test_busy_cgroups_are_named_and_kept(groups, start):
    start("import time; time.sleep(600)")
    assert groups.remove() == sorted(groups.paths.values())
    assert groups.exists()
    _kill_all(groups)
    assert groups.remove() == []
    assert not groups.exists()
    assert groups.remove() == []


def test_nothing_was_killed_for_memory(groups):
    assert groups.oom_kills() is None, "none of these counts it: no memory controller is among them"
