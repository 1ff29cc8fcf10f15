"""The engine as a library: the verbs for pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.engine.base.drivers import Drivers
    from bento.engine.base.outcome import StopOutcome
    from bento.engine.pods import create, listing, remove, stop
    from bento.model.container import Container
    from bento.model.pods import Pod, PodOptions
else:
    create, listing, remove, stop = (
        LazyModule(f"bento.engine.pods.{name}") for name in ["create", "listing", "remove", "stop"]
    )


class PodVerbs:
    """What an engine can do with pods. One is named by its name, its id, or an unambiguous prefix of that.

    A container is made into a pod by ``CreateOptions.pod``, and is created, started, stopped and removed like any other.
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
        """Return the pods as they are now, newest first. Filters: id, label, name, status. Raises UsageError."""
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

    def stop_pod(self, ref: str, grace_s: float | None = None) -> list[StopOutcome]:
        """Stop the containers of a pod, then release its network and namespaces: it is NOT_READY. Idempotent. Blocks.

        ``grace_s``: for all of them together, those first that no other requires; 0 kills, None is each one's own. The
        outcomes of containers, which the errors of single ones are in. Raises NotFound, RuntimeFailed (the network
        could not be released: another call does it).
        """
        return stop.stop(self.drivers, ref, grace_s)

    def remove_pod(self, ref: str, *, force: bool = False, grace_s: float = 0.0) -> Pod:
        """Remove a pod, and its containers; ``force``: also those that run, which are stopped within ``grace_s``.

        Returns what it was. Blocks. Raises NotFound, Conflict (a container runs), StuckProcess, RuntimeFailed.
        """
        return remove.remove(self.drivers, ref, force=force, grace_s=grace_s)
