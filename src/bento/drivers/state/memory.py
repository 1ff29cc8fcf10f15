"""A store that forgets: for unit tests and for engines that need no memory. Keeps the promise of ``base``."""

from __future__ import annotations

import builtins
from _thread import RLock
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from bento.drivers.state.resolve import (
    ambiguous_container,
    ambiguous_image,
    fits_suffix,
    image_digits,
    name_taken,
    names_to_try,
    no_container,
    no_image,
    no_volume,
    one_image,
    with_digest,
)
from bento.errors import InternalError, StateCorrupt
from bento.model.container import Container
from bento.model.image import Image
from bento.model.volume import Volume


class MemoryStore:
    """A StateStore in this process. Safe between threads."""

    def __init__(self) -> None:
        self._mutex = RLock()
        self._containers: dict[str, Container] = {}
        self._images: dict[str, Image] = {}  # by id
        self._names: dict[str, str] = {}  # full name -> id
        self._volumes: dict[str, Volume] = {}
        self._is_closed = False

    def add(self, container: Container) -> None:
        """Store a new container. Raises Conflict when its name or id is taken."""
        with self._mutex:
            self._check_open()
            if container.id in self._containers:
                raise name_taken(container.name)
            self._check_name(container)
            self._containers[container.id] = container

    def get(self, container_id: str) -> Container:
        """Return the container with this full id, or raise NotFound."""
        with self._mutex:
            self._check_open()
            if container_id not in self._containers:
                raise no_container(container_id)
            return self._containers[container_id]

    def find(self, ref: str) -> Container:
        """Return the container of this name, full id, or unambiguous id prefix; a name wins."""
        with self._mutex:
            self._check_open()
            for container in self._containers.values():
                if container.name == ref:
                    return container
            if ref in self._containers:
                return self._containers[ref]
            fits = [c for c in self._containers.values() if ref and c.id.startswith(ref)]
        if not fits:
            raise no_container(ref)
        if len(fits) > 1:
            raise ambiguous_container(ref, [c.name for c in sorted(fits, key=lambda c: c.id)])
        return fits[0]

    def list(self, *, on_unreadable: Callable[[StateCorrupt], None] | None = None) -> list[Container]:
        """Return all containers, newest first."""
        with self._mutex:
            self._check_open()
            return sorted(self._containers.values(), key=lambda c: (-c.created_unix_ns, c.id))

    def requiring(self, container_id: str) -> builtins.list[Container]:
        """Return the containers that require this one, newest first."""
        return [container for container in self.list() if container_id in container.spec.requires]

    def salvage(self, container_id: str, make: Callable[[str, int], Container]) -> Container:
        """Return the container: every record can be read."""
        return self.get(container_id)

    def modify(self, container_id: str, change: Callable[[Container], Container]) -> Container:
        """Change one container; others wait meanwhile. Exceptions of ``change`` come through, nothing is written."""
        with self._mutex:
            after = change(self.get(container_id))
            if after.id != container_id:
                raise InternalError(f"a change gave container {container_id} another id")
            self._check_name(after)
            self._containers[container_id] = after
            return after

    def remove(self, container_id: str) -> None:
        """Forget a container. Idempotent."""
        with self._mutex:
            self._check_open()
            self._containers.pop(container_id, None)

    def put_image(self, image: Image) -> None:
        """Store an image under its id; see StateStore."""
        with self._mutex:
            self._check_open()
            self._images[image.id] = image
            self._names.update(dict.fromkeys(image.names, image.id))

    def get_image(self, image_id: str) -> Image | None:
        """Return the image with this full id; None when there is none."""
        with self._mutex:
            self._check_open()
            return self._named(self._images[image_id]) if image_id in self._images else None

    def find_image(self, ref: str) -> Image:
        """Return the image of this name, id, or unambiguous id prefix; a name wins. See StateStore."""
        digits = image_digits(ref)
        full, suffix = names_to_try(ref)
        with self._mutex:
            self._check_open()
            if full in self._names:
                return self._named(self._images[self._names[full]])
            fits = [image for image in self.list_images() if digits and image.id.startswith(f"sha256:{digits}")]
            alike = one_image(ref, [item for item in self._names.items() if fits_suffix(item[0], suffix)])
            if alike is not None:
                return self._named(self._images[alike])
            fits = fits or with_digest(ref, self.list_images())
        if not fits:
            raise no_image(ref)
        if len(fits) > 1:
            raise ambiguous_image(ref, [image.name for image in fits])
        return fits[0]

    def list_images(self, *, on_unreadable: Callable[[StateCorrupt], None] | None = None) -> builtins.list[Image]:
        """Return all images, newest first."""
        with self._mutex:
            self._check_open()
            found = sorted(self._images.values(), key=lambda image: (-image.created_unix_ns, image.id))
            return [self._named(image) for image in found]

    def name_image(self, image_id: str, names: Iterable[str]) -> None:
        """Give an image more names, which others lose."""
        with self._mutex:
            self._check_open()
            if image_id not in self._images:
                raise no_image(image_id)
            self._names.update(dict.fromkeys(names, image_id))

    def unname_image(self, names: Iterable[str]) -> None:
        """Forget names. Idempotent."""
        with self._mutex:
            self._check_open()
            for name in names:
                self._names.pop(name, None)

    def remove_image(self, image_id: str) -> None:
        """Forget an image by its id. Idempotent."""
        with self._mutex:
            self._check_open()
            self._images.pop(image_id, None)
            self._names = {name: key for name, key in self._names.items() if key != image_id}

    def _named(self, image: Image) -> Image:
        return replace(image, names=tuple(sorted(name for name, key in self._names.items() if key == image.id)))

    def put_volume(self, volume: Volume) -> None:
        """Store a volume; an older record of the same name is replaced."""
        with self._mutex:
            self._check_open()
            self._volumes[volume.name] = volume

    def find_volume(self, name: str) -> Volume:
        """Return the volume of exactly this name, or raise NotFound."""
        with self._mutex:
            self._check_open()
            if name not in self._volumes:
                raise no_volume(name)
            return self._volumes[name]

    def list_volumes(self, *, on_unreadable: Callable[[StateCorrupt], None] | None = None) -> builtins.list[Volume]:
        """Return all volumes, by name."""
        with self._mutex:
            self._check_open()
            return sorted(self._volumes.values(), key=lambda volume: volume.name)

    def remove_volume(self, name: str) -> None:
        """Forget a volume. Idempotent."""
        with self._mutex:
            self._check_open()
            self._volumes.pop(name, None)

    def close(self) -> None:
        """Release the store. Idempotent."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise InternalError("the store is used after it was closed")

    def _check_name(self, container: Container) -> None:
        if any(c.name == container.name and c.id != container.id for c in self._containers.values()):
            raise name_taken(container.name)
