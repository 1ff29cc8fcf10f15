"""The instructions of ``import --change``."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.errors import UsageError
from bento.model.image import ImageConfig
from bento.oci.change import apply_changes


def changed(*changes: str, **before: object) -> ImageConfig:
    return apply_changes(ImageConfig(**before), changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["nginx", "-g", "daemon off;"]', ("nginx", "-g", "daemon off;")),
        ('  ["a"]  ', ("a",)),
        ("[]", ()),
        ("nginx -g 'daemon off;'", ("/bin/sh", "-c", "nginx -g 'daemon off;'")),
        ("echo $HOME", ("/bin/sh", "-c", "echo $HOME")),
        ("[ -f x ] && y", ("/bin/sh", "-c", "[ -f x ] && y")),
        ("['a']", ("/bin/sh", "-c", "['a']")),
        ("[1]", ("/bin/sh", "-c", "[1]")),
    ],
)
def test_exec_form_and_shell_form(text: str, expected: tuple[str, ...]) -> None:
    assert changed(f"CMD {text}").command == expected
    assert changed(f"ENTRYPOINT {text}").entrypoint == expected


def test_an_entry_point_drops_the_command_of_another_one() -> None:
    before = {"entrypoint": ("a",), "command": ("of a",)}
    assert changed('ENTRYPOINT ["b"]', **before).command == ()
    assert changed('ENTRYPOINT ["b"]', "CMD x", "USER 1", **before).command == ("/bin/sh", "-c", "x")
    assert changed('CMD ["y"]', 'ENTRYPOINT ["b"]', **before).command == ("y",)
    assert changed("USER 1", **before).command == ("of a",)


def test_instructions_are_in_any_case_and_the_last_one_wins() -> None:
    assert changed('cmd ["a"]', '  Cmd   ["b"]').command == ("b",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", ("A=1",)),
        ('A=1 B="two words"  C=three\\ words D=', ("A=1", "B=two words", "C=three words", "D=")),
        ("A one 'and' all", ("A=one and all",)),
        ("A=a=b", ("A=a=b",)),
        ("A='$X\\'", ("A=$X\\",)),
        ('A="q\\"q" B=\\$X', ('A=q"q', "B=$X")),
        ('A="\\n"', ("A=\\n",)),
    ],
)
def test_env(text: str, expected: tuple[str, ...]) -> None:
    assert changed(f"ENV {text}").env == expected


def test_env_replaces_in_place_and_expands_what_was_set_before() -> None:
    config = changed("ENV PATH=/opt:$PATH X=${A}b", "ENV A=2", env=("A=1", "PATH=/bin"))
    assert config.env == ("A=2", "PATH=/opt:/bin", "X=1b")


def test_labels() -> None:
    config = changed('LABEL a=1 "b c"="d e"', "LABEL version 1 2", labels={"a": "0"})
    assert config.labels == {"a": "1", "b c": "d e", "version": "1 2"}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["/srv"], "/srv"),
        (["/srv", "app/"], "/srv/app"),
        (["a", "../b"], "/b"),
        (["../.."], "/"),
        (["//srv/./x"], "/srv/x"),
        (['"/with space"'], "/with space"),
    ],
)
def test_workdir(texts: list[str], expected: str) -> None:
    assert changed(*(f"WORKDIR {text}" for text in texts)).workdir == expected


def test_user_and_stop_signal() -> None:
    config = changed("USER www:www", "STOPSIGNAL SIGRTMIN+3")
    assert (config.user, config.stop_signal) == ("www:www", "SIGRTMIN+3")


def test_expose() -> None:
    assert changed("EXPOSE 80 443/TCP 53/udp 8000-8002", "EXPOSE 80").exposed_ports == (
        "80/tcp",
        "443/tcp",
        "53/udp",
        "8000/tcp",
        "8001/tcp",
        "8002/tcp",
    )


def test_volumes() -> None:
    assert changed('VOLUME ["/b", "/a/"]', "VOLUME /c d", "VOLUME /a").volumes == ("/a", "/b", "/c", "/d")


@pytest.mark.parametrize(
    "change",
    [
        "",
        "CMD",
        "CMD   ",
        "VOLUME /",
        "ONBUILD CMD x",
        "ENV A",
        "ENV =1",
        "ENV A=1 B",
        "ENV A='1",
        "ENV A=${B:-c}",
        "LABEL =x",
        "USER a b",
        "USER ''",
        "STOPSIGNAL NOSUCH",
        "STOPSIGNAL 0",
        "EXPOSE 0",
        "EXPOSE 70000",
        "EXPOSE 9-8",
        "EXPOSE http",
        "EXPOSE 80/icmp",
    ],
)
def test_what_is_wrong_is_a_usage_error(change: str) -> None:
    with pytest.raises(UsageError):
        changed(change)


@given(st.text())
def test_any_text_is_accepted_or_refused_in_one_way(text: str) -> None:
    for instruction in ("CMD", "ENV", "LABEL", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL"):
        with contextlib.suppress(UsageError):
            changed(f"{instruction} {text}")
