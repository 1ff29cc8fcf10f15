"""The files of a log that is rotated: none is lost, none is shown twice, no more are kept than were asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bento.files import log_files

MOST = 3


class Log:
    """A container's directory, in which the test does what conmon does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY)
        self.room = log_files.prepare(self.fd, MOST, 1000)

    def write(self, text: str) -> None:
        with (self.path / "log").open("a", encoding="ascii") as file:
            file.write(text)

    def rotate(self, text: str) -> None:
        """As conmon's reopen_k8s_file: the next file may be there, and is emptied."""
        beside = self.path / "log.tmp"
        beside.write_text(text)
        beside.rename(self.path / "log")

    def keep(self) -> None:
        log_files.keep(self.fd, MOST)

    def shown(self, after: log_files.LogFile | None = None) -> list[str]:
        files = log_files.open_files(str(self.path), after)
        try:
            return [file.stream.read().decode() for file in files]
        finally:
            for file in files:
                file.close()

    def last(self) -> log_files.LogFile:
        *others, last = log_files.open_files(str(self.path))
        for file in others:
            file.close()
        return last

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("log*/*"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    os.close(made.fd)


def test_first_run_begins_with_an_empty_file_and_a_spare(log: Log) -> None:
    assert log.room == 1000
    assert log.shown() == [""]
    assert log.names() == ["log.d/1", "log.d/2"]
    assert {path.stat().st_mode & 0o777 for path in log.path.glob("log*/*")} == {0o600}


@pytest.mark.parametrize("looks", [True, False], ids=["kept at once", "kept later"])
def test_no_file_is_lost_at_a_rotation_whether_or_not_anything_looks(log: Log, looks: bool) -> None:
    log.write("a")
    log.rotate("b")
    if looks:
        log.keep()
    assert log.shown() == ["a", "b"]
    log.keep()
    assert log.shown() == ["a", "b"]


def test_oldest_go_and_the_rest_stays_in_order(log: Log) -> None:
    log.write("0")
    for number in range(1, 12):
        log.rotate(str(number))
        log.keep()
    assert log.shown() == ["9", "10", "11"]
    assert log.names() == ["log.d/10", "log.d/11", "log.d/12", "log.d/13"]


def test_two_rotations_without_a_look_lose_one_file_and_what_follows_is_in_order(log: Log) -> None:
    log.write("a")
    log.rotate("b")
    log.rotate("c")
    assert log.shown() == ["a", "b", "c"]
    log.rotate("d")
    assert log.shown() == ["a", "b", "d"]
    log.keep()
    log.rotate("e")
    log.keep()
    assert log.shown() == ["b", "d", "e"]


def test_no_more_than_two_files_beyond_are_there_when_nothing_looks(log: Log) -> None:
    for number in range(MOST):
        log.rotate(str(number))
        log.keep()
    for number in range(20):
        log.rotate(str(number))
    assert len(log.shown()) == MOST + 2


@pytest.mark.parametrize("keeps", [True, False])
def test_later_files_are_those_that_were_not_read(log: Log, keeps: bool) -> None:
    log.write("a")
    first = log.last()
    assert log_files.is_current(str(log.path), first)
    assert log.shown(first) == []
    for text in ("b", "c"):
        log.rotate(text)
        if keeps:
            log.keep()
    assert not log_files.is_current(str(log.path), first)
    assert log.shown(first) == ["b", "c"]
    first.close()


def test_file_that_got_its_number_after_it_was_opened_is_not_read_twice(log: Log) -> None:
    log.write("a")
    for text in ("b", "c"):
        log.rotate(text)  # the second has no number yet
    third = log.last()
    log.keep()
    log.rotate("d")
    assert log.shown(third) == ["d"]
    log.rotate("e")
    log.keep()
    assert log.shown(third) == ["d", "e"]
    third.close()


def test_file_that_was_deleted_while_it_was_read_is_not_followed_by_older_ones(log: Log) -> None:
    log.write("a")
    first = log.last()
    for text in "bcdefg":
        log.rotate(text)
        log.keep()
    assert log.shown(first) == ["e", "f", "g"]
    assert first.number == 1
    first.close()


def test_rotation_while_the_files_are_opened_hides_none(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write("a")
    steps: list[Callable[[], None]] = [lambda: log.rotate("b"), log.keep, lambda: log.rotate("c"), log.keep]
    numbers = log_files._numbers

    def slowly(fd: int) -> dict[tuple[int, int], int]:
        found = numbers(fd)
        while steps:
            steps.pop(0)()
        return found

    monkeypatch.setattr(log_files, "_numbers", slowly)
    # ``keep`` has the same function: its steps are over by then.
    assert log.shown() == ["a", "b", "c"]


def test_end_of_a_monitor_leaves_no_spare(log: Log) -> None:
    log.write("a")
    log.rotate("b")
    log.keep()
    log_files.finish(log.fd)
    assert sorted(path.name for path in log.path.iterdir()) == ["log", "log.d"]
    assert log.shown() == ["a", "b"]


def test_next_run_goes_on_in_a_file_that_is_half_empty_and_else_in_a_new_one(log: Log) -> None:
    log.write("x" * 400)
    assert log_files.prepare(log.fd, MOST, 1000) == 600
    assert log.shown() == ["x" * 400]
    log.write("x" * 200)
    assert log_files.prepare(log.fd, MOST, 1000) == 1000
    assert log.shown() == ["x" * 600, ""]


@pytest.mark.parametrize("spare", ["log.tmp", "log.d/2"])
def test_spare_that_was_half_removed_is_made_anew(log: Log, spare: str) -> None:
    (log.path / spare).unlink()
    log.write("a")
    log_files.prepare(log.fd, MOST, 1000)
    log.rotate("b")
    log.keep()
    assert "".join(log.shown()) == "ab"


def test_log_of_one_file_and_none_at_all(tmp_path: Path) -> None:
    assert log_files.open_files(str(tmp_path / "gone")) == []
    assert log_files.open_files(str(tmp_path)) == []
    (tmp_path / "log").write_text("a")
    file = log_files.open_files(str(tmp_path))[0]
    assert file.stream.read() == b"a"
    (tmp_path / "log.tmp").write_text("b")
    (tmp_path / "log.tmp").rename(tmp_path / "log")
    later = log_files.open_files(str(tmp_path), file)
    assert [each.stream.read() for each in later] == [b"b"]
    for each in (file, *later):
        each.close()


def test_no_link_is_followed(log: Log, tmp_path: Path) -> None:
    decoy = tmp_path / "decoy"
    decoy.write_text("secret")
    (log.path / "log").unlink()
    (log.path / "log").symlink_to(decoy)
    with pytest.raises(OSError, match="symbolic"):
        log.shown()
    assert decoy.read_text() == "secret"
