"""The options of verbs that speak to registries, and what they mean."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import TYPE_CHECKING

from bento.cli.options.switches import Arguments
from bento.errors import UsageError
from bento.lazy import LazyModule
from bento.model.transfer import Access

if TYPE_CHECKING:
    from bento.parse import images
else:  # most transfers name no user
    images = LazyModule("bento.parse.images")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--creds", metavar="USER[:PASSWORD]", help="the user at the registry; without a password it is asked for")
    add("--authfile", metavar="FILE", default="", help="credentials as docker login or podman login keep them")
    add("--cert-dir", metavar="DIR", default="", help="certificates (*.crt) of authorities to trust")
    add_tls_verify(parser)


def add_tls_verify(parser: Arguments) -> None:
    """Add ``--tls-verify`` alone, for verbs that fetch an image by the way."""
    words = "=false: also speak to a registry without TLS, or without a certificate that is trusted"
    parser.add_argument("--tls-verify", action="store_true", default=None, help=words)


def add_platform(parser: Arguments) -> None:
    """Add ``--platform``, for verbs that fetch."""
    parser.add_argument("--platform", metavar="OS/ARCH[/VARIANT]", default="", help="default: this machine's")


def read(args: argparse.Namespace) -> Access:
    """Return what was said; ask for the password that was not. Raises UsageError."""
    return Access(
        credentials=images.parse_credentials(args.creds, _ask) if args.creds is not None else None,
        authfile=args.authfile,
        cert_dir=args.cert_dir,
        tls_verify=args.tls_verify,
    )


def _ask(user: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("--creds names no password, and there is no terminal to ask on", hint="use --authfile")
    return getpass.getpass(f"password of {user}: ")
