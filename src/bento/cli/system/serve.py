"""``bento serve``: this process becomes the server, which has no command line in its memory."""

from __future__ import annotations

import argparse
import os
import sys

from bento.cli.context import Context
from bento.config import Settings
from bento.errors import UsageError
from bento.wiring import require_root


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add(
        "--docker-socket",
        action="append",
        default=[],
        metavar="PATH",
        help="where Docker's API is served (default: docker.sock in the run root); may be given again",
    )
    add("--docker-group", default="", metavar="GROUP", help="members of this group may use it, too: they are root then")
    add(
        "--cri-socket",
        default="",
        metavar="PATH",
        help="where a kubelet finds the Container Runtime Interface; Docker's API then only by --docker-socket",
    )
    add("--cri-pin", action="append", default=[], metavar="IMAGE", help="an image that the kubelet is not to collect")
    add(
        "--tcp",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="serve it there, too, for clients with a certificate; may be given again",
    )
    add("--zygote", action="store_true", help="keep a zygote, too: commands of the command line are faster then")
    add("--tls-cert", "--tlscert", default="", metavar="FILE", help="the server's certificate (PEM), for --tcp")
    add("--tls-key", "--tlskey", default="", metavar="FILE", help="its key")
    add("--tls-ca", "--tlscacert", default="", metavar="FILE", help="what the certificates of clients are signed by")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; come back only when it cannot be begun."""
    require_root()
    if "" in args.docker_socket:
        raise UsageError("--docker-socket is empty", hint="give a path, or omit it")
    if args.cri_pin and not args.cri_socket:
        raise UsageError("--cri-pin is for a kubelet", hint="give --cri-socket PATH, too")
    words = [f"--docker-socket={os.path.abspath(path)}" for path in args.docker_socket]
    if args.docker_group:
        words.append(f"--docker-group={args.docker_group}")
    if args.cri_socket:
        words.append(f"--cri-socket={os.path.abspath(args.cri_socket)}")
    words += [f"--cri-pin={name}" for name in args.cri_pin]
    words += [f"--tcp={address}" for address in args.tcp]
    words += ["--zygote"] if args.zygote or context.settings.starts_zygote else []
    for name in ("tls_cert", "tls_key", "tls_ca"):
        if path := getattr(args, name):
            words.append(f"--{name.replace('_', '-')}={os.path.abspath(path)}")
    isolation = "-I" if sys.flags.isolated else "-P"
    os.execv(sys.executable, [sys.executable, isolation, "-m", "bento.serve", *_globals(context.settings), *words])


def _globals(settings: Settings) -> list[str]:
    """Return what was said before the verb; the rest is read anew."""
    given = {
        "root": os.path.abspath(settings.root),
        "run-root": os.path.abspath(settings.run_root),
        "runtime": settings.runtime,
        "runtime-args": " ".join(settings.runtime_args),
        "cgroup-manager": settings.cgroup_manager,
        "log-level": settings.log_level,
    }
    return [f"--{name}={value}" for name, value in given.items() if value]
