"""Which base images a Containerfile asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.parse.containerfile import images_of


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM debian", ["debian"]),
        ("from debian:12 as base\nFROM base\n", ["debian:12"]),
        ("FROM --platform=$BUILDPLATFORM go:1 AS Build\nFROM scratch\nCOPY --from=build /x /x\n", ["go:1"]),
        ("FROM a\nFROM b\nCOPY --from=0 /x /\nCOPY --from=nginx:1 /y /\n", ["a", "b", "nginx:1"]),
        ("FROM a\nRUN --mount=type=bind,from=tools,target=/t t\n", ["a", "tools"]),
        ("ARG V=12\nFROM debian:${V}\n", ["debian:12"]),
        ("ARG V\nFROM debian:${V:-11}\n", ["debian:11"]),
        ("ARG V=1\nFROM debian${V:+:12}\n", ["debian:12"]),
        ('ARG V="12"\nARG N=debian:$V\nFROM $N\n', ["debian:12"]),
        ("# FROM no\nFROM \\\n  # a remark\n  debian \\\n  AS x\n", ["debian"]),
        ("# escape=`\nFROM `\n debian\nRUN echo \\\nFROM b\n", ["debian", "b"]),
        ("FROM a\nFROM a\n", ["a"]),
        ("FROM\n", []),
        ("", []),
    ],
)
def test_the_images_that_are_no_stage(text, images):
    assert images_of(text, {}) == images


def test_a_given_argument_wins_over_its_default():
    assert images_of("ARG V=12\nARG W\nFROM debian:$V-$W", {"V": "11", "W": "slim"}) == ["debian:11-slim"]
    assert images_of("FROM debian:$V", {"V": "11"}) == ["debian:"], "only what ARG names"


def test_nothing_behind_the_target_is_wanted():
    text = "FROM a AS one\nFROM b AS two\nFROM c"
    assert images_of(text, {}, "one") == images_of(text, {}, "0") == ["a"]
    assert images_of(text, {}, "TWO") == ["a", "b"]


@given(st.text(alphabet=" \\\n#$:{}=-+abFROMCPYAGfrom/\t\"'0,", max_size=200))
def test_any_text_is_read(text):
    assert all(images_of(text, {"a": "b"}))
