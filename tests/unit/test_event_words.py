"""An event in the words of Docker's API and command line, and the moments that ``--since`` names."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from bento.docker import event as docker_event
from bento.errors import UsageError
from bento.model.event import Event
from bento.parse.times import parse_moment_ns

NS = 1_796_022_915_928_757_034
NOW = datetime(2026, 11, 30, 12, 0, 0, 250_000, tzinfo=UTC)


def made(type: str, **attributes: str) -> Event:
    return Event(type=type, action="start", actor="id", unix_ns=NS, attributes=attributes, sequence=3)


def test_the_document_is_dockers() -> None:
    assert docker_event.document(made("container", image="app", name="web")) == {
        "status": "start", "id": "id", "from": "app", "Type": "container", "Action": "start",
        "Actor": {"ID": "id", "Attributes": {"image": "app", "name": "web"}},
        "scope": "local", "time": 1_796_022_915, "timeNano": NS,
    }  # fmt: skip


@pytest.mark.parametrize(("type", "old"), [("image", {"status", "id"}), ("volume", set()), ("network", set())])
def test_the_fields_of_old_are_where_docker_has_them(type: str, old: set[str]) -> None:
    assert set(docker_event.document(made(type))) & {"status", "id", "from"} == old
    assert {"status", "id", "from"} < set(docker_event.document(made(type), is_whole=True))


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("UTC", "07:15:15.928757034Z"),
        ("Asia/Kolkata", "12:45:15.928757034+05:30"),
        ("America/New_York", "02:15:15.928757034-05:00"),
    ],
)
def test_the_line_is_dockers(zone: str, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        line = docker_event.line(made("container", name="web", image="app"))
        assert line == f"2026-11-30T{moment} container start id (image=app, name=web)"
        assert docker_event.line(made("volume")).endswith("volume start id")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1796022915.928757034", NS),
        ("1796022915", NS // 10**9 * 10**9),
        ("1796022915.5", NS // 10**9 * 10**9 + 5 * 10**8),
        ("10m", 1_796_039_400_250_000_000),
        ("0s", 1_796_040_000_250_000_000),
        ("2026-11-30T07:15:15Z", NS // 10**9 * 10**9),
        ("2026-11-30T08:15:15+01:00", NS // 10**9 * 10**9),
    ],
)
def test_moments(text: str, ns: int) -> None:
    assert parse_moment_ns(text, NOW) == ns


@pytest.mark.parametrize("text", ["", ".", "1.x", "yesterday", "1.2.3", "٣"])
def test_bad_moments(text: str) -> None:
    with pytest.raises(UsageError, match="bad time"):
        parse_moment_ns(text, NOW)
