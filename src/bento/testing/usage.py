"""What runs in pretended containers, and what it takes."""

from __future__ import annotations

from collections.abc import Sequence

from bento.model.container import Run
from bento.model.stats import ProcessTable


class FakeUsage:
    """Implements ``UsageDriver``; ``asked``: the options of ps, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def process_table(self, run: Run, options: Sequence[str]) -> ProcessTable:
        """Return PID 1 alone."""
        self.asked.append(tuple(options))
        return ProcessTable(("PID", "CMD"), ((str(run.init.pid if run.init else 0), "server"),))
