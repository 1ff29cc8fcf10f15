"""``--stop-method`` and ``--stop-command``; ``auto`` in the place of a signal."""

from __future__ import annotations

import argparse

import pytest

from bento.cli.options import stop, stop_settings
from bento.errors import UsageError
from bento.model.stop import SignalFrom
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


@pytest.mark.parametrize(
    ("words", "number", "source"),
    [
        ([], None, None),
        (["auto"], None, SignalFrom.AUTO),
        (["TERM"], 15, SignalFrom.IMAGE),
        (["3"], 3, SignalFrom.IMAGE),
    ],
)
def test_s30_a_signal_that_is_named_is_not_the_program_s_to_choose(words, number, source) -> None:
    call, container = argparse.ArgumentParser(), argparse.ArgumentParser()
    stop.configure(call)
    stop_settings.configure(container)
    container.add_argument("--drain", action="store_true")
    asked = stop.read(call.parse_args([word for signal in words for word in ("-s", signal)]))
    assert (asked.signal, asked.signal_from) == (number, source)
    made = stop_settings.read(container.parse_args([word for signal in words for word in ("--stop-signal", signal)]))
    assert (made.signal, made.rules.signal_from) == (number, source)
