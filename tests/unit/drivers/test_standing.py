"""A database whose -wal file stays between connections, and what happens to others meanwhile."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bento.drivers.state.database import Database
from bento.drivers.state.standing import Standing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bento.db"


def write(path: Path, text: str) -> None:
    database = Database(path)
    with database.atomic() as transaction:
        transaction.execute("INSERT INTO volumes (name, document) VALUES (?, x'')", (text,))
    database.close()


def names(path: Path) -> list[str]:
    database = Database(path)
    found = [name for (name,) in database.rows("SELECT name FROM volumes ORDER BY name")]
    database.close()
    return found


def wal(path: Path) -> int:
    """The bytes of the -wal file; 0: there is none."""
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0


@pytest.fixture
def made(path: Path) -> Path:
    Database(path).close()
    return path


def test_what_is_written_stays_beside_the_database_while_it_stands(made):
    write(made, "a")
    assert wal(made) == 0  # as ever
    standing = Standing(made)
    standing.hold()
    write(made, "b")
    before = wal(made)
    assert before
    write(made, "c")
    assert wal(made) > before
    standing.sync()
    with closing(sqlite3.connect(made)) as another:
        assert [name for (name,) in another.execute("SELECT name FROM volumes ORDER BY name")] == ["a", "b", "c"]
    standing.close()
    assert names(made) == ["a", "b", "c"]
    assert wal(made) == 0


def test_one_that_is_made_anew_stands_as_well(made):
    standing = Standing(made)
    standing.hold()
    for each in made.parent.iterdir():
        each.unlink()
    write(made, "a")
    assert wal(made) == 0
    standing.hold()
    write(made, "b")
    assert wal(made)
    standing.close()


def test_what_is_not_there_or_not_ready_is_left_alone(path):
    standing = Standing(path)
    standing.hold()
    standing.sync()
    path.touch()
    standing.hold()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        standing.hold()
        assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)  # needs an exclusive lock
    standing.hold()
    standing.close()
    standing.close()
