"""``bento stats``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bento import log
from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.cli.output.render import table
from bento.docker import stats
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.cli.output.templates import template
    from bento.model.stats import ContainerStats
else:
    template = LazyModule("bento.cli.output.templates.template")

_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_HOME, _REST_OF_LINE, _REST_OF_SCREEN, _CLEAR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    parser.add_argument("--no-stream", action="store_true", help="one sample, of a second, and no more")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids")
    format_options.configure_listing(parser)
    parser.add_argument("container", nargs="*", help="only these (default: all that run)")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a table that is drawn anew every second on a terminal, and elsewhere one after the other."""
    with context.engine() as engine:
        samples = engine.stats(args.container, all=args.all)
        first = next(samples, [])  # of no span of time yet
        if args.no_stream:
            _say(_text(args, next(samples, [])))
            return 0
        screen = Screen() if sys.stdout.isatty() and not format_options.is_json(args.format) else None
        if screen is not None:
            screen.draw(_text(args, first))
        for found in samples:
            if screen is not None:
                screen.draw(_text(args, found))
            else:
                _say(_text(args, found))
    return 0


def _text(args: argparse.Namespace, found: Sequence[ContainerStats]) -> str:
    records = [stats.fields(each, is_whole=args.no_trunc) for each in found]
    if format_options.is_template(args.format):
        return template.render(args.format, records, stats.FIELDS).removesuffix("\n")
    return table([stats.FIELDS[name] for name in _COLUMNS], [[record[name] for name in _COLUMNS] for record in records])


def _say(text: str) -> None:
    if text:
        say(text)


class Screen:
    """A text that is drawn in the place of the one before, from the upper left corner of the terminal on."""

    def __init__(self) -> None:
        self._beginning = _CLEAR

    def draw(self, text: str) -> None:
        """Draw it: what does not fit is cut, as a line that goes on in the next one would move all below it."""
        size = os.get_terminal_size(sys.stdout.fileno())
        lines = [log.printable(line)[: size.columns] for line in text.splitlines()[: size.lines - 1]]
        drawn = "".join(f"{line}{_REST_OF_LINE}\n" for line in lines)
        sys.stdout.write(f"{self._beginning}{_HOME}{drawn}{_REST_OF_SCREEN}")
        sys.stdout.flush()
        self._beginning = ""
