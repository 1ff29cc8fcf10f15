"""``bento ps``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say, tell_person
from bento.cli.render import ago, command_text, ports_text, status_text, table
from bento.errors import StateCorrupt
from bento.model.container import Container
from bento.units import rfc3339, short_id

_HEADER = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids and commands")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="K=V",
        help="id, name, status, label, ancestor, before, since, exited, network, publish or volume",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. A record that cannot be read does not hide the others."""
    unreadable: list[StateCorrupt] = []
    with context.engine() as engine:
        containers = engine.containers(all=args.all, filters=args.filter, on_unreadable=unreadable.append)
    if args.quiet:
        for container in containers:
            say(container.id if args.no_trunc else short_id(container.id))
    elif args.format == "json":
        say(msgspec.json.format(msgspec.json.encode([_record(container) for container in containers])).decode())
    else:
        say(table(_HEADER, [_row(container, is_whole=args.no_trunc) for container in containers]))
    for error in unreadable:
        tell_person(f"bento: {error}")
    return unreadable[0].exit_code if unreadable else 0


def _row(container: Container, *, is_whole: bool) -> tuple[str, ...]:
    return (
        container.id if is_whole else short_id(container.id),
        container.spec.image,
        command_text(container, is_whole=is_whole),
        ago(container.created_unix_ns),
        status_text(container),
        ports_text(container),
        container.name,
    )


def _record(container: Container) -> dict[str, object]:
    run, ended = container.run, container.exit
    return {
        "Id": container.id,
        "Names": [container.name],
        "Image": container.spec.image,
        "Command": list(container.spec.argv),
        "Created": rfc3339(container.created_unix_ns),
        "State": container.status.value,
        "Status": status_text(container),
        "Pid": run.init.pid if run and run.init and container.status.is_live else 0,
        "ExitCode": ended.code if ended else None,
        "Labels": container.spec.labels,
        "Ports": ports_text(container),
    }
