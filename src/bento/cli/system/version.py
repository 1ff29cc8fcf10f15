"""``bento version``."""

from __future__ import annotations

import argparse
import platform

import msgspec

from bento import __version__
from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.docker import engine_info


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    format_options.configure(parser, "text", "json", is_short=True)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    versions = engine_info.version(
        __version__, python=platform.python_version(), kernel=platform.release(), machine=platform.machine()
    )
    if args.format == "json":
        say(msgspec.json.encode(versions).decode())
    elif format_options.is_template(args.format):
        format_options.show(args.format, [engine_info.version_fields(versions)])
    else:
        for name, value in versions.items():
            say(f"{name}: {value}")
    return 0
