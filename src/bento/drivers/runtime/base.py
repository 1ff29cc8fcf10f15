"""What the engine needs of an OCI runtime (runtime-spec, "Runtime and Lifecycle")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bento.command import Child
from bento.errors import BentoError
from bento.model.container import Container, ContainerSpec
from bento.model.exec import ExecOptions
from bento.model.namespaces.mapping import IdMapping
from bento.model.resources import Change
from bento.model.stats import ProcessTable
from bento.model.terminal import WindowSize


class RuntimeDriver(Protocol):
    """One runtime binary with its own state directory.

    Every call works from whatever mount namespace the calling thread is in; a runtime that needs another view of the
    host makes it for itself.
    """

    name: str
    path: Path
    version: str  # "" where it is not known
    holes: tuple[str, ...]  # a sentence for each way out of a container that this version is known for
    has_networks: bool  # False: run so that its containers have loopback only
    shows_processes: bool  # False: VM or gVisor; the processes are not the host's
    supports_seccomp: bool
    sees_cgroup2: bool  # False: it works in a view of the host without that hierarchy

    def enter(self) -> None:
        """Prepare the calling thread's *private* mount namespace for this runtime, before a monitor is started there.

        Never call it outside of ``kernel.namespace.in_private_mounts``: it may remove mounts.
        """

    def write_bundle(
        self,
        container: Container,
        *,
        bundle: Path,
        rootfs: Path,
        namespaces: list[dict[str, str]],
        masked: tuple[str, ...],
        size: WindowSize | None = None,
        hooks: Mapping[str, list[dict[str, Any]]] | None = None,
        place: Callable[[str, bool], str] | None = None,
    ) -> tuple[str, ...]:
        """Write config.json for a mounted root filesystem; return notes on what was clamped or left out.

        Call it after ``enter``, in the same mount namespace. ``masked`` are the engine's own directories, hidden from
        containers that see the host's files. ``size``: of its terminal, where it has one. ``hooks``: of config.json,
        by their moments. ``place``: says of the source of a bind mount, and whether it is recursive, where it is to be
        taken from. Raises UsageError for an unknown user or a missing mount source, MissingTool, StorageUnusable.
        """

    def rewrite_etc(self, before: Container, after: Container, *, bundle: Path) -> None:
        """Have the files in /etc of a container that runs say what follows from its record now, where they say what
        followed from the one before: what the container has written stays. Idempotent. Raises StorageUnusable.
        """

    def check_program(self, document: Path, *, root: Path) -> None:
        """Raise CommandNotFound or CommandNotExecutable for a program that the kernel would refuse for sure.

        ``document``: the config.json of a container that was created, or what ``write_process`` wrote. ``root``: its
        root filesystem, as its processes see it where the host sees those, else without what the runtime mounts in it.
        The runtime itself would say so on the program's own stderr, with its exit status.
        """

    def monitor_arguments(self) -> list[str]:
        """Return the global arguments a monitor must put before ``create``."""

    def start(self, container_id: str) -> None:
        """Let a created container run its program. Blocks. Raises RuntimeFailed and what ``create`` may raise."""

    def check(self, spec: ContainerSpec) -> None:
        """Raise UsageError for what this runtime cannot do. Nothing is touched."""

    def update(self, change: Change) -> Callable[[], None]:
        """Change the limits of a container that runs, all or none; return what puts them back as they were. Blocks.

        Raises RuntimeFailed; then they are as they were.
        """

    def signal(self, container_id: str, number: int) -> None:
        """Send a signal through the runtime. Blocks. Raises RuntimeFailed."""

    def begin_signal(self, container_id: str, number: int) -> Child:
        """Start sending a signal through the runtime and return the child to wait for."""

    def end_signal(self, child: Child) -> str:
        """Reap that child; return "" when the signal was sent, else the reason."""

    def begin_exec(self, container_id: str, argv: list[str], *, env: list[str], pid_file: Path) -> Child:
        """Start a command inside a running container and return the child to wait for: it ends as the command does.

        ``env``: more "K=V". The command is in a session of its own; its pid is in ``pid_file`` as soon as it runs:
        the container's own number for it where the host does not see its processes.
        """

    def begin_process(self, container_id: str, spec: Path, *, pid_file: Path, output_fd: int) -> Child:
        """As ``begin_exec``, for the process that ``write_process`` has written to ``spec``.

        ``output_fd`` gets what it says on stdout and stderr, and what the runtime says that could not bring it in.
        """

    def write_process(
        self, container: Container, extra: ExecOptions, *, bundle: Path, root: Path | None, path: Path
    ) -> None:
        """Write ``path``: the process that ``extra`` asks for, in a container created from this bundle.

        ``root``: its root filesystem, to look a user up; None where it cannot be seen. Raises UsageError for an unknown
        user, a bad variable, or an /etc/passwd that is no file; StorageUnusable.
        """

    def explain_exec_failure(self, message: str, command: str = "") -> BentoError:
        """As ``explain_create_failure``, for a process that could not be brought in."""

    def process_table(self, container_id: str) -> ProcessTable:
        """Return the processes of a container that runs, as the runtime lists them, by the container's own pids.

        For those that the host does not see. Blocks. Raises RuntimeFailed.
        """

    def begin_delete(self, container_id: str) -> Child:
        """Start deleting a *stopped* container and return the child to wait for. Never kills."""

    def end_delete(self, child: Child) -> str:
        """Reap that child; return "" when the container is gone (also when it was unknown), else the reason."""

    def begin_delete_many(self, container_ids: Sequence[str]) -> Child | None:
        """The same for several with one child, which ``end_delete_many`` takes; None: this runtime cannot."""

    def end_delete_many(self, child: Child, container_ids: Sequence[str]) -> list[str]:
        """Reap that child; return those that are still there. ``begin_delete`` of each says why."""

    def is_still_running(self, reason: str) -> bool:
        """Whether a reason from ``end_delete`` says that the runtime does not see the container stopped yet."""

    def discard(self, container_id: str, cgroup_parent: str = "") -> None:
        """Delete whatever a failed create has left, killing it. Blocks. Idempotent: nothing there is fine."""

    def hold_namespaces(
        self,
        container_id: str,
        directory: Path,
        namespaces: list[dict[str, str]],
        *,
        cgroup_parent: str,
        ids: IdMapping | None = None,
    ) -> int:
        """Start a process that does nothing but reap, as PID 1 of a PID namespace of its own; return its pid. Blocks.

        It has no rights, and nothing to see: no file but its own program. ``directory``: for what it is made of, empty.
        ``namespaces``: entries for ``linux.namespaces``, those that it shares; ``ids``: of the user namespace among
        them. ``discard`` ends it.
        Raises MissingTool, RuntimeFailed.
        """

    def knows(self, container_id: str) -> bool:
        """Whether it keeps anything of a container, be it an empty directory. Only looks; starts no process."""

    def clear(self, container_id: str) -> None:
        """Remove what a delete that was killed has left of a container that is deleted. Idempotent.

        The runtime itself does not know such a container any more, and makes none of the same id.
        """

    def explain_create_failure(self, message: str, command: str = "") -> BentoError:
        """Turn what the runtime said through the monitor into the error to raise.

        ``command`` is what the container was to run: some runtimes do not name it.
        """
