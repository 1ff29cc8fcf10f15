"""Options of other engines that Bento does not have, and that deserve a better answer than "unknown"."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from bento.errors import UsageError


class Refused(argparse.Action):
    """Says in one line that there is no terminal, nor an input of the container's own."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=options.get("help"))

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if option_string in ("-t", "--tty"):
            raise UsageError("there is no terminal in containers yet", hint=f"omit {option_string}")
        raise UsageError(
            f"{parser.prog.removeprefix('bento ')} passes no input on yet",
            hint=f"omit {option_string}; bento exec -i passes stdin on to a command",
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``run`` and ``create``."""
    parser.add_argument("-i", "--interactive", action=Refused, help=argparse.SUPPRESS)
    parser.add_argument("-t", "--tty", action=Refused, help=argparse.SUPPRESS)
