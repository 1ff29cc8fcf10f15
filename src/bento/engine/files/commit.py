"""``commit``: what a container has changed becomes a layer, and with its image's layers a new image."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bento import clock, quiet_threads
from bento.engine.base import freezing
from bento.engine.base.find_image import HOST_REFS
from bento.engine.base.happened import of_image
from bento.engine.files.diff import changes_of
from bento.engine.images import images
from bento.engine.lifecycle import reconcile
from bento.errors import BentoError, Conflict, InternalError, NotFound, UsageError, as_bento_error
from bento.files.tarout import TarWriter
from bento.files.whole import write_all
from bento.model import reference
from bento.model.container import Container
from bento.model.event import Deed, Event, of_container
from bento.model.image import HistoryEntry, Image, ImageConfig
from bento.oci import image as oci
from bento.oci import image_writing
from bento.oci.change import apply_changes
from bento.oci.platform import Platform
from bento.units import signal_name

if TYPE_CHECKING:
    from bento.drivers.image.base import Ingest
    from bento.engine.base.drivers import Drivers
    from bento.files.changes import Changes


class CommitOptions(Struct, frozen=True, kw_only=True):
    """``changes``: instructions as of a Dockerfile; ``pause``: freeze the container while its files are read."""

    changes: tuple[str, ...] = ()
    message: str = ""
    author: str = ""
    pause: bool = True


def commit(drivers: Drivers, ref: str, name: str, options: CommitOptions) -> Image:
    """Make an image of a container, in any state; ``name`` "" leaves it without one. Blocks.

    Raises NotFound, UsageError (name, change, a container of this machine's own files), StorageUnusable, WrongState (it
    was thawed while it was read), Conflict (another commit is at it; it has a path that no image can have); then no
    image is left.
    """
    full = images.new_name(name) if name else ""
    container = reconcile.find(drivers, ref)
    if container.spec.image in HOST_REFS:
        raise UsageError(
            f"container {container.name} stands on this machine's own files, not on an image", hint="use export"
        )
    base = drivers.store.get_image(container.spec.image_id)
    if base is None or not base.digest:
        raise NotFound(f"the image of container {container.name} is not there as a whole", hint="use export and import")
    config = apply_changes(_config(container, base), options.changes)
    with drivers.images.ingest() as ingest:
        try:
            freeze = freezing.frozen(drivers, container) if options.pause else nullcontext()
            with freeze, changes_of(drivers, container) as changes:
                digest = _add_layer(ingest, changes)
        except OSError as error:
            raise as_bento_error(error) from error
        try:
            diff_id = ingest.add_layer(digest)
        except UsageError as error:
            raise Conflict(
                f"container {container.name} holds what no image can have: {error.message}", hint="export keeps it"
            ) from error
        metadata = _metadata(container, base, config, options)
        manifest = _add_manifest(drivers, ingest, base, _Layer(digest, diff_id), metadata)
        made = ingest.commit(
            manifest,
            lambda image: images.record(
                drivers, image, *([full] if full else []), events=_events(container, image, full, options.message)
            ),
        )
    return images.recorded(drivers, made)


def _events(container: Container, image: Image, full: str, comment: str) -> list[Event]:
    """As Docker has it: the image got a name, and was made of the container."""
    name = reference.familiar(full) if full else ""
    attributes = {"comment": comment, "imageID": image.id, "imageRef": name}
    made = of_container(container, Deed(action="commit", attributes=attributes), clock.wall_ns())
    return [*([of_image(image, "tag", name)] if full else []), made]


def _config(container: Container, base: Image) -> ImageConfig:
    """The defaults of the new image are those of the container, as in Docker."""
    spec = container.spec
    return replace(
        base.config,
        entrypoint=spec.entrypoint,
        command=spec.command,
        env=spec.env,
        workdir=spec.workdir if spec.workdir != "/" else base.config.workdir,
        user=spec.user,
        stop_signal=signal_name(spec.stop.signal) if spec.stop.signal is not None else base.config.stop_signal,
        labels=spec.labels,
        healthcheck=spec.health.check,
    )


class _Metadata(Struct, frozen=True):
    """What a configuration says."""

    config: ImageConfig
    created_unix_ns: int
    author: str
    history: tuple[HistoryEntry, ...]


class _Layer(Struct, frozen=True):
    """What the new image has above its base: an archive, and what is in it."""

    digest: str
    diff_id: str


def _metadata(container: Container, base: Image, config: ImageConfig, options: CommitOptions) -> _Metadata:
    now = clock.wall_ns()
    step = HistoryEntry(
        created_unix_ns=now,
        created_by=" ".join(container.spec.argv),
        author=options.author,
        comment=options.message,
    )
    # Others count: as many steps with files as there are layers.
    described = sum(not entry.is_empty_layer for entry in base.history)
    undescribed = (HistoryEntry(),) * max(0, len(base.diff_ids) - described)
    return _Metadata(config, now, options.author or base.author, (*undescribed, *base.history, step))


def _add_layer(ingest: Ingest, changes: Changes) -> str:
    """Write the layer's archive in a thread of its own, to be read here; return its digest."""
    reader, writer = os.pipe()
    outcome: list[BentoError | OSError | None] = []
    thread = quiet_threads.start(partial(_write, changes, writer, outcome), "bento-commit")
    try:
        digest = ingest.add_blob(reader)
    finally:
        os.close(reader)  # should nothing read on, the writer gets EPIPE
        thread.join()
    error = outcome[0] if outcome else InternalError("the layer was not written to its end")
    if error is not None:
        raise error
    return digest


def _write(changes: Changes, fd: int, outcome: list[BentoError | OSError | None]) -> None:
    try:
        tar = TarWriter(partial(write_all, fd))
        tar.add_all(changes.layer(), "")
        tar.close()
        outcome.append(None)
    except (BentoError, OSError) as error:
        outcome.append(error)
    finally:
        os.close(fd)


def _add_manifest(drivers: Drivers, ingest: Ingest, base: Image, layer: _Layer, metadata: _Metadata) -> str:
    """Add configuration and manifest of the new image; return the manifest's digest."""
    diff_ids = (*base.diff_ids, layer.diff_id)
    content = image_writing.write_config(
        metadata.config,
        Platform(base.os, base.architecture, base.variant),
        diff_ids,
        created_unix_ns=metadata.created_unix_ns,
        author=metadata.author,
        history=metadata.history,
    )
    config = oci.Descriptor(oci.OCI_CONFIG, ingest.add_bytes(content), len(content))
    algorithm, _, digits = base.digest.partition(":")
    parsed = oci.parse_manifest((drivers.images.blobs_dir / algorithm / digits).read_bytes())
    below = parsed.layers if isinstance(parsed, oci.Manifest) else ()
    layers = [replace(layer, media_type=oci.oci_type(layer.media_type)) for layer in below]
    layers.append(oci.Descriptor(oci.OCI_LAYER, layer.digest, ingest.blob_size(layer.digest)))
    return ingest.add_bytes(image_writing.write_manifest(config, layers))
