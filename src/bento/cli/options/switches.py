"""Switches that may be given a value, as Go's flags take them: ``--pause``, ``--pause=true``, ``--pause=false``."""

from __future__ import annotations

import argparse

Arguments = argparse._ActionsContainer
"""A parser, or a group of one under a heading of its own in the help."""


def add_switch(parser: Arguments, *names: str, dest: str, default: bool | None, help: str) -> None:
    """Add a switch. The word behind it is never its value: argparse's ``nargs="?"`` would take an image for one."""
    on = [*names, *(f"{name}=true" for name in names)]
    off = [f"{name}=false" for name in names]
    parser.add_argument(*on, dest=dest, action="store_const", const=True, default=default, help=help)
    parser.add_argument(*off, dest=dest, action="store_const", const=False, default=default, help=argparse.SUPPRESS)
