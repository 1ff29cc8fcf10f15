"""The part of the engine's facade for what Bento has not made: containers of other engines, and any PID namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.engine.base.drivers import Drivers
    from bento.engine.base.outcome import StopObserver, StopOutcome
    from bento.engine.foreign import looking, reports, stop
    from bento.engine.foreign.looking import ForeignLook
    from bento.engine.foreign.names import ForeignName
    from bento.engine.stop import request
    from bento.engine.stop.request import StopOptions
    from bento.model.stop import StopReport
    from bento.stop.forecast.forecast import Forecast
else:
    looking, reports, stop = (LazyModule(f"bento.engine.foreign.{name}") for name in ["looking", "reports", "stop"])
    request = LazyModule("bento.engine.stop.request")


class ForeignVerbs:
    """A base of ``EngineFacade``. A ForeignName names an engine and a container of it, or a process that is PID 1."""

    drivers: Drivers

    def stop_foreign(
        self, wanted: Sequence[ForeignName], options: StopOptions | None = None, observer: StopObserver | None = None
    ) -> list[StopOutcome]:
        """Stop what Bento has not made, all together, in the way of its own. Errors are in the outcomes. Blocks.

        An engine that is named is asked first, and signals PID 1 by its own stop. What is stopped is not gone on with
        by another command, should this process die: the engine's own stop ends it then. Raises UsageError for options
        that need a container of Bento's own.
        """
        return stop.stop_foreign(self.drivers, wanted, options or request.StopOptions(), observer)

    def explain_foreign(self, wanted: ForeignName, options: StopOptions | None = None) -> Forecast:
        """Say what such a stop would do, and send nothing. Raises NotFound, AlreadyStopped, WrongState, MissingTool,
        ForeignEngineFailed, UsageError."""
        return looking.explain(self.drivers, wanted, options or request.StopOptions())

    def look_foreign(self, wanted: ForeignName, options: StopOptions | None = None) -> ForeignLook:
        """Return what one look shows of it: all its processes, with what a stop with these options would do to each.

        Raises as ``explain_foreign``.
        """
        return looking.look(self.drivers, wanted, options or request.StopOptions())

    def foreign_report(self, wanted: ForeignName) -> StopReport:
        """Return the report of the last stop of it; some 200 are kept. Raises NotFound."""
        return reports.Reports(self.drivers.root).find(wanted)
