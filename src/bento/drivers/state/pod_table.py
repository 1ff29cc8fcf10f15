"""The table of pods. A base of the real store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from bento import clock
from bento.drivers.state.records import AFTER_HEX, OnUnreadable, RecordTables, readable
from bento.drivers.state.resolve import ambiguous_pod, no_pod, pod_taken
from bento.errors import InternalError, StateCorrupt
from bento.lazy import LazyModule
from bento.model.container import Container

if TYPE_CHECKING:
    from bento.drivers.state import derived
    from bento.model import pods
    from bento.model.pods import Pod
else:  # most engines have none
    derived = LazyModule("bento.drivers.state.derived")
    pods = LazyModule("bento.model.pods")


class PodTable(RecordTables):
    """See ``StateStore``."""

    def add_pod(self, pod: Pod) -> None:
        """Store a new pod. Raises Conflict when its name or id is taken."""
        with self._database.atomic() as transaction:
            try:
                transaction.execute(
                    "INSERT INTO pods (id, name, created_unix_ns, document) VALUES (?, ?, ?, ?)",
                    (pod.id, pod.name, pod.created_unix_ns, self._encode(pod)),
                )
            except sqlite3.IntegrityError as error:
                raise pod_taken(pod.name) from error

    def get_pod(self, pod_id: str) -> Pod:
        """Return the pod with this full id, or raise NotFound."""
        rows = self._database.rows("SELECT document FROM pods WHERE id = ?", (pod_id,))
        if not rows:
            raise no_pod(pod_id)
        return self._decode(rows[0][0], pods.Pod, pod_id)

    def find_pod(self, ref: str) -> Pod:
        """Return the pod of this name, full id, or unambiguous id prefix; a name wins."""
        rows = self._database.rows(
            "SELECT id, document, name FROM pods WHERE name = ?1 OR id = ?1 ORDER BY name = ?1 DESC LIMIT 1", (ref,)
        )
        if not rows and ref:
            rows = self._database.rows(
                "SELECT id, document, name FROM pods WHERE id >= ? AND id < ? ORDER BY id LIMIT 3",
                (ref, ref + AFTER_HEX),
            )
        if not rows:
            raise no_pod(ref)
        if len(rows) > 1:
            raise ambiguous_pod(ref, [row[2] for row in rows])
        return self._decode(rows[0][1], pods.Pod, rows[0][0])

    def list_pods(self, *, on_unreadable: OnUnreadable = None) -> list[Pod]:
        """Return all pods, newest first; report those that cannot be read."""
        rows = self._database.rows("SELECT document, id FROM pods ORDER BY created_unix_ns DESC, id")
        kind = pods.Pod  # looked up once: the module is a lazy one
        return readable(rows, lambda document, key: self._recalled(document, kind, key), on_unreadable)

    def modify_pod(self, pod_id: str, change: Callable[[Pod], Pod]) -> Pod:
        """Read, change and write one pod in one transaction; return what was written."""
        return self._database.urgent(lambda: self._modify_pod(pod_id, change))

    def _modify_pod(self, pod_id: str, change: Callable[[Pod], Pod]) -> Pod:
        with self._events.transaction() as transaction:
            rows = transaction.execute("SELECT document FROM pods WHERE id = ?", (pod_id,))
            if not rows:
                raise no_pod(pod_id)
            before = self._decode(rows[0][0], pods.Pod, pod_id)
            after = change(before)
            if (after.id, after.name) != (before.id, before.name):
                raise InternalError(f"a change gave pod {pod_id} another name")
            if after is not before:
                transaction.execute("UPDATE pods SET document = ? WHERE id = ?", (self._encode(after), pod_id))
                transaction.log(derived.of_pod_change(before, after, clock.wall_ns()))
            return after

    def remove_pod(self, pod_id: str) -> None:
        """Forget a pod by its id. Idempotent."""
        self._database.urgent(lambda: self._remove_pod(pod_id))

    def _remove_pod(self, pod_id: str) -> None:
        with self._events.transaction() as transaction:
            for (document,) in transaction.execute("SELECT document FROM pods WHERE id = ?", (pod_id,)):
                transaction.execute("DELETE FROM pods WHERE id = ?", (pod_id,))
                with suppress(StateCorrupt):  # then its name is not known either
                    pod = self._decode(document, pods.Pod, pod_id)
                    transaction.log(derived.of_pod_change(pod, None, clock.wall_ns()))

    def containers_of_pod(self, pod_id: str) -> list[Container]:
        """Return the containers that are in a pod, newest first."""
        # An id stands in few documents: only these are decoded.
        rows = self._database.rows(
            "SELECT document, id FROM containers WHERE instr(document, CAST(? AS BLOB)) > 0"
            " ORDER BY created_unix_ns DESC, id",
            (pod_id,),
        )
        found = readable(rows, lambda document, key: self._recalled(document, Container, key), None)
        return [container for container in found if container.spec.pod == pod_id]
