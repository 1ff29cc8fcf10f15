"""``bento prune`` (or ``system prune``), ``container prune`` and ``image prune``: they ask, and say what has gone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import msgspec

from bento.cli.context import Context, complain, say
from bento.docker import disk
from bento.docker.words import size_text
from bento.model import reference
from bento.model.disk import Pruned
from bento.wiring import Engine

ANONYMOUS_VOLUMES = "all anonymous volumes that no container has"
UNUSED_PODS = "all pods that are not ready and have no container"
UNUSED_NETWORKS = "all networks that no container has"
REPORTS = "the reports of stops of other engines' containers"
BUILDS = "what builds have kept for the next ones"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    verb = parser.prog.removeprefix("bento ")
    if verb != "container prune":
        text = "those with names, too, unless a container needs them"
        parser.add_argument("-a", "--all", action="store_true", help=text)
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument(
        "--filter", action="append", default=[], metavar="K=V", help="only those: label, label!, until; all must fit"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    if verb in ("prune", "system prune"):
        parser.add_argument("--volumes", action="store_true", help="the anonymous volumes that no container has, too")


def run(args: argparse.Namespace, context: Context) -> int:
    """Ask, when a person is there to answer; prune; say what has gone."""
    if not args.force and not is_agreed(_going(args, context.verb)):
        return 1
    with context.engine() as engine:
        pruned = _prune(engine, args, context.verb)
    for error in pruned.errors:
        complain(error)
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(disk.freed(pruned))).decode())
    else:
        _print_pruned(pruned)
    return max((error.exit_code for error in pruned.errors), default=0)


def _going(args: argparse.Namespace, verb: str) -> list[str]:
    """Return what will go, for the question."""
    going = []
    if verb != "image prune":
        going.append("all containers that do not run")
    if verb != "container prune":
        going.append(f"all images that {'no container was made from' if args.all else 'have lost their names'}")
    if verb in ("prune", "system prune"):
        going += [UNUSED_PODS, UNUSED_NETWORKS]
        going += [] if args.filter else [BUILDS, REPORTS]
    if verb in ("prune", "system prune") and args.volumes:
        going.append(ANONYMOUS_VOLUMES)
    return going


def _prune(engine: Engine, args: argparse.Namespace, verb: str) -> Pruned:
    if verb == "container prune":
        return engine.prune_containers(filters=args.filter)
    if verb == "image prune":
        return engine.prune_images(all=args.all, filters=args.filter)
    return engine.prune(all=args.all, volumes=args.volumes, filters=args.filter)


def is_agreed(going: Sequence[str]) -> bool:
    """Ask; return whether the answer on stdin is yes, and say so when it is not. No answer is none, as in Docker."""
    sys.stderr.write("This removes:\n" + "".join(f"  - {line}\n" for line in going) + "Continue? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    if answer.strip().lower() in ("y", "yes"):
        return True
    sys.stderr.write("bento: nothing was removed (answer y, or use -f)\n")
    return False


def _print_pruned(pruned: Pruned) -> None:
    if pruned.containers:
        say("Deleted Containers:")
        say("\n".join(pruned.containers) + "\n")
    if pruned.pods:
        say("Deleted Pods:")
        say("\n".join(pruned.pods) + "\n")
    if pruned.networks:
        say("Deleted Networks:")
        say("\n".join(pruned.networks) + "\n")
    if pruned.volumes:
        say("Deleted Volumes:")
        say("\n".join(pruned.volumes) + "\n")
    if pruned.images or pruned.strays:
        say("Deleted Images:")
        for image in pruned.images:
            for name in image.untagged:
                say(f"untagged: {reference.familiar(name)}")
            say(f"deleted: {image.deleted}")
        if pruned.strays:
            say(f"deleted: {len(pruned.strays)} parts of interrupted pulls, {size_text(pruned.strays_bytes)}")
        say("")
    if pruned.build_bytes:
        say(f"Deleted what builds had kept: {size_text(pruned.build_bytes)}\n")
    if pruned.reports:
        say(f"Deleted reports of other engines' containers: {pruned.reports}\n")
    say(f"Total reclaimed space: {size_text(pruned.freed_bytes)}")
