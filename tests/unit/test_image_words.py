"""Words about images: platforms, registries and their users; and what is said of wrong ones."""

from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.model.transfer import Credentials
from bento.oci.platform import Platform
from bento.parse.images import parse_credentials, parse_platform, parse_registry


def test_platforms_are_written_as_docker_writes_them():
    assert parse_platform("linux/arm/v7") == Platform("linux", "arm", "v7")
    for same in ("linux/arm64", "Linux/ARM64", "linux/aarch64", "arm64", "aarch64"):
        assert parse_platform(same) == Platform("linux", "arm64")
    assert parse_platform("linux/x86_64") == parse_platform("amd64") == Platform("linux", "amd64")
    for bad in ("", "linux", "linux/", "/arm", "linux/arm/v7/x", "darwin/arm64", "linux/a b"):
        with pytest.raises(UsageError):
            parse_platform(bad)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "docker.io"), ("docker.io", "docker.io"), ("https://index.docker.io/v1/", "docker.io"),
        ("registry.example.com", "registry.example.com"), ("http://127.0.0.1:5000/", "127.0.0.1:5000"),
        ("[::1]:5000", "[::1]:5000"), ("quay.io/team/app", "quay.io/team/app"),
    ],
)  # fmt: skip
def test_name_of_a_registry(text: str, name: str) -> None:
    assert parse_registry(text) == name


@pytest.mark.parametrize("text", [" x y", "-u", "--all", "a;b", "https://", "a\nb", "/"])
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(UsageError):
        parse_registry(text)


def test_credentials_hide_their_password():
    assert parse_credentials("ann:a:b", str.upper) == Credentials("ann", "a:b")
    assert "a:b" not in repr(parse_credentials("ann:a:b", str.upper))
    assert parse_credentials("ann", str.upper) == Credentials("ann", "ANN")
    for bad in ("", ":secret"):
        with pytest.raises(UsageError):
            parse_credentials(bad, str.upper)
