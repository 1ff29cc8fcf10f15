"""A plugin for several runs of pytest side by side on one list of tests: each takes the next one as soon as it is free.

Most tests wait for something, and nothing that is divided beforehand keeps all busy to the end. tools/test starts the
runs, each with a reaper and roots of its own, and starts one again that a test has ended: the others, and what is left
of the list, have no part in it.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--turns", metavar="DIR", type=Path, required=True, help="what the runs share")
    parser.addoption("--turns-as", metavar="NAME", required=True, help="this run's name among them")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if session.config.option.collectonly or session.testsfailed:
        return None  # pytest's own loop says what is wrong
    turns = Turns(session.config.getoption("--turns"), session.config.getoption("--turns-as"), session.items)
    turns.check()
    session.config.pluginmanager.register(turns)
    try:
        for item, following in turns.take():
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    finally:
        turns.mine.unlink(missing_ok=True)
        turns.failed.unlink(missing_ok=True)
    return True


class Turns:
    """One run's view of the list.

    Files in ``place``: ``next`` is the number of the first test that none has taken; ``order`` is a digest of the
    list; ``NAME`` holds the tests that this run has taken and not finished, and ``NAME.failed`` what it is to say at
    its end: both are there while it runs tests.
    """

    def __init__(self, place: Path, name: str, items: list[pytest.Item]) -> None:
        self.place = place
        self.mine = place / name
        self.failed = place / f"{name}.failed"
        # The longest one begins first: at the end the other runs would have nothing left to do beside it.
        self.items = sorted(items, key=lambda item: item.get_closest_marker("differential") is None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            with open(self.failed, "a", encoding="utf-8", errors="replace") as file:
                file.write(f"{report.longreprtext}\nFAILED {report.nodeid} ({report.when})\n")

    def check(self) -> None:
        """Numbers mean the same tests to all."""
        names = "\n".join(item.nodeid for item in self.items)
        digest = hashlib.sha256(names.encode("utf-8", "replace")).hexdigest()
        if self._swap("order", lambda old: old or digest) not in ("", digest):
            raise pytest.UsageError("the runs have collected different tests, or in another order")

    def take(self) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
        """Yield each test of this run with the one after it, which pytest must know to keep fixtures that both use."""
        numbers = self._numbers()
        number = next(numbers, None)
        while number is not None:
            following = next(numbers, None)
            taken = [one for one in (number, following) if one is not None]
            self.mine.write_text("\n".join(f"{one} {self.items[one].nodeid}" for one in taken))
            yield self.items[number], None if following is None else self.items[following]
            number = following

    def _numbers(self) -> Iterator[int]:
        if self.mine.exists():  # the run before this one was ended by the first of these
            yield from [int(line.split()[0]) for line in self.mine.read_text().splitlines()[1:]]
        while (number := int(self._swap("next", lambda old: str(int(old or 0) + 1)) or 0)) < len(self.items):
            yield number

    def _swap(self, name: str, change: Callable[[str], str]) -> str:
        """Replace what a file holds; return what it held."""
        with open(self.place / name, "a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            old = file.read()
            file.truncate(0)
            file.write(change(old))
        return old
