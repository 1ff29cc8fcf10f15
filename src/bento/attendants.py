"""Small processes of Bento's own that stay beside containers, and are told things at a socket in a directory.

Each listens at a SOCK_SEQPACKET socket that the command makes which starts it: nothing waits for it to begin, because
what is sent to it waits there. A packet is words with a NUL between them, answered with ``ok``, or with ``no`` and a
reason. It may be killed at any time: then nothing listens, and the next command starts another one. It is in no cgroup,
session or working directory of the command that has started it, has none of its descriptors but those that it is
handed, and gives up its rights (``kernel.unprivileged``).
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bento import command, packets
from bento.errors import RuntimeFailed
from bento.kernel.cgroup import read_control, roots
from bento.kernel.process import pidfd, proc

ANSWERS_WITHIN_S: Final = 5
_SOURCES: Final = Path(__file__).parents[1]
_RUN: Final = "import sys; sys.path.append(sys.argv.pop(1)); from {0} import main; main()"
_ANSWER_BYTES: Final = 4096
_ENDS_WITHIN_S: Final = 5.0


class Unanswered(Exception):
    """Nothing listens, or it has ended, or it stands still."""


class Attendant:
    """One such process. ``module``: its ``main`` is run; ``name``: of its socket there; ``what``: for people."""

    def __init__(self, module: str, directory: Path, name: str, what: str) -> None:
        self._module, self._directory, self._name, self._what = module, directory, name, what

    def reach(self) -> int:
        """Return a connection, by which an answer may come; the caller closes it. Raises Unanswered."""
        connection = self._connect()
        pid = packets.peer_pid(connection)
        if self._is_it(pid) and proc.progress(pid)[1]:  # stopped by a signal
            os.close(connection)
            raise Unanswered
        return connection

    def say(self, words: Sequence[str]) -> str:
        """Tell it something; return "", or the reason why that was refused. Waits for the answer. Raises Unanswered."""
        connection = self.reach()
        try:
            return exchange(connection, words)
        finally:
            os.close(connection)

    def is_alive(self) -> bool:
        """Whether it is there and answers ``hello``."""
        try:
            self.say(("hello",))
        except Unanswered:
            return False
        return True

    def start(self, words: Sequence[str], pass_fds: Sequence[int]) -> None:
        """Start it, in the place of one that stands still. Call it under a lock. Raises RuntimeFailed.

        Its arguments: the descriptor at which it listens, these words, and behind ``--`` the cgroups to be in.
        """
        self.end()
        listener = command.above_standard(packets.listen(self._directory, self._name))
        try:
            cgroups = [f"{root}/cgroup.procs" for root in roots(read_control("/proc/self/cgroup"))]
            program = (sys.executable, "-I", "-S", "-c", _RUN.format(self._module), str(_SOURCES))
            argv = (*program, str(listener), *words, "--", *cgroups)
            command.spawn_detached(argv, pass_fds=(listener, *pass_fds))
        finally:
            os.close(listener)

    def end(self) -> None:
        """End it, and wait for that: it has nothing to do at its end. Idempotent. Raises RuntimeFailed."""
        fd = self.kill()
        if fd is None:
            return
        try:
            if not pidfd.wait(fd, _ENDS_WITHIN_S):
                raise RuntimeFailed(f"{self._what} does not end")
        finally:
            os.close(fd)

    def kill(self) -> int | None:
        """Kill it; return a pidfd, by which its end is seen; the caller closes it. None: it is not there."""
        try:
            connection = self._connect()
        except Unanswered:
            return None
        try:
            return self._kill_peer(connection)
        finally:
            os.close(connection)

    def _kill_peer(self, connection: int) -> int | None:
        pid = packets.peer_pid(connection)
        if pid <= 0:  # not seen here
            return None
        fd = None
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            # Before it has begun, the one that has made its socket is named. While its end of the connection is open,
            # the number is its own.
            poller = select.poll()
            poller.register(connection, select.POLLHUP)
            if self._is_it(pid) and not poller.poll(0):
                pidfd.send(fd, signal.SIGKILL)
                return fd
            os.close(fd)
        return None

    def _connect(self) -> int:
        try:
            return packets.connect(self._directory, self._name, limit_s=ANSWERS_WITHIN_S)
        except OSError as error:
            raise Unanswered from error

    def _is_it(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return self._module.encode() in file.read()
        except OSError:
            return False


def send(connection: int, words: Sequence[str], fds: Sequence[int] = ()) -> None:
    """Say something by a connection. Raises Unanswered."""
    try:
        packets.send(connection, "\0".join(words).encode(), fds)
    except OSError as error:
        raise Unanswered from error


def exchange(connection: int, words: Sequence[str], fds: Sequence[int] = ()) -> str:
    """Say something by a connection; return "", or the reason why that was refused. Raises Unanswered."""
    send(connection, words, fds)
    try:
        answer, _, reason = os.read(connection, _ANSWER_BYTES).decode().partition("\0")
    except OSError as error:
        raise Unanswered from error
    if not answer:
        raise Unanswered
    return "" if answer == "ok" else reason
