"""``--stop-method`` and ``--stop-command``."""

from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.parse.stop import parse_command, parse_method
from bento.stop.methods import METHODS, NAMES, SIGNAL


def test_every_method_is_known_by_its_name() -> None:
    assert [parse_method(name) for name in METHODS] == list(METHODS)
    assert {"application", "sysvinit", "systemd", "exec"} <= set(NAMES)


def test_the_words_of_lxc() -> None:
    assert parse_method("application") == SIGNAL


@pytest.mark.parametrize("text", ["", "upstart", "SIGNAL", "systemd "])
def test_an_unknown_method_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="unknown stop method"):
        parse_method(text)


def test_an_empty_command_is_a_usage_error() -> None:
    assert parse_command("halt") == "halt"
    for text in ("", "  "):
        with pytest.raises(UsageError, match="is empty"):
            parse_command(text)
