"""The part of the engine's facade that says what runs in containers, and what it takes of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.engine.base.drivers import Drivers
    from bento.engine.lifecycle import reconcile
    from bento.engine.views import top
    from bento.model.stats import ProcessTable
else:
    reconcile = LazyModule("bento.engine.lifecycle.reconcile")
    top = LazyModule("bento.engine.views.top")


class UsageVerbs:
    """A base of ``EngineFacade``."""

    drivers: Drivers

    def top(self, ref: str, options: Sequence[str] = ()) -> ProcessTable:
        """Return the processes of a container as ps(1) lists them with ``options``, by the host's pids; none: ``-ef``.

        ``bento.docker.top`` makes Docker's document of it. Where the host does not see them (runsc), the runtime's own
        table, and no options. Blocks while ps runs. Raises WrongState, UsageError, MissingTool.
        """
        return top.top(self.drivers, reconcile.find(self.drivers, ref), options)
