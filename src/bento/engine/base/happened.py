"""What a verb logs beside its changes of records, which the store logs by itself: see ``StateStore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento import clock, log
from bento.errors import BentoError
from bento.model.event import IMAGE, Deed, Event, of_container

if TYPE_CHECKING:
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


def of_image(image: Image, action: str, name: str = "", *, actor: str = "") -> Event:
    """Return what is logged of an image: its labels, and ``name``, its id where it has none."""
    return Event(
        type=IMAGE,
        action=action,
        actor=actor or image.id,
        unix_ns=clock.wall_ns(),
        attributes=image.config.labels | {"name": name or image.id},
    )


def of_prune(kind: str, freed_bytes: int) -> Event:
    """Return what is logged at the end of a prune: how many bytes it has freed."""
    return Event(
        type=kind, action="prune", actor="", unix_ns=clock.wall_ns(), attributes={"reclaimed": str(freed_bytes)}
    )
