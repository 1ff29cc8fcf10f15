"""Names of images: completed, abbreviated, and refused as Docker does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.errors import UsageError
from bento.model import reference

DIGEST = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "ab" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.2-rc_1.0", "docker.io/library/nginx:1.2-rc_1.0", "nginx:1.2-rc_1.0"),
        ("team/web", "docker.io/team/web:latest", "team/web:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("registry.example/web", "registry.example/web:latest", "registry.example/web:latest"),
        ("localhost/web", "localhost/web:latest", "localhost/web:latest"),
        ("localhost:5000/a/b:2", "localhost:5000/a/b:2", "localhost:5000/a/b:2"),
        ("[::1]:5000/web", "[::1]:5000/web:latest", "[::1]:5000/web:latest"),
        ("UP/web", "UP/web:latest", "UP/web:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"registry.example/web:1@{SHA512}", f"registry.example/web@{SHA512}", f"registry.example/web@{SHA512}"),
        ("a__b-c--d.e_f", "docker.io/library/a__b-c--d.e_f:latest", "a__b-c--d.e_f:latest"),
    ],
)
def test_names_are_completed_and_abbreviated(text: str, full: str, familiar: str) -> None:
    parsed = reference.parse(text)
    assert (str(parsed), parsed.familiar) == (full, familiar)
    assert reference.complete(text) == full
    assert reference.familiar(full) == familiar


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "@", "/", "a/", "/a", "a//b", "A", "web:", "web:-x", "web:" + "x" * 129, "a b", "ä", "a\n", "a..b",
        "a___b", "_a", "a_", "-a", "web@", "web@sha256:12", f"web@{DIGEST.upper()}", "web@md5:" + "0" * 32, "a:b:c",
        "0123456789abcdef" * 4, "x" * 256, "host:port/a", "-host/a.b/", "a/b:c/d", "\udcff", "web:\udcff",
        f"web@{DIGEST}0", "sha256:" + "ab" * 32 + "@",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        reference.parse(text)


@given(st.text(max_size=40) | st.from_regex(r"[a-z.:/@_-]{1,30}", fullmatch=True))
def test_whatever_is_accepted_stays_itself(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except UsageError:
        return
    assert reference.parse(str(parsed)) == parsed
    assert reference.parse(parsed.familiar) == parsed
    assert reference.familiar(str(parsed)) == parsed.familiar
    assert reference.split(str(parsed)) == (parsed.familiar_repository, parsed.tag, parsed.digest)


@given(st.text(max_size=40))
def test_any_text_can_be_looked_for(text: str) -> None:
    assert reference.complete(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("nginx", False), ("user/x", False), ("localhost/x", True), ("h:1/x", True), ("a.b/x", True), ("Up/x", True),
     ("localhost", False), ("a.b", False)],
)  # fmt: skip
def test_whether_a_name_says_its_registry(text: str, expected: bool) -> None:
    assert reference.has_registry(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [(DIGEST, True), (SHA512, True), (DIGEST[:-1], False), (DIGEST.upper(), False), ("sha256:", False), ("", False),
     (SHA512.replace("512", "256"), False), ("md5:" + "0" * 32, False), (f"{DIGEST[:-1]}g", False)],
)  # fmt: skip
def test_what_is_a_digest(text: str, expected: bool) -> None:
    assert reference.is_digest(text) == expected


def test_names_of_an_older_bento_are_shown_as_they_were() -> None:
    assert reference.familiar("docker.io/library/My_Old:latest") == "My_Old:latest"
    assert reference.complete("My_Old") == "docker.io/library/My_Old:latest"
