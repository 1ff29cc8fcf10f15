"""``bento check``: whether an image, or what runs, shuts down properly."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

import bento
from bento.cli.context import Context, end_cleanly, say, tell_person
from bento.cli.options import create as create_options
from bento.cli.options.switches import take_values
from bento.cli.output.page_file import STREAM, check_page_file, write_page
from bento.engine.check.options import refuse
from bento.engine.foreign.names import ENGINES, ForeignName
from bento.errors import BentoError, UsageError
from bento.lazy import LazyModule
from bento.model.check import Check, CheckOptions, CheckRun, CheckVerdict, Load, Readiness, Severity
from bento.units import parse_seconds, parse_signal

if TYPE_CHECKING:
    from bento.check.formats import junit, markdown, sarif, text, words
    from bento.pages import check_page
else:
    check_page = LazyModule("bento.pages.check_page")  # only for a page
    junit, markdown, sarif, text, words = (
        LazyModule(f"bento.check.formats.{name}") for name in ("junit", "markdown", "sarif", "text", "words")
    )

_STATUS = {CheckVerdict.PASSED: 0, CheckVerdict.FAILED: 1, CheckVerdict.UNJUDGED: 2}
_COULD_NOT = 2
_OF_LOOKS = {"format", "html", "fail_on", "grace", "stop_signal", "engine", "container", "pid"}
_OF_SERVICES = {"format", "html", "fail_on", "grace", "ready_log", "ready_exec", "ready_quiet", "ready_timeout"} | {
    "compose", "total",
}  # fmt: skip
"""The options that have a use where no image is checked; all others would do nothing there."""
_REFUSED = ("restart", "cidfile")
"""Options of ``run`` that a check has no use for: they are read to be refused by name."""
_FORMATS = ("text", "json", "junit", "sarif", "markdown")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    group = parser.add_argument_group("the check", "docs/check.md says what is found, and what each id means.")
    add = group.add_argument
    add("--format", choices=_FORMATS, default="text", help="of what is printed (default text)")
    add("--html", metavar="FILE", help="also write a page for a browser; - for stdout, in place of what is printed")
    add(
        "--fail-on",
        choices=[severity.value for severity in Severity],
        default=Severity.WARNING.value,
        help="the exit status is 1 for findings of this severity and above (default warning)",
    )
    add("--grace", metavar="S", help="seconds from the signal to SIGKILL (default: the container's, 10)")
    add("--repeat", type=int, default=1, metavar="N", help="stop it so often once it is ready (default 1)")
    add("--start-up", type=int, default=3, metavar="N", help="moments of its start at which it is stopped (default 3)")
    add("--ready-log", default="", metavar="REGEX", help="it is ready when a line of its output matches")
    add("--ready-exec", default="", metavar="CMD", help="it is ready when this succeeds in it")
    add("--ready-quiet", default="1", metavar="S", help="else it is ready when it has been quiet for so long")
    add("--ready-timeout", default="60", metavar="S", help="give up when it is not ready by then (default 60)")
    add(
        "--load",
        default="",
        metavar="CMD",
        help="a command on this machine that puts load on it; it fails if work was lost",
    )
    add("--load-port", type=int, metavar="N", help="send HTTP requests to this port of the container over a stop")
    add("--load-path", default="/", metavar="PATH", help="of these requests (default /)")
    add("--after", default="", metavar="CMD", help="run this in the next container with the same volumes")
    add("--compose", metavar="FILE", help="instead of an image: all services of a compose file, together")
    add("--total", metavar="S", help="with --compose: one budget for the graces of all services")
    add("--container", metavar="NAME", help="instead of an image: look at a container that runs, and send nothing")
    add("--engine", choices=ENGINES, metavar="E", help=f"with --container: it is one of {', '.join(ENGINES)}")
    create_options.configure(parser, is_image_needed=False)
    for action in parser._actions:
        if action.dest in _REFUSED:
            action.help = argparse.SUPPRESS
        elif action.dest == "pid":
            action.metavar = "N|host|container:NAME"
            action.help = "N: instead of an image, look at any PID 1, and send nothing; else share a PID namespace"
    parser.set_defaults(parser=parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. The exit status is 0, 1 for findings, 2 for what could not be run."""
    args = _with_late_options(args)
    if args.html is not None:
        check_page_file("check", args.html)
    if args.engine is not None and args.container is None:
        raise UsageError("check: --engine goes with --container", hint=f"name a container of {args.engine}")
    if args.compose is not None:
        return _compose(args, context)
    if args.total is not None:
        raise UsageError("check: --total is for the services of --compose", hint="for one container: --grace")
    if args.container is not None or args.image is None:
        return _look(args, context)
    if args.command[:1] == ["--"]:
        del args.command[0]
    create, options = create_options.read(args), _options(args)
    if create.restart.name != "no" or args.cidfile is not None:
        raise UsageError("a check takes neither --restart nor --cidfile", hint="its containers are removed at its end")
    end_cleanly()
    with context.engine() as engine:
        try:
            create_options.provide_image(engine, args)
            found = engine.check(create, options, on_run=_tell if args.format == "text" else None)
        except BentoError as error:
            tell_person(f"bento: {error}")
            return _COULD_NOT
    return show(found, args.format, page=args.html)


def _with_late_options(args: argparse.Namespace) -> argparse.Namespace:
    """Take the options between the image and a ``--`` as those of the check: ``check IMAGE [OPTIONS] -- COMMAND``.

    Without a ``--`` they are arguments of the image's entry point, as those of ``run`` are.
    """
    words: list[str] = args.command
    if args.image is None or not words or not words[0].startswith("-") or "--" not in words[1:] or words[0] == "--":
        return args
    at, image = words.index("--"), args.image
    take_values(args.parser, words[:at])
    found: argparse.Namespace = args.parser.parse_args([*words[:at], image, *words[at:]], args)
    command = words[at + 1 :]
    if found.image != image or found.command not in (command, words[at:]):  # argparse may have taken the "--"
        word = found.image if found.image != image else found.command[0]
        raise UsageError(f"check: {word} is no option", hint="check IMAGE [OPTIONS] -- COMMAND")
    return found


def _look(args: argparse.Namespace, context: Context) -> int:
    """Carry out the part that sends nothing, on what runs already."""
    if args.image is not None or (args.container is None) == (not args.pid):
        raise UsageError("check: one image, or --container, or --pid", hint="see bento check --help")
    _refuse_others(args, _OF_LOOKS, "--pid" if args.container is None else "--container")
    options = _options(args)
    if args.stop_signal is not None:
        options = replace(options, signal=parse_signal(args.stop_signal))
    with context.engine() as engine:
        try:
            if args.container is not None and args.engine is None:
                found = engine.check_container(args.container, options)
            else:
                found = engine.check_foreign(ForeignName(args.container or args.pid, args.engine or ""), options)
        except BentoError as error:
            tell_person(f"bento: {error}")
            return _COULD_NOT
    return show(found, args.format, page=args.html)


def _compose(args: argparse.Namespace, context: Context) -> int:
    """Carry it out for all services of a file; the exit status is the worst."""
    if args.image is not None or args.container is not None or args.pid:
        raise UsageError("check: --compose, or one image, or --container, or --pid", hint="see bento check --help")
    _refuse_others(args, _OF_SERVICES, "--compose")
    total_s = None if args.total is None else parse_seconds(args.total, what="total", allow_no_limit=False)
    options = _options(args)
    end_cleanly()
    with context.engine() as engine:
        try:
            found = engine.check_compose(args.compose, options, total_s=total_s)
        except BentoError as error:
            tell_person(f"bento: {error}")
            return _COULD_NOT
    return show(found, args.format, page=args.html)


def _refuse_others(args: argparse.Namespace, known: set[str], other: str) -> None:
    """Refuse what would do nothing."""
    for action in args.parser._actions:
        has_value = action.option_strings and action.default is not argparse.SUPPRESS
        if has_value and action.dest not in known and getattr(args, action.dest, action.default) != action.default:
            name = action.option_strings[-1]
            raise UsageError(f"check: {name} and {other} exclude each other", hint="check an image")


def show(found: Check | Sequence[Check], form: str, *, page: str | None) -> int:
    """Print a check, or several as one document, and write their page where one is wanted; return the worst status."""
    checks = (found,) if isinstance(found, Check) else found
    if page != STREAM:
        match form:
            case "json":
                say(msgspec.json.format(msgspec.json.encode(found)).decode())
            case "junit":
                say(junit.draw(*checks))
            case "sarif":
                say(sarif.draw(*checks, version=bento.__version__))
            case "markdown":
                say("\n\n".join(map(markdown.draw, checks)))
            case _:
                for one in checks:
                    for line in text.draw(one):
                        say(line)
    if page is not None:
        write_page(page, check_page.check_page(*checks))
    return max((_STATUS[one.verdict] for one in checks), default=0)


def _tell(done: CheckRun) -> None:
    """Say how far it is: a check takes a while."""
    tell_person(f"run {done.number}, {words.KINDS[done.kind]}: {words.run_words(done)}")


def _options(args: argparse.Namespace) -> CheckOptions:
    def seconds(text: str, what: str) -> float:
        return parse_seconds(text, what=what, allow_no_limit=False)

    options = CheckOptions(
        ready=Readiness(
            log=args.ready_log,
            command=args.ready_exec,
            quiet_s=seconds(args.ready_quiet, "quiet time"),
            timeout_s=seconds(args.ready_timeout, "ready timeout"),
        ),
        load=Load(command=args.load, port=args.load_port, path=args.load_path),
        after=args.after,
        repeat=args.repeat,
        start_up=args.start_up,
        fail_on=Severity(args.fail_on),
    )
    options = options if args.grace is None else replace(options, grace_s=seconds(args.grace, "grace"))
    refuse(options)
    return options
