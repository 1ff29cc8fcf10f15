"""``bento version``."""

from __future__ import annotations

import argparse
import platform

import msgspec

from bento import __version__
from bento.cli.context import Context, say
from bento.cli.options import format as format_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    format_options.configure(parser, "text", "json", is_short=True)


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
    elif format_options.is_template(args.format):
        # Scripts ask for .Client.Version or .Server.Version: here both are this program.
        format_options.show(args.format, [versions | {"Client": versions, "Server": versions}])
    else:
        for name, value in versions.items():
            say(f"{name}: {value}")
    return 0
