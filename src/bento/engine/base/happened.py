"""What a verb logs beside its changes of records, which the store logs by itself: see ``StateStore``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bento import clock, log
from bento.errors import BentoError
from bento.model.event import CONTAINER, IMAGE, Deed, Event, of_container

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container
    from bento.model.image import Image


def tell(drivers: Drivers, *events: Event) -> None:
    """Log what has happened. It has happened: a log that cannot be written is a warning."""
    try:
        drivers.store.log(events)
    except BentoError as error:
        log.warning(f"not logged: {', '.join(f'{event.type} {event.action}' for event in events)}: {error}")


def tell_of(drivers: Drivers, container: Container, action: str, **attributes: str) -> None:
    """Log what was done to a container, or seen of it."""
    tell(drivers, of_container(container, Deed(action=action, attributes=attributes), clock.wall_ns()))


def tell_of_id(drivers: Drivers, container_id: str, action: str, **attributes: str) -> None:
    """The same by its id: of one that is gone, or cannot be read, that is all that is logged of it."""
    try:
        container = drivers.store.get(container_id)
    except BentoError:
        now_ns = clock.wall_ns()
        tell(drivers, Event(type=CONTAINER, action=action, actor=container_id, unix_ns=now_ns, attributes=attributes))
    else:
        tell_of(drivers, container, action, **attributes)


def tell_of_ref(drivers: Drivers, ref: str, action: str) -> None:
    """The same by what it is called; nothing where it has gone meanwhile."""
    with suppress(BentoError):
        tell_of(drivers, drivers.store.find(ref), action)


def tell_of_images(drivers: Drivers, refs: Iterable[str], action: str) -> None:
    """The same of images."""
    for ref in refs:
        with suppress(BentoError):
            tell(drivers, of_image(drivers.store.find_image(ref), action))


def tell_of_prune(drivers: Drivers, kind: str, freed_bytes: int) -> None:
    """Log the end of a prune, as Docker has it: how many bytes it has freed, and of nothing in particular."""
    attributes = {"reclaimed": str(freed_bytes)}
    tell(drivers, Event(type=kind, action="prune", actor="", unix_ns=clock.wall_ns(), attributes=attributes))


def of_image(image: Image, action: str, name: str = "", *, actor: str = "") -> Event:
    """Return what is logged of an image: its labels, and ``name``, its id where it has none."""
    return Event(
        type=IMAGE,
        action=action,
        actor=actor or image.id,
        unix_ns=clock.wall_ns(),
        attributes=image.config.labels | {"name": name or image.id},
    )
