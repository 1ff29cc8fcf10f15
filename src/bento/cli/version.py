"""``bento version``."""

from __future__ import annotations

import argparse
import platform

import msgspec

from bento import __version__
from bento.cli.context import Context, say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    versions = {
        "Version": __version__,
        "Python": platform.python_version(),
        "Kernel": platform.release(),
        "Arch": platform.machine(),
    }
    if args.format == "json":
        say(msgspec.json.encode(versions).decode())
    else:
        for name, value in versions.items():
            say(f"{name}: {value}")
    return 0
