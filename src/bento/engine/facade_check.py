"""The part of the engine's facade that proves how containers shut down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.engine.base.drivers import Drivers
    from bento.engine.check import check
    from bento.model.check import Check, CheckOptions, CheckRun
    from bento.model.create import CreateOptions
else:
    check = LazyModule("bento.engine.check.check")


class CheckVerbs:
    """A base of ``EngineFacade``."""

    drivers: Drivers

    def check(
        self, create: CreateOptions, options: CheckOptions, *, on_run: Callable[[CheckRun], None] | None = None
    ) -> Check:
        """Start a container, stop it plainly at several moments under observation, and judge that.

        What it makes is removed at its end. Blocks for all runs; ``on_run`` is called after each. What cannot be run is
        in the result, as ``unjudged``. Raises UsageError for options that make no sense.
        """
        return check.check_image(self.drivers, create, options, on_run=on_run)
