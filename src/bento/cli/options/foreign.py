"""The options that name what Bento has not made: ``--engine`` with names of its containers, and ``--pid``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bento.engine.foreign.names import ENGINES, ForeignName
from bento.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--engine", choices=ENGINES, metavar="E", help=f"the containers are of {', '.join(ENGINES)}")
    parser.add_argument(
        "--pid", metavar="N", action="append", default=[], help="any PID 1 of a PID namespace, by its pid"
    )


def is_meant(args: argparse.Namespace) -> bool:
    """Whether something is named that Bento has not made."""
    return getattr(args, "engine", None) is not None or bool(getattr(args, "pid", None))


def read(args: argparse.Namespace, names: Sequence[str], verb: str) -> list[ForeignName]:
    """Return what is named, each once. Raises UsageError."""
    if args.pid and (names or args.engine):
        raise UsageError(f"{verb}: --pid and names of containers exclude each other")
    if args.engine and not names:
        raise UsageError(f"{verb}: no container named", hint=f"name those of {args.engine}")
    found = [ForeignName(pid) for pid in args.pid] or [ForeignName(name, args.engine) for name in names]
    return list(dict.fromkeys(found))


def read_one(args: argparse.Namespace, name: str | None, verb: str) -> ForeignName:
    """Return the one that is named. Raises UsageError."""
    found = read(args, [] if name is None else [name], verb)
    if len(found) != 1:
        raise UsageError(f"{verb}: one --pid at a time")
    return found[0]
