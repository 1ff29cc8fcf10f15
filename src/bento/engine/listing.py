"""Which containers are listed: ``--filter KEY=VALUE`` of ``ps`` and ``stop``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bento.engine.filters import has_label, split
from bento.errors import NotFound
from bento.model.container import Container
from bento.model.reference import complete

if TYPE_CHECKING:
    from bento.drivers.state.base import StateStore

_ID_DIGITS_MIN = 12  # what listings show of an id: fewer are a word


def parse_filters(store: StateStore, filters: Iterable[str]) -> Callable[[Container], bool]:
    """Return what tells whether a container passes all ``--filter KEY=VALUE``; values of one key are alternatives.

    Keys: id, name, status, label (KEY or KEY=VALUE), ancestor, exited, volume (a mount's source or
    destination); as in Docker. Raises UsageError, and Conflict for an ancestor that may be several images.
    """
    wanted = split(filters, _FILTERS)
    families = {value: _family(store, value) for value in wanted.get("ancestor", ())}

    def fits(container: Container, key: str, value: str) -> bool:
        if key == "ancestor" and (family := families[value]):
            return container.spec.image_id in family
        return _FILTERS[key](container, value)

    def passes(container: Container) -> bool:
        return all(any(fits(container, key, value) for value in values) for key, values in wanted.items())

    return passes


def _family(store: StateStore, ref: str) -> set[str]:
    """Return the ids of an image and of those that were built upon its layers; empty when nobody knows it."""
    try:
        first = store.find_image(ref)
    except NotFound:
        return set()
    count = len(first.diff_ids)
    built_upon = (other.id for other in store.list_images() if count and other.diff_ids[:count] == first.diff_ids)
    return {first.id, *built_upon}


def _has_ancestor(container: Container, value: str) -> bool:
    """For an image that is not, or no longer, known by this name: what the container was made by."""
    spec = container.spec
    if spec.image_id == value or (len(value) >= _ID_DIGITS_MIN and spec.image_id.startswith(f"sha256:{value}")):
        return True
    return complete(spec.image) == complete(value)


def _has_exited_with(container: Container, value: str) -> bool:
    return container.exit is not None and str(container.exit.code) == value


def _has_mount(container: Container, value: str) -> bool:
    return any(value in (mount.source, mount.destination) for mount in container.spec.mounts)


_FILTERS: dict[str, Callable[[Container, str], bool]] = {
    "id": lambda c, value: c.id.startswith(value),
    "name": lambda c, value: value in c.name,
    "status": lambda c, value: c.status.value == ("stopped" if value == "exited" else value),
    "label": lambda c, value: has_label(c.spec.labels, value),
    "ancestor": _has_ancestor,
    "exited": _has_exited_with,
    "volume": _has_mount,
}
