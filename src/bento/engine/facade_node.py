"""The engine as a library: the verbs of a machine that is a node of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.engine.base import find_image
    from bento.engine.base.drivers import Drivers
    from bento.engine.lifecycle import reconcile
    from bento.engine.maintenance import doctor
    from bento.engine.pods import settle
    from bento.engine.resources import logs as log_files
    from bento.engine.views import node
    from bento.model.disk import FilesystemUsage
    from bento.model.image import Image
    from bento.model.pods import Readiness
    from bento.model.stats import ProcessUsage
    from bento.oci.user import ResolvedUser
else:
    doctor = LazyModule("bento.engine.maintenance.doctor")
    find_image = LazyModule("bento.engine.base.find_image")
    log_files = LazyModule("bento.engine.resources.logs")
    node = LazyModule("bento.engine.views.node")
    settle = LazyModule("bento.engine.pods.settle")
    reconcile = LazyModule("bento.engine.lifecycle.reconcile")


class NodeVerbs:
    """A base of ``EngineFacade``."""

    drivers: Drivers

    def readiness(self) -> Readiness:
        """Return whether containers, and pods with a network, can be made here, and by which runtimes."""
        return node.readiness(self.drivers)

    def filesystems(self) -> tuple[FilesystemUsage, FilesystemUsage]:
        """Return what the images, and what the containers' own files, take of the disk. Looks at every file: slow."""
        return node.filesystems(self.drivers)

    def own_files(self, ref: str) -> FilesystemUsage:
        """Return what the own files of a container take of the disk. Looks at every one of them. Raises NotFound."""
        return node.own_files(self.drivers, self.drivers.store.find(ref).id)

    def keep_pod_front(self, ref: str, front: dict[str, str]) -> None:
        """Replace what the API that made a pod keeps of it, for itself alone. Raises NotFound."""
        pod_id = settle.find(self.drivers, ref).id
        self.drivers.store.modify_pod(pod_id, lambda pod: replace(pod, settings=replace(pod.settings, front=front)))

    def process_usage(self, ref: str) -> ProcessUsage | None:
        """Return how many processes a container has, and what they have open; None: it does not run. Raises NotFound.

        Reads the links of /proc/PID/fd of each of them.
        """
        return node.process_usage(self.drivers, self.drivers.store.find(ref))

    def container_user(self, ref: str) -> ResolvedUser | None:
        """Return the user and groups of a container's program, as its last start has found them; None: none yet.

        Raises NotFound.
        """
        return node.container_user(self.drivers, self.drivers.store.find(ref).id)

    def reopen_log(self, ref: str) -> None:
        """Have the log of a container that runs be written to a new file, once the old one was moved away.

        Blocks until it is there. Raises NotFound, WrongState: it does not run, or has no log at a path of its own.
        """
        log_files.reopen(self.drivers, reconcile.find(self.drivers, ref))

    def open_pod_network(self, ref: str) -> int | None:
        """Return the network namespace of a pod as an open file, the caller's to close; None: it is the machine's.

        Raises NotFound, WrongState: it is not ready.
        """
        return node.open_pod_network(self.drivers, settle.find(self.drivers, ref))

    def tidy(self) -> None:
        """Remove what was left by what was killed in the middle, as ``doctor`` would, but nothing that runs.

        Blocks while it looks at every process. Idempotent. Raises Elsewhere: containers run that are not to be seen.
        """
        doctor.examine(self.drivers, fix=True, kinds=doctor.LEFT_BY_KILLED)

    def image(self, ref: str) -> Image:
        """Return one image by a name, or by its id or the beginning of that. Raises NotFound, Conflict."""
        return find_image.find_image(self.drivers, ref)
