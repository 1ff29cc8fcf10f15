"""A child of the zygote: it waits for a caller, becomes what that would be on the plain way, and does its work."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Final, NoReturn

from msgspec import Struct

from bento import packets
from bento.cli import main as command_line
from bento.cli import working
from bento.kernel.process.interrupts import uninterrupted
from bento.kernel.process.surroundings import Differs, of, take_over
from bento.zygote import client, handover, terminal, worker
from bento.zygote.code import CodeWatch
from bento.zygote.environment import take_environment
from bento.zygote.loading import warm_up

TAKEN, OTHER_CGROUP, USED = b"taken", b"cgroup", b"used"
WARM_UP = b"warm"
"""What the zygote is told: a command was taken, and its connection comes along; it came from another cgroup, whose
text follows; the child was used up by a caller that has left, or is refused. What it tells the child: no command is
carried out now, and the child may take a CPU to get warm."""
_WARM_UP_AFTER_MS: Final = 500
"""Beside a command that takes longer."""

NOT_SERVED: Final = frozenset(
    ("serve", "check", "shutdown", "install-unit", "doctor", "complete", "finish-stop", "after-exit")
)
"""What stays for long, or has its own process anyway."""
_REQUEST_BYTES: Final = 1 << 18
_TALK_S: Final = 1


class Request(Struct, frozen=True):
    """What a caller hands over. ``fds``: the standard streams, its working directory, the end of its pipe."""

    peer: int
    identity: bytes
    streams: tuple[str, ...]
    argv: list[str]
    environ: dict[bytes, bytes]
    fds: tuple[int, ...]


class Child:
    """The process of one command. ``control``: to the zygote; ``workers``: the queue of those that wait.

    ``sync``: what is to be done after it.
    """

    def __init__(
        self,
        listener: int,
        control: int,
        workers: int,
        roots: Sequence[Path],
        code: CodeWatch,
        sync: Callable[[], None],
    ) -> None:
        self._listener, self._control, self._workers, self._roots = listener, control, workers, roots
        self._code, self._sync = code, sync
        self._own = of(os.getpid())
        self._identity = handover.identity()
        self._connection = -1
        self._is_warm = False

    def be(self) -> NoReturn:
        """Wait for a command, carry it out, and end the process."""
        try:
            request = self._await()
            try:
                prepared = self._prepared(request)
            except BaseException as reason:  # whatever it is, the plain way says it
                self._refuse(str(reason))
            self._agree(request)
            status = self._carry_out(request, prepared)
        except BaseException:
            traceback.print_exc()
            status = 1
        os._exit(status)

    def _await(self) -> Request:
        """Return the request of the first caller that makes one. Ends the process with the zygote."""
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        poller.register(self._control, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poller.poll(None if self._is_warm else _WARM_UP_AFTER_MS)]
            if self._control in ready and os.read(self._control, len(WARM_UP)) != WARM_UP:
                os._exit(0)
            if self._listener not in ready:
                self._warm_up()
                continue
            connection = packets.accept(self._listener)
            if connection is None:
                continue
            os.set_inheritable(connection, False)
            self._connection = connection
            request = _received(connection)
            if request is not None:
                return request
            os.close(connection)

    def _warm_up(self) -> None:
        if not self._is_warm:
            self._is_warm = True
            warm_up(self._roots[1] / client.DIRECTORY)

    def _prepared(self, request: Request) -> command_line.Prepared:
        """Become what the caller is, and read its words. Raises Differs and others."""
        if request.identity != self._identity or self._code.may_have_changed():
            raise Differs("code")
        self._caller = caller = of(request.peer)
        if caller.cgroup != self._own.cgroup:
            packets.send(self._control, b"%s %s" % (OTHER_CGROUP, os.fsencode(caller.cgroup)))
        os.setsid()
        take_over(self._own, caller)
        os.fchdir(request.fds[3])
        _end_with_caller(request.fds[4])
        for number in handover.STANDARD:
            os.dup2(request.fds[number], number)
        take_environment(request.environ)
        sys.argv[1:] = request.argv
        sys.stdout = sys.stderr = said = StringIO()
        options, verb, words = command_line.split(request.argv)
        if verb is None or verb in NOT_SERVED or (options and "trace" in options):
            raise Differs("verb")
        prepared = command_line.prepare(options or {}, verb, words)
        settings = prepared.context.settings
        if tuple(Path(os.path.abspath(each)) for each in (settings.root, settings.run_root)) != tuple(self._roots):
            raise Differs("roots")
        if said.getvalue() or terminal.is_read(verb, prepared.args):
            raise Differs("terminal")
        return prepared

    def _agree(self, request: Request) -> None:
        """Say yes, and wait for the word to begin. Ends the process, without a word, when the caller has left.

        The caller passes signals on from then on. They wait until the zygote knows of this child, and then end it as
        they end an interpreter that starts: nothing was done yet.
        """
        _open_streams(request.streams)
        for fd in request.fds[:4]:
            os.close(fd)
        pidfd = os.pidfd_open(os.getpid())
        handler = signal.getsignal(signal.SIGINT)
        with uninterrupted():
            if handler is signal.default_int_handler:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            try:
                packets.send(self._connection, handover.YES, (pidfd,))
                has_begun = os.read(self._connection, len(handover.GO)) == handover.GO
            except OSError:  # it was not patient enough
                has_begun = False
            if not has_begun:
                self._give_up()
            with suppress(OSError):  # the zygote was killed: then the command tells its end alone
                packets.send(self._control, TAKEN, (self._connection,))
        signal.signal(signal.SIGINT, handler)
        os.close(pidfd)

    def _carry_out(self, request: Request, prepared: command_line.Prepared) -> int:
        for fd in (self._control, self._listener, self._code.fileno()):
            os.close(fd)
        # What is forked from here on, such as the worker of a stop, must not keep the caller waiting.
        os.register_at_fork(after_in_child=lambda: _close(self._connection, request.fds[4], self._workers))
        working.hand_over = partial(worker.hand_over, self._workers, self._caller)
        status = command_line.flushed(command_line.run((), prepared))
        os.chdir("/")  # the caller's may be unmounted once the caller has gone; its cgroup is left only with the sync
        # The caller goes before this process has ended, and must not take it along.
        _close(*handover.STANDARD, request.fds[4])
        with suppress(OSError):
            packets.send(self._connection, b"%s %d" % (handover.EXIT, status))
        self._sync()
        return status

    def _refuse(self, reason: str) -> NoReturn:
        with suppress(OSError):
            packets.send(self._connection, b"%s %s" % (handover.NO, reason.encode(errors="replace")))
        self._give_up()

    def _give_up(self) -> NoReturn:
        with suppress(OSError):
            packets.send(self._control, USED)
        os._exit(0)


def _received(connection: int) -> Request | None:
    """Return what a caller asks for; None: it has left, does not speak as it should, or is another user's."""
    fds: list[int] = []
    try:
        packets.set_limit(connection, _TALK_S)
        peer, uid = packets.peer(connection)
        packet, fds, is_whole = packets.receive(connection, _REQUEST_BYTES, handover.REQUEST_FDS)
        if is_whole and uid == os.geteuid() and peer and len(fds) == handover.REQUEST_FDS:
            return _read(packet, peer, fds)
    except (OSError, ValueError):
        pass
    _close(*fds)
    return None


def _read(packet: bytes, peer: int, fds: Sequence[int]) -> Request:
    """Raises ValueError."""
    tag, identity, streams, count, *words = packet.split(b"\0")
    if tag != handover.TAG:
        raise ValueError("another protocol")
    argv = [os.fsdecode(word) for word in words[: int(count)]]
    environ = dict(word.split(b"=", 1) for word in words[int(count) :] if b"=" in word)
    return Request(peer, identity, tuple(streams.decode().split()), argv, environ, tuple(fds))


def _end_with_caller(pipe: int) -> None:
    """Have the kernel kill this process when the caller dies: nothing else happens to the pipe (F_SETSIG, fcntl(2)).

    Processes that are forked from this one are not killed: the owner of the descriptor is this one.
    """
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | fcntl.FASYNC)


def _open_streams(described: Sequence[str]) -> None:
    """Make sys.stdin and its kin as the interpreter makes them; encoding and errors are those of the caller's."""
    for index, name in enumerate(("stdin", "stdout", "stderr")):
        encoding, errors = described[2 * index : 2 * index + 2]
        stream = open(  # noqa: SIM115
            index, "w" if index else "r", encoding=encoding, errors=errors, newline="\n", closefd=False
        )
        if index == 2 or os.isatty(index):
            stream.reconfigure(line_buffering=True)
        setattr(sys, name, stream)


def _close(*fds: int) -> None:
    for fd in fds:
        with suppress(OSError):
            os.close(fd)
