"""What every verb is given: the settings, an engine when it needs one, and ways to say things."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from bento import log
from bento.config import Settings
from bento.errors import BentoError
from bento.wiring import Engine

if TYPE_CHECKING:  # a verb without a worker does not pay for it
    from bento.engine.base.worker import Message


class Context:
    """One command line."""

    def __init__(self, settings: Settings, verb: str = "") -> None:
        self.settings = settings
        self.verb = verb

    def engine(self) -> Engine:
        """Open the engine. Raises NotPermitted, StorageUnusable, StateCorrupt."""
        engine = Engine(self.settings)
        engine.drivers.verb = self.verb
        return engine


def say(text: str) -> None:
    """Print a line on stdout at once: what follows may take a while, and a person may read along.

    It may quote a stranger's words, such as a file's name: on a terminal they give no orders.
    """
    sys.stdout.write(f"{log.harmless(text) if sys.stdout.isatty() else text}\n")
    sys.stdout.flush()


def tell_person(text: str) -> None:
    """Print a line on stderr, for a person. It may quote a stranger's words, which give no orders."""
    sys.stderr.write(f"{log.printable(text)}\n")
    sys.stderr.flush()


def complain(error: BentoError) -> None:
    """Print an error as its one line."""
    tell_person(f"bento: {error}")


def says_so_itself(error: BentoError) -> None:
    """Say nothing of what a verb is about to meet one by one, each with an error of its own."""


def each(refs: Iterable[str], act: Callable[[str], str]) -> int:
    """Do something to each container; print what ``act`` returns. One failure does not stop the others.

    Returns the exit status: 0, or that of the worst error.
    """
    return each_quietly(refs, lambda ref: say(act(ref)))


def each_quietly(refs: Iterable[str], act: Callable[[str], None]) -> int:
    """As ``each``, and print no more than errors."""
    status = 0
    for ref in refs:
        try:
            act(ref)
        except BentoError as error:
            complain(error)
            status = max(status, error.exit_code)
    return status


def print_names(messages: Iterator[Message], count: int, *, ignored: Collection[str] = ()) -> int:
    """Print the name of each container that was dealt with, and each error; return the exit status.

    ``ignored``: codes of errors that are none here.
    """
    status = answers = 0
    for message in messages:
        if message.kind == "notice":
            tell_person(f"bento: {message.error}")
            continue
        answers += 1
        if message.kind == "failed" and message.code not in ignored:
            tell_person(f"bento: {message.error}")
            status = max(status, message.exit_code)
        elif message.kind != "failed":
            say(message.name)
    return max(status, check_answers(answers, count))


def check_answers(answers: int, count: int) -> int:
    """Return 0 when every container was answered for; else say that the worker was killed, and return 1."""
    if answers >= count:
        return 0
    tell_person("bento: the process that did the work was killed before it was done (repeat the command to finish it)")
    return 1


class Ended(KeyboardInterrupt):
    """A signal ends this command, as Ctrl-C does; ``exit_code`` is what a shell shows for it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def end_cleanly() -> None:
    """From now on SIGTERM and SIGHUP end this command as Ctrl-C does: what it has begun is tidied up.

    One that the caller ignores, as nohup(1) does with SIGHUP, stays ignored.
    """

    def end(number: int, _: object) -> None:
        raise Ended(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
