"""What the engine needs to say what runs in a container, and what it takes of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bento.model.container import Run
from bento.model.stats import MachineUsage, ProcessTable, Usage


class UsageDriver(Protocol):
    """Looks at the processes and cgroups of containers whose processes the host sees; changes nothing."""

    def process_table(self, run: Run, options: Sequence[str]) -> ProcessTable:
        """Return the container's processes as ps(1) lists them with these options, by the host's pids.

        Blocks while ps runs. Raises UsageError for options that ps refuses, or by which its lines have no pid;
        MissingTool.
        """

    def processes(self, run: Run) -> tuple[int, int, int]:
        """Return how many processes the container has, and how many descriptors and sockets these have open."""

    def machine(self) -> MachineUsage:
        """Return the machine's side of a sample, one for all containers. Does not wait."""

    def sample(self, run: Run, machine: MachineUsage) -> Usage | None:
        """Return what a run takes now; None when its PID 1 has ended. Reads some ten small files of the kernel's.

        Of a run in a virtual machine or gVisor it is what its sandbox takes.
        """
