"""``bento stop``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bento import sd_notify
from bento.cli import working
from bento.cli.context import Context, check_answers, complain, say, says_so_itself, tell_person
from bento.cli.options import foreign
from bento.cli.options import stop as stop_options
from bento.engine.base.worker import Emit, Message, Reporter, in_worker
from bento.engine.stop.request import StopOptions
from bento.errors import AlreadyStopped, NotFound, StateCorrupt, UsageError
from bento.lazy import LazyModule
from bento.model.stop import AskedBy, StopReport
from bento.serving.jobs import Stop

if TYPE_CHECKING:
    from bento.cli.output import progress as on_screen
    from bento.cli.output import watch
else:  # only for several stops on a terminal, and for one that is watched
    on_screen = LazyModule("bento.cli.output.progress")
    watch = LazyModule("bento.cli.output.watch")

_NOT_GRACEFUL = 4
_INTERRUPTED = 130
_EVIDENCE = (
    "nothing in the container could wake", "a listener at rest", "a shell alone at its prompt", "PID 1 is held until",
)  # fmt: skip
"""How the notes begin that say what a stop has seen of each process. They are long, and stand in the report."""
_IGNORED = (AlreadyStopped.code, NotFound.code)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    stop_options.configure(parser)
    parser.add_argument("--extend", action="store_true", help="with -t: let a stop under way take longer, too")
    parser.add_argument("--no-wait", action="store_true", help="ask for the stop and return; it goes on by itself")
    parser.add_argument("--ignore", action="store_true", help="no error for what is unknown or has stopped already")
    parser.add_argument("--strict", action="store_true", help=f"exit with {_NOT_GRACEFUL} when a stop was not graceful")
    parser.add_argument("--watch", action="store_true", help="show the processes while they end, on the terminal")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what happened, also without a terminal")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: the reports, on stdout")
    parser.add_argument("--total", metavar="S", help="one budget in seconds for all of them together")
    parser.add_argument("-a", "--all", action="store_true", help="every container that runs")
    parser.add_argument("--filter", action="append", default=[], metavar="K=V", help="those that run and fit; as in ps")
    foreign.configure(parser)
    parser.add_argument("container", nargs="*", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out in a worker that outlives this process."""
    if args.watch and args.no_wait:
        raise UsageError("stop: --watch and --no-wait exclude each other")
    if foreign.is_meant(args):
        return _stop_foreign(args, context)
    unreadable: list[StateCorrupt] = []
    refs = _chosen(args, context, unreadable)
    options = stop_options.read(args)
    if sd_notify.is_stop():
        options = replace(options, asked_by=AskedBy.SYSTEMD)
    return stop_all(context, refs, options, args, unreadable)


def _stop_foreign(args: argparse.Namespace, context: Context) -> int:
    if args.all or args.filter:
        raise UsageError("stop: --all and --filter are for containers of Bento's own", hint="name those of the engine")
    wanted, options = foreign.read(args, args.container, "stop"), stop_options.read(args)

    def begin(tick_s: float | None, *, wants_phases: bool, wants_views: bool) -> Iterator[Message]:
        def stop(emit: Emit) -> None:
            with context.engine() as engine:
                reporter = Reporter(emit, wants_phases=wants_phases, wants_views=wants_views)
                engine.stop_foreign(wanted, options, reporter)

        return in_worker(stop, tick_s=tick_s)

    return _stop_readable(context, [str(each) for each in wanted], begin, args)


def stop_all(
    context: Context, refs: list[str], options: StopOptions, args: argparse.Namespace, unreadable: list[StateCorrupt]
) -> int:
    """Stop containers in a worker, and report it as ``args`` want it; return the exit status.

    ``unreadable``: records that could not be read; the others are stopped all the same.
    """
    for error in unreadable:
        complain(error)

    def begin(tick_s: float | None, *, wants_phases: bool, wants_views: bool) -> Iterator[Message]:
        task = Stop(refs=tuple(refs), options=options, wants_phases=wants_phases, wants_views=wants_views)
        return working.in_worker(context, task, tick_s=tick_s)

    return max([_stop_readable(context, refs, begin, args), *(error.exit_code for error in unreadable)])


class _Begin(Protocol):
    """Has a worker begin; ``tick_s``, and what is returned: see ``in_worker``; the others: see ``Reporter``."""

    def __call__(self, tick_s: float | None, *, wants_phases: bool, wants_views: bool) -> Iterator[Message]: ...


def _stop_readable(context: Context, refs: list[str], begin: _Begin, args: argparse.Namespace) -> int:
    screen = _screen(args, len(refs))
    wants_views = screen is not None and getattr(args, "watch", False)
    progress = _Progress(args, len(refs), stopped_is_ok=context.settings.stop_of_stopped_is_ok)
    extension = sd_notify.Extension() if sd_notify.is_stop() else None
    tick_s = on_screen.REDRAWN_EVERY_S if screen else sd_notify.EVERY_S if extension else None
    try:
        for message in begin(tick_s, wants_phases=screen is not None, wants_views=wants_views):
            if extension is not None:
                extension.turn()
            if screen is not None:
                screen.take(message)
            if message.kind not in ("phase", "view", "tick"):
                progress.take(message)
            if screen is not None:
                screen.draw()
            if args.no_wait and progress.is_all_begun():
                return progress.status
    except KeyboardInterrupt:
        if screen is not None:
            screen.erase()
        waiting = "" if foreign.is_meant(args) else f"; to wait for it: bento wait {' '.join(refs)}"
        tell_person(f"bento: the stop goes on by itself{waiting}")
        return _INTERRUPTED
    progress.status = max(progress.status, check_answers(progress.answers, len(refs)))
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(progress.results)).decode())
    return progress.status


def _screen(args: argparse.Namespace, count: int) -> on_screen.Screen | None:
    """Return what is drawn while the stops go on; None where nothing is."""
    is_asked = getattr(args, "watch", False)
    if args.no_wait or (count < 2 and not is_asked):
        return None
    kind = watch.Watch if is_asked else on_screen.Screen
    screen = kind.on_terminal() if sys.stderr.isatty() else None
    if is_asked and screen is None:
        args.verbose = True
        why = "the terminal is too small, or dumb," if sys.stderr.isatty() else "there is no terminal"
        tell_person(f"bento: {why} to watch the stop on: it is told in lines, as with -v")
    return screen


def _chosen(args: argparse.Namespace, context: Context, unreadable: list[StateCorrupt]) -> list[str]:
    """Return the containers to stop: those named, or those that run and fit. Raises UsageError for none at all."""
    if not args.all and not args.filter:
        if not args.container:
            raise UsageError("stop: no container named", hint="name some, or use --all or --filter")
        return list(dict.fromkeys(args.container))
    if args.container:
        raise UsageError("stop: names and --all or --filter exclude each other")
    with context.engine() as engine:  # closed again before the worker is forked
        found = engine.containers(filters=args.filter, on_unreadable=unreadable.append, on_elsewhere=says_so_itself)
        return [container.id for container in found if container.status.is_wanted]


class Result(Struct, frozen=True, kw_only=True):
    """What became of one container, for --format json."""

    id: str  # "" when there is no such container
    name: str
    report: StopReport | None
    error: str | None


class _Progress:
    """Passes on what the worker has reported so far."""

    def __init__(self, args: argparse.Namespace, count: int, *, stopped_is_ok: bool) -> None:
        self.args, self._count, self._stopped_is_ok = args, count, stopped_is_ok
        self.status = 0
        self.results: list[Result] = []
        self._begun: set[str] = set()
        self.answers = 0
        self._over = 0  # failed before they began

    def is_all_begun(self) -> bool:
        """Whether every stop is recorded, or could not be."""
        return len(self._begun) + self._over >= self._count

    def take(self, message: Message) -> None:
        """Tell of one message."""
        if message.kind == "notice":
            tell_person(f"bento: {message.error}")
            return
        if message.kind == "begun":
            self._begun.add(message.name)
            if self.args.no_wait:
                say(message.name)
            return
        self.answers += 1
        if message.kind == "failed" and message.code == AlreadyStopped.code and self._stopped_is_ok:
            self._over += 1
            message = Message(kind="ended", id=message.id, name=message.name)
        if message.kind == "failed":
            self._over += message.name not in self._begun
            if not (self.args.ignore and message.code in _IGNORED):
                tell_person(f"bento: {message.error}")
                self.status = max(self.status, message.exit_code)
        result = Result(id=message.id, name=message.name, report=message.report, error=message.error or None)
        self.results.append(result)
        if not self.args.no_wait:
            self.status = max(self.status, _print_outcome(self.args, message))


def _print_outcome(args: argparse.Namespace, message: Message) -> int:
    """Print the name for programs and a line for people; return the exit status it makes."""
    if message.kind == "ended" and args.format == "text":
        say(message.name)
    if message.report is None:
        return 0
    if args.format == "text" and (args.verbose or sys.stderr.isatty()):
        tell_person(describe(message.name, message.report))
    is_asked = args.strict and message.kind == "ended"  # an error has an exit status of its own
    return _NOT_GRACEFUL if is_asked and not message.report.is_graceful else 0


def _signals(report: StopReport) -> list[str]:
    """Return which programs got which signal, those of exec sessions last."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for sent in report.signalled:
        number = sent.signal or ("SIGTERM" if sent.session else report.signal)
        groups.setdefault((sent.session, number), []).append(sent.comm)
    return [
        f"{number} to {', '.join(dict.fromkeys(names))}{' (exec)' if is_session else ''}"
        for (is_session, number), names in sorted(groups.items(), key=lambda group: group[0][0])
    ]


def describe(name: str, report: StopReport) -> str:
    """Return the line for a person: how long, which signal, exit code, verdict; reason and remedy when they matter."""
    code = "unknown" if report.exit_code is None else str(report.exit_code)
    by = ", ".join(_signals(report)) or "no signal"
    line = f"{name}: stopped in {report.duration_s:.2f} s, {by}, exit code {code}, {report.verdict.value}"
    if report.verdict.value != "graceful":
        line += f": {report.cause}"
    if report.remedy:
        line += f"; to do: {report.remedy}"
    for note in report.notes:
        if not note.startswith(_EVIDENCE):
            line += f"; {note}"
    if report.is_slow:
        line += f" (slow: over half of its {report.grace_s:g} s)"
    return line
