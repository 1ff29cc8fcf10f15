"""An image: one element of ``inspect``, a step of ``history``, a line of ``images``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bento.docker.words import Now, ago, image_names, labels_text, one_line, short_image_id, size_text, time_text
from bento.model import reference
from bento.model.disk import ImageUsage
from bento.model.image import HistoryStep, Image
from bento.oci.image_writing import runtime_words
from bento.units import rfc3339

FIELDS: Final = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
    "Labels": "LABELS",
}
"""What a template is given of each name of an image, and the header of each in a table."""
HISTORY_FIELDS: Final = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
    "Author": "AUTHOR",
    "Layer": "LAYER",
}
"""The same of each step of a history."""
MISSING: Final = "<missing>"
"""The id of a step that made no image of its own."""


def inspect(image: Image, containers: Sequence[str]) -> dict[str, Any]:
    """Return an image as one element of ``inspect``'s array. ``containers``: the names of those made from it."""
    named = [(name, *reference.split(name)) for name in image.names]
    return {
        "Id": image.id,
        "RepoTags": [reference.familiar(name) for name, _, tag, _ in named if tag],
        "RepoDigests": sorted(
            {f"{repository}@{digest or image.digest}" for _, repository, _, digest in named if digest or image.digest}
        ),
        "Comment": image.history[-1].comment if image.history else "",
        "Created": rfc3339(image.created_unix_ns),
        "Author": image.author,
        "Config": runtime_words(image.config),
        "Architecture": image.architecture,
        "Variant": image.variant,
        "Os": image.os,
        "Size": image.size_bytes,
        "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": ":".join(image.layers)}},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Digest": image.digest,
        "LayerDigests": list(image.layer_digests),
        "LayerSizes": list(image.layer_sizes_bytes),
        "Containers": list(containers),
    }


def fields(usage: ImageUsage, now: Now, *, is_whole: bool) -> list[dict[str, object]]:
    """Return what a template is given of each name. ``is_whole``: the id is not cut short."""
    image = usage.image
    common: dict[str, object] = {
        "ID": image.id if is_whole else short_image_id(image.id),
        "CreatedSince": ago(image.created_unix_ns, now),
        "CreatedAt": time_text(image.created_unix_ns),
        "Size": size_text(image.size_bytes),
        "SharedSize": size_text(usage.shared_bytes),
        "UniqueSize": size_text(usage.unique_bytes),
        "Containers": len(usage.containers),
        "Labels": labels_text(image.config.labels),
    }
    return [
        {"Repository": repository, "Tag": tag, "Digest": digest, **common}
        for repository, tag, digest in image_names(image.names, image.digest)
    ]


def history_fields(step: HistoryStep, row: Sequence[str]) -> dict[str, object]:
    """Return what a template is given of a step. ``row``: the step as the table shows it."""
    names = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
    shown: dict[str, object] = dict(zip(names, row, strict=True))
    return shown | {
        "CreatedAt": time_text(step.created_unix_ns),
        "Author": one_line(step.author),
        "Layer": step.diff_id,
    }
