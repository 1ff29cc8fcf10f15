"""The engine as a library: the verbs for pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bento.engine.base.drivers import Drivers
    from bento.engine.base.outcome import StopObserver, StopOutcome
    from bento.engine.maintenance import prune
    from bento.engine.pods import create, listing, stop
    from bento.engine.pods.stop import PodOutcome
    from bento.model.container import Container
    from bento.model.disk import Pruned
    from bento.model.pods import Pod, PodOptions
else:
    prune = LazyModule("bento.engine.maintenance.prune")
    create, listing, stop = (LazyModule(f"bento.engine.pods.{name}") for name in ["create", "listing", "stop"])


class PodVerbs:
    """What an engine can do with pods. One is named by its name, its id, or an unambiguous prefix of that.

    A container is made into a pod by ``CreateOptions.pod``, and is started, stopped and removed like any other.
    """

    drivers: Drivers

    def create_pod(self, options: PodOptions, *, pod_id: str = "") -> Pod:
        """Make a pod that is ready: its namespaces, and its network. Blocks.

        ``pod_id``: of ``bento.units.new_id``, where it must be known before this returns. Raises UsageError, Conflict
        (name, address), PortTaken, NotFound, MissingTool, RuntimeFailed, KernelError; then nothing is left.
        """
        return create.create(self.drivers, options, pod_id)

    def start_pod(self, ref: str) -> Pod:
        """Make a pod ready again that was stopped, or lost to a reboot, and start its containers. Idempotent. Blocks.

        Raises as ``create_pod`` and ``start``; then it is as it was before.
        """
        return create.start(self.drivers, ref)

    def pods(self, *, filters: Iterable[str] = ()) -> list[Pod]:
        """Return the pods as they are now, newest first. ``bento.docker.pod`` makes Podman's documents of them.

        Filters: id, label, ``label!``, name, network, status. Raises UsageError.
        """
        return listing.pods(self.drivers, filters)

    def pod(self, ref: str) -> Pod:
        """Return one pod as it is now. Raises NotFound, Conflict."""
        return listing.pod(self.drivers, ref)

    def pod_containers(self, ref: str) -> list[Container]:
        """Return the containers of a pod in any state as they are now, oldest first. Raises NotFound."""
        return listing.containers(self.drivers, ref)

    def inspect_pod(self, ref: str) -> dict[str, Any]:
        """Return a pod, and its containers, in Podman's words. Raises NotFound, Conflict."""
        return listing.inspect(self.drivers, ref)

    def stop_pod(
        self, ref: str, grace_s: float | None = None, *, observer: StopObserver | None = None
    ) -> list[StopOutcome]:
        """Stop the containers of a pod, then release its network and namespaces: it is NOT_READY. Idempotent. Blocks.

        ``grace_s``: for all of them together, those first that no other requires; 0 kills, -1 waits without end, None
        is each one's own. A second call joins the first, and may shorten it. Returns the outcomes of containers. Should
        this process end meanwhile, the next command that meets the pod goes on with the time that was left.
        ``observer``: of the containers' stops, as of ``stop_all``. Raises NotFound, StuckProcess, RuntimeFailed (the
        network could not be released: another call does it).
        """
        return stop.stop(self.drivers, ref, grace_s, observer)

    def stop_pods(
        self, refs: Sequence[str], grace_s: float | None = None, *, observer: StopObserver | None = None
    ) -> list[PodOutcome]:
        """Stop pods, all together, as ``stop_pod``; return what became of each, in their order. Errors are in there."""
        return stop.stop_many(self.drivers, refs, grace_s, observer)

    def remove_pod(
        self, ref: str, *, force: bool = False, grace_s: float = 0.0, observer: StopObserver | None = None
    ) -> Pod:
        """Remove a pod, and its containers with their anonymous volumes; return what it was. Blocks.

        ``force``: also those that run, which are stopped within ``grace_s``, as by ``stop_pod``. One that is being
        removed already is waited for. Raises NotFound, WrongState (a container runs), Conflict (a container outside
        requires one of them), StuckProcess, RuntimeFailed.
        """
        return stop.remove(self.drivers, ref, force=force, grace_s=grace_s, observer=observer)

    def finish_pod(self, pod_id: str) -> None:
        """Go on with a stop or a removal of a pod whose process died. Blocks. No error when there is nothing to do."""
        stop.finish(self.drivers, pod_id)

    def prune_pods(self, *, filters: Iterable[str] = ()) -> Pruned:
        """Remove the pods that are not ready and have no container.

        Raises UsageError for a bad filter; other errors are in the result.
        """
        return prune.prune_pods(self.drivers, filters)
