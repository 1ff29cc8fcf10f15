"""``bento login``."""

from __future__ import annotations

import argparse
import getpass
import sys

from bento.cli.context import Context, say, tell_person
from bento.cli.options.transfer import add_tls_verify
from bento.errors import NotFound, NotPermitted, UsageError
from bento.model.transfer import Access, Credentials
from bento.wiring import Engine

_SEEN = "bento: a password on the command line is seen by every user of this machine: use --password-stdin"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("-u", "--username", metavar="USER", help="the user; else a login that is kept is tried, then you are asked")
    password = parser.add_mutually_exclusive_group()
    password.add_argument("-p", "--password", metavar="P", help="the password; better is:")
    password.add_argument("--password-stdin", action="store_true", help="read the password from the standard input")
    configure_access(parser)
    add("registry", nargs="?", default="", help="HOST[:PORT] (default: Docker Hub)")


def configure_access(parser: argparse.ArgumentParser) -> None:
    """Add where credentials are kept, and how the registry is reached."""
    add = parser.add_argument
    add("--authfile", metavar="FILE", default="", help="where logins are kept (default: as skopeo and Podman do)")
    add("--cert-dir", metavar="DIR", default="", help="certificates (*.crt) of authorities to trust")
    add_tls_verify(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. The password goes to the program that checks it by a descriptor, never by its arguments."""
    access = Access(authfile=args.authfile, cert_dir=args.cert_dir, tls_verify=args.tls_verify)
    if args.password is not None:
        tell_person(_SEEN)
    with context.engine() as engine:
        if args.username is None and args.password is None and not args.password_stdin:
            _login_again(engine, args.registry, access)
        else:
            engine.login(args.registry, _given(args), access=access)
    say("Login Succeeded")
    return 0


def _given(args: argparse.Namespace) -> Credentials:
    if args.username is None and args.password_stdin:
        raise UsageError("--password-stdin says nothing of the user", hint="add --username")
    user = args.username if args.username is not None else _ask_user()
    if args.password_stdin:
        return Credentials(user, sys.stdin.read().rstrip("\r\n"))
    return Credentials(user, args.password if args.password is not None else _ask_password(user))


def _login_again(engine: Engine, registry: str, access: Access) -> None:
    """As Docker: a login that is kept is tried first."""
    try:
        engine.login(registry, access=access)
    except (NotFound, NotPermitted) as error:
        if not sys.stdin.isatty():
            hint = "give --username and --password-stdin"
            raise type(error)(f"{error.message}, and there is no terminal to ask on", hint=hint) from None
        user = _ask_user()
        engine.login(registry, Credentials(user, _ask_password(user)), access=access)


def _ask_user() -> str:
    _check_terminal()
    sys.stderr.write("user: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _ask_password(user: str) -> str:
    _check_terminal()
    return getpass.getpass(f"password of {user}: ")


def _check_terminal() -> None:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="give --username and --password-stdin")
