"""What the tests of the engine have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.drivers.state.base import StateStore
from bento.testing.drivers import FakeDrivers


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[FakeDrivers]:
    """The drivers of an engine that lives in this test."""
    with FakeDrivers(tmp_path) as made:
        yield made


@pytest.fixture
def store(drivers: FakeDrivers) -> StateStore:
    """Its records."""
    return drivers.store
