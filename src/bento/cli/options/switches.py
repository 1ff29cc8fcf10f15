"""Switches that may be given a value, as Go's flags take them: ``--pause``, ``--pause=true``, ``--pause=false``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeGuard

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
        if equals and switch is None and value in _ON + _OFF and (several := _joined(known, name)):
            known[word] = _Joined([word], several, is_on=value in _ON)
        if isinstance(switch, argparse._StoreConstAction) and switch.const is True:
            if value in _ON:
                known[word] = switch
            elif value in _OFF:
                known[word] = argparse._StoreConstAction([word], switch.dest, const=False)


class _Joined(argparse.Action):
    """Switches of one letter in one word: all are on, but for the last, which has the value."""

    def __init__(self, words: list[str], switches: list[argparse.Action], *, is_on: bool) -> None:
        super().__init__(words, switches[-1].dest, nargs=0)
        self._switches, self._is_on = switches, is_on

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        for switch in self._switches:
            setattr(namespace, switch.dest, True)
        setattr(namespace, self.dest, self._is_on)


def _joined(known: Mapping[str, argparse.Action], name: str) -> list[argparse.Action]:
    """Return the switches of a word such as ``-it``; nothing where any letter of it is none."""
    if not name.startswith("-") or name.startswith("--"):
        return []
    found = [known.get(f"-{letter}") for letter in name[1:]]
    return [each for each in found if _is_switch(each)] if all(map(_is_switch, found)) else []


def _is_switch(action: argparse.Action | None) -> TypeGuard[argparse.Action]:
    return isinstance(action, argparse._StoreConstAction) and action.const is True
