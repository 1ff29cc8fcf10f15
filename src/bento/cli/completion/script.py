"""``bento completion``: the script that has a shell complete the command lines of Bento."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from bento.cli.context import Context, say

SHELLS: Final = ("bash", "zsh", "fish")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to read it")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    say(Path(__file__).with_name(f"bento.{args.shell}").read_text(encoding="utf-8").removesuffix("\n"))
    return 0
