"""Records as JSON documents, and the tables of those that are few: volumes and networks. A base of the real store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from bento import clock, log
from bento.drivers.state.resolve import ambiguous_network, network_taken, no_network, no_volume
from bento.errors import StateCorrupt, UsageError
from bento.lazy import LazyModule
from bento.model.container import Container
from bento.model.image import Image
from bento.model.network import Network
from bento.model.volume import Volume

if TYPE_CHECKING:
    from bento.drivers.state import derived
    from bento.drivers.state.database import Database
    from bento.drivers.state.event_log import EventLog
    from bento.drivers.state.paths import Below
    from bento.model.pods import Pod
else:  # what only reads needs none of it
    derived = LazyModule("bento.drivers.state.derived")

_Record = TypeVar("_Record", Container, Image, Network, Volume, "Pod")
OnUnreadable = Callable[[StateCorrupt], None] | None
_HINTS: dict[type[Any], str] = {
    Container: "nothing was changed: restore the file from a copy, or have rm -f end and remove this one",
    Image: "nothing was changed: have doctor --fix forget it, and pull it again",
    Network: "nothing was changed: have doctor --fix forget it, and create it again",
    Volume: "nothing was changed: have doctor --fix write a new one",
}

_REMEMBERED_MAX = 4096
AFTER_HEX = "g"
"""Sorts behind every hexadecimal digit: a prefix search becomes a range, with no wildcards to escape."""


class RecordTables:
    """See ``StateStore``."""

    _database: Database
    _events: EventLog
    _below: Below
    _decoders: dict[type[Any], msgspec.json.Decoder[Any]]
    _remembered: dict[str, tuple[bytes, Any]]
    """Containers and pods by their ids, each with the document that it was decoded from."""

    def put_volume(self, volume: Volume) -> None:
        """Store a volume; an older record of the same name is replaced."""
        with self._events.transaction() as transaction:
            is_new = not transaction.execute("SELECT 1 FROM volumes WHERE name = ?", (volume.name,))
            transaction.execute(
                "INSERT OR REPLACE INTO volumes (name, document) VALUES (?, ?)", (volume.name, self._encode(volume))
            )
            if is_new:
                transaction.log([derived.of_volume(volume, "create", clock.wall_ns())])

    def find_volume(self, name: str) -> Volume:
        """Return the volume of exactly this name, or raise NotFound."""
        rows = self._database.rows("SELECT document FROM volumes WHERE name = ?", (name,))
        if not rows:
            raise no_volume(name)
        return self._decode(rows[0][0], Volume, name)

    def list_volumes(self, *, on_unreadable: OnUnreadable = None) -> list[Volume]:
        """Return all volumes, by name; report those that cannot be read."""
        rows = self._database.rows("SELECT document, name FROM volumes ORDER BY name")
        return readable(rows, lambda document, name: self._decode(document, Volume, name), on_unreadable)

    def remove_volume(self, name: str) -> None:
        """Forget a volume. Idempotent."""
        self._database.urgent(lambda: self._remove_volume(name))

    def _remove_volume(self, name: str) -> None:
        with self._events.transaction() as transaction:
            for (document,) in transaction.execute("SELECT document FROM volumes WHERE name = ?", (name,)):
                transaction.execute("DELETE FROM volumes WHERE name = ?", (name,))
                try:
                    volume = self._decode(document, Volume, name)
                except StateCorrupt:
                    volume = Volume(name=name, created_unix_ns=0)
                transaction.log([derived.of_volume(volume, "destroy", clock.wall_ns())])

    def put_network(self, network: Network) -> None:
        """Store a network; an older record of the same id is replaced. Raises Conflict when the name is taken."""
        with self._events.transaction() as transaction:
            is_new = not transaction.execute("SELECT 1 FROM networks WHERE id = ?", (network.id,))
            try:
                transaction.execute(
                    "INSERT INTO networks (id, name, document) VALUES (?1, ?2, ?3)"
                    " ON CONFLICT (id) DO UPDATE SET name = ?2, document = ?3",
                    (network.id, network.name, self._encode(network)),
                )
            except sqlite3.IntegrityError as error:
                raise network_taken(network.name) from error
            if is_new:
                transaction.log([derived.of_network(network, "create", clock.wall_ns())])

    def find_network(self, ref: str) -> Network:
        """Return the network of this name, full id, or unambiguous id prefix; a name wins."""
        rows = self._database.rows(
            "SELECT id, document, name FROM networks WHERE name = ?1 OR id = ?1 ORDER BY name = ?1 DESC LIMIT 1", (ref,)
        )
        if not rows and ref:
            rows = self._database.rows(
                "SELECT id, document, name FROM networks WHERE id >= ? AND id < ? ORDER BY id LIMIT 3",
                (ref, ref + AFTER_HEX),
            )
        if not rows:
            raise no_network(ref)
        if len(rows) > 1:
            raise ambiguous_network(ref, [row[2] for row in rows])
        return self._decode(rows[0][1], Network, rows[0][0])

    def list_networks(self, *, on_unreadable: OnUnreadable = None) -> list[Network]:
        """Return all networks, by name; report those that cannot be read."""
        rows = self._database.rows("SELECT document, id FROM networks ORDER BY name")
        return readable(rows, lambda document, key: self._decode(document, Network, key), on_unreadable)

    def remove_network(self, network_id: str) -> None:
        """Forget a network by its id. Idempotent."""
        self._database.urgent(lambda: self._remove_network(network_id))

    def _remove_network(self, network_id: str) -> None:
        with self._events.transaction() as transaction:
            rows = transaction.execute("SELECT name, document FROM networks WHERE id = ?", (network_id,))
            for name, document in rows:
                transaction.execute("DELETE FROM networks WHERE id = ?", (network_id,))
                try:
                    network = self._decode(document, Network, network_id)
                except StateCorrupt:
                    network = Network(id=network_id, name=name, created_unix_ns=0, bridge="")
                transaction.log([derived.of_network(network, "destroy", clock.wall_ns())])

    def _encode(self, record: Container | Image | Network | Volume | Pod) -> bytes:
        try:
            return msgspec.json.encode(self._below.written(record))
        except UnicodeEncodeError as error:
            # Arguments of a command line may be any bytes; Python carries them as lone surrogates (PEP 383).
            raise UsageError(
                f"not valid UTF-8: {error.object!r}", hint="names, variables and paths must be text"
            ) from error

    def _recalled(self, document: Any, record: type[_Record], key: str) -> _Record:
        """Return what a document says, for lists, which are asked for again and again; records are never changed."""
        known = self._remembered.get(key)
        if known is not None and known[0] == document and isinstance(known[1], record):
            return known[1]
        decoded = self._decode(document, record, key)
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[key] = (document, decoded)
        return decoded

    def _decode(self, document: Any, record: type[_Record], key: str) -> _Record:
        # A decoder per record type, made when first needed: resolving a record's annotations costs more than decoding.
        decoder = self._decoders.get(record)
        if decoder is None:
            decoder = self._decoders[record] = msgspec.json.Decoder(record)
        try:
            decoded: _Record = decoder.decode(document)
        except (msgspec.DecodeError, TypeError, UnicodeDecodeError, RecursionError) as error:
            raise StateCorrupt(
                f"{self._database.path}: the record of {record.__name__.lower()} {key} cannot be read: {error}",
                record_id=key,
                document=bytes(document) if isinstance(document, bytes) else str(document).encode(),
                hint=_HINTS.get(record, "nothing was changed: have doctor --fix forget it"),
            ) from error
        return self._below.used(decoded)


def readable(
    rows: Iterable[tuple[Any, ...]], decode: Callable[..., _Record], on_unreadable: OnUnreadable
) -> list[_Record]:
    found = []
    for row in rows:
        try:
            found.append(decode(*row))
        except StateCorrupt as error:
            (on_unreadable or _warn)(error)
    return found


def _warn(error: StateCorrupt) -> None:
    log.warning_once(str(error))
