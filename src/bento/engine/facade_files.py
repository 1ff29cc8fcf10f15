"""The engine as a library: the verbs for the files of containers, and for volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.engine.base import happened
    from bento.engine.base.drivers import Drivers
    from bento.engine.files import commit, copying, diff, export
    from bento.engine.files.commit import CommitOptions
    from bento.engine.files.copying import CopyOptions
    from bento.engine.images import archive
    from bento.engine.resources import mounting, volumes
    from bento.model.change import Change, PathStat
    from bento.model.disk import PrunedVolumes
    from bento.model.image import Image
    from bento.model.volume import Volume
else:
    happened = LazyModule("bento.engine.base.happened")
    commit, copying, diff, export = (
        LazyModule(f"bento.engine.files.{name}") for name in ["commit", "copying", "diff", "export"]
    )
    archive = LazyModule("bento.engine.images.archive")
    mounting, volumes = (LazyModule(f"bento.engine.resources.{name}") for name in ["mounting", "volumes"])


class FileVerbs:
    """What an engine can do with files: those in containers, of any state, and those in volumes."""

    drivers: Drivers

    def copy_out(self, ref: str, path: str, target: str, options: CopyOptions | None = None) -> None:
        """Copy a file or directory of a container, in any state, to this machine, by the rules of ``bento cp``.

        Raises NotFound (also for paths), Conflict (a file in the way of a directory ...), WrongState.
        """
        copying.copy_out(self.drivers, ref, path, target, options or copying.CopyOptions())
        happened.tell_of_ref(self.drivers, ref, "archive-path")

    def copy_in(self, ref: str, source: str, path: str, options: CopyOptions | None = None) -> None:
        """Copy a file or directory of this machine into a container; as ``copy_out``."""
        copying.copy_in(self.drivers, ref, source, path, options or copying.CopyOptions())
        happened.tell_of_ref(self.drivers, ref, "extract-to-dir")

    def archive_out(self, ref: str, path: str, fd: int, options: CopyOptions | None = None) -> None:
        """Write a file or directory of a container to a descriptor as a tar archive; as ``copy_out``."""
        copying.archive_out(self.drivers, ref, path, fd, options or copying.CopyOptions())
        happened.tell_of_ref(self.drivers, ref, "archive-path")

    def archive_in(self, ref: str, fd: int, path: str) -> None:
        """Unpack a tar archive from a descriptor into a directory of a container; as ``copy_out``, and UsageError."""
        copying.archive_in(self.drivers, ref, fd, path)
        happened.tell_of_ref(self.drivers, ref, "extract-to-dir")

    def stat_path(self, ref: str, path: str) -> PathStat:
        """Return what a path in a container, in any state, is: a link itself. Raises as ``copy_out``."""
        return copying.stat_path(self.drivers, ref, path)

    def diff(self, ref: str) -> list[Change]:
        """Return what a container, in any state, has added, changed and deleted in its root filesystem, by path."""
        return diff.diff(self.drivers, ref)

    def commit(self, ref: str, name: str = "", options: CommitOptions | None = None) -> Image:
        """Make an image of a container, in any state: its image's layers, and what it has changed on top. Blocks.

        Raises UsageError (the name; a change; a container of ``host``), StorageUnusable.
        """
        return commit.commit(self.drivers, ref, name, options or commit.CommitOptions())

    def export(self, ref: str, fd: int) -> None:
        """Write a container's root filesystem, without what is mounted in it, to a descriptor as a tar archive. Blocks.

        Raises WrongState when it ends meanwhile.
        """
        export.export(self.drivers, ref, fd)
        happened.tell_of_ref(self.drivers, ref, "export")

    def create_volume(
        self, name: str = "", *, labels: dict[str, str] | None = None, options: dict[str, str] | None = None
    ) -> Volume:
        """Make a volume; one of that name that is there already is returned as it is.

        ``options``: ``type``, ``o`` and ``device``, as mount(8) takes them: what each container that has the volume
        gets mounted in its place. Raises UsageError (name, options).
        """
        return volumes.create(self.drivers, name, labels, options)

    def volumes(self, *, filters: Iterable[str] = ()) -> list[Volume]:
        """Return the volumes, by name. Raises UsageError for a bad filter."""
        return volumes.find(self.drivers, filters)

    def describe_volume(self, volume: Volume) -> dict[str, Any]:
        """Return a volume in Docker's words."""
        return volumes.describe(self.drivers, volume)

    def inspect_volume(self, name: str) -> dict[str, Any]:
        """Return a volume in Docker's words, and the containers that have it. Raises NotFound."""
        return volumes.inspect(self.drivers, name)

    def remove_volume(self, name: str) -> None:
        """Delete a volume and its files. Raises NotFound, Conflict when containers have it."""
        mounting.remove_volume(self.drivers, name)

    def prune_volumes(self, *, all: bool = False, filters: Iterable[str] = ()) -> PrunedVolumes:
        """Delete the anonymous volumes, or ``all``, that no container has. Raises UsageError for a bad filter."""
        return volumes.prune(self.drivers, all=all, filters=filters)
