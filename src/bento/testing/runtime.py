"""A runtime that only remembers what it was asked: for tests of the engine, without root."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bento import command
from bento.command import Child
from bento.errors import BentoError, MissingTool, RuntimeFailed
from bento.model.container import Container, ContainerSpec
from bento.model.exec import ExecOptions
from bento.model.namespaces.mapping import IdMapping
from bento.model.resources import Change
from bento.model.stats import ProcessTable
from bento.model.terminal import WindowSize


class DoneChild:
    """A child process that has ended already: its descriptor is at end of file."""

    def __init__(self) -> None:
        self._fd, writer = os.pipe2(os.O_CLOEXEC)
        os.close(writer)

    def fileno(self) -> int:
        """Return a descriptor that is readable."""
        return self._fd

    def finish(self, timeout_s: float) -> None:
        """Reap it."""
        self.kill()

    def kill(self) -> None:
        """Close the descriptor. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FakeRuntime:
    """Implements ``RuntimeDriver``.

    Attributes:
        calls: (verb, container id) in order.
        holder_pid: of the processes that hold namespaces.
        start_error: raised by ``start`` when set.
        notes: what ``write_bundle`` returns.
        changes: the changes of limits, in order, but for those that were put back.
        refusals: reasons that the next deletes give instead of deleting, first one first.
        begin_error, end_error: raised by the two halves of a delete when set.
    """

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.path = Path("/usr/bin/fake-runtime")
        self.version = "1.0.0"
        self.holes: tuple[str, ...] = ()
        self.shows_processes = self.has_networks = True
        self.supports_seccomp = True
        self.sees_cgroup2 = True
        self.calls: list[tuple[str, str]] = []
        self.holder_pid = 0
        self.signals: list[int] = []
        self.start_error: BentoError | None = None
        self.notes: tuple[str, ...] = ()
        self.refusals: list[str] = []
        self.changes: list[Change] = []
        self.update_error: BentoError | None = None
        self.begin_error: BentoError | None = None
        self.end_error: BentoError | None = None

    def enter(self) -> None:
        """Nothing to prepare."""

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
        """Write an empty config.json; return ``notes``."""
        self.calls.append(("bundle", container.id))
        (bundle / "config.json").write_text("{}")
        return self.notes

    def rewrite_etc(self, before: Container, after: Container, *, bundle: Path) -> None:
        """Remember."""
        self.calls.append(("etc", after.id))

    def check_program(self, document: Path, *, root: Path) -> None:
        """Everything can be executed."""

    def monitor_arguments(self) -> list[str]:
        """Return what a real one would."""
        return ["--root", "/nonexistent"]

    def start(self, container_id: str) -> None:
        """Remember; raise ``start_error`` when a test set it."""
        self.calls.append(("start", container_id))
        if self.start_error is not None:
            raise self.start_error

    def signal(self, container_id: str, number: int) -> None:
        """Remember."""
        self.calls.append(("signal", container_id))
        self.signals.append(number)

    def update(self, change: Change) -> Callable[[], None]:
        """Remember in ``changes``, or raise ``update_error`` when a test set it."""
        if self.update_error is not None:
            raise self.update_error
        self.changes.append(change)
        return lambda: self.changes.remove(change)

    def check(self, spec: ContainerSpec) -> None:
        """Everything can be done."""

    def begin_signal(self, container_id: str, number: int) -> Child:
        """Remember; the child is a real process that ends at once."""
        self.signal(container_id, number)
        return command.spawn(["/bin/true"])

    def end_signal(self, child: Child) -> str:
        """Reap it."""
        child.finish(10.0)
        return ""

    def begin_exec(self, container_id: str, argv: list[str], *, env: list[str], pid_file: Path) -> Child:
        """Remember, and run the command here."""
        self.calls.append(("exec", container_id))
        variables = dict(entry.split("=", 1) for entry in env)
        child = command.spawn(argv, env=command.clean_environment() | variables, new_session=True)
        pid_file.write_text(str(child.pid))
        return child

    def begin_process(self, container_id: str, spec: Path, *, pid_file: Path, output_fd: int) -> Child:
        """Remember, and run the words that ``write_process`` has written here; without a program it is the runtime
        that fails."""
        self.calls.append(("exec", container_id))
        words = msgspec.json.decode(spec.read_bytes(), type=list[str])
        try:
            child = command.spawn(words, new_session=True, stdout_fd=output_fd, stderr_fd=output_fd)
        except MissingTool as error:
            os.write(output_fd, str(error).encode())
            return command.spawn(["/bin/false"], stdout_fd=output_fd, stderr_fd=output_fd)
        pid_file.write_text(str(child.pid))
        return child

    def write_process(
        self, container: Container, extra: ExecOptions, *, bundle: Path, root: Path | None, path: Path
    ) -> None:
        """Write the arguments alone."""
        self.calls.append(("process", container.id))
        path.write_bytes(msgspec.json.encode(extra.command))

    def explain_exec_failure(self, message: str, command: str = "") -> BentoError:
        """Return the message as a RuntimeFailed."""
        return RuntimeFailed(message)

    def process_table(self, container_id: str) -> ProcessTable:
        """Return one process, which it has made up."""
        self.calls.append(("ps", container_id))
        return ProcessTable(("PID", "CMD"), (("1", "server"),))

    def begin_delete(self, container_id: str) -> Child:
        """Remember; raise ``begin_error`` when a test set it. No process is started."""
        self.calls.append(("delete", container_id))
        if self.begin_error is not None:
            raise self.begin_error
        done: Any = DoneChild()
        child: Child = done
        return child

    def end_delete(self, child: Child) -> str:
        """Return the next refusal, or ""; raise ``end_error`` when a test set it."""
        child.finish(10.0)
        if self.end_error is not None:
            raise self.end_error
        return self.refusals.pop(0) if self.refusals else ""

    def begin_delete_many(self, container_ids: Sequence[str]) -> Child | None:
        """It cannot."""
        return None

    def end_delete_many(self, child: Child, container_ids: Sequence[str]) -> list[str]:
        """Nothing was begun."""
        raise AssertionError("no deletion of many was begun")

    def is_still_running(self, reason: str) -> bool:
        """Whether the refusal says so."""
        return "still running" in reason

    def knows(self, container_id: str) -> bool:
        """It keeps nothing."""
        return False

    def clear(self, container_id: str) -> None:
        """It keeps nothing."""

    def discard(self, container_id: str, cgroup_parent: str = "") -> None:
        """Remember."""
        self.calls.append(("discard", container_id))

    def hold_namespaces(
        self,
        container_id: str,
        directory: Path,
        namespaces: list[dict[str, str]],
        *,
        cgroup_parent: str,
        ids: IdMapping | None = None,
    ) -> int:
        """Remember, and return ``holder_pid``."""
        self.calls.append(("hold", container_id))
        return self.holder_pid

    def explain_create_failure(self, message: str, command: str = "") -> BentoError:
        """Return the message as a RuntimeFailed."""
        return RuntimeFailed(f"{command}: {message}" if command else message)
