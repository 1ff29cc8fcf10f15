"""``bento wait``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, each
from bento.wiring import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--condition",
        metavar="WHEN",
        default="not-running",
        choices=("not-running", "next-exit", "removed"),
        help="not-running (default), next-exit or removed",
    )
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each exit code, -1 where it was not seen."""
    with context.engine() as engine:
        return each(args.container, lambda ref: _wait(engine, ref, args.condition))


def _wait(engine: Engine, ref: str, condition: str) -> str:
    code = engine.wait(ref, condition).exit_code
    return str(-1 if code is None else code)
