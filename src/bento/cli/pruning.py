"""What the prunes of the command line have in common: asking first, and saying what has gone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import msgspec

from bento.cli.context import Context, complain, say
from bento.docker.words import size_text
from bento.engine.maintenance.prune import Pruned
from bento.model import reference
from bento.wiring import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that all have."""
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument(
        "--filter", action="append", default=[], metavar="K=V", help="only those: label, label!, until; all must fit"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(
    args: argparse.Namespace, context: Context, going: Sequence[str], prune: Callable[[Engine, list[str]], Pruned]
) -> int:
    """Ask, when a person is there to answer; prune; say what has gone. ``going``: what will."""
    if not args.force and not is_agreed(going):
        return 1
    with context.engine() as engine:
        pruned = prune(engine, args.filter)
    for error in pruned.errors:
        complain(error)
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(_record(pruned))).decode())
    else:
        _print_pruned(pruned)
    return max((error.exit_code for error in pruned.errors), default=0)


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
    say(f"Total reclaimed space: {size_text(pruned.freed_bytes)}")


def _record(pruned: Pruned) -> dict[str, object]:
    """In the words of Docker's API."""
    untagged = [{"Untagged": reference.familiar(name)} for image in pruned.images for name in image.untagged]
    deleted = [{"Deleted": thing} for thing in (*(image.deleted for image in pruned.images), *pruned.strays)]
    return {
        "ContainersDeleted": list(pruned.containers),
        "ImagesDeleted": [*untagged, *deleted],
        "VolumesDeleted": list(pruned.volumes),
        "SpaceReclaimed": pruned.freed_bytes,
    }
