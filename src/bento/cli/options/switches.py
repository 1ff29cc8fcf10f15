"""Switches that may be given a value, as Go's flags take them: ``--pause``, ``--pause=true``, ``--pause=false``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final

Arguments = argparse._ActionsContainer
"""A parser, or a group of one under a heading of its own in the help."""

# What strconv.ParseBool of Go takes.
_ON: Final = ("1", "t", "T", "true", "TRUE", "True")
_OFF: Final = ("0", "f", "F", "false", "FALSE", "False")


def take_values(parser: argparse.ArgumentParser, words: Iterable[str]) -> None:
    """Have a parser understand those of these words that are a switch with a value.

    The word behind a switch is never its value: argparse's ``nargs="?"`` would take an image for one.
    """
    known = parser._option_string_actions
    for word in words:
        name, equals, value = word.partition("=")
        switch = known.get(name) if equals else None
        if isinstance(switch, argparse._StoreConstAction) and switch.const is True:
            if value in _ON:
                known[word] = switch
            elif value in _OFF:
                known[word] = argparse._StoreConstAction([word], switch.dest, const=False)
