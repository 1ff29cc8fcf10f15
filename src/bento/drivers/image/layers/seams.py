"""Seams: what a layer leaves to those below it, laid on it as a thin layer of its own.

A layer's archive may name ``tmp/file`` without naming ``tmp``. Applied to the layers below, as the image-spec has it,
``tmp`` stays as it was: its mode, its owner, and when it is a symbolic link, ``file`` goes where it leads. But a layer
is unpacked alone, to be shared by all images that have it, and there such an *implied* directory is root's, and hides
what lies below. A seam on top of that layer has these directories as those below have them, and what went through a
link in its right place, as hard links to the files of the layer.

Most images need none. A seam is named by the layers it was made of, so that it is found again, and shared.
"""

from __future__ import annotations

import errno
import hashlib
import stat
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from bento.drivers.image.layers.apply import Applied, Node
from bento.drivers.image.layers.lookup import Stacked, is_directory
from bento.drivers.image.layers.metadata import LayerMetadata
from bento.drivers.image.layers.seam_writer import Look, SeamWriter
from bento.drivers.image.layers.whiteouts import deletions_only, is_opaque
from bento.errors import UsageError


def seam_name(layers: Iterable[str]) -> str:
    """Return what the seam on top of these layers, by their DiffIDs and lowest first, is called."""
    return hashlib.sha256("\n".join(("seam", *layers)).encode()).hexdigest()


def make_seam(
    layer: Path,
    metadata: LayerMetadata,
    below: Sequence[Path],
    target: Path,
    entries: Iterable[tarfile.TarInfo],
    look: Look,
) -> LayerMetadata | None:
    """Fill the new directory ``target`` with what must lie on ``layer``; return what it is, None when nothing must.

    ``below``: directories of all that lies under the layer, topmost first, seams too. ``entries``: what the layer was
    unpacked from, read once more only when the layer goes through a link. ``look`` is called now and then, and may
    raise. Raises OSError, UsageError.
    """
    stacked = Stacked(below)
    try:
        if goes_through_links := _goes_through_links(metadata, stacked):
            nodes = _applied(layer, metadata, stacked, entries)
        else:
            nodes = _described_below(layer, metadata, stacked)
        if not SeamWriter(layer, stacked, target, nodes).write(look):
            return None
        is_opaque = nodes[""].is_cut if goes_through_links else metadata.is_opaque
        return LayerMetadata(size_bytes=0, is_opaque=is_opaque)
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EMLINK):
            raise
        raise UsageError(f"a layer cannot be laid on those below it: {error.strerror}") from None


def _goes_through_links(metadata: LayerMetadata, below: Stacked) -> bool:
    """Whether what lies in a directory of the layer may belong to where a link of the layers below leads."""
    found = (below.find(path) for path in sorted({*metadata.implied, *metadata.once_implied}))
    return any(each is not None and stat.S_ISLNK(each.lstat().st_mode) for each in found)


def _described_below(layer: Path, metadata: LayerMetadata, below: Stacked) -> dict[str, Node]:
    """Return what the layer only has as directories that it does not describe, and those below it know better."""
    nodes = {}
    alone = Stacked((layer,))
    hiding = {"": metadata.is_opaque}
    for path in metadata.implied:
        if path and _hides(layer, path.rpartition("/")[0], hiding):
            continue
        if is_directory(found := below.find(path)):
            nodes[path] = Node(is_directory=True, model=found)
        elif found is not None and _is_in_vain(alone.find(path)):
            nodes[path] = Node(model=found)  # there was nothing to delete: a file stays what it is
    return nodes


def _is_in_vain(own: Path | None) -> bool:
    """Whether a layer has a directory for deletions alone."""
    return own is not None and is_directory(own) and deletions_only(own) is not None


def _hides(layer: Path, path: str, known: dict[str, bool]) -> bool:
    """Whether the layer hides what lies below in a directory: that one is opaque, or one that it is in."""
    if path not in known:
        known[path] = _hides(layer, path.rpartition("/")[0], known) or is_opaque(layer / path)
    return known[path]


def _applied(
    layer: Path, metadata: LayerMetadata, below: Stacked, entries: Iterable[tarfile.TarInfo]
) -> dict[str, Node]:
    """Return what the layer comes to, and what hides what it has elsewhere, alone."""
    applied = Applied(layer, below)
    for entry in entries:
        applied.apply(entry)
    nodes = applied.nodes()
    for path in sorted({*metadata.implied, *metadata.once_implied}):
        parent = nodes.get(path.rpartition("/")[0])
        if path not in nodes and parent is not None and parent.is_directory:
            found = None if _is_hidden(nodes, path) else below.find(path)
            if is_directory(found):
                raise _unclear(path)
            nodes[path] = Node(model=found)
    for path in sorted(set(applied.elsewhere)):
        if path in nodes or _is_covered(nodes, path):
            continue
        if below.find(path) is not None:
            raise _unclear(path)
        nodes[path] = Node()
    alone = Stacked((layer,))
    for path, node in nodes.items():
        is_merged = node.is_directory and not node.is_cut and is_directory(below.find(path))
        if is_merged and _is_in_the_way(alone, path) and not _is_covered(nodes, path):
            raise _unclear(path)
    return nodes


def _is_in_the_way(layer: Stacked, path: str) -> bool:
    """Whether what lies below a layer at a place is not seen through what it has there."""
    own = layer.find(path)
    return layer.has_deletion(path) if own is None else not is_directory(own) or is_opaque(own)


def _unclear(path: str) -> UsageError:
    """For what only a link of the layer itself can do, when one of a layer below leads to its place."""
    return UsageError(f"{path!r} is here and elsewhere, by links that were replaced", hint="build the image anew")


def _is_hidden(nodes: dict[str, Node], path: str) -> bool:
    """Whether one of the directories that something lies in hides what lies below."""
    while path:
        path = path.rpartition("/")[0]
        if nodes[path].is_cut:
            return True
    return False


def _is_covered(nodes: dict[str, Node], path: str) -> bool:
    """Whether nothing that the layer has at a place is to be seen, since something else is above it."""
    while path := path.rpartition("/")[0]:
        node = nodes.get(path)
        if node is not None and (node.is_cut or not node.is_directory):
            return True
    return False
