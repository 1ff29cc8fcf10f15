"""How the database got its shape: ordered, named steps, each applied once and never edited afterwards.

The number of applied steps is the schema's version; it stands in ``PRAGMA user_version``, which SQLite keeps
in the file's header and changes in the same transaction (sqlite.org/pragma.html), so that opening a current
database costs one query. The names stand in the table ``migrations``, for people.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from bento.drivers.state.paths import without_old_paths

APPLICATION_ID: Final = 0x62656E74
"""``bent`` in ASCII, in the header of the file: distinguishes a foreign SQLite database from ours."""

Step = Callable[[sqlite3.Connection], None]


def _first_schema(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_unix_ns INTEGER NOT NULL)")
    connection.execute(
        """
        CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created_unix_ns INTEGER NOT NULL,
            status TEXT NOT NULL,
            document BLOB NOT NULL
        )
        """
    )
    connection.execute(
        """
        CREATE TABLE images (
            name TEXT PRIMARY KEY,
            id TEXT NOT NULL,
            created_unix_ns INTEGER NOT NULL,
            document BLOB NOT NULL
        )
        """
    )
    connection.execute("CREATE INDEX images_by_id ON images (id)")


def _images_by_id(connection: sqlite3.Connection) -> None:
    """An image has any number of names. Those of old were a word each, and their records had one layer."""
    rows = connection.execute(
        "SELECT name, id, created_unix_ns, document FROM images ORDER BY created_unix_ns"
    ).fetchall()
    connection.execute("DROP TABLE images")
    connection.execute(
        """
        CREATE TABLE images (
            id TEXT PRIMARY KEY,
            created_unix_ns INTEGER NOT NULL,
            document BLOB NOT NULL
        )
        """
    )
    connection.execute(
        """
        CREATE TABLE image_names (
            name TEXT PRIMARY KEY,
            image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
        )
        """
    )
    connection.execute("CREATE INDEX image_names_by_id ON image_names (image_id)")
    for _, image_id, created_unix_ns, document in rows:
        connection.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?)", (image_id, created_unix_ns, document))
    for name, image_id, _, _ in rows:
        connection.execute("INSERT INTO image_names VALUES (?, ?)", (f"docker.io/library/{name}:latest", image_id))


def _volumes(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE volumes (name TEXT PRIMARY KEY, document BLOB NOT NULL)")


def _paths_below_the_root(connection: sqlite3.Connection) -> None:
    """Records named their layers by absolute paths: a root that was moved could not start anything."""
    for table in ("containers", "images"):
        for key, document in connection.execute(f"SELECT id, document FROM {table}").fetchall():
            connection.execute(f"UPDATE {table} SET document = ? WHERE id = ?", (without_old_paths(document), key))


def _events(connection: sqlite3.Connection) -> None:
    # Without AUTOINCREMENT, and monotonic all the same: the newest row is never deleted (sqlite.org/autoinc.html).
    connection.execute(
        "CREATE TABLE events (sequence INTEGER PRIMARY KEY, unix_ns INTEGER NOT NULL, document BLOB NOT NULL)"
    )


_GROUPS: Final = {
    "streams": {name: name for name in ("tty", "stdin_open", "stdin_once")},
    "files": {name: name for name in ("read_only", "read_only_tmpfs", "mounts", "volumes_from")},
    "ports": {"ports": "published", "publish_all": "publish_all", "exposed_ports": "exposed"},
    "stop": {f"stop_{name}": name for name in ("signal", "timeout_s", "method", "command", "rules")}
    | {name: name for name in ("pre_stop", "post_stop", "hook_timeout_s", "drain")},
    "health": {"healthcheck": "check", "health_on_failure": "on_failure"},
    "log": {f"log_{name}": name for name in ("driver", "tag", "max_bytes", "max_files")},
    "resources": {
        name: name
        for name in (
            *("cpus", "cpu_shares", "cpu_period_us", "cpu_quota_us", "cpuset_cpus", "cpuset_mems", "memory_bytes"),
            *("memory_swap_bytes", "memory_reservation_bytes", "memory_swappiness", "oom_kill_disable", "pids_limit"),
            *("blkio_weight", "blkio_weight_devices", "device_read_bps", "device_write_bps"),
            *("device_read_iops", "device_write_iops"),
        )
    },
    "limits": {name: name for name in ("ulimits", "oom_score_adj")},
    "namespaces": {"pid": "pid", "ipc": "ipc", "uts": "uts", "cgroupns": "cgroup", "userns": "user"},
}
"""The groups of a container's settings: what each field is called there, by its name of before."""


def _settings_in_groups(connection: sqlite3.Connection) -> None:
    """What a container was asked for was recorded without groups. What cannot be read is left as it is."""
    for key, document in connection.execute("SELECT id, document FROM containers").fetchall():
        try:
            record: Any = msgspec.json.decode(document)
            spec: Any = record["spec"]
            for group, fields in _GROUPS.items():
                moved = {new: spec.pop(old) for old, new in fields.items() if old in spec}
                if moved:
                    spec[group] = moved
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, KeyError, TypeError):
            continue
        connection.execute("UPDATE containers SET document = ? WHERE id = ?", (msgspec.json.encode(record), key))


def _networks(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document BLOB NOT NULL)")


def _several_connections(connection: sqlite3.Connection) -> None:
    """A run had at most one network."""
    text, one = "CAST(document AS TEXT)", "'$.run.connection'"
    connection.execute(
        f"UPDATE containers SET document = CAST(json_set(json_remove({text}, {one}), '$.run.connections',"
        f" json_array(json_extract({text}, {one}))) AS BLOB)"
        f" WHERE json_valid({text}) AND json_type({text}, {one}) = 'object'"
    )


def _pods(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE pods (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_unix_ns INTEGER NOT NULL,"
        " document BLOB NOT NULL)"
    )


MIGRATIONS: Final[tuple[tuple[str, Step], ...]] = (
    ("first-schema", _first_schema),
    ("images-by-id", _images_by_id),
    ("volumes", _volumes),
    ("paths-below-the-root", _paths_below_the_root),
    ("events", _events),
    ("settings-in-groups", _settings_in_groups),
    ("networks", _networks),
    ("several-connections", _several_connections),
    ("pods", _pods),
)
CURRENT: Final = len(MIGRATIONS)


def apply_step(connection: sqlite3.Connection, number: int) -> None:
    """Apply step ``number`` (from 0) and record it; the caller holds the write transaction."""
    name, step = MIGRATIONS[number]
    step(connection)
    connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, time.time_ns()))
    connection.execute(f"PRAGMA user_version = {number + 1}")
