"""Which events a follower wants: ``--filter KEY=VALUE`` of ``events``, as Docker has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from bento.engine.base.filters import has_label, split
from bento.errors import UsageError
from bento.model.event import CONTAINER, IMAGE, NETWORK, TYPES, VOLUME, Event
from bento.model.reference import complete

Passes = Callable[[Event], bool]

_OF_DOCKER: Final = ("builder", "config", "daemon", "node", "plugin", "secret", "service")
"""Types of which this engine has nothing; scripts ask for them all the same."""


def parse_filters(filters: Iterable[str]) -> Passes:
    """Return a test of whether an event is wanted: values of one key are alternatives, but labels.

    Raises UsageError for a bad filter.
    """
    wanted = split(filters, _TESTS)
    for value in wanted.get("type", ()):
        if value not in (*TYPES, *_OF_DOCKER):
            raise UsageError(f"bad filter 'type={value}'", hint=f"use one of {', '.join(TYPES)}")

    def passes(event: Event) -> bool:
        return all(
            (all if key == "label" else any)(_TESTS[key](event, value) for value in values)
            for key, values in wanted.items()
        )

    return passes


def _is_called(event: Event, value: str) -> bool:
    """``exec_start`` and ``health_status`` are also those with more behind the colon."""
    return event.action == value or (":" not in value and event.action.partition(":")[0] == value)


def _is_container(event: Event, value: str) -> bool:
    is_it = event.attributes.get("name") == value or (bool(value) and event.actor.startswith(value))
    return event.type == CONTAINER and is_it


def _is_image(event: Event, value: str) -> bool:
    """An image itself, or a container that was made from it; by any name, with its tag or without, or its id."""
    if event.type not in (CONTAINER, IMAGE):
        return False
    names = {event.attributes.get("image" if event.type == CONTAINER else "name", "")}
    if event.type == IMAGE:
        names.add(event.actor)
        digits = value.removeprefix("sha256:")
        if digits and event.actor.removeprefix("sha256:").startswith(digits):
            return True
    names |= {name.rpartition(":")[0] for name in names if "/" not in name.rpartition(":")[2]}
    return value in names or complete(value) in map(complete, filter(None, names))


def _is_network(event: Event, value: str) -> bool:
    is_it = event.attributes.get("name") == value or (bool(value) and event.actor.startswith(value))
    return event.type == NETWORK and is_it


def _is_named(type: str) -> Callable[[Event, str], bool]:
    return lambda event, value: event.type == type and event.actor == value


_TESTS: Final[dict[str, Callable[[Event, str], bool]]] = {
    "container": _is_container,
    "event": _is_called,
    "image": _is_image,
    "label": lambda event, value: has_label(event.attributes, value),
    "network": _is_network,
    "type": lambda event, value: event.type == value,
    "volume": _is_named(VOLUME),
}
