"""``bento info``."""

from __future__ import annotations

import argparse
from typing import Any

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
            say(f"{name}: {_words(value)}".rstrip())
        for line in warnings:
            say(f"Warning: {line}")
    return 0


def _words(value: Any) -> str:
    """Return a value as people read it: what a list has, and the names and plain values of a map."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" if isinstance(each, str) else key for key, each in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
