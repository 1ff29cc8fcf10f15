"""``bento exec``: in the foreground with the command's streams and exit status, or detached."""

from __future__ import annotations

import argparse
import os
import select
import signal
from typing import TYPE_CHECKING

from bento.cli.containers.refused import Refused
from bento.cli.context import Context, say
from bento.cli.options.env import read_variables
from bento.errors import UsageError
from bento.files.whole import write_all
from bento.model.exec import ExecOptions
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.engine.lifecycle.exec_ import Attached

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_READ_BYTES = 1 << 16


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="print the session's id and leave it running; its output is lost")
    add("-i", "--interactive", action="store_true", help="pass stdin on")
    add("-t", "--tty", action=Refused, help=argparse.SUPPRESS)
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
    if args.detach and args.interactive:
        raise UsageError("exec: -d and -i exclude each other", hint="a detached command has no input")
    options = ExecOptions(
        command=tuple(words),
        env=read_variables(args),
        workdir=args.workdir,
        user=args.user,
        has_input=args.interactive,
    )
    with context.engine() as engine:
        if args.detach:
            say(engine.exec_detached(args.container, options).id)
            return 0
        running = _start(engine, args.container, options)
        try:
            _Relay(running).run()
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


class _Relay:
    """Copies stdin, when asked to, and both outputs, until the command has ended.

    What it has left behind may keep the outputs open: that is not waited for.
    """

    def __init__(self, running: Attached) -> None:
        self._running = running
        self._outputs = {running.stdout_fd: 1, running.stderr_fd: 2}
        self._waiting = b""  # read from stdin, not passed on yet
        self._poller = select.poll()
        for fd in self._outputs:
            os.set_blocking(fd, False)
            self._poller.register(fd, select.POLLIN)
        if running.stdin_fd is not None:
            os.set_blocking(running.stdin_fd, False)
            self._poller.register(0, select.POLLIN)

    def run(self) -> None:
        """Copy until the end. Blocks. Raises BrokenPipeError when a reader of ours is gone."""
        running = self._running
        end_fd = running.status_fd
        self._poller.register(end_fd, select.POLLIN)
        while True:
            ready = dict(self._poller.poll())
            for fd in self._outputs.keys() & ready.keys():
                self._copy(fd)
            if 0 in ready:
                self._read_stdin()
            if running.stdin_fd is not None and running.stdin_fd in ready:
                self._pass_on(running.stdin_fd)
            if ready.get(end_fd, 0) == select.POLLHUP and end_fd != running.process_fd and running.process_fd:
                self._poller.unregister(end_fd)  # its monitor was ended, and the command was not
                end_fd = running.process_fd
                self._poller.register(end_fd, select.POLLIN)
            elif end_fd in ready:
                break
        for fd in tuple(self._outputs):
            while self._copy(fd):
                pass

    def _copy(self, fd: int) -> bool:
        """Copy what there is now; return whether there may be more."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._poller.unregister(fd)
            del self._outputs[fd]
        else:
            write_all(self._outputs[fd], data)
        return bool(data)

    def _read_stdin(self) -> None:
        """Read some; nothing more until that is passed on."""
        self._poller.unregister(0)
        try:
            self._waiting = os.read(0, _READ_BYTES)
        except OSError:  # closed, or not to be read: there is nothing to pass on
            self._waiting = b""
        if self._waiting and self._running.stdin_fd is not None:
            self._poller.register(self._running.stdin_fd, select.POLLOUT)
        else:
            self._running.end_input()

    def _pass_on(self, stdin_fd: int) -> None:
        try:
            self._waiting = self._waiting[os.write(stdin_fd, self._waiting) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has no reader any more
            self._poller.unregister(stdin_fd)
            self._running.end_input()
            return
        if not self._waiting:
            self._poller.unregister(stdin_fd)
            self._poller.register(0, select.POLLIN)
