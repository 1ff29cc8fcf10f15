"""Detach keys: their words, and finding them in what is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.errors import UsageError
from bento.parse.detach_keys import DEFAULT, KeyFilter, parse


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (DEFAULT, b"\x10\x11"),
        ("", b""),
        ("a", b"a"),
        ("a,ctrl-b", b"a\x02"),
        ("ctrl-@,ctrl-[,ctrl-_", b"\x00\x1b\x1f"),
        ("ctrl-P", b"\x10"),
        ("ctrl-\\", b"\x1c"),
    ],
)
def test_words(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", [",", "ab", "ctrl-", "ctrl-1", "ctrl-ab", "é", "ctrl-é", "a,,b", "\n"])
def test_bad_words(text: str) -> None:
    with pytest.raises(UsageError, match="bad detach keys"):
        parse(text)


@given(st.lists(st.binary(max_size=6)), st.sampled_from([b"", b"\x10\x11", b"aab", b"a", b"abc"]))
def test_all_is_passed_on_but_the_keys_however_it_comes_in_pieces(pieces: list[bytes], keys: bytes) -> None:
    pieces = [bytes(b"abc\x10\x11"[byte % 5] for byte in piece) for piece in pieces]
    typed, filtered, passed = b"".join(pieces), KeyFilter(keys), b""
    for piece in pieces:
        passed += filtered.feed(piece)
        if filtered.is_complete:
            break
    if filtered.is_complete:
        assert typed.startswith(passed + keys)
    else:
        held = typed[len(passed) :]
        assert typed.startswith(passed)
        assert keys.startswith(held)
        assert held == b"" or held != keys


def test_once_found_the_rest_is_dropped() -> None:
    filtered = KeyFilter(b"\x10\x11")
    assert filtered.feed(b"a\x10") == b"a"
    assert filtered.feed(b"\x10\x11rest") == b"\x10"
    assert filtered.is_complete
