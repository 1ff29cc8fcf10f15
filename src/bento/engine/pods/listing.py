"""Pods as they are now, for people and programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from bento.docker import pod as docker_pod
from bento.engine.base import filters as filter_words
from bento.engine.lifecycle import reconcile
from bento.engine.pods import settle
from bento.errors import UsageError
from bento.model.pods import PodState

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container
    from bento.model.pods import Pod


def pods(drivers: Drivers, filters: Iterable[str] = ()) -> list[Pod]:
    """Return the pods that pass all filters, newest first. Raises UsageError for a bad filter."""
    passes = _parse_filters(filters)
    return [one for one in settle.refresh(drivers, drivers.store.list_pods()) if passes(one)]


def pod(drivers: Drivers, ref: str) -> Pod:
    """Return one pod. Raises NotFound, Conflict."""
    return settle.find(drivers, ref)


def containers(drivers: Drivers, ref: str) -> list[Container]:
    """Return the containers of a pod, oldest first. Raises NotFound, Conflict."""
    found = drivers.store.containers_of_pod(settle.find(drivers, ref).id)
    return reconcile.refresh(drivers, found[::-1])


def inspect(drivers: Drivers, ref: str) -> dict[str, Any]:
    """Return a pod in Podman's words. Raises NotFound, Conflict."""
    found = settle.find(drivers, ref)
    return docker_pod.describe(found, containers(drivers, found.id))


_FILTERS: Final[dict[str, Callable[[Pod, str], bool]]] = {
    "id": lambda one, value: one.id.startswith(value),
    "label": lambda one, value: filter_words.has_label(one.settings.labels, value),
    "label!": lambda one, value: not filter_words.has_label(one.settings.labels, value),
    "name": lambda one, value: value in one.name,
    "network": lambda one, value: one.settings.network == value,
    "status": lambda one, value: one.state.value == value,
}


def _parse_filters(filters: Iterable[str]) -> Callable[[Pod], bool]:
    """Return a test; values of one key are alternatives, but labels. Raises UsageError."""
    wanted = filter_words.split(filters, _FILTERS)
    for value in wanted.get("status", ()):
        if value not in [state.value for state in PodState]:
            raise UsageError(
                f"bad filter 'status={value}'", hint=f"use one of {', '.join(state.value for state in PodState)}"
            )

    def passes(one: Pod) -> bool:
        return all(
            (all if key.startswith("label") else any)(_FILTERS[key](one, value) for value in values)
            for key, values in wanted.items()
        )

    return passes
