"""What every integration test may ask for."""

from __future__ import annotations

import pytest

from support import leaks
from support.workload import Share


@pytest.fixture
def share(leak_check: leaks.LeakWatch) -> Share:
    """A directory that the container sees as /s."""
    return Share(leak_check.base / "s")
