"""The real store: one SQLite file, records as JSON documents beside the columns they are found by."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from bento import clock
from bento.drivers.state.database import BUSY_TIMEOUT_S, ClearWay, Database
from bento.drivers.state.event_log import LIMIT, EventLog, LoggedTransaction
from bento.drivers.state.paths import Below
from bento.drivers.state.pod_table import PodTable
from bento.drivers.state.records import AFTER_HEX, OnUnreadable, readable
from bento.drivers.state.resolve import (
    ambiguous_container,
    ambiguous_image,
    fits_suffix,
    image_digits,
    name_taken,
    names_to_try,
    no_container,
    no_image,
    one_image,
    with_digest,
)
from bento.errors import BentoError, InternalError, StateCorrupt
from bento.lazy import LazyModule
from bento.model.container import Container
from bento.model.event import Deed, Event, of_container
from bento.model.image import Image

if TYPE_CHECKING:
    from bento.drivers.state import derived, notices
    from bento.drivers.state.base import EventWatch
else:  # what only reads needs none of them
    derived = LazyModule("bento.drivers.state.derived")
    notices = LazyModule("bento.drivers.state.notices")

_IMAGES = "SELECT id, document, (SELECT json_group_array(name) FROM image_names WHERE image_id = id) FROM images"


class SqliteStore(PodTable):
    """A StateStore in the file ``path``. Safe between threads and processes, not across fork(2)."""

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        clear_way: ClearWay | None = None,
        kind: type[Database] = Database,
        events_max: int = LIMIT,
    ) -> None:
        """Open or make the store; see Database for what is raised.

        ``kind``: of the database; tests have one in memory. ``events_max``: so many events are kept, at the most.
        """
        self._database = kind(path, busy_timeout_s=busy_timeout_s, clear_way=clear_way)
        self._events = EventLog(self._database, path.with_name(f"{path.name}-events"), events_max)
        self.events_signal = self._events.signal
        self._below = Below(path.parent)
        self._decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}
        self._remembered: dict[str, tuple[bytes, Any]] = {}

    def add(self, container: Container) -> None:
        """Store a new container. Raises Conflict when its name or id is taken."""
        with self._events.transaction() as transaction:
            try:
                transaction.execute(
                    "INSERT INTO containers (id, name, created_unix_ns, status, document) VALUES (?, ?, ?, ?, ?)",
                    (
                        container.id,
                        container.name,
                        container.created_unix_ns,
                        container.status.value,
                        self._encode(container),
                    ),
                )
            except sqlite3.IntegrityError as error:
                raise name_taken(container.name) from error
            transaction.log([of_container(container, Deed(action="create"), clock.wall_ns())])

    def get(self, container_id: str) -> Container:
        """Return the container with this full id, or raise NotFound."""
        rows = self._database.rows("SELECT document FROM containers WHERE id = ?", (container_id,))
        if not rows:
            raise no_container(container_id)
        return self._decode(rows[0][0], Container, container_id)

    def find(self, ref: str) -> Container:
        """Return the container of this name, full id, or unambiguous id prefix; a name wins."""
        rows = self._database.rows(
            "SELECT id, document FROM containers WHERE name = ? OR id = ? ORDER BY name = ? DESC LIMIT 1",
            (ref, ref, ref),
        )
        if not rows and ref:
            rows = self._database.rows(
                "SELECT id, document, name FROM containers WHERE id >= ? AND id < ? ORDER BY id LIMIT 3",
                (ref, ref + AFTER_HEX),
            )
        if not rows:
            raise no_container(ref)
        if len(rows) > 1:
            raise ambiguous_container(ref, [row[2] for row in rows])
        return self._decode(rows[0][1], Container, rows[0][0])

    def list(self, *, on_unreadable: OnUnreadable = None) -> list[Container]:
        """Return all containers, newest first; report those that cannot be read."""
        rows = self._database.rows("SELECT document, id FROM containers ORDER BY created_unix_ns DESC, id")
        return readable(rows, lambda document, key: self._recalled(document, Container, key), on_unreadable)

    def requiring(self, container_id: str) -> builtins.list[Container]:
        """Return the containers that require this one, newest first."""
        # An id stands in few documents beside its own: only these are decoded.
        rows = self._database.rows(
            "SELECT document, id FROM containers WHERE id != ? AND instr(document, CAST(? AS BLOB)) > 0"
            " ORDER BY created_unix_ns DESC, id",
            (container_id, container_id),
        )
        found = readable(rows, lambda document, key: self._decode(document, Container, key), None)
        return [container for container in found if container_id in container.spec.requires]

    def modify(
        self, container_id: str, change: Callable[[Container], Container], *, deeds: Iterable[Deed] = ()
    ) -> Container:
        """Read, change and write one container in one transaction; return what was written. See StateStore."""
        given = tuple(deeds)
        return self._database.urgent(lambda: self._modify(container_id, change, given))

    def _modify(
        self, container_id: str, change: Callable[[Container], Container], deeds: tuple[Deed, ...]
    ) -> Container:
        with self._events.transaction() as transaction:
            rows = transaction.execute("SELECT document FROM containers WHERE id = ?", (container_id,))
            if not rows:
                raise no_container(container_id)
            before = self._decode(rows[0][0], Container, container_id)
            after = change(before)
            if after.id != container_id:
                raise InternalError(f"a change gave container {container_id} another id")
            if after is before:
                return after
            try:
                transaction.execute(
                    "UPDATE containers SET name = ?, status = ?, document = ? WHERE id = ?",
                    (after.name, after.status.value, self._encode(after), container_id),
                )
            except sqlite3.IntegrityError as error:
                raise name_taken(after.name) from error
            transaction.log(derived.of_change(before, after, deeds, clock.wall_ns()))
            return after

    def salvage(self, container_id: str, make: Callable[[str, int], Container]) -> Container:
        """Put what ``make`` returns in the place of a record that cannot be read; see StateStore."""
        with suppress(StateCorrupt):
            return self.get(container_id)
        return self._database.urgent(lambda: self._salvage(container_id, make))

    def _salvage(self, container_id: str, make: Callable[[str, int], Container]) -> Container:
        with self._database.atomic() as transaction:
            rows = transaction.execute("SELECT name, created_unix_ns FROM containers WHERE id = ?", (container_id,))
            if not rows:
                raise no_container(container_id)
            made = make(*rows[0])
            transaction.execute(
                "UPDATE containers SET status = ?, document = ? WHERE id = ?",
                (made.status.value, self._encode(made), container_id),
            )
            return made

    def remove(self, container_id: str) -> None:
        """Forget a container. Idempotent."""
        self._database.urgent(lambda: self._remove(container_id))

    def _remove(self, container_id: str) -> None:
        with self._events.transaction() as transaction:
            for name, created_unix_ns, document in transaction.execute(
                "SELECT name, created_unix_ns, document FROM containers WHERE id = ?", (container_id,)
            ):
                transaction.execute("DELETE FROM containers WHERE id = ?", (container_id,))
                try:
                    container = self._decode(document, Container, container_id)
                except StateCorrupt:
                    container = derived.unreadable(container_id, name, created_unix_ns)
                transaction.log([of_container(container, Deed(action="destroy"), clock.wall_ns())])

    def put_image(self, image: Image, *, events: Iterable[Event]) -> None:
        """Store an image under its id; see StateStore."""
        with self._events.transaction() as transaction:
            transaction.execute(
                "INSERT INTO images (id, created_unix_ns, document) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (id) DO UPDATE SET created_unix_ns = ?2, document = ?3",
                (image.id, image.created_unix_ns, self._encode(replace(image, names=()))),
            )
            _put_names(transaction, image.id, image.names)
            transaction.log(events)

    def get_image(self, image_id: str) -> Image | None:
        """Return the image with this full id; None when there is none."""
        rows = self._database.rows(f"{_IMAGES} WHERE id = ?", (image_id,))
        return self._image(*rows[0]) if rows else None

    def find_image(self, ref: str) -> Image:
        """Return the image of this name, id, or unambiguous id prefix; a name wins. See StateStore."""
        full, suffix = names_to_try(ref)
        rows = self._database.rows(f"{_IMAGES} WHERE id = (SELECT image_id FROM image_names WHERE name = ?)", (full,))
        if not rows and suffix:
            names = self._database.rows("SELECT name, image_id FROM image_names")
            alike = one_image(ref, [(name, key) for name, key in names if fits_suffix(name, suffix)])
            rows = self._database.rows(f"{_IMAGES} WHERE id = ?", (alike,)) if alike is not None else []
        digits = image_digits(ref)
        if not rows and digits:
            first = f"sha256:{digits}"
            rows = self._database.rows(
                f"{_IMAGES} WHERE id >= ? AND id < ? ORDER BY created_unix_ns DESC, id", (first, first + AFTER_HEX)
            )
        images = [self._image(*row) for row in rows] or (with_digest(ref, self.list_images()) if "@" in ref else [])
        if not images:
            raise no_image(ref)
        if len(images) > 1:
            raise ambiguous_image(ref, [image.name for image in images])
        return images[0]

    def list_images(self, *, on_unreadable: OnUnreadable = None) -> builtins.list[Image]:
        """Return all images, newest first; report those that cannot be read."""
        rows = self._database.rows(f"{_IMAGES} ORDER BY created_unix_ns DESC, id")
        return readable(rows, self._image, on_unreadable)

    def name_image(self, image_id: str, names: Iterable[str], *, events: Iterable[Event]) -> None:
        """Give an image more names, which others lose. Idempotent. Raises NotFound."""
        with self._events.transaction() as transaction:
            if not transaction.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)):
                raise no_image(image_id)
            _put_names(transaction, image_id, names)
            transaction.log(events)

    def unname_image(self, names: Iterable[str]) -> None:
        """Forget names. Idempotent."""
        wanted = tuple(names)
        self._database.urgent(lambda: self._unname_image(wanted))

    def _unname_image(self, names: tuple[str, ...]) -> None:
        with self._events.transaction() as transaction:
            for name in names:
                for (image_id,) in transaction.execute("SELECT image_id FROM image_names WHERE name = ?", (name,)):
                    transaction.execute("DELETE FROM image_names WHERE name = ?", (name,))
                    transaction.log(derived.of_names_gone(image_id, (name,), clock.wall_ns()))

    def remove_image(self, image_id: str) -> None:
        """Forget an image by its id, and its names. Idempotent."""
        self._database.urgent(lambda: self._remove_image(image_id))

    def _remove_image(self, image_id: str) -> None:
        with self._events.transaction() as transaction:
            names = transaction.execute("SELECT name FROM image_names WHERE image_id = ? ORDER BY name", (image_id,))
            if transaction.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)):
                transaction.execute("DELETE FROM images WHERE id = ?", (image_id,))
                transaction.log(derived.of_image_gone(image_id, [name for (name,) in names], clock.wall_ns()))

    def log(self, events: Iterable[Event]) -> None:
        """Write down what has happened and no record says; see StateStore."""
        given = tuple(events)
        self._database.urgent(lambda: self._log(given))

    def _log(self, events: tuple[Event, ...]) -> None:
        with self._events.transaction() as transaction:
            transaction.log(events)

    def events(
        self, after: int = 0, *, since_ns: int | None = None, until_ns: int | None = None
    ) -> builtins.list[Event]:
        """Return the next events after a sequence number; see StateStore."""
        return self._events.read(after, since_ns, until_ns)

    def newest_event(self) -> int:
        """Return the sequence number of the newest event; see StateStore."""
        return self._events.newest()

    def watch_events(self) -> EventWatch:
        """Return what wakes a follower of the events; see StateStore."""
        return notices.EventWatch(self._events.signal)

    def _image(self, image_id: str, document: bytes, names: str) -> Image:
        image = self._decode(document, Image, image_id)
        return replace(image, names=tuple(sorted(msgspec.json.decode(names, type=list[str]))))

    def close(self) -> None:
        """Release the store. Idempotent."""
        containers = 0
        with suppress(BentoError):  # of a database that is damaged, or closed already
            containers = self._database.rows("SELECT count(*) FROM containers")[0][0]
        self._database.close(containers)


def _put_names(transaction: LoggedTransaction, image_id: str, names: Iterable[str]) -> None:
    for name in names:
        transaction.execute("INSERT OR REPLACE INTO image_names (name, image_id) VALUES (?, ?)", (name, image_id))
