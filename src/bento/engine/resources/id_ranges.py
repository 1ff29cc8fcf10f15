"""Which ids of the machine a container with a user namespace of its own gets: none that another container has.

They are what the configuration gives to Bento (``userns_ids``), and taken as soon as the record has them: until it is
removed, whatever becomes of the container, or of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.errors import BentoError, Conflict, UsageError
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import ContainerSpec
    from bento.model.create import CreateOptions
    from bento.model.namespaces import mapping as mappings
    from bento.model.namespaces.mapping import IdMapping
    from bento.parse import id_ranges
    from bento.parse.id_ranges import Span
else:  # few containers have ids of their own
    mappings, id_ranges = LazyModule("bento.model.namespaces.mapping"), LazyModule("bento.parse.id_ranges")

_LOCK: Final = "ids"
_FILES: Final = ("/etc/subuid", "/etc/subgid")
_SOME_ID: Final = 65534
_mapping_roots: Final[set[Path]] = set()
"""Those below which ids can be mapped."""


@contextmanager
def held(drivers: Drivers, options: CreateOptions) -> Iterator[None]:
    """Have no other command give ids away until the record says what this one gives, where it is to give some."""
    if options.namespaces.user in ("", "host") or options.namespaces.ids is not None:
        yield
        return
    with drivers.locks.hold(_LOCK, LOCK_TIMEOUT_S):
        yield


def given(drivers: Drivers, spec: ContainerSpec) -> ContainerSpec:
    """Return the spec with ids where it is to have some of its own. Within ``held``.

    Raises UsageError: none are given to Bento; Conflict: all are taken; StorageUnusable: the kernel cannot map them.
    """
    if spec.namespaces.ids is not None:  # its pod's
        return spec
    size = id_ranges.parse_userns(spec.namespaces.user)
    if not size:
        return spec
    first_uid, first_gid = (_free(drivers, number, size) for number in (0, 1))
    ids = mappings.IdMapping(uids=(mappings.IdRange(0, first_uid, size),), gids=(mappings.IdRange(0, first_gid, size),))
    check(drivers, ids)
    return replace(spec, namespaces=replace(spec.namespaces, ids=ids))


def check(drivers: Drivers, ids: IdMapping) -> None:
    """Try whether a root filesystem can be shown with these ids. Some milliseconds.

    Raises StorageUnusable, KernelError, MissingTool.
    """
    namespace_fd = drivers.ids.namespace(ids)
    try:
        drivers.storage.check_mapped(namespace_fd, ids.root)
    finally:
        os.close(namespace_fd)


def can_map(drivers: Drivers) -> bool:
    """Whether user namespaces can be had here. Once it has been seen, it is not tried again in this process."""
    if drivers.root not in _mapping_roots:
        one = (mappings.IdRange(0, _SOME_ID, 1),)
        try:
            check(drivers, mappings.IdMapping(uids=one, gids=one))
        except BentoError:
            return False
        _mapping_roots.add(drivers.root)
    return True


def _free(drivers: Drivers, number: int, size: int) -> int:
    """Return the first of so many free ids, of users (0) or groups (1)."""
    spans = _spans(drivers, _FILES[number])
    taken = [(one.outside, one.size) for ids in _recorded(drivers) for one in ((ids.uids, ids.gids)[number])]
    first = id_ranges.first_free(spans, taken, size)
    if first is None:
        raise Conflict(
            f"there are no {size} ids left for a user namespace",
            hint="remove a container that has one, ask for fewer by auto:size=N, or give Bento more: userns_ids",
        )
    return first


def _spans(drivers: Drivers, path: str) -> list[Span]:
    wanted = drivers.settings.userns_ids
    span = id_ranges.parse_span(wanted)
    if span is not None:
        return [span]
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            spans = id_ranges.spans_of(wanted, file.read())
    except FileNotFoundError:
        spans = []
    if not spans:
        raise UsageError(
            f"there are no ids for --userns auto: {path} gives none to {wanted!r}",
            hint=f"add the line {wanted}:2147483648:1048576 there, or set userns_ids = 'FIRST:COUNT'",
        )
    return spans


def _recorded(drivers: Drivers) -> Iterator[IdMapping]:
    """Yield what every container and pod on record has, whether it runs or not. Raises StateCorrupt."""
    for pod in drivers.store.list_pods():
        if pod.settings.ids is not None:
            yield pod.settings.ids
    for container in drivers.store.list():
        if container.spec.namespaces.ids is not None:
            yield container.spec.namespaces.ids
