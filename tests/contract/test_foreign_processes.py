"""NamespaceDriver on real PID namespaces, which nothing of Bento's has made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bento.drivers.processes.foreign import ForeignProcesses
from bento.model.container import Run

from support import leaks, procs

SHELL = "sleep 1000 & unshare -pf --kill-child sleep 2000 & wait"


class Namespace:
    """A PID namespace whose PID 1 is a shell: a child sleeps, another is PID 1 of a nested one."""

    def __init__(self, stack: ExitStack) -> None:
        self._outer = subprocess.Popen(["unshare", "-pf", "--kill-child", "sh", "-c", SHELL], stdin=subprocess.DEVNULL)
        stack.callback(self._end)
        procs.wait_until(lambda: len(procs.descendants(self._outer.pid)) >= 4, what="all have begun")
        by_comm = {process.comm: process for process in procs.descendants(self._outer.pid)}
        self.main = by_comm["sh"].pid
        self.nested = next(p.pid for p in procs.descendants(self._outer.pid) if procs.cmdline(p.pid) == "sleep 2000")
        self.pids = {process.pid for process in procs.descendants(self._outer.pid)}

    def _end(self) -> None:
        self._outer.kill()
        self._outer.wait()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with ExitStack() as stack:
        yield Namespace(stack)


def run_of(driver: ForeignProcesses, namespace: Namespace, **more) -> Run:
    return Run(number=1, runtime="", init=driver.identify(namespace.main), **more)


def test_where_a_process_is(namespace: Namespace) -> None:
    driver = ForeignProcesses()
    found = driver.situate(namespace.main)
    assert found.process is not None
    assert (found.process.pid, found.first, found.is_outside) == (namespace.main, namespace.main, False)
    assert (found.own_id, found.nested_ids) == ("", ())
    inside = next(pid for pid in namespace.pids if procs.cmdline(pid) == "sleep 1000")
    assert driver.situate(inside).first == namespace.main
    assert driver.situate(namespace.nested).first == namespace.nested
    for pid in (1, os.getpid()):
        assert driver.situate(pid).is_outside
    assert driver.situate(4_000_000).process is None


def test_a_look_shows_all_that_is_in_it_and_below_and_what_came_in(namespace: Namespace) -> None:
    driver = ForeignProcesses()
    run = run_of(driver, namespace)
    seen = driver.look(run, 15)
    assert {process.pid for process in seen} == namespace.pids
    assert [process.pid for process in seen if process.is_main] == [namespace.main]
    assert not any(process.is_entered for process in seen)
    assert {one.pid for one in driver.examine(run, seen) if one.evidence is not None} == namespace.pids
    with subprocess.Popen(["nsenter", "-t", str(namespace.main), "-p", "sleep", "3000"]) as session:
        procs.wait_until(lambda: procs.descendants(session.pid), what="it has begun")
        [entered] = procs.descendants(session.pid)
        seen = driver.look(run, 15)
        assert [process.pid for process in seen if process.is_entered] == [entered.pid]
        procs.kill(entered)
        session.wait()


def test_what_it_shares_its_cgroup_with_is_never_killed_with_it(namespace: Namespace) -> None:
    """It is where this test is: so no cgroup is its own, and the end of PID 1 is all there is to do."""
    driver = ForeignProcesses()
    assert driver.situate(namespace.main).cgroups == {}
    run = run_of(driver, namespace)
    assert not driver.is_empty(run)
    assert not driver.is_frozen(run)
    driver.kill_all(run)
    procs.wait_until(lambda: driver.is_empty(run), what="it has ended")
    assert os.getpid() in {process.pid for process in procs.all_processes()}


def test_a_cgroup_of_its_own_is_known_unless_a_stranger_is_in_it(
    namespace: Namespace, leak_check: leaks.LeakWatch
) -> None:
    driver = ForeignProcesses()
    unified = f"{leaks.CGROUP_ROOT}/unified"
    directory = f"{unified if os.path.isdir(unified) else leaks.CGROUP_ROOT}/foreign-{os.getpid()}"
    os.mkdir(directory)
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        for pid in namespace.pids:
            move(pid, directory)
        assert driver.situate(namespace.main).cgroups == {"": directory}
        move(stranger.pid, directory)
        assert driver.situate(namespace.main).cgroups == {}
    finally:
        stranger.kill()
        stranger.wait()
        driver.kill_all(run_of(driver, namespace))
        procs.wait_until(lambda: not remaining(directory), what="all have ended")
        os.rmdir(directory)


def move(pid: int, directory: str) -> None:
    with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(pid))


def remaining(directory: str) -> str:
    with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
        return file.read()
