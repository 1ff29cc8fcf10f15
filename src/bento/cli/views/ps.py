"""``bento ps``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from bento import log
from bento.cli.context import Context, complain, say
from bento.cli.options import format as format_options
from bento.cli.output.render import now, table
from bento.docker.words import Now, ago, command_text, ports_text, size_text, status_text
from bento.errors import BentoError, NotFound
from bento.lazy import LazyModule
from bento.model.container import Container
from bento.units import parse_number, short_id
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.cli.output.templates import template
    from bento.docker import container_list
else:
    container_list = LazyModule("bento.docker.container_list")
    template = LazyModule("bento.cli.output.templates.template")

_SORT_KEYS: Final[dict[str, Callable[[Container], Any]]] = {
    "command": lambda each: each.spec.argv,
    "created": lambda each: each.created_unix_ns,
    "id": lambda each: each.id,
    "image": lambda each: each.spec.image,
    "names": lambda each: each.name,
    "runningfor": lambda each: each.run.started_unix_ns if each.run else 0,
    "size": lambda each: 0,  # known only where it was looked for
    "status": lambda each: each.status.value,
}
"""Podman's."""
_HEADER = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    last = parser.add_mutually_exclusive_group()
    last.add_argument("-l", "--latest", action="store_true", help="the newest, whether it runs or not")
    last.add_argument("-n", "--last", metavar="N", help="the N newest, whether they run or not")
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument("-s", "--size", action="store_true", help="what its own files take of the disk, too (slow)")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids and commands")
    parser.add_argument("-p", "--pod", action="store_true", help="with the id of the pod that each is in")
    parser.add_argument("--noheading", action="store_true", help="a table without its header")
    parser.add_argument("--sort", choices=tuple(_SORT_KEYS), metavar="KEY", help=f"by {', '.join(_SORT_KEYS)}")
    format_options.configure_listing(parser)
    parser.add_argument(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="K=V",
        help="id, name, status, label, label!, ancestor, before, since, exited, health, network, pod, publish, expose "
        "or volume",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. A record that cannot be read, or is of what runs elsewhere, does not hide the others."""
    errors: list[BentoError] = []
    newest = 1 if args.latest else None if args.last is None else parse_number(args.last, what="--last")
    with context.engine() as engine:
        is_all = args.all or newest is not None
        containers = engine.containers(
            all=is_all, filters=args.filter, on_unreadable=errors.append, on_elsewhere=errors.append
        )[:newest]
        # A template asks by naming the field, as in Docker.
        is_sized = not args.quiet and (args.size or "size" in args.format.lower())
        is_looked_for = is_sized or args.sort == "size"
        bytes_by_id = {each.id: _size(engine, each.id) for each in containers} if is_looked_for else {}
    if args.sort == "size":
        containers.sort(key=lambda each: bytes_by_id[each.id])
    elif args.sort is not None:
        containers.sort(key=_SORT_KEYS[args.sort])
    sizes = bytes_by_id if is_sized else {}
    shown_at = now()
    if args.quiet:
        for container in containers:
            say(container.id if args.no_trunc else short_id(container.id))
    elif format_options.is_template(args.format):
        fields = [_fields(each, shown_at, sizes.get(each.id), is_whole=args.no_trunc) for each in containers]
        format_options.show(args.format, fields, container_list.FIELDS, has_header=not args.noheading)
    else:
        header = (*_HEADER, *(["SIZE"] if is_sized else []), *(["POD ID"] if args.pod else []))
        rows = [_row(each, shown_at, sizes.get(each.id), is_whole=args.no_trunc) for each in containers]
        if args.pod:
            rows = [(*row, _pod(each, is_whole=args.no_trunc)) for row, each in zip(rows, containers, strict=True)]
        format_options.say_table(table(header, rows), args.noheading)
    for error in errors:
        complain(error)
    return errors[0].exit_code if errors else 0


def _size(engine: Engine, container_id: str) -> int:
    """Of one that has gone meanwhile nothing is left."""
    try:
        return engine.container_size(container_id)
    except NotFound:
        return 0


def _pod(container: Container, *, is_whole: bool) -> str:
    return container.spec.pod if is_whole else short_id(container.spec.pod)


def _row(container: Container, shown_at: Now, size_bytes: int | None, *, is_whole: bool) -> tuple[str, ...]:
    return (
        container.id if is_whole else short_id(container.id),
        container.spec.image,
        command_text(container, is_whole=is_whole),
        ago(container.created_unix_ns, shown_at),
        status_text(container, shown_at),
        ports_text(container),
        container.name,
        *(() if size_bytes is None else (size_text(size_bytes),)),
    )


def _fields(container: Container, shown_at: Now, size_bytes: int | None, *, is_whole: bool) -> dict[str, object]:
    """What a template is given; a command stays in its line."""
    fields = container_list.fields(container, shown_at, is_whole=is_whole, size_bytes=size_bytes)
    command = log.printable(str(fields["Command"]))
    return template.with_label(fields | {"Command": command}, container.spec.labels)
