"""The options about streams that ``run``, ``create``, ``start``, ``attach`` and ``exec`` share."""

from __future__ import annotations

import argparse

from bento.cli.options.switches import Arguments
from bento.model.container import Streams
from bento.parse import detach_keys


def add_terminal(group: Arguments, *, input_dest: str) -> None:
    """Add ``-i`` and ``-t``."""
    add = group.add_argument
    add("-i", "--interactive", dest=input_dest, action="store_true", help="give it an input: our stdin")
    add("-t", "--tty", action="store_true", help="give it a terminal")


def read_streams(args: argparse.Namespace) -> Streams:
    """Return what ``run`` and ``create`` said of the container's streams."""
    ends_with_first = args.stdin_open and not getattr(args, "detach", False)
    return Streams(tty=args.tty, stdin_open=args.stdin_open, stdin_once=ends_with_first)


def add_detach_keys(group: Arguments) -> None:
    """Add ``--detach-keys``."""
    group.add_argument(
        "--detach-keys",
        default=detach_keys.DEFAULT,
        metavar="KEYS",
        help=f"what to type at a terminal to leave it (default {detach_keys.DEFAULT}; '': nothing does)",
    )


def add_sig_proxy(group: Arguments) -> None:
    """Add ``--sig-proxy``."""
    group.add_argument(
        "--sig-proxy",
        action="store_true",
        default=True,
        help="pass signals on to its program (default); =false: they end this command alone",
    )


def read_keys(args: argparse.Namespace) -> bytes:
    """Return the detach keys. Raises UsageError."""
    return detach_keys.parse(args.detach_keys)
