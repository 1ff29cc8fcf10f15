"""What was observed of one run: the input of the judge."""

from __future__ import annotations

from msgspec import Struct

from bento.model.check import CheckRun
from bento.model.stop import StopRequest
from bento.model.waits import ProcessState
from bento.programs.facts import Program
from bento.stop.process import Disposition, Process
from bento.stop.rules.tree import Tree


class Sample(Struct, frozen=True, kw_only=True):
    """What one look during the stop has shown. ``main`` None: PID 1 had gone."""

    at_s: float  # since the stop was asked for
    main: Disposition | None
    is_pending: bool = False  # the signal is queued for PID 1, and no thread has taken it
    alive: tuple[str, ...] = ()  # the others, as "python3 (4711)"


class Observation(Struct, frozen=True, kw_only=True):
    """One run of a check, or one look at what runs.

    ``look`` was made just before the signal, with evidence. ``zombies`` stayed so for a second and more.
    """

    run: CheckRun
    request: StopRequest  # the plain stop
    look: tuple[Process, ...] = ()
    states: tuple[ProcessState, ...] = ()
    zombies: tuple[ProcessState, ...] = ()
    also_receives: tuple[int, ...] = ()  # other signals that PID 1 has a handler for
    samples: tuple[Sample, ...] = ()
    programs: dict[int, Program] = {}  # those of the look that are known, by pid

    @property
    def tree(self) -> Tree:
        """The processes of the look."""
        return Tree(self.look)

    @property
    def main(self) -> Process | None:
        """PID 1 at the look; None where it had gone."""
        return self.tree.main()

    @property
    def last(self) -> Sample | None:
        """The last look during the stop that has shown PID 1."""
        return next((sample for sample in reversed(self.samples) if sample.main is not None), None)
