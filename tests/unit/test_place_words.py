"""Places of files: those of ``cp``, and archives of images."""

from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.parse.places import ArchivePlace, parse_archive, parse_copy_place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("web:/etc", ("web", "/etc")), ("web:etc:x", ("web", "etc:x")), ("-", ("", "-")), ("file", ("", "file")),
        ("./a:b", ("", "./a:b")), ("/a:b", ("", "/a:b")),
    ],
)  # fmt: skip
def test_ends_of_a_copy(text: str, place: tuple[str, str]) -> None:
    assert parse_copy_place(text) == place


@pytest.mark.parametrize("text", ["", ":", "web:", ":/etc"])
def test_what_is_no_end_of_a_copy(text: str) -> None:
    with pytest.raises(UsageError, match="cp: "):
        parse_copy_place(text)


def test_archives_with_and_without_a_name() -> None:
    assert parse_archive("docker-archive:a.tar") == ArchivePlace("docker-archive", "a.tar", "")
    assert parse_archive("oci-archive:/a:web") == ArchivePlace("oci-archive", "/a", "docker.io/library/web:latest")
    assert parse_archive("a.tar") is parse_archive("registry.example/web:1") is parse_archive("oci:dir") is None


@pytest.mark.parametrize("text", ["docker-archive:", "docker-archive::web", "oci-archive:a:"])
def test_an_archive_without_a_file(text: str) -> None:
    with pytest.raises(UsageError, match="names no file"):
        parse_archive(text)
