"""The rules of stop as options: ``--scope`` of stop and its kin, ``--stop-scope`` of run and create."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from bento.cli.options.switches import Arguments
from bento.model.stop import SignalFrom
from bento.model.stop_words import WORDS, RuleWord, option_of
from bento.units import parse_seconds


def configure(parser: Arguments, *, prefix: str = "") -> None:
    """Add the options. ``prefix`` stands before each of their names."""
    for field, row in _own():
        option = option_of(field)
        how: dict[str, Any] = {"choices": row.choices}
        if row.kind is bool:
            how = {"action": "store_true", "default": None}
        elif row.kind is float:
            how = {"type": _seconds(option.replace("-", " ")), "metavar": "S"}
        parser.add_argument(f"--{prefix}{option}", dest=_dest(field), help=row.text, **how)


def read(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was said, as fields of StopRules."""
    said = {field: getattr(args, _dest(field)) for field, _ in _own()}
    return {field: None if value is None else WORDS[field].kind(value) for field, value in said.items()}


def signal_from(said: str | int | None) -> SignalFrom | None:
    """Return what ``-s`` and ``--stop-signal`` say of where the signal comes from: one that is named is no other's."""
    if said is None:
        return None
    return SignalFrom.AUTO if said == SignalFrom.AUTO.value else SignalFrom.IMAGE


def _own() -> list[tuple[str, RuleWord]]:
    """The rules that have an option of their own."""
    return [(field, row) for field, row in WORDS.items() if not row.option]


def _dest(field: str) -> str:
    return f"rule_{field}"


def _seconds(what: str) -> Callable[[str], float]:
    """Return what reads a time; of it the error names ``what``."""
    return lambda text: parse_seconds(text, what=what, allow_no_limit=False)
