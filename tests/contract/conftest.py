"""What every contract test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.tracing import Tracing


@pytest.fixture
def tracer() -> Iterator[Tracing]:
    with Tracing() as tracer:
        yield tracer
