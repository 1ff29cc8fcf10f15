"""``bento logs``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bento import clock, log
from bento.cli.context import Context, complain
from bento.errors import BentoError
from bento.parse.times import parse_since, parse_tail

if TYPE_CHECKING:
    from bento.engine.views.logs import LogLine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the container has ended")
    parser.add_argument("-n", "--tail", default="all", metavar="N", help="only the last N lines (default all)")
    parser.add_argument(
        "--since", metavar="T", help="only what is newer: 2026-01-31T12:00:00Z, or 10m for ten minutes ago"
    )
    parser.add_argument("--until", metavar="T", help="only up to then; with -f it ends with the first line after that")
    parser.add_argument("-t", "--timestamps", action="store_true", help="show when each line was written")
    parser.add_argument("--names", action="store_true", help="the container's name before each line")
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: what containers wrote to stdout and stderr, each on our own."""
    now = clock.utc()
    since, until = (None if text is None else parse_since(text, now) for text in (args.since, args.until))
    tail = parse_tail(args.tail)
    errors: list[BentoError] = []

    def take(error: BentoError) -> None:
        complain(error)  # at once: following may go on for days
        errors.append(error)

    writer = _Writer(args)
    with context.engine() as engine:
        for name, line in engine.logs_of(
            args.container, follow=args.follow, tail=tail, since=since, until=until, on_error=take
        ):
            writer.write(name, line)
    writer.flush()
    return max((error.exit_code for error in errors), default=0)


class _Writer:
    """Writes lines of containers. One that goes on is not broken up by what belongs before a line."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
        # With a time in front it is a listing, for people to read; without, it is the program's own output.
        self._escaped = {name for name in self._streams if args.timestamps and getattr(sys, name).isatty()}
        self._open: set[tuple[str, str]] = set()  # container and stream of a line that is to go on

    def write(self, name: str, line: LogLine) -> None:
        stream, place = self._streams[line.stream], (name, line.stream)
        if place not in self._open:
            before = (f"{name} " if self._args.names else "") + (f"{_utc(line.time)} " if self._args.timestamps else "")
            stream.write(before.encode())
        stream.write(_harmless(line.text) if line.stream in self._escaped else line.text)
        (self._open.discard if line.text.endswith(b"\n") else self._open.add)(place)
        if self._args.follow:
            stream.flush()

    def flush(self) -> None:
        for stream in self._streams.values():
            stream.flush()


def _harmless(text: bytes) -> bytes:
    return log.harmless(text.decode(errors="backslashreplace")).encode()


def _utc(time: str) -> str:
    """Return the monitor's time with UTC written as Docker does."""
    return f"{time.removesuffix('+00:00')}Z" if time.endswith("+00:00") else time
