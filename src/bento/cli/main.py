"""``bento``: global options, then one verb, whose module alone is imported.

argparse and not a richer library, because the start of the process is the speed of the product: it
is in the standard library and costs a third of what the alternatives do.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, Protocol, TextIO

from bento import __version__, config_load, log
from bento.cli.context import Context
from bento.errors import BentoError, UsageError

VERBS = {
    "create": ("create", "make a container without starting it"),
    "run": ("run", "make a container and start it"),
    "start": ("start", "start containers"),
    "stop": ("stop", "stop containers gracefully and say what happened"),
    "restart": ("restart", "stop containers and start them again"),
    "exec": ("exec_", "run a command in a running container"),
    "kill": ("kill", "send a signal to containers"),
    "pause": ("pause", "freeze all processes of containers"),
    "unpause": ("unpause", "let paused containers go on"),
    "rm": ("rm", "delete containers"),
    "ps": ("ps", "list containers"),
    "inspect": ("inspect", "show all about containers or images, as JSON"),
    "port": ("port", "show where the published ports of a container are reached"),
    "logs": ("logs", "show the output of a container"),
    "report": ("report", "show what happened in the last stop, on a time axis"),
    "explain": ("explain", "say what a stop would do, and send nothing"),
    "wait": ("wait", "wait until containers have ended; print their exit codes"),
    "rename": ("rename", "give a container another name"),
    "pull": ("pull", "fetch images from registries and elsewhere"),
    "push": ("push", "copy an image to a registry"),
    "save": ("save", "write images into an archive"),
    "load": ("load", "read the images of an archive"),
    "cp": ("cp", "copy files between a container and this machine"),
    "diff": ("diff", "show what a container has changed in its root filesystem"),
    "commit": ("commit", "make an image of what a container has changed"),
    "export": ("export", "write a container's root filesystem as a tar archive"),
    "import": ("import_", "make an image of a directory or tar archive"),
    "images": ("images", "list images"),
    "rmi": ("rmi", "delete images"),
    "tag": ("tag", "give an image one more name"),
    "history": ("history", "show how an image was built"),
    "container exists": ("container_exists", "say by the exit status whether there is a container"),
    "image exists": ("image_exists", "say by the exit status whether there is an image"),
    "volume exists": ("volume_exists", "say by the exit status whether there is a volume"),
    "volume create": ("volume_create", "make a volume"),
    "volume ls": ("volume_ls", "list volumes"),
    "volume inspect": ("volume_inspect", "show all about volumes, as JSON"),
    "volume rm": ("volume_rm", "delete volumes"),
    "volume prune": ("volume_prune", "delete the volumes that no container has"),
    "prune": ("system_prune", "delete what nobody uses: containers and images"),
    "container prune": ("container_prune", "delete the containers that do not run"),
    "image prune": ("image_prune", "delete the images that nobody needs"),
    "system prune": ("system_prune", "the same as prune"),
    "system df": ("system_df", "show what containers and images take of the disk"),
    "shutdown": ("shutdown", "stop everything, in order, before the machine goes down"),
    "install-unit": ("install_unit", "have systemd start and shut down the containers with the machine"),
    "doctor": ("doctor", "find what was left behind"),
    "info": ("info", "show what this engine uses on this host"),
    "version": ("version", "show versions"),
}
HIDDEN = {"finish-stop": ("finish_stop", ""), "after-exit": ("after_exit", "")}
_NOT_OF_CONTAINERS = (
    "pull", "push", "save", "load", "import", "images", "rmi", "tag", "history", "prune",
    "shutdown", "install-unit", "doctor", "info", "version",
)  # fmt: skip
GROUPS = {
    "container": {verb: verb for verb in VERBS if verb not in _NOT_OF_CONTAINERS and " " not in verb}
    | {"inspect": "inspect --type container", "prune": "container prune", "ls": "ps", "list": "ps"}
    | {"exists": "container exists", "remove": "rm"},
    "volume": {verb: f"volume {verb}" for verb in ("create", "exists", "inspect", "ls", "prune", "rm")}
    | {"list": "volume ls", "remove": "volume rm"},
    "image": {
        "pull": "pull",
        "push": "push",
        "save": "save",
        "load": "load",
        "import": "import",
        "ls": "images",
        "list": "images",
        "rm": "rmi",
        "remove": "rmi",
        "tag": "tag",
        "history": "history",
        "inspect": "inspect --type image",
        "prune": "image prune",
        "exists": "image exists",
    },
    "system": {"df": "system df", "info": "info", "prune": "system prune"},
}
"""What each word after a group's name stands for: a verb, maybe with an option."""
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
        raise UsageError(f"{self.prog.removeprefix('bento ')}: {message}", hint=f"see {self.prog} --help")

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
    _have_streams()
    status = run(sys.argv[1:] if argv is None else argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or 1
    # Nothing is left to be done by an orderly end of the interpreter, which would take some ms.
    os._exit(status)


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


def run(argv: Sequence[str]) -> int:
    """Run the command line; return the exit status. Every error becomes one line on stderr."""
    failure = 1
    try:
        options, verb, rest = split(argv)
        if verb is None:
            return 0 if options is None else _usage(sys.stderr, 2)
        if verb in ("run", "exec"):
            failure = 125
        settings = config_load.load(options or {})
        log.set_level(settings.log_level)
        module = _load(verb)
        parser = Parser(prog=f"bento {verb}", allow_abbrev=False, formatter_class=Formatter, description=_about(verb))
        module.configure(parser)
        gc.freeze()
        gc.enable()  # a run in the foreground, or a stop of hundreds, may take hours
        return module.run(parser.parse_args(rest), Context(settings, verb))
    except BentoError as error:
        _complain(str(error))
        # A verb that passes on the container's exit status keeps its own failures apart from it.
        return error.exit_code if failure == 1 or error.exit_code in (126, 127) else failure
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return failure


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
        if name not in _GLOBAL or (not equals and not words):
            raise UsageError(f"unknown option or missing value: {word}", hint="see bento --help")
        given[_GLOBAL[name]] = value if equals else words.pop(0)
    if not words:
        return given, None, []
    verb = words.pop(0)
    if verb in GROUPS:
        group = GROUPS[verb]
        if words and words[0] in ("-h", "--help"):
            print(f"usage: bento {verb} VERB ...\n\nVERB is one of {', '.join(group)}")
            return None, None, []
        if not words or words[0] not in group:
            raise UsageError(f"{verb}: no verb, or not one of its own", hint=f"one of {', '.join(group)}")
        verb, _, option = group[words.pop(0)].partition(" --")
        words = [*(f"--{option}".split() if option else ()), *words]
    if verb not in VERBS and verb not in HIDDEN:
        raise UsageError(f"unknown verb {verb!r}", hint="see bento --help")
    return given, verb, words


_GLOBAL = {
    "--root": "root",
    "--run-root": "run_root",
    "--runtime": "runtime",
    "--runtime-args": "runtime_args",
    "--log-level": "log_level",
}


def _load(verb: str) -> VerbModule:
    name = (VERBS | HIDDEN)[verb][0]
    module: VerbModule = import_module(f"bento.cli.{name}")
    return module


def _about(verb: str) -> str:
    return (VERBS | HIDDEN)[verb][1]


def _usage(stream: TextIO, status: int) -> int:
    write = stream.write
    write(
        "usage: bento [--root DIR] [--run-root DIR] [--runtime NAME|PATH] [--runtime-args ARGS]\n"
        "             [--log-level LEVEL] VERB ...\n\n"
    )
    write("Stops containers gracefully, says what happened, and leaves nothing behind.\n\n")
    for verb, (_, about) in VERBS.items():
        write(f"  {verb:<16} {about}\n")
    write(
        "\nAlso as 'bento container VERB', 'bento image VERB', 'bento system VERB'. 'bento VERB --help' tells more.\n"
    )
    return status


def _complain(text: str) -> None:
    sys.stderr.write(f"bento: {log.printable(text)}\n")
