"""Work that goes on when its caller is gone: a forked process in a session of its own (rule S6).

The caller, such as the command line, only passes on what the worker reports. Killing it, its process group or its
terminal does not reach the worker. Only for a process without other threads, and before anything is opened that must
not be shared.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bento import log
from bento.command import own_process
from bento.engine.base.outcome import StopObserver, StopOutcome, StopProgress
from bento.errors import BentoError, InternalError, KernelError, as_bento_error
from bento.model.stop import StopReport, StopView

if TYPE_CHECKING:
    from bento.model.container import Container

_READ_BYTES = 1 << 16


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker reports. ``error`` is the line for stderr, ``exit_code`` goes with it."""

    kind: str  # begun | phase | view | notice | ended | failed; done: it waits for a job; tick: from the waiting
    id: str = ""  # of the container, where it is known
    name: str = ""
    code: str = ""  # of the error
    error: str = ""  # or a notice: a line for people that is no error
    exit_code: int = 0
    report: StopReport | None = None
    phase: str = ""
    until_s: float | None = None  # the latest end of the phase, CLOCK_MONOTONIC: the same clock here and there
    view: StopView | None = None


TICK = Message(kind="tick")
Emit = Callable[[Message], None]


def notice(text: str) -> Message:
    """Return the message for something that is no error."""
    return Message(kind="notice", error=text)


def failed(name: str, error: BentoError, report: StopReport | None = None) -> Message:
    """Return the message for an error."""
    return Message(
        kind="failed", name=name, code=error.code, error=str(error), exit_code=error.exit_code, report=report
    )


class Reporter(StopObserver):
    """Emits what a worker's engine reports of its stops.

    ``wants_phases``: where each one is, too. ``wants_views``: and its processes.
    """

    def __init__(self, emit: Emit, *, wants_phases: bool, wants_views: bool = False) -> None:
        self._emit, self._wants_phases, self.wants_views = emit, wants_phases, wants_views

    def begun(self, name: str) -> None:
        """See StopObserver."""
        self._emit(Message(kind="begun", name=name))

    def phase(self, progress: StopProgress) -> None:
        """See StopObserver."""
        if self._wants_phases:
            self._emit(Message(kind="phase", name=progress.name, phase=progress.phase, until_s=progress.until_s))

    def view(self, view: StopView) -> None:
        """See StopObserver."""
        self._emit(Message(kind="view", name=view.name, view=view))

    def outcome(self, outcome: StopOutcome) -> None:
        """See StopObserver."""
        if outcome.error is not None:
            self._emit(replace(failed(outcome.name, outcome.error, outcome.report), id=outcome.id))
        else:
            self._emit(Message(kind="ended", id=outcome.id, name=outcome.name, report=outcome.report))

    def notice(self, text: str) -> None:
        """See StopObserver."""
        self._emit(notice(text))


def report_each(refs: Iterable[str], act: Callable[[str], Container], emit: Emit) -> None:
    """Do something to each container, and emit what became of it. One failure does not stop the others."""
    for ref in refs:
        try:
            emit(Message(kind="ended", name=act(ref).name))
        except BentoError as error:
            emit(failed(ref, error))


def in_worker(work: Callable[[Emit], None], *, tick_s: float | None = None) -> Iterator[Message]:
    """Fork a worker that runs ``work(emit)``; yield what it emits until it ends.

    ``tick_s``: yield TICK, too, whenever nothing was emitted for so long.
    Leaving the iterator, or dying, leaves the worker at its work.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        be_worker(work, write_fd)
    os.close(write_fd)
    return _messages_of_child(read_fd, pid, tick_s)


def be_worker(work: Callable[[Emit], None], write_fd: int) -> NoReturn:
    """Leave the caller, do the work, and end the process. Whatever goes wrong is reported to ``write_fd``."""

    def apart(emit: Emit) -> None:
        if os.getsid(0) != os.getpid():  # it was not started as the leader of one
            os.setsid()
        leave_streams()
        have_own_limits()
        work(emit)

    try:
        carry_out(apart, write_fd)
    finally:
        os._exit(0)


def leave_streams() -> None:
    """Put /dev/null in the place of the caller's standard streams. Raises OSError."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def have_own_limits() -> None:
    """Be no more than any process of its own: SIGINT ends it, and it may open many files. Idempotent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    own_process()


def carry_out(work: Callable[[Emit], None], write_fd: int) -> None:
    """Do the work. The outermost edge of it, so whatever goes wrong is reported to ``write_fd``."""

    outbox = bytearray()
    os.set_blocking(write_fd, False)  # a reader that does not read must not hold up what is done here

    def emit(message: Message) -> None:
        if message.view is not None and outbox:
            _flush(write_fd, outbox)
            if outbox:  # the reader is behind, or halted: it gets a newer one later
                return
        outbox.extend(_encoded(message) + b"\n")
        _flush(write_fd, outbox)

    outer = log.sink
    try:
        log.sink = lambda level, text: emit(notice(f"{level}: {text}"))  # this process's own stderr is not shown
        work(emit)
    except BentoError as error:
        emit(failed("", error))
    except OSError as error:
        emit(failed("", as_bento_error(error)))
    except MemoryError:
        emit(failed("", KernelError("malloc", errno.ENOMEM, "out of memory", hint="see ulimit -v")))
    except Exception as error:
        emit(failed("", InternalError(f"{type(error).__name__}: {error}", hint="please report this")))
    finally:
        log.sink = outer  # what is said from here on must not go into what is closed then
        os.set_blocking(write_fd, True)
        _flush(write_fd, outbox)


def _encoded(message: Message) -> bytes:
    """Return a message as JSON. A name that was asked for may be any bytes, and its error quotes it."""
    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError:
        name, error = (text.encode(errors="backslashreplace").decode() for text in (message.name, message.error))
        return msgspec.json.encode(replace(message, name=name, error=error))


def _flush(write_fd: int, outbox: bytearray) -> None:
    """Write what can be written now; drop it when there is no reader any more."""
    try:
        while outbox:
            del outbox[: os.write(write_fd, outbox)]
    except BlockingIOError:
        pass
    except (BrokenPipeError, ConnectionResetError):
        outbox.clear()


def _messages_of_child(read_fd: int, pid: int, tick_s: float | None) -> Iterator[Message]:
    yield from messages(read_fd, tick_s=tick_s)
    os.waitpid(pid, 0)


def messages(read_fd: int, *, tick_s: float | None = None) -> Iterator[Message]:
    """Yield what a worker emits until it closes the other end; see ``in_worker``. Closes the descriptor."""
    with open(read_fd, "rb", buffering=0) as stream:
        poller = select.poll()
        poller.register(stream, select.POLLIN)
        rest = b""
        while True:
            if tick_s is not None and not poller.poll(tick_s * 1000):
                yield TICK
                continue
            data = stream.read(_READ_BYTES)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line, type=Message)
