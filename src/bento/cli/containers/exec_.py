"""``bento exec``: in the foreground with the command's streams and exit status, or detached."""

from __future__ import annotations

import argparse
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bento.cli.context import Context, say, tell_person
from bento.cli.options import terminal as terminal_options
from bento.cli.options.env import read_variables
from bento.cli.streams.exec_relay import ExecRelay
from bento.cli.streams.stdin import Detached
from bento.errors import UsageError
from bento.lazy import LazyModule
from bento.model.exec import ExecOptions
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.cli.streams import terminal
    from bento.engine.lifecycle.exec_ import Attached
else:  # most commands have none
    terminal = LazyModule("bento.cli.streams.terminal")

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="print the session's id and leave it running; its output is lost")
    terminal_options.add_terminal(parser, input_dest="interactive")
    add("--privileged", action="store_true", help="with every capability that there is to give")
    terminal_options.add_detach_keys(parser)
    add("-e", "--env", action="append", default=[], metavar="K[=V]", help="set a variable; K alone takes the caller's")
    add("--env-file", action="append", default=[], metavar="F", help="read variables from a file")
    add("-w", "--workdir", metavar="DIR", help="working directory (default: the container's)")
    add("-u", "--user", metavar="USER[:GROUP]", help="name or id, resolved in the container")
    add("container", help="name, id, or the beginning of an id")
    command = add("command", nargs=argparse.REMAINDER, help="the program and its arguments")
    command.required = False  # argparse would name it beside a missing container


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not words:
        raise UsageError("exec: no command to run", hint="see bento exec --help")
    if args.tty and args.interactive and not args.detach and not terminal.is_terminal():
        tell_person("bento: the input device is not a TTY")
        return 1
    keys = terminal_options.read_keys(args)
    options = ExecOptions(
        command=tuple(words),
        env=read_variables(args),
        workdir=args.workdir,
        user=args.user,
        has_input=args.interactive,
        tty=args.tty,
        size=terminal.window_size() if args.tty and not args.detach else None,
        privileged=args.privileged,
    )
    with context.engine() as engine:
        if args.detach:
            say(engine.exec_detached(args.container, options).id)
            return 0
        running = _start(engine, args.container, options)
        try:
            _relay(running, options, keys)
        except Detached:
            engine.leave_exec(running)
            return 0
        except BrokenPipeError:  # our output has no reader: the command, whose pipe is closed, finds out by itself
            running.close()
            raise
        return engine.wait_exec(running)


def _start(engine: Engine, ref: str, options: ExecOptions) -> Attached:
    """Start attached. From now on our signals are the command's; those that come too early are kept for it."""
    running: Attached | None = None
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if running is None:
            early.append(number)
        else:
            engine.signal_exec(running.session, number)

    for passed_on in _PASSED_ON:
        signal.signal(passed_on, pass_on)
    running = engine.exec(ref, options)
    for number in early:
        engine.signal_exec(running.session, number)
    return running


def _relay(running: Attached, options: ExecOptions, keys: bytes) -> None:
    """Copy until the command has ended. Raises Detached, BrokenPipeError."""
    with ExitStack() as held:
        if options.tty:
            held.enter_context(terminal.resized(running.resize))
            if options.has_input:
                held.enter_context(terminal.raw())
        ExecRelay(running, keys if options.tty else b"").run()
