"""Which containers are listed: ``--filter KEY=VALUE`` of ``ps`` and ``stop``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bento.engine.base.filters import has_label, split
from bento.errors import NotFound, UsageError
from bento.lazy import LazyModule
from bento.model.container import Container, Status
from bento.model.health import HealthStatus
from bento.model.network import BUILTIN
from bento.model.reference import complete, familiar

if TYPE_CHECKING:
    from bento.drivers.state.base import StateStore
    from bento.parse import ports as port_words
else:  # most filters are of no port
    port_words = LazyModule("bento.parse.ports")

_ID_DIGITS_MIN = 12  # what listings show of an id: fewer are a word


def parse_filters(store: StateStore, filters: Iterable[str]) -> Callable[[Container], bool]:
    """Return a test of whether a container passes all ``--filter KEY=VALUE``.

    Values of one key are alternatives, but labels.

    Keys: id, name (a regular expression), status, label (KEY or KEY=VALUE), ``label!`` (does not have it), ancestor,
    before and since (a container), exited, health, network, pod, publish (a port of this machine, while it runs) and
    expose (one of the container), also ranges of them, volume (a mount's source or destination), isolation, is-task; as
    in Docker. Raises UsageError, NotFound for such a container, Conflict for an ancestor that may be several images.
    """
    wanted = split(filters, _FILTERS)
    for key, values in wanted.items():
        for value in values:
            _CHECKS.get(key, _take_all)(value)
    created_ns = {
        value: store.find(value).created_unix_ns for key in ("before", "since") for value in wanted.get(key, ())
    }
    networks = {value: _network(store, value) for value in wanted.get("network", ())}
    pods = {value: _pod(store, value) for value in wanted.get("pod", ())}
    ports = {value: frozenset(port_words.parse_expose(value)) for key in _PORTS for value in wanted.get(key, ())}
    families = {value: _family(store, value) for value in wanted.get("ancestor", ())}

    def fits(container: Container, key: str, value: str) -> bool:
        if key == "ancestor" and (family := families[value]):
            return container.spec.image_id in family
        if key == "network":
            return _has_network(container, networks[value])
        if key == "pod":
            return bool(container.spec.pod) and container.spec.pod == pods[value]
        if key in _PORTS:
            return not ports[value].isdisjoint(_PORTS[key](container))
        if key in ("before", "since"):
            age_ns = container.created_unix_ns - created_ns[value]
            return age_ns < 0 if key == "before" else age_ns > 0
        return _FILTERS[key](container, value)

    def passes(container: Container) -> bool:
        return all(
            (all if key.startswith("label") else any)(fits(container, key, value) for value in values)
            for key, values in wanted.items()
        )

    return passes


def names(store: StateStore, kind: str) -> list[str]:
    """Return the recorded names of all things of a kind: container, image, volume, network or pod."""
    match kind:
        case "container":
            return sorted(container.name for container in store.list())
        case "image":
            return sorted(familiar(name) for image in store.list_images() for name in image.names)
        case "volume":
            return sorted(volume.name for volume in store.list_volumes())
        case "network":
            return sorted([*BUILTIN, *(network.name for network in store.list_networks())])
        case "pod":
            return sorted(pod.name for pod in store.list_pods())
        case _:
            return []


def _pod(store: StateStore, ref: str) -> str:
    """Return the id of a pod; "" where there is none."""
    try:
        return store.find_pod(ref).id
    except NotFound:
        return ""


def _network(store: StateStore, ref: str) -> str:
    """Return the name of a network that is called so, or has this id; what it is called where there is none."""
    try:
        return store.find_network(ref).name
    except NotFound:
        return ref


def _has_network(container: Container, value: str) -> bool:
    if value in ({asked.network for asked in container.spec.networks} or {container.spec.network}):
        return True
    connections = container.run.connections if container.run and len(value) >= _ID_DIGITS_MIN else ()
    return any(connection.network_id.startswith(value) for connection in connections)


def _family(store: StateStore, ref: str) -> set[str]:
    """Return the ids of an image and of those that were built upon its layers; empty when it is not known."""
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
    return any(value in (mount.source, mount.destination) for mount in container.spec.files.mounts)


def _published(container: Container) -> set[str]:
    run = container.run if container.status.is_live else None
    return {f"{port.host_port}/{port.protocol}" for port in (run.ports if run else ()) if port.host_port}


def _exposed(container: Container) -> set[str]:
    """Those of what runs, on a network, as they are listed."""
    run = container.run if container.status.is_live else None
    own = container.spec.ports.exposed if run and run.connections else ()
    return {*(port.inside for port in (run.ports if run else ())), *own}


def _check_health(value: str) -> None:
    if value not in _HEALTH:
        raise UsageError(f"bad filter 'health={value}'", hint=f"use one of {', '.join(_HEALTH)}")


def _is_health(container: Container, value: str) -> bool:
    status = container.health_status
    return value == (status.value if status else _NO_HEALTH)


def _take_all(value: str) -> None:
    pass


def _check_name(value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        raise UsageError(f"bad filter 'name={value}': {error}", hint="it is a regular expression") from None


def _check_status(value: str) -> None:
    if value not in _STATUSES:
        raise UsageError(f"bad filter 'status={value}'", hint=f"use one of {', '.join(_STATUSES)}")


def _check_is_task(value: str) -> None:
    if value not in ("true", "false", "1", "0"):
        raise UsageError(f"bad filter 'is-task={value}'", hint="use is-task=true or is-task=false")


def _check_exited(value: str) -> None:
    if not re.fullmatch(r"-?\d{1,10}", value, re.ASCII):
        raise UsageError(f"bad filter 'exited={value}'", hint="give an exit code, such as 137")


_NEVER = ("dead", "removing")  # Docker's, in which no container of Bento is; scripts ask for them all the same
_STATUSES = (*(status.value for status in Status), "exited", *_NEVER)
_NO_HEALTH = "none"
_HEALTH = (*(status.value for status in HealthStatus), _NO_HEALTH)
_CHECKS = {
    "name": _check_name, "status": _check_status, "exited": _check_exited, "health": _check_health,
    "is-task": _check_is_task,
}  # fmt: skip
_PORTS: dict[str, Callable[[Container], set[str]]] = {"publish": _published, "expose": _exposed}
_FILTERS: dict[str, Callable[[Container, str], bool]] = {
    "id": lambda c, value: c.id.startswith(value),
    "name": lambda c, value: re.search(value, c.name) is not None or re.search(value, f"/{c.name}") is not None,
    "status": lambda c, value: c.status.value == ("stopped" if value == "exited" else value),
    "label": lambda c, value: has_label(c.spec.labels, value),
    "label!": lambda c, value: not has_label(c.spec.labels, value),
    "ancestor": _has_ancestor,
    "before": lambda c, value: False,  # parse_filters knows when that one was made
    "since": lambda c, value: False,
    "exited": _has_exited_with,
    "health": _is_health,
    "network": lambda c, value: False,  # parse_filters knows what it is called
    "pod": lambda c, value: False,  # parse_filters knows which one it is
    "publish": lambda c, value: False,  # parse_filters has read the ports
    "expose": lambda c, value: False,
    "isolation": lambda c, value: value == "default",  # the others are Windows'
    "is-task": lambda c, value: value in ("false", "0"),  # a swarm's
    "volume": _has_mount,
}
