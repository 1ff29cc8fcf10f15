"""``bento info``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say
from bento.cli.options import format as format_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    format_options.configure(parser, "text", "json", is_short=True)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        facts = engine.info()
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(facts), indent=4).decode())
    elif format_options.is_template(args.format):
        format_options.show(args.format, [facts])
    else:
        warnings = facts.pop("Warnings")
        for name, value in facts.items():
            say(f"{name}: {', '.join(value) if isinstance(value, list | dict) else value}")
        for line in warnings:
            say(f"Warning: {line}")
    return 0
