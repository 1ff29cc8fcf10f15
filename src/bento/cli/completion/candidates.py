"""``bento complete``: what may stand at the end of a command line. For the scripts of ``bento completion``.

All of it comes from the table of verbs and the parsers of their options, so that nothing is to be kept in step.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Final

from bento import config_load
from bento.cli import main, verbs
from bento.cli.context import Context, say
from bento.engine.base.find_image import HOST_IMAGE
from bento.errors import BentoError

_Word = tuple[str, str]
"""A word that may stand there, and what it is; "" where that says nothing."""

_KINDS: Final = {
    "container": ("container",),
    "image": ("image",),
    "reference": ("image",),
    "volume": ("volume",),
    "network": ("network",),
    "pod": ("pod",),
    "name": ("container", "image"),
    "source": ("container:",),
    "target": ("container:",),
    "requires": ("container",),
    "volumes_from": ("container",),
}
"""By the name under which a verb takes a word: of which things it may be the name. ``:``: with a colon behind it."""
_NEW: Final = ("rename", "commit", "tag", "import", "network create", "volume create", "pod create")
"""Verbs whose word ``name`` is a new one."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("word", nargs=argparse.REMAINDER, help="the command line, from 'bento' to what is being typed")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a word a line, and behind a tab what it is. Errors are no words."""
    try:
        for word, about in candidates(args.word[1:] or [""], context):
            say(f"{word}\t{about}" if about else word)
    except BentoError:
        return 1
    return 0


def candidates(words: list[str], context: Context) -> list[_Word]:
    """Return what the last of these words, which may be empty, may become. Raises BentoError."""
    *before, current = words
    settings: dict[str, str | None] = {}
    given, verb = _split(before, settings)
    if given is None:
        return []
    if verb is None:
        found = [(name, "") for name in main.GLOBAL] if current.startswith("-") else _verbs(given)
    else:
        found = list(_of_verb(verb, given, current, Context(config_load.load(settings)) if settings else context))
    return [word for word in found if word[0].startswith(current)]


def _split(words: list[str], settings: dict[str, str | None]) -> tuple[list[str] | None, str | None]:
    """Return (its words, verb); (the group or nothing, None) before there is a verb; (None, None) where none can be.

    ``settings`` gets what global options say.
    """
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in main.GLOBAL:
            if not equals and not rest:
                return None, None
            settings[main.GLOBAL[option]] = value if equals else rest.pop(0)
    if not rest:
        return [], None
    if rest[0] in verbs.GROUPS:
        group = rest.pop(0)
        if not rest:
            return [group], None
        verb = verbs.words_of(group).get(rest.pop(0), "").partition(" --")[0]
        return (rest, verb) if verb else (None, None)
    verb = rest.pop(0)
    return (rest, verb) if verb in verbs.VERBS else (None, None)


def _verbs(group: list[str]) -> list[_Word]:
    if group:
        about = {word: verb.partition(" --")[0] for word, verb in verbs.words_of(group[0]).items()}
        return [(word, verbs.VERBS[verb][1]) for word, verb in about.items()]
    plain = [(name, about) for name, (_, about) in verbs.VERBS.items() if " " not in name]
    return [*plain, *((group, "verbs for these") for group in verbs.GROUPS)]


def _of_verb(verb: str, words: list[str], current: str, context: Context) -> Iterator[_Word]:
    parser = main.Parser(prog=verb, allow_abbrev=False)
    main.load(verb).configure(parser)
    options = parser._option_string_actions
    positionals = [action for action in parser._actions if not action.option_strings]
    place, expects = _place(words, options, positionals)
    name, equals, _ = current.partition("=")
    if expects is not None:
        yield from _values(expects, verb, context)
    elif place is not None and place.nargs == argparse.REMAINDER and place.dest != "word":
        return
    elif equals and name in options:
        yield from ((f"{name}={word}", about) for word, about in _values(options[name], verb, context))
    elif current.startswith("-"):
        yield from _options(parser)
    elif place is not None:
        yield from _values(place, verb, context)


def _place(
    words: Iterable[str], options: dict[str, argparse.Action], positionals: list[argparse.Action]
) -> tuple[argparse.Action | None, argparse.Action | None]:
    """Return what takes the next word that is no option, and the option that takes the very next word."""
    left, expects = list(positionals), None
    for word in words:
        if expects is not None:
            expects = None
        elif word in options:
            expects = options[word] if options[word].nargs != 0 else None
        elif not word.startswith("-") and left and left[0].nargs not in ("*", "+", argparse.REMAINDER):
            left.pop(0)
    return (left[0] if left else None), expects


def _options(parser: argparse.ArgumentParser) -> Iterator[_Word]:
    for action in parser._actions:
        if action.help is not argparse.SUPPRESS:
            yield from ((name, action.help or "") for name in action.option_strings if name.startswith("--"))


def _values(action: argparse.Action, verb: str, context: Context) -> Iterator[_Word]:
    if action.choices is not None:
        yield from ((str(choice), "") for choice in action.choices)
        return
    dest = action.metavar if action.dest == "ref" and isinstance(action.metavar, str) else action.dest
    if (dest == "name" and verb in _NEW) or dest not in _KINDS:
        return
    if dest == "image" and verb in ("create", "run", "check"):
        yield HOST_IMAGE, "this machine's own files"
    with context.engine() as engine:
        for kind in _KINDS[dest]:
            plain = kind.removesuffix(":")
            yield from ((f"{name}:" if kind != plain else name, plain) for name in engine.names(plain))
