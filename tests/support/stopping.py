"""A stop on fake drivers, and its report."""

from __future__ import annotations

import threading

from bento.engine.stop.request import StopOptions
from bento.engine.stop.stop import stop_containers
from bento.model.stop import StopReport
from bento.testing.drivers import FakeDrivers

from support.observed import Observed


def stop(drivers: FakeDrivers, ref: str = "web", options: StopOptions | None = None):
    return stop_containers(drivers, [ref], options or StopOptions())[0]


def report_of(drivers: FakeDrivers, name: str = "web") -> StopReport:
    report = drivers.store.find(name).report
    assert report is not None
    return report


def stop_in_thread(
    drivers: FakeDrivers, options: StopOptions, outcomes: list
) -> tuple[threading.Thread, threading.Event]:
    """Return the thread, which adds to ``outcomes``, and what is set once the stop has begun."""
    begun = threading.Event()

    def drive() -> None:
        outcomes.extend(stop_containers(drivers, ["web"], options, Observed(on_begun=lambda _: begun.set())))

    thread = threading.Thread(target=drive)
    thread.start()
    return thread, begun
