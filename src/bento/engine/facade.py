"""The engine as a library: every verb of the command line as a typed method, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from bento.engine.facade_check import CheckVerbs
from bento.engine.facade_files import FileVerbs
from bento.engine.facade_foreign import ForeignVerbs
from bento.engine.facade_images import ImageVerbs
from bento.engine.facade_networks import NetworkVerbs
from bento.engine.facade_node import NodeVerbs
from bento.engine.facade_pods import PodVerbs
from bento.engine.facade_units import UnitVerbs
from bento.engine.facade_usage import UsageVerbs
from bento.errors import AlreadyStopped
from bento.lazy import LazyModule
from bento.model.container import Container
from bento.model.event import Deed
from bento.units import SIGKILL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from bento.engine.base import exec_sessions, exit_owner
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.outcome import StopObserver, StopOutcome
    from bento.engine.events import waiting
    from bento.engine.lifecycle import (
        after_exit,
        attach,
        create,
        exec_,
        explain,
        healthy,
        reconcile,
        remove,
        serve_units,
        shutdown,
        signals,
        start,
        update,
        wait,
    )
    from bento.engine.lifecycle.exec_ import Attached
    from bento.engine.lifecycle.start import Started
    from bento.engine.maintenance import doctor, prune
    from bento.engine.maintenance.finding import Finding
    from bento.engine.stop import request, stop
    from bento.engine.stop.request import StopOptions
    from bento.engine.views import info, inspect, listing
    from bento.errors import Elsewhere, StateCorrupt
    from bento.model import terminal
    from bento.model.create import CreateOptions, UpdateOptions
    from bento.model.disk import Pruned
    from bento.model.exec import ExecOptions, ExecSession
    from bento.model.network import Port
    from bento.model.stop import StopReport
    from bento.model.terminal import AttachOptions
    from bento.stop.forecast.forecast import Forecast
else:
    exec_sessions, exit_owner = (LazyModule(f"bento.engine.base.{name}") for name in ["exec_sessions", "exit_owner"])
    after_exit, attach, create, exec_, explain, healthy, reconcile, remove = (
        LazyModule(f"bento.engine.lifecycle.{name}")
        for name in ["after_exit", "attach", "create", "exec_", "explain", "healthy", "reconcile", "remove"]
    )
    serve_units, shutdown, signals, start, update, wait = (
        LazyModule(f"bento.engine.lifecycle.{name}")
        for name in ["serve_units", "shutdown", "signals", "start", "update", "wait"]
    )
    waiting = LazyModule("bento.engine.events.waiting")
    doctor, prune = (LazyModule(f"bento.engine.maintenance.{name}") for name in ["doctor", "prune"])
    request, stop = (LazyModule(f"bento.engine.stop.{name}") for name in ["request", "stop"])
    terminal = LazyModule("bento.model.terminal")
    info, inspect, listing = (LazyModule(f"bento.engine.views.{name}") for name in ["info", "inspect", "listing"])


class EngineFacade(
    ImageVerbs, FileVerbs, ForeignVerbs, NetworkVerbs, PodVerbs, UsageVerbs, CheckVerbs, NodeVerbs, UnitVerbs
):
    """Containers below one root. ``bento.Engine`` puts it together. A context; safe between processes,
    not between threads: give each thread its own.

    A container is named by its name, its id, or an unambiguous prefix of that. Unknown: NotFound.
    """

    def __init__(self, drivers: Drivers) -> None:
        self.drivers = drivers

    def create(self, options: CreateOptions, *, container_id: str = "") -> Container:
        """Make a container; nothing runs. Raises UsageError, NotFound, Conflict, StorageUnusable, MissingTool.

        ``container_id``: one of ``bento.units.new_id``, for a caller that must know it whatever interrupts this call,
        such as a signal whose handler raises: then the container may be there.
        """
        return create.create(self.drivers, options, container_id)

    def start(self, ref: str) -> Container:
        """Start a container, after those it requires; one that runs is left alone. Blocks until its program runs.

        Raises WrongState, CommandNotFound, CommandNotExecutable, RuntimeFailed; then it is as it was before.
        """
        container = self._tell_started(start.start(self.drivers, self._with_required(ref))).container
        if container.spec.auto_remove:  # it may have ended before its monitor's helper was needed
            reconcile.refresh(self.drivers, [container])
        return container

    def start_attached(self, ref: str, options: AttachOptions | None = None, *, owns_exit: bool = True) -> Started:
        """As ``start``, with the container's streams, the output from its first byte on.

        ``options``: None is the output alone. One that runs already is left alone, and not attached to. ``owns_exit``:
        the caller follows it to its end, and does what is to follow that; else it goes on as after ``start``.
        """
        options = options or terminal.AttachOptions()
        started = start.start(self.drivers, self._with_required(ref), attach=options, owns_exit=owns_exit)
        return self._tell_started(started)

    def attach(self, ref: str, options: AttachOptions | None = None) -> Started:
        """Attach to a container that runs, to its output from now on; None is that alone. Does not block.

        Raises WrongState when it does not run, is paused, or its monitor has ended. Leaving it changes nothing for it.
        """
        return attach.attach(self.drivers, ref, options or terminal.AttachOptions())

    def _with_required(self, ref: str) -> str:
        container = reconcile.find(self.drivers, ref)
        start.start_required(self.drivers, container)
        return container.id

    def stop(self, ref: str, options: StopOptions | None = None) -> StopReport | None:
        """Stop one container and return the report. Blocks, up to the grace and the kill limit.

        Raises WrongState when it is not running (callers may take that for success), StuckProcess, CleanupFailed.
        The stop is driven in this process; should it die, the next command that meets the container goes on.
        """
        outcome = self.stop_many([ref], options)[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome.report

    def stop_many(
        self, refs: Sequence[str], options: StopOptions | None = None, observer: StopObserver | None = None
    ) -> list[StopOutcome]:
        """Stop containers, all together: it takes as long as the slowest. Errors are in the outcomes. Blocks.

        ``observer`` is called meanwhile; without one, notices are logged as warnings.
        """
        return stop.stop_containers(self.drivers, refs, options or request.StopOptions(), observer)

    def explain(self, ref: str, options: StopOptions | None = None) -> Forecast:
        """Say what a stop would do, and send nothing. Raises AlreadyStopped, WrongState."""
        return explain.explain(self.drivers, ref, options or request.StopOptions())

    def to_be_shut_down(
        self,
        *,
        on_unreadable: Callable[[StateCorrupt], None] | None = None,
        on_elsewhere: Callable[[Elsewhere], None] | None = None,
    ) -> list[Container]:
        """Return what a shutdown of the machine has to stop: what runs, and what waits to be started again.

        ``on_unreadable``, ``on_elsewhere``: as in ``containers``.
        """
        return shutdown.to_be_shut_down(self.drivers, on_unreadable=on_unreadable, on_elsewhere=on_elsewhere)

    def to_be_started(self) -> list[Container]:
        """Return what its restart policy wants to run and does not, in the order in which it is to be started."""
        return shutdown.to_be_started(self.drivers)

    def install_unit(self, prefix: Path | None) -> str:
        """Return the systemd unit that starts and shuts down the containers of these roots with the machine.

        Written below ``prefix`` unless that is None. Raises StorageUnusable when it cannot be written.
        """
        return shutdown.install_unit(self.drivers, prefix)

    def install_serve_units(self, prefix: Path | None, group: str = "") -> dict[str, str]:
        """Return systemd's units of ``bento serve`` by their names; ``group``: whose members may connect, too.

        Written below ``prefix`` unless that is None. Raises UsageError, StorageUnusable when it cannot be written.
        """
        return serve_units.install(self.drivers, prefix, group)

    def install_zygote_units(self, prefix: Path | None) -> dict[str, str]:
        """The same for a zygote, a process that makes commands of the command line faster. Raises StorageUnusable."""
        return serve_units.install_zygote(self.drivers, prefix)

    def finish_stop(self, container_id: str) -> None:
        """Go on with a stop whose driver died, also of a pod. Blocks. No error when there is nothing to do."""
        reconcile.finish_stop(self.drivers, container_id)
        self.finish_pod(container_id)

    def restart(self, ref: str, options: StopOptions | None = None) -> Container:
        """Stop a container, if it runs, and start it again. Blocks."""
        container = reconcile.find(self.drivers, ref)
        if container.spec.auto_remove:  # not yet
            exit_owner.claim(self.drivers, container.id)
        with suppress(AlreadyStopped):
            self.stop(container.id, options)
        deeds = (Deed(action="restart"),)
        return start.start(self.drivers, self._with_required(container.id), deeds=deeds).container

    def kill(self, ref: str, number: int = SIGKILL, *, for_good: bool = False) -> Container:
        """Send a signal to PID 1; SIGKILL waits for the end. ``for_good``: no restart follows. Raises WrongState."""
        return signals.kill(self.drivers, ref, number, for_good=for_good)

    def signal_main(self, container: Container, number: int) -> None:
        """Pass a signal on to PID 1 of a container that was started; no error when it has ended."""
        signals.pass_on(self.drivers, container, number)

    def drops_signal(self, container: Container, number: int) -> bool:
        """Whether PID 1 of a container that was started would not get to know of a signal, by its masks now."""
        return signals.drops(self.drivers, container, number)

    def exec(self, ref: str, options: ExecOptions) -> Attached:
        """Run a command in a running container, with its output and its input. Blocks until it runs.

        Raises WrongState when the container does not run, is paused, or is ending by a stop; UsageError,
        CommandNotFound, CommandNotExecutable, RuntimeFailed. The caller also calls ``wait_exec``.
        """
        return exec_.attached(self.drivers, ref, options)

    def exec_detached(self, ref: str, options: ExecOptions) -> ExecSession:
        """As ``exec``, and leave it there: its output is lost, and only its monitor sees its end."""
        return exec_.detached(self.drivers, ref, options)

    def wait_exec(self, running: Attached) -> int:
        """Block until a command of ``exec`` has ended, close its descriptors, and return its exit status (128+n).

        Output that was not read is lost. Raises RuntimeFailed when the end was not seen.
        """
        return exec_.wait(self.drivers, running)

    def leave_exec(self, running: Attached) -> None:
        """Close the descriptors of a command of ``exec``, which goes on: ``Attached.detach``, and an event of it."""
        exec_.leave(self.drivers, running)

    def signal_exec(self, session: ExecSession, number: int) -> None:
        """Pass a signal on to an exec's process; no error when it has ended."""
        exec_.signal(self.drivers, session, number)

    def exec_sessions(self, ref: str) -> list[ExecSession]:
        """Return what was brought into a container by ``exec`` and still runs, oldest first."""
        return exec_sessions.live(self.drivers, reconcile.find(self.drivers, ref).id)

    def pause(self, ref: str) -> Container:
        """Freeze a running container. Raises WrongState."""
        return signals.pause(self.drivers, ref)

    def unpause(self, ref: str) -> Container:
        """Thaw a paused container. Raises WrongState."""
        return signals.unpause(self.drivers, ref)

    def update(self, ref: str, options: UpdateOptions) -> Container:
        """Change limits, or the restart policy, of a container that runs or not; return it. Waits for the lock.

        Raises UsageError, WrongState while it is started or stopped, RuntimeFailed; then nothing has changed.
        """
        return update.update(self.drivers, ref, options)

    def wait(self, ref: str, condition: str = "not-running") -> Container:
        """Block until a container is not live any more, and return it.

        ``condition``: Docker's ``next-exit``, which one that does not run is waited for through its next run, or
        ``removed``, when it is returned as it ended. Raises UsageError for another word.
        """
        if condition != "not-running":
            return waiting.wait(self.drivers, ref, condition)
        return wait.wait_for(self.drivers, self.drivers.store.find(ref))

    def wait_healthy(self, ref: str, timeout_s: float | None = None) -> Container:
        """Block until a container is healthy, one without a health check until it runs; return it.

        Raises Unhealthy when it has become so, or has ended; DeadlineExceeded after ``timeout_s`` seconds.
        """
        return healthy.wait_until_healthy(self.drivers, reconcile.find(self.drivers, ref).id, timeout_s)

    def wait_attached(self, started: Started) -> Container:
        """As ``wait``, for what ``start_attached`` or ``attach`` gave, also if it is removed. Closes its pidfd."""
        return wait.wait_for_exit(self.drivers, started.container.id, started)

    def leave(self, started: Started) -> None:
        """Follow what ``start_attached`` or ``attach`` has returned no more: it goes on as after ``start``.

        Closes its pidfd; the attachment is closed by the caller.
        """
        start.leave_started(self.drivers, started)

    def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, grace_s: float = 0.0, shared: bool = False
    ) -> Container:
        """Delete a container; ``force`` stops it first, within ``grace_s``; ``volumes``: its anonymous volumes, too.

        ``shared``: also one whose namespaces others share. Raises WrongState, StuckProcess, Conflict: it is required.
        """
        return remove.remove(self.drivers, ref, force=force, volumes=volumes, grace_s=grace_s, shared=shared)

    def dependants_first(self, refs: Sequence[str]) -> list[str]:
        """Return the names so that each comes before those it requires: in this order they can be removed."""
        return remove.dependants_first(self.drivers, refs)

    def after_exit(self, container_id: str, run: int) -> None:
        """Remove a container once this run has ended, or restart it, as it was made. Blocks until that is done."""
        after_exit.after_exit(self.drivers, container_id, run)

    def rename(self, ref: str, name: str) -> Container:
        """Give a container another name; one that runs is found by it at once.

        Raises UsageError, Conflict; RuntimeFailed where others cannot be told, and then it has its old one.
        """
        return remove.rename(self.drivers, ref, name)

    def get(self, ref: str) -> Container:
        """Return one container as it is now."""
        return reconcile.find(self.drivers, ref)

    def containers(
        self,
        *,
        all: bool = False,
        filters: Iterable[str] = (),
        on_unreadable: Callable[[StateCorrupt], None] | None = None,
        on_elsewhere: Callable[[Elsewhere], None] | None = None,
    ) -> list[Container]:
        """Return the containers that run or will be restarted, or all, newest first, as they are now.

        ``on_unreadable`` gets each record that cannot be read, which is left out; without it, that is a warning.
        ``on_elsewhere`` gets once those that can be looked after elsewhere alone, which are listed as they were
        recorded; without it, that is a warning.
        Raises UsageError for a bad filter.
        """
        wanted = tuple(filters)
        passes = listing.parse_filters(self.drivers.store, wanted)
        wants_status = any(text.startswith(("status=", "exited=")) for text in wanted)
        records = self.drivers.store.list(on_unreadable=on_unreadable)
        found = reconcile.refresh(self.drivers, records, on_elsewhere=on_elsewhere)
        return [c for c in found if (all or wants_status or c.status.is_wanted) and passes(c)]

    def names(self, kind: str) -> list[str]:
        """Return the names of all things of a kind (container, image, volume, network, pod), as they are recorded.

        Quick, as the completion of a command line needs it: nothing is held against the kernel.
        """
        return listing.names(self.drivers.store, kind)

    def inspect(self, ref: str, *, size: bool = False) -> dict[str, Any]:
        """Return one container in Docker's words; with ``size`` also SizeRw and SizeRootFs, bytes: slow."""
        return inspect.inspect(self.drivers, reconcile.find(self.drivers, ref), is_sized=size)

    def ports(self, ref: str) -> tuple[Port, ...]:
        """Return the published ports of a container that runs, with the host ports chosen. Raises WrongState."""
        return inspect.published(reconcile.find(self.drivers, ref))

    def prune_containers(self, *, filters: Iterable[str] = ()) -> Pruned:
        """Delete the containers that do not run. Raises UsageError for a bad filter; other errors are in the result."""
        return prune.prune_containers(self.drivers, filters)

    def prune(self, *, all: bool = False, volumes: bool = False, filters: Iterable[str] = ()) -> Pruned:
        """Delete the containers that do not run, the networks that no container has, then images as ``prune_images``
        does, and at last, where ``volumes`` says so, the anonymous volumes that no container has. Raises as
        prune_containers.
        """
        return prune.prune(self.drivers, all=all, volumes=volumes, filters=filters)

    def info(self) -> dict[str, Any]:
        """Return what this engine uses on this host. Raises MissingTool, StorageUnusable where something is missing."""
        drivers = self.drivers
        drivers.storage.check()
        containers, images = self.containers(all=True), self.images()
        return info.describe(drivers, containers, image_count=len(images), warnings=self.warnings())

    def warnings(self) -> list[str]:
        """Return a sentence for each thing that makes containers less safe here than they could be.

        They are about the runtimes in use: the default one, and those of containers.
        """
        return doctor.warnings(self.drivers)

    def doctor(self, *, fix: bool = False) -> list[Finding]:
        """Return what was left over on this machine; ``fix`` removes what no process holds. Slow."""
        return doctor.examine(self.drivers, fix=fix)

    def close(self) -> None:
        """Close the store. What is attached stays so. Idempotent."""
        if "monitor" in vars(self.drivers):
            self.drivers.monitor.close()
        if "store" in vars(self.drivers):  # else it was never opened, or could not be: that has been reported
            self.drivers.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
