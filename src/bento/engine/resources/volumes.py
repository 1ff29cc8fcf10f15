"""``volume create|ls|inspect|rm|prune``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bento.docker import volume as docker_volume
from bento.engine.base.filters import has_label, split
from bento.engine.base.happened import tell_of_prune
from bento.engine.resources import mounting
from bento.errors import Conflict, NotFound, UsageError
from bento.model.container import VOLUME
from bento.model.disk import PrunedVolumes
from bento.model.event import VOLUME as VOLUME_TYPE
from bento.model.volume import ANONYMOUS, DRIVER, Volume
from bento.units import new_id, parse_name

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_OPTIONS = ("type", "o", "device")
_TRUE, _FALSE = ("true", "1"), ("false", "0")


def create(
    drivers: Drivers, name: str = "", labels: dict[str, str] | None = None, options: dict[str, str] | None = None
) -> Volume:
    """Make a volume, empty; without a name one of 64 digits, anonymous. One that is there already is returned as it is.

    ``options``: see ``Volume``. Raises UsageError for the name and the options, StorageUnusable.
    """
    _check_options(options or {})
    drivers.storage.check()
    is_anonymous = not name or ANONYMOUS in (labels or {})
    name = parse_name(name) if name else new_id()
    return mounting.ensure(drivers, name, labels=labels, options=options, anonymous=is_anonymous)


def _check_options(options: dict[str, str]) -> None:
    for key in options:
        if key not in _OPTIONS:
            raise UsageError(f"unknown option {key!r} of a volume", hint=f"use {', '.join(_OPTIONS)}")
    if not options:
        return
    kind, mounted = options.get("type", ""), options.get("o", "").split(",")
    is_bind = not {"bind", "rbind"}.isdisjoint(mounted)
    if not kind and not is_bind:
        raise UsageError("a volume with options needs a type", hint="such as -o type=tmpfs, or -o o=bind")
    device = options.get("device", "")
    if not device and (kind != "tmpfs" or is_bind):
        raise UsageError("a volume with options needs a device", hint="such as -o device=/srv/data")
    if is_bind and not device.startswith("/"):
        raise UsageError(f"{device!r} is not an absolute path", hint="bind takes a directory of this machine")


def find(drivers: Drivers, filters: Iterable[str] = ()) -> list[Volume]:
    """Return the volumes that pass all filters, by name. Raises UsageError for a bad filter."""
    passes = _parse_filters(filters, _FILTERS)
    used = _used(drivers)
    return [volume for volume in drivers.store.list_volumes() if passes(volume, volume.name in used)]


def inspect(drivers: Drivers, name: str) -> dict[str, Any]:
    """Return a volume in Docker's words, and the containers that use it. Raises NotFound."""
    volume = drivers.store.find_volume(name)
    return docker_volume.inspect(volume, str(drivers.volumes.path(name)), mounting.users(drivers, name))


def describe(drivers: Drivers, volume: Volume) -> dict[str, Any]:
    """Return what Docker says of a volume."""
    return docker_volume.describe(volume, str(drivers.volumes.path(volume.name)))


def check_filters(filters: Iterable[str]) -> None:
    """Raise UsageError for a filter that a prune of volumes does not know."""
    _parse_filters(filters, _PRUNE_FILTERS)


def prune(drivers: Drivers, *, all: bool = False, filters: Iterable[str] = ()) -> PrunedVolumes:
    """Remove the anonymous volumes, or ``all``, that no container has. Raises UsageError for a bad filter."""
    passes = _parse_filters(filters, _PRUNE_FILTERS)
    used = _used(drivers)
    names, freed_bytes = [], 0
    for volume in drivers.store.list_volumes():
        if volume.name in used or not (all or volume.anonymous) or not passes(volume, False):
            continue
        size_bytes = drivers.volumes.size_bytes(volume.name)
        try:
            mounting.remove_volume(drivers, volume.name)
        except (Conflict, NotFound):  # a container has begun to use it, or another command was quicker
            continue
        names.append(volume.name)
        freed_bytes += size_bytes
    tell_of_prune(drivers, VOLUME_TYPE, freed_bytes)
    return PrunedVolumes(names=tuple(names), freed_bytes=freed_bytes)


def _used(drivers: Drivers) -> set[str]:
    return {m.source for container in drivers.store.list() for m in container.spec.files.mounts if m.kind == VOLUME}


_Test = Callable[[Volume, bool, str], bool]  # a volume, whether a container has it, and the filter's value


def _is_dangling(_: Volume, is_used: bool, value: str) -> bool:
    if value not in _TRUE + _FALSE:
        raise UsageError(f"bad filter 'dangling={value}'", hint="use dangling=true or dangling=false")
    return is_used == (value in _FALSE)


_FILTERS: dict[str, _Test] = {
    "dangling": _is_dangling,
    "driver": lambda volume, is_used, value: value == DRIVER,
    "label": lambda volume, is_used, value: has_label(volume.labels, value),
    "label!": lambda volume, is_used, value: not has_label(volume.labels, value),
    "name": lambda volume, is_used, value: value in volume.name,
}
_PRUNE_FILTERS = {key: _FILTERS[key] for key in ("label", "label!")}


def _parse_filters(filters: Iterable[str], known: dict[str, _Test]) -> Callable[[Volume, bool], bool]:
    """Return a test of whether a volume passes; values of one key are alternatives, but labels. Raises UsageError."""
    wanted = split(filters, known)
    for key, values in wanted.items():
        for value in values:
            known[key](Volume(name="", created_unix_ns=0), False, value)  # a value that means nothing is refused now

    def passes(volume: Volume, is_used: bool) -> bool:
        return all(
            (all if key.startswith("label") else any)(known[key](volume, is_used, value) for value in values)
            for key, values in wanted.items()
        )

    return passes
