"""``bento info``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        facts = engine.info()
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(facts), indent=4).decode())
    else:
        for name, value in facts.items():
            say(f"{name}: {value}")
    return 0
