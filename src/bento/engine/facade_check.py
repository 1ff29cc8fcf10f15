"""The part of the engine's facade that proves how containers shut down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from bento.engine.base.drivers import Drivers
    from bento.engine.check import check, compose, passive
    from bento.engine.foreign.names import ForeignName
    from bento.engine.images import pull
    from bento.model.check import Check, CheckOptions, CheckRun
    from bento.model.create import CreateOptions
else:
    pull = LazyModule("bento.engine.images.pull")
    check, compose, passive = (LazyModule(f"bento.engine.check.{name}") for name in ("check", "compose", "passive"))


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

    def check_compose(self, path: str, options: CheckOptions, *, total_s: float | None = None) -> tuple[Check, ...]:
        """Start the services of a compose file in order, stop them plainly, dependants first, and judge each.

        ``path``: "-" is standard input; JSON, or YAML where PyYAML is there. ``total_s``: one budget for all graces.
        Of ``options`` the grace, the signal, when one is ready, and the severity count. What is made is removed at the
        end. Blocks until then. What cannot be run is in the results, as ``unjudged``. Raises UsageError for the file,
        MissingTool.
        """
        services = compose.read_services(path)
        for service in services:
            pull.provide(self.drivers, service.create.image, "missing", access=None)
        return compose.check_services(self.drivers, services, options, subject=path, total_s=total_s)

    def check_container(self, ref: str, options: CheckOptions) -> Check:
        """Judge what shows of a container that runs, and send nothing. Blocks for a second where it has zombies.

        Of ``options`` the grace, the signal and the severity count. Raises NotFound, AlreadyStopped, WrongState.
        """
        return passive.check_container(self.drivers, ref, options)

    def check_foreign(self, wanted: ForeignName, options: CheckOptions) -> Check:
        """The same for a container of another engine, or any process that is PID 1 of its PID namespace.

        Raises as ``explain_foreign``.
        """
        return passive.check_foreign(self.drivers, wanted, options)
