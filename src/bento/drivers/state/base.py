"""The store's promise. Every change is one transaction; readers see whole records."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from bento.errors import StateCorrupt
from bento.model.container import Container
from bento.model.event import Deed, Event
from bento.model.image import Image
from bento.model.network import Network
from bento.model.pods import Pod
from bento.model.volume import Volume


class EventWatch(Protocol):
    """Wakes one follower of the events; see ``notices``. ``is_woken`` False: it has to look now and then."""

    is_woken: bool

    def fileno(self) -> int:
        """Return the descriptor, readable when there may be more since the last ``clear``; only to be polled."""

    def clear(self) -> None:
        """Make it unreadable, before the events are read."""

    def close(self) -> None:
        """Watch no more. Idempotent."""


class StateStore(Protocol):
    """Containers, images and networks by id and name, volumes by name. Short blocking calls; safe between processes.

    What a change says has happened is logged as events, in its transaction: an event is there exactly when the change
    is. ``deeds`` and ``events`` are what the records do not say; they are logged with a change that changes something.

    Attributes:
        events_signal: a file; when something closes it that had it open for writing, followers of the events wake.
    """

    events_signal: Path

    def add(self, container: Container) -> None:
        """Store a new container. Raises Conflict when its name or id is taken."""

    def get(self, container_id: str) -> Container:
        """Return the container with this full id, or raise NotFound."""

    def find(self, ref: str) -> Container:
        """Return the container of this name, full id, or unambiguous id prefix.

        A name wins over a prefix. Raises NotFound, or Conflict when the prefix fits several.
        """

    def list(self, *, on_unreadable: Callable[[StateCorrupt], None] | None = None) -> list[Container]:
        """Return all containers, newest first.

        ``on_unreadable`` gets each record that cannot be read, which is left out; without it, that is a warning.
        """

    def requiring(self, container_id: str) -> builtins.list[Container]:
        """Return the containers that require this one, newest first."""

    def modify(
        self, container_id: str, change: Callable[[Container], Container], *, deeds: Iterable[Deed] = ()
    ) -> Container:
        """Read, change and write one container in one transaction; return what was written.

        ``deeds`` are logged after what follows from the change; not when ``change`` returns what it was given.
        ``change`` must be pure: it may run while other processes wait. Its exceptions roll back and come through.
        Raises NotFound, and Conflict when the new name is taken.
        """

    def salvage(self, container_id: str, make: Callable[[str, int], Container]) -> Container:
        """Put what ``make`` returns in the place of a record that cannot be read; return what is there then.

        ``make`` is given its name, and when it was created (UNIX time, ns). Raises NotFound.
        """

    def remove(self, container_id: str) -> None:
        """Forget a container. Idempotent."""

    def put_image(self, image: Image, *, events: Iterable[Event]) -> None:
        """Store an image under its id, in place of what was known of it. It keeps the names that it has, and gets those
        of ``image``: the image that had them before loses them.
        """

    def get_image(self, image_id: str) -> Image | None:
        """Return the image with this full id; None when there is none."""

    def find_image(self, ref: str) -> Image:
        """Return the image of this name, id, or unambiguous id prefix (with or without ``sha256:``); a name wins.

        A name without a registry also finds what came from another one than docker.io, when only one image fits; a name
        with a digest also the image with that manifest and any name in that repository.
        Raises NotFound, Conflict.
        """

    def list_images(self, *, on_unreadable: Callable[[StateCorrupt], None] | None = None) -> builtins.list[Image]:
        """Return all images, newest first. ``on_unreadable``: as in ``list``."""

    def name_image(self, image_id: str, names: Iterable[str], *, events: Iterable[Event]) -> None:
        """Give an image more names, full ones, which others lose. Idempotent. Raises NotFound."""

    def unname_image(self, names: Iterable[str]) -> None:
        """Forget full names of images; what has none left stays, and dangles. Idempotent."""

    def remove_image(self, image_id: str) -> None:
        """Forget an image, by its full id, and its names. Idempotent."""

    def put_volume(self, volume: Volume) -> None:
        """Store a volume; an older record of the same name is replaced."""

    def find_volume(self, name: str) -> Volume:
        """Return the volume of exactly this name, or raise NotFound."""

    def list_volumes(self, *, on_unreadable: Callable[[StateCorrupt], None] | None = None) -> builtins.list[Volume]:
        """Return all volumes, by name. ``on_unreadable``: as in ``list``."""

    def remove_volume(self, name: str) -> None:
        """Forget a volume. Idempotent."""

    def put_network(self, network: Network) -> None:
        """Store a network; an older record of the same id is replaced. Raises Conflict when the name is taken."""

    def find_network(self, ref: str) -> Network:
        """Return the network of this name, full id, or unambiguous id prefix; a name wins. Raises NotFound, Conflict.

        Those that are always there have no record.
        """

    def list_networks(self, *, on_unreadable: Callable[[StateCorrupt], None] | None = None) -> builtins.list[Network]:
        """Return all networks, by name. ``on_unreadable``: as in ``list``."""

    def remove_network(self, network_id: str) -> None:
        """Forget a network, by its full id. Idempotent."""

    def add_pod(self, pod: Pod) -> None:
        """Store a new pod. Raises Conflict when its name or id is taken."""

    def get_pod(self, pod_id: str) -> Pod:
        """Return the pod with this full id, or raise NotFound."""

    def find_pod(self, ref: str) -> Pod:
        """Return the pod of this name, full id, or unambiguous id prefix; a name wins. Raises NotFound, Conflict."""

    def list_pods(self, *, on_unreadable: Callable[[StateCorrupt], None] | None = None) -> builtins.list[Pod]:
        """Return all pods, newest first. ``on_unreadable``: as in ``list``."""

    def modify_pod(self, pod_id: str, change: Callable[[Pod], Pod]) -> Pod:
        """Read, change and write one pod in one transaction, as ``modify``. Raises NotFound."""

    def remove_pod(self, pod_id: str) -> None:
        """Forget a pod, by its full id. Idempotent."""

    def containers_of_pod(self, pod_id: str) -> builtins.list[Container]:
        """Return the containers that are in a pod, newest first."""

    def log(self, events: Iterable[Event]) -> None:
        """Log what has happened and no record says. Not idempotent."""

    def events(
        self, after: int = 0, *, since_ns: int | None = None, until_ns: int | None = None
    ) -> builtins.list[Event]:
        """Return the next events after a sequence number, in its order; some hundreds of them at the most.

        ``since_ns``, ``until_ns``: only those of this time (UNIX time, both included). One that cannot be read has the
        type "".
        """

    def newest_event(self) -> int:
        """Return the sequence number of the newest event; 0: there was none."""

    def watch_events(self) -> EventWatch:
        """Return what wakes a follower of the events; the caller closes it. Raises KernelError, OSError."""

    def close(self) -> None:
        """Release the store. Idempotent."""
