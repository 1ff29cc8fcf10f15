"""``bento logs``."""

from __future__ import annotations

import argparse
import sys

from bento import clock, log
from bento.cli.context import Context
from bento.parse.times import parse_since, parse_tail


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the container has ended")
    parser.add_argument("-n", "--tail", default="all", metavar="N", help="only the last N lines (default all)")
    parser.add_argument(
        "--since", metavar="T", help="only what is newer: 2026-01-31T12:00:00Z, or 10m for ten minutes ago"
    )
    parser.add_argument("--until", metavar="T", help="only up to then; with -f it ends with the first line after that")
    parser.add_argument("-t", "--timestamps", action="store_true", help="show when each line was written")
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: what the container wrote to stdout and stderr, each on our own."""
    now = clock.utc()
    since, until = (None if text is None else parse_since(text, now) for text in (args.since, args.until))
    tail = parse_tail(args.tail)
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    # With a time in front it is a listing, for people to read; without, it is the program's own output.
    escaped = {name for name in streams if args.timestamps and getattr(sys, name).isatty()}
    with context.engine() as engine:
        is_new_line = {"stdout": True, "stderr": True}
        for line in engine.logs(args.container, follow=args.follow, tail=tail, since=since, until=until):
            stream = streams[line.stream]
            if args.timestamps and is_new_line[line.stream]:
                stream.write(f"{_utc(line.time)} ".encode())
            stream.write(_harmless(line.text) if line.stream in escaped else line.text)
            is_new_line[line.stream] = line.text.endswith(b"\n")
            if args.follow:
                stream.flush()
    for stream in streams.values():
        stream.flush()
    return 0


def _harmless(text: bytes) -> bytes:
    return log.harmless(text.decode(errors="backslashreplace")).encode()


def _utc(time: str) -> str:
    """Return the monitor's time with UTC written as Docker does."""
    return f"{time.removesuffix('+00:00')}Z" if time.endswith("+00:00") else time
