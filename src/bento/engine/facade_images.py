"""The engine as a library: the verbs for images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bento.engine.base.drivers import Drivers
    from bento.engine.images import archive, build, image_inspect, image_list, images, login, pull, push, remote
    from bento.engine.images.pull import Pulled
    from bento.engine.maintenance import prune
    from bento.model.disk import DiskUsage, ImageUsage, Pruned, RemovedImage
    from bento.model.image import HistoryStep, Image, ImageConfig
    from bento.model.transfer import Access, BuildOptions, Credentials, TransferProgress
    from bento.oci.remote_image import RemoteImage
    from bento.parse import places
else:
    archive, build, image_inspect, image_list, images, login, pull, push, remote = (
        LazyModule(f"bento.engine.images.{name}")
        for name in ["archive", "build", "image_inspect", "image_list", "images", "login", "pull", "push", "remote"]
    )
    prune, places = LazyModule("bento.engine.maintenance.prune"), LazyModule("bento.parse.places")


class ImageVerbs:
    """What an engine can do with images. An image is named as in Docker, or by its id or the beginning of that."""

    drivers: Drivers

    def import_image(
        self,
        source: Path,
        name: str = "",
        config: ImageConfig | None = None,
        *,
        message: str = "",
        platform: str = "",
    ) -> Image:
        """Make an image of a directory or tar archive; without a name it has none. Raises UsageError, BadImage.

        ``message``: a comment for its history. ``platform``: what it says it is for, this machine's when empty.
        """
        return images.import_image(self.drivers, source, name, config, message=message, platform=platform)

    def build(
        self,
        options: BuildOptions,
        *,
        access: Access | None = None,
        output_fd: int | None = None,
        on_progress: Callable[[TransferProgress], None] | None = None,
    ) -> Image:
        """Make an image from a Containerfile, by buildah. Blocks.

        ``output_fd`` gets what the build prints; ``on_progress`` what comes of base images that are fetched. Raises
        UsageError, NotFound, BuildFailed, MissingTool, and what ``pull`` raises; then nothing is recorded, and nothing
        of the build runs any more. Steps that were done are kept for the next build.
        """
        return build.build(self.drivers, options, access=access, output_fd=output_fd, on_progress=on_progress)

    def prune_builder(self) -> int:
        """Delete what builds have kept for the next ones; return the bytes that frees. Leaves it while one goes on."""
        return self.drivers.builder.prune()

    def builder_bytes(self) -> int:
        """Return what builds have kept for the next ones takes of the disk. Looks at every file of it: slow."""
        return self.drivers.builder.size_bytes()

    def builder_used_unix_ns(self) -> int:
        """Return when the last build began or ended; 0: there was none."""
        return self.drivers.builder.used_unix_ns()

    def pull(
        self,
        source: str,
        *,
        platform: str = "",
        access: Access | None = None,
        on_progress: Callable[[TransferProgress], None] | None = None,
    ) -> Pulled:
        """Fetch an image: ``NAME[:TAG|@DIGEST]``, or another place such as ``oci:DIR``. Blocks.

        ``platform``: ``OS/ARCH[/VARIANT]``, this machine's when empty. ``on_progress`` is called by several threads.
        Raises UsageError, BadImage, NotFound, NotPermitted, TransportFailed, StorageUnusable, MissingTool; then nothing
        is recorded, and what has come whole is kept for the next time.
        """
        return pull.pull(self.drivers, source, platform=platform, access=access, on_progress=on_progress)

    def provide_image(
        self,
        ref: str,
        policy: str = "missing",
        *,
        platform: str = "",
        access: Access | None = None,
        on_progress: Callable[[TransferProgress], None] | None = None,
    ) -> Pulled | None:
        """Have an image here before a container is made of it: ``missing``, ``always`` or ``never`` fetch it.

        Returns what was fetched; None when nothing was. Blocks. Raises as ``pull``.
        """
        return pull.provide(self.drivers, ref, policy, platform=platform, access=access, on_progress=on_progress)

    def remote_image(self, name: str, *, access: Access) -> RemoteImage:
        """Return what a registry has under a name, without fetching it. Blocks. Raises as ``pull``."""
        return remote.look(self.drivers, name, access)

    def tags(self, repository: str) -> list[str]:
        """Return the names with a tag that images have in a repository: what ``push --all-tags`` sends.

        Raises UsageError, and NotFound where there is none.
        """
        return push.tags_of(self.drivers, repository)

    def push(
        self,
        ref: str,
        destination: str = "",
        *,
        access: Access | None = None,
        on_progress: Callable[[TransferProgress], None] | None = None,
    ) -> str:
        """Copy an image to the registry in its name, or to ``destination``; return its digest there. Blocks.

        ``destination`` may be an archive, as ``docker-archive:FILE``: it is written as by ``save``.

        Raises NotFound, UsageError, NotPermitted, TransportFailed, MissingTool.
        """
        if place := places.parse_archive(destination):
            return archive.push_archive(self.drivers, ref, place)
        return push.push(self.drivers, ref, destination, access=access, on_progress=on_progress)

    def save(self, refs: Sequence[str], target: Path | int, format: str = "docker-archive") -> None:
        """Write images into an archive or a directory, or to an open descriptor. Blocks.

        ``format``: docker-archive, oci-archive, oci-dir or docker-dir. Raises NotFound, UsageError, StorageUnusable.
        """
        archive.save(self.drivers, refs, target, format)

    def load(
        self,
        source: Path | str,
        *,
        platform: str = "",
        on_progress: Callable[[TransferProgress], None] | None = None,
    ) -> list[Pulled]:
        """Read all images of an archive; ``-`` is standard input. Blocks.

        ``source`` may be a text as ``docker-archive:FILE`` or ``oci-archive:FILE:NAME``, which means the one image of
        that name. Raises BadImage for what is no such archive, NotFound, StorageUnusable, MissingTool.
        """
        place = places.parse_archive(source) if isinstance(source, str) else None
        path, name = (Path(place.path), place.name) if place else (Path(source), "")
        return archive.load(self.drivers, path, name=name, platform=platform, on_progress=on_progress)

    def login(self, registry: str = "", credentials: Credentials | None = None, *, access: Access | None = None) -> str:
        """Have a registry (``HOST[:PORT]``; "": Docker Hub) check credentials, and keep them; return the user.

        Pulls and pushes use them, and so do skopeo and Podman, in whose file they are, or in ``access.authfile``. None:
        those that are kept are checked. Blocks. Raises NotFound when there are none, NotPermitted when they are wrong,
        UsageError, TransportFailed, MissingTool.
        """
        return login.login(self.drivers, registry, credentials, access)

    def logout(self, registry: str = "", *, all: bool = False, access: Access | None = None) -> bool:
        """Forget the credentials of a registry, or of ``all``; False when there were none. Raises UsageError."""
        return login.logout(self.drivers, registry, access, is_all=all)

    def images(self, *, filters: Iterable[str] = ()) -> list[Image]:
        """Return the stored images, newest first. ``host`` is not one of them: it is this machine.

        Raises UsageError for a bad filter, NotFound for an image named in one.
        """
        return image_list.find_images(self.drivers, filters)

    def image_usage(self, *, filters: Iterable[str] = ()) -> list[ImageUsage]:
        """Return the images as ``images`` does, with what each shares with others, and the containers made from it."""
        return image_list.usage(self.drivers, image_list.find_images(self.drivers, filters))

    def disk_usage(self) -> DiskUsage:
        """Return what images and containers take of the disk. Looks at every file of the containers: slow."""
        return image_list.disk_usage(self.drivers)

    def history(self, ref: str) -> list[HistoryStep]:
        """Return how an image was built, last step first. Raises NotFound."""
        return image_inspect.history(self.drivers, ref)

    def inspect_image(self, ref: str) -> dict[str, Any]:
        """Return one image in Docker's words. Raises NotFound."""
        return image_inspect.inspect_image(self.drivers, ref)

    def prune_images(self, *, all: bool = False, filters: Iterable[str] = ()) -> Pruned:
        """Delete the images without names, or ``all``, that no container was made from. Raises as prune_containers."""
        return prune.prune_images(self.drivers, all=all, filters=filters)

    def tag_image(self, ref: str, name: str) -> Image:
        """Give an image one more name. Raises NotFound, UsageError."""
        return images.tag_image(self.drivers, ref, name)

    def remove_image(self, ref: str, *, force: bool = False, all_names: bool = False) -> RemovedImage:
        """Take a name from an image, or delete it; ``all_names``: by its id also when it has several.

        Raises NotFound, Conflict when containers hold it.
        """
        return images.remove_image(self.drivers, ref, force=force, all_names=all_names)
