"""``bento``: global options, then one verb, whose module alone is imported.

argparse and not a richer library, because the start of the process is the speed of the product: it
is in the standard library and costs a third of what the alternatives do.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TextIO

from msgspec import Struct

from bento import __version__, config_load, log
from bento.cli import verbs
from bento.cli.context import Context, Ended
from bento.cli.options.switches import take_values
from bento.cli.suggest import meant
from bento.errors import BentoError, UsageError, as_bento_error, is_shortage
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.cli import zygote
else:  # most users have none
    zygote = LazyModule("bento.cli.zygote")

_INTERRUPTED = 130


class VerbModule(Protocol):
    """What every module of a verb has."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments."""

    def run(self, args: argparse.Namespace, context: Context) -> int:
        """Carry it out; return the exit status."""


class Formatter(argparse.HelpFormatter):
    """argparse makes one for every argument and asks shutil for the width each time: that import alone takes ms."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 80
        super().__init__(prog, width=columns - 2)


class Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints are Bento's errors: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        hint = self._meant(message) or f"see {self.prog} --help"
        option, is_value, value = message.partition(": ignored explicit argument ")
        if is_value:
            name = option.removeprefix("argument ").rpartition("/")[2]
            message = f"{name} is a switch: it takes true or false, and not {value}"
        raise UsageError(f"{self.prog.removeprefix('bento ')}: {message}", hint=hint)

    def _meant(self, message: str) -> str:
        """Return what an unknown option was most likely meant to be."""
        unknown = message.partition("unrecognized arguments: ")[2].partition(" ")[0].partition("=")[0]
        return meant(unknown, self._option_string_actions) if unknown.startswith("--") else ""

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """See argparse, which takes a word with a blank in it for no option, whatever it begins with.

        No image, container or file to be named here begins with a dash, but behind ``--``.
        """
        if not action.option_strings and action.nargs != argparse.REMAINDER and "--" not in arg_strings:
            for word in arg_strings:
                if word.startswith("-") and " " in word:
                    self.error(f"unrecognized arguments: {word}")
        return super()._get_values(action, arg_strings)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process."""
    try:
        _have_signals()
    except KeyboardInterrupt:  # it was pending
        os._exit(_INTERRUPTED)
    _have_streams()
    status = flushed(run(sys.argv[1:] if argv is None else argv))
    # Nothing is left to be done by an orderly end of the interpreter, which would take some ms.
    os._exit(status)


def flushed(status: int) -> int:
    """Write what is left to be written; return the exit status, which tells of a failure in that."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or 1
    except OSError as error:
        if not status:  # else it was said before
            _complain(f"standard output cannot be written: {error.strerror or error}")
            status = 1
    return status


def _have_signals() -> None:
    """Undo what the caller has left behind, which survives execve(2).

    While SIGCHLD is ignored, no child can be waited for (wait(2)), and a signal that is blocked never comes. One that
    is ignored for a purpose, such as SIGHUP by nohup(1), stays so.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _have_streams() -> None:
    """Put /dev/null where the caller has closed a standard stream: else what is opened next would be taken for it."""
    for name, fd, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
            os.set_inheritable(fd, True)
            setattr(sys, name, os.fdopen(fd, mode, encoding="utf-8", errors="surrogateescape", closefd=False))


class Prepared(Struct, frozen=True):
    """A command line that was read, and found to be right."""

    module: VerbModule
    args: argparse.Namespace
    context: Context


def prepare(options: Mapping[str, str | None], verb: str, words: list[str]) -> Prepared:
    """Read the settings and the words of a verb, and do nothing yet.

    Raises BentoError; SystemExit when help was shown.
    """
    options = {name: value for name, value in options.items() if name != "trace"}  # bento.__main__ has it
    settings = config_load.load(options)
    log.set_level(settings.log_level)
    module, parser = load(verb), parser_of(verb)
    take_values(parser, words)
    if not gc.isenabled():
        gc.freeze()
        gc.enable()  # a run in the foreground, or a stop of hundreds, may take hours
    return Prepared(module, parser.parse_args(words), Context(settings, verb))


def parser_of(verb: str) -> Parser:
    """Return what reads the words of a verb; the same one again when called again."""
    if verb not in _parsers:
        _, about = (verbs.VERBS | verbs.HIDDEN)[verb]
        parser = Parser(prog=f"bento {verb}", allow_abbrev=False, formatter_class=Formatter, description=about)
        load(verb).configure(parser)
        _parsers[verb] = parser
    return _parsers[verb]


_parsers: dict[str, Parser] = {}  # the zygote makes them before it forks


def run(argv: Sequence[str], prepared: Prepared | None = None) -> int:
    """Run the command line; return the exit status. Every error becomes one line on stderr.

    ``prepared``: what was made of it already.
    """
    failure = 1
    try:
        if prepared is None:
            options, verb, rest = split(argv)
            if verb is None:
                return 0 if options is None else _usage(sys.stderr, 2)
            failure = _failure_of(verb)
            prepared = prepare(options or {}, verb, rest)
            if prepared.context.settings.starts_zygote and verb in verbs.VERBS and verb != "serve":
                zygote.start(prepared.context.settings)
        failure = _failure_of(prepared.context.verb)
        return prepared.module.run(prepared.args, prepared.context)
    except BentoError as error:
        _complain(str(error))
        # A verb that passes on the container's exit status keeps its own failures apart from it.
        return error.exit_code if failure == 1 or error.exit_code in (126, 127) else failure
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt as interrupt:
        return interrupt.exit_code if isinstance(interrupt, Ended) else _INTERRUPTED
    except MemoryError:
        _complain("out of memory (see ulimit -v)")
        return failure
    except OSError as error:
        if is_shortage(error):
            _complain(str(as_bento_error(error)))
            return failure
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return failure


def _failure_of(verb: str) -> int:
    """Return the exit status of an error of Bento itself, where others are the container's, or a finding."""
    return {"run": 125, "exec": 125, "check": 2}.get(verb, 1)


def split(argv: Sequence[str]) -> tuple[dict[str, str | None] | None, str | None, list[str]]:
    """Split a command line into global options, the verb, and the verb's words.

    (None, None, []) when help or the version was asked for and shown.
    """
    given: dict[str, str | None] = {}
    words = list(argv)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in ("-h", "--help"):
            _usage(sys.stdout, 0)
            return None, None, []
        if word in ("-v", "--version"):
            print(f"bento {__version__}")
            return None, None, []
        name, equals, value = word.partition("=")
        if name not in GLOBAL or (not equals and not words):
            raise UsageError(f"unknown option or missing value: {word}", hint="see bento --help")
        given[GLOBAL[name]] = value if equals else words.pop(0)
    if not words:
        return given, None, []
    if words[0] == "help":  # bento help run: bento run --help
        words = [*words[1:], "--help"] if len(words) > 1 else ["--help"]
        return split(words)
    verb = words.pop(0)
    if verb in verbs.GROUPS:
        group = verbs.words_of(verb)
        if words and words[0] in ("-h", "--help"):
            sys.stdout.write(verbs.group_usage(verb))
            return None, None, []
        if not words or words[0] not in group:
            what = f"{verb}: unknown verb {words[0]!r}" if words else f"{verb}: no verb"
            raise UsageError(what, hint=(words and meant(words[0], group)) or f"one of {', '.join(group)}")
        verb, _, option = group[words.pop(0)].partition(" --")
        words = [*(f"--{option}".split() if option else ()), *words]
    if verb in verbs.LEFT_OUT:
        what, hint = verbs.LEFT_OUT[verb]
        raise UsageError(what, hint=hint)
    if verb not in verbs.VERBS and verb not in verbs.HIDDEN:
        known = [*verbs.VERBS, *verbs.GROUPS]
        raise UsageError(f"unknown verb {verb!r}", hint=meant(verb, known) or "see bento --help")
    return given, verb, words


GLOBAL = {
    "--root": "root",
    "--run-root": "run_root",
    "--runtime": "runtime",
    "--runtime-args": "runtime_args",
    "--cgroup-manager": "cgroup_manager",
    "--log-level": "log_level",
    "--trace": "trace",
}


def load(verb: str) -> VerbModule:
    """Return the module of a verb."""
    module: VerbModule = import_module(f"bento.cli.{(verbs.VERBS | verbs.HIDDEN)[verb][0]}")
    return module


def _usage(stream: TextIO, status: int) -> int:
    stream.write(verbs.usage())
    return status


def _complain(text: str) -> None:
    sys.stderr.write(f"bento: {log.printable(text)}\n")
