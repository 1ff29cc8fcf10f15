"""What has happened, as the log keeps it: Docker's types, actions and attributes (docs.docker.com, docker events)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from bento.model.container import Container

CONTAINER: Final = "container"
IMAGE: Final = "image"
VOLUME: Final = "volume"
NETWORK: Final = "network"
POD: Final = "pod"
"""As Podman has it: Docker has no pods."""
UNKNOWN_CODE: Final = -1
"""An exit code that was not seen, as ``inspect`` has it."""
TYPES: Final = (CONTAINER, IMAGE, NETWORK, POD, VOLUME)


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that has happened to a container, an image, a volume, a network or a pod.

    ``sequence`` is given by the log: a later event has a greater one, and none is given twice. ``unix_ns`` is when it
    happened, which of an end that was seen later is before the time of events with a lesser sequence.
    """

    type: str
    action: str  # "start", "exec_create: ls -l"
    actor: str  # the full id of a container, an image or a pod, the name of what has no id
    unix_ns: int
    attributes: dict[str, str] = {}
    sequence: int = 0


class Deed(Struct, frozen=True, kw_only=True):
    """Something that was done to a container, or seen of it, which its record does not say.

    The log adds name, image and labels. ``unix_ns`` 0 is now.
    """

    action: str
    attributes: dict[str, str] = {}
    unix_ns: int = 0


def of_container(container: Container, deed: Deed, now_ns: int) -> Event:
    """Return what is logged of a deed, as Docker has it: labels, then ``image`` and ``name``, then its own words."""
    own = {"image": container.spec.image, "name": container.name}
    return Event(
        type=CONTAINER,
        action=deed.action,
        actor=container.id,
        unix_ns=deed.unix_ns or now_ns,
        attributes=container.spec.labels | own | deed.attributes,
    )
