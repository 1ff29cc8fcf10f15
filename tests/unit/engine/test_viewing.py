"""What an observer that wants to see processes is shown of a stop (rule S26), and that no other one pays for it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from bento import clock
from bento.cli.output.watch import block, shared
from bento.engine.base.worker import Message
from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.model.stop import StopView, ViewedProcess
from bento.pages.text import columns
from bento.stop.process import Disposition
from bento.stop.viewing import PROCESSES_MAX
from bento.testing.processes import LISTENS, WAITS

from support.observed import Observed


class Viewing(Observed):
    """Keeps the views. ``on_view``: what a test does when it has seen one, so that no time is of account."""

    wants_views = True

    def __init__(self, on_view: Callable[[StopView], object] | None = None) -> None:
        super().__init__()
        self.views: list[StopView] = []
        self._on_view = on_view

    def view(self, view: StopView) -> None:
        self.views.append(view)
        if self._on_view is not None:
            self._on_view(view)


def test_s26_processes_are_shown_with_what_each_was_told_and_for_which_the_stop_waits(drivers):
    shell = drivers.processes.add("sh", Disposition.DROPPED)
    server = drivers.processes.add("server", under=shell)
    shell.evidence, server.evidence = WAITS, LISTENS
    drivers.add("web", shell)
    server.on_signal = lambda number: None
    waits = f"for server ({server.identity.pid}): PID 1 does not receive the signal, and waits for it"
    observer = Viewing(lambda view: server.end(0) if view.waits == waits else None)
    stop_containers(drivers, ["web"], StopOptions(grace_s=60.0), observer)
    view = next(view for view in observer.views if view.waits == waits)
    first, second = view.processes
    assert (view.name, view.phase, view.signal) == ("web", "grace", "SIGTERM")
    assert (first.receives, first.told, first.is_held) == ("dropped", "", True)
    assert (second.ppid, second.receives, second.told) == (first.pid, "handled", "SIGTERM")
    assert view.until_s is not None
    assert any(process.does for each in observer.views for process in each.processes)


def test_s26_views_come_at_most_ten_times_a_second(drivers):
    _, main = drivers.server()
    for _ in range(40):
        child = drivers.processes.add("worker", under=main)
        child.on_signal = lambda number: None
    main.on_signal = lambda number: None
    observer = Viewing()
    began_s = clock.mono_s()
    stop_containers(drivers, ["web"], StopOptions(grace_s=0.6), observer)
    assert 2 <= len(observer.views) <= (clock.mono_s() - began_s) / 0.1 + 1


def test_s26_of_very_many_processes_the_first_are_shown(drivers):
    _, main = drivers.server(code=0)
    for _ in range(PROCESSES_MAX + 5):
        drivers.processes.add("worker", under=main)
    observer = Viewing()
    stop_containers(drivers, ["web"], StopOptions(), observer)
    view = max(observer.views, key=lambda view: view.more)
    assert (len(view.processes), view.more) == (PROCESSES_MAX, 6)


def test_s00_a_stop_that_is_not_watched_loads_nothing_for_it(drivers, monkeypatch):
    monkeypatch.delitem(sys.modules, "bento.stop.viewing")
    drivers.server(code=0)
    stop_containers(drivers, ["web"], StopOptions(), Observed())
    assert "bento.stop.viewing" not in sys.modules


def view(**fields) -> StopView:
    processes = (
        ViewedProcess(pid=1, ppid=0, comm="sh", receives="dropped", does="waits for a child", is_held=True),
        ViewedProcess(
            pid=20, ppid=1, comm="漢字\x1b[2J" * 9, receives="handled", told="SIGTERM", told_s=clock.mono_s()
        ),
        ViewedProcess(pid=21, ppid=1, comm="gone", receives="default", has_ended=True),
    )
    return StopView(name="web", phase="grace", signal="SIGTERM", waits="for it", processes=processes, **fields)


@pytest.mark.parametrize("width", [40, 60, 100])
def test_s26_a_narrow_terminal_gets_the_names_and_the_masks(width):
    lines = block(Message(kind="phase", name="web", phase="grace"), view(), width)
    assert all(text.isprintable() for text in lines)
    assert all(columns(line) < width for line in lines[2:])
    text = "\n".join(lines)
    assert "dropped" in text
    assert ("SIGTERM, 0 s ago" in text) is (width >= 48)
    assert ("is held" in text) is (width >= 72)


def test_s26_what_has_ended_is_the_last_of_its_block():
    assert "gone" in block(Message(kind="phase", name="web", phase="grace"), view(), 100)[-1]


@pytest.mark.parametrize("most", range(1, 14))
def test_s26_blocks_share_the_rows(most):
    blocks = [[f"{name}{number}" for number in range(5)] for name in "abc"]
    lines = shared(blocks, most)
    assert len(lines) <= most
    assert lines[0] == "a0" or most == 1
    if most >= 6:
        assert {"a0", "b0", "c0"} <= set(lines)
        assert sum("more lines" in line for line in lines) >= 1
