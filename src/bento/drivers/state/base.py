"""The store's promise. Every change is one transaction; readers see whole records."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Protocol

from bento.model.container import Container
from bento.model.image import Image
from bento.model.volume import Volume


class StateStore(Protocol):
    """Containers and images by id and name, volumes by name. Short blocking calls; safe between processes."""

    def add(self, container: Container) -> None:
        """Store a new container. Raises Conflict when its name or id is taken."""

    def get(self, container_id: str) -> Container:
        """Return the container with this full id, or raise NotFound."""

    def find(self, ref: str) -> Container:
        """Return the container of this name, full id, or unambiguous id prefix.

        A name wins over a prefix. Raises NotFound, or Conflict when the prefix fits several.
        """

    def list(self) -> list[Container]:
        """Return all containers, newest first."""

    def requiring(self, container_id: str) -> builtins.list[Container]:
        """Return the containers that require this one, newest first."""

    def modify(self, container_id: str, change: Callable[[Container], Container]) -> Container:
        """Read, change and write one container in one transaction; return what was written.

        ``change`` must be pure: it may run while other processes wait. Its exceptions roll back and come through.
        Raises NotFound, and Conflict when the new name is taken.
        """

    def remove(self, container_id: str) -> None:
        """Forget a container. Idempotent."""

    def put_image(self, image: Image) -> None:
        """Store an image; an older one of the same name is replaced."""

    def find_image(self, ref: str) -> Image:
        """Return the image of this name, id, or unambiguous id prefix (with or without ``sha256:``)."""

    def list_images(self) -> builtins.list[Image]:
        """Return all images, newest first."""

    def remove_image(self, name: str) -> None:
        """Forget an image by its name. Idempotent."""

    def put_volume(self, volume: Volume) -> None:
        """Store a volume; an older record of the same name is replaced."""

    def find_volume(self, name: str) -> Volume:
        """Return the volume of exactly this name, or raise NotFound."""

    def list_volumes(self) -> builtins.list[Volume]:
        """Return all volumes, by name."""

    def remove_volume(self, name: str) -> None:
        """Forget a volume. Idempotent."""

    def close(self) -> None:
        """Release the store. Idempotent."""
