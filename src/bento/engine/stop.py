"""``stop``: any number of containers in one loop, each driven by its machine, in their order (rules S26 - S28).

If a driver dies, its locks go with it, and the next command that meets the container goes on from the journal (rule
S6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bento import clock
from bento.engine.hooks import check_hooks
from bento.engine.loop import Loop
from bento.engine.order import Schedule
from bento.engine.outcome import StopOutcome, StopProgress
from bento.engine.request import StopOptions
from bento.engine.target import Call, Target
from bento.model.container import Container, Status

if TYPE_CHECKING:
    from bento.engine.parts import Parts


class Stopper:
    """Drives and joins stops until all have ended. Use ``stop_containers``."""

    def __init__(
        self,
        parts: Parts,
        *,
        on_begun: Callable[[str], None] | None = None,
        on_outcome: Callable[[StopOutcome], None] | None = None,
        on_phase: Callable[[StopProgress], None] | None = None,
    ) -> None:
        self.loop = Loop()
        self.targets: list[Target] = []
        self._call = Call(parts, self.loop, on_begun=on_begun, on_outcome=on_outcome, on_phase=on_phase)

    def add(self, refs: Sequence[str], options: StopOptions, *, only_if: Status | None = None) -> None:
        """Begin, resume or join the stops of containers, those first that others do not require; ``run`` goes on.

        Once only. Errors become outcomes (rules S27, S28). ``only_if``: WrongState for those in another state once
        they can be looked at. Raises UsageError for a hook that cannot be run.
        """
        check_hooks((*options.pre_stop, *options.post_stop))
        self._call.options, self._call.only_if = options, only_if
        for ref in refs:
            target = Target(self._call, ref)
            self.targets.append(target)
            target.find(ref)
        requires = {target.container_id: target.requires for target in self.targets if target.outcome is None}
        self._call.schedule = Schedule(requires, total_s=options.total_s, now_s=clock.mono_s())
        self._take_ready()

    def _take_ready(self) -> None:
        """Take every target whose dependants have all ended, well or badly."""
        schedule = self._call.schedule
        waiting = [target for target in self.targets if target.outcome is None and not target.is_taken]
        while schedule is not None and waiting:
            ended = {target.container_id for target in self.targets if target.outcome is not None}
            ready = [target for target in waiting if schedule.is_ready(target.container_id, ended)]
            if not ready:
                return
            for target in ready:
                target.take()
            waiting = [target for target in waiting if not target.is_taken]  # some may have ended at once

    def settle(self, container: Container) -> None:
        """Release what a container held that has ended by itself; skip it when somebody else is at it."""
        target = Target(self._call, container.name)
        if target.settle(container):
            self.targets.append(target)

    def run(self) -> list[StopOutcome]:
        """Block until every target has its outcome; return them in the order they were added."""
        try:
            while True:
                self._take_ready()
                pending = [target for target in self.targets if target.outcome is None]
                if not pending:
                    break
                self.loop.sessions = [target.session for target in pending if target.session]
                if not any([target.is_ended() for target in pending]):
                    self.loop.turn()
        finally:
            self.close()
        return [target.outcome for target in self.targets if target.outcome]

    def close(self) -> None:
        """Let go of everything. Stops that have not ended are left to whoever meets them next."""
        for target in self.targets:
            target.close()
        self.loop.close()


def stop_containers(
    parts: Parts,
    refs: Sequence[str],
    options: StopOptions,
    *,
    on_begun: Callable[[str], None] | None = None,
    on_outcome: Callable[[StopOutcome], None] | None = None,
    on_phase: Callable[[StopProgress], None] | None = None,
) -> list[StopOutcome]:
    """Stop containers, all together; return an outcome for each, in order. Blocks until the last has ended.

    ``on_begun`` is called with a container's name once its stop is recorded, ``on_outcome`` as each ends, ``on_phase``
    whenever one gets on, or is given more or less time.
    """
    stopper = Stopper(parts, on_begun=on_begun, on_outcome=on_outcome, on_phase=on_phase)
    stopper.add(refs, options)
    return stopper.run()
