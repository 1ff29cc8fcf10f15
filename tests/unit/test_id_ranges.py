"""Ids of user namespaces: what gives them, which are free, and what they are on the other side."""

from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.model.namespaces.mapping import IdMapping, IdRange
from bento.oci.config import mappings
from bento.parse import id_ranges

GIVEN = [(1000, 100), (5000, 30)]


@pytest.mark.parametrize(("words", "size"), [("", 0), ("host", 0), ("auto", 65536), ("auto:size=7", 7)])
def test_modes(words: str, size: int) -> None:
    assert id_ranges.parse_userns(words) == size


@pytest.mark.parametrize(
    "words", ["keep-id", "auto:", "auto:size=", "auto:size=0", "auto:size=-1", "auto:uid=3", "own"]
)
def test_modes_that_there_are_not(words: str) -> None:
    with pytest.raises(UsageError):
        id_ranges.parse_userns(words)


def test_ids_are_those_of_the_name_alone() -> None:
    text = "root:1:2\ncontainers:100000:65536\n\ncontainers:x:1\n# a comment\ncontainers:0:9\ncontainers:300000:10\n"
    assert id_ranges.spans_of("containers", text) == [(100000, 65536), (300000, 10)]
    assert id_ranges.spans_of("web", text) == []


def test_the_setting_is_a_name_or_numbers() -> None:
    assert id_ranges.parse_span("containers") is None
    assert id_ranges.parse_span("100000:65536") == (100000, 65536)
    for words in ("0:65536", "1:", ":1", "1:0", "4294967290:10", "1:2:3", "-1:5"):
        with pytest.raises(UsageError):
            id_ranges.parse_span(words)


@pytest.mark.parametrize(
    ("taken", "size", "first"),
    [
        ([], 100, 1000),
        ([], 101, None),
        ([(1000, 40)], 60, 1040),
        ([(1000, 40)], 61, None),
        ([(1040, 60)], 40, 1000),
        ([(1010, 10), (1030, 10)], 20, 1040),
        ([(1010, 10), (1030, 10)], 10, 1000),
        ([(900, 150), (1050, 40)], 20, 5000),
        ([(0, 2000)], 30, 5000),
        ([(0, 2000), (5029, 1)], 30, None),
    ],
)
def test_what_is_free_is_given_from_below(taken: list[tuple[int, int]], size: int, first: int | None) -> None:
    assert id_ranges.first_free(GIVEN, taken, size) == first


def test_what_an_owner_is_on_the_other_side() -> None:
    ids = IdMapping(uids=(IdRange(0, 1000, 10), IdRange(20, 5000, 1)), gids=(IdRange(0, 2000, 10),))
    assert ids.root == (1000, 2000)
    assert ids.to_machine((20, 9)) == (5000, 2009)
    assert ids.from_machine((5000, 2009)) == (20, 9)
    assert ids.from_machine((0, 0)) == (65534, 65534)
    with pytest.raises(ValueError, match="10"):
        ids.to_machine((10, 0))
    assert mappings(ids)["uidMappings"][1] == {"containerID": 20, "hostID": 5000, "size": 1}
    assert mappings(None) == {}
