"""``--format``: one of a verb's own words, or a Go template, whose reader is loaded for it alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bento.cli.context import complain, say
from bento.cli.output.render import headless
from bento.errors import BentoError
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.cli.output.templates import template
else:
    template = LazyModule("bento.cli.output.templates.template")

_TABLE: Final = "table "
_JSON_LINES: Final = "{{json .}}"


def configure(parser: argparse.ArgumentParser, *words: str, is_short: bool = False) -> None:
    """Add the option: the first of these words is the default, others and templates may be given.

    ``is_short``: also as ``-f``.
    """
    names = ("-f", "--format") if is_short else ("--format",)
    help_text = f"{', '.join(words)}, or a Go template of its fields"
    parser.add_argument(*names, type=_one_of(words), default=words[0], metavar="FORMAT", help=help_text)


def configure_listing(parser: argparse.ArgumentParser) -> None:
    """Add the option of a listing: a table; ``json``: an object in a line of its own for each, as in Docker."""
    check = _one_of(("table", "json"))
    parser.add_argument(
        "--format",
        type=lambda text: _JSON_LINES if text == "json" else check(text),
        default="table",
        metavar="FORMAT",
        help="table; json: a line for each; or a Go template of its fields",
    )


def configure_document(parser: argparse.ArgumentParser) -> None:
    """Add the option for what is shown by ``show_document``."""
    help_text = "json: in one line; or a Go template of its fields"
    parser.add_argument("-f", "--format", type=_one_of(("json",)), default=None, metavar="FORMAT", help=help_text)


def is_json(text: str) -> bool:
    """Whether a listing was asked for as ``json``."""
    return text == _JSON_LINES


def is_template(text: str) -> bool:
    """Whether a format is a template and not a word."""
    return "{{" in text or (text.startswith(_TABLE) and bool(text.strip()))


def show(
    text: str,
    records: Iterable[Mapping[str, Any]],
    headers: Mapping[str, str] | None = None,
    *,
    has_header: bool = True,
) -> None:
    """Print what a template makes of records. Raises UsageError."""
    output = template.render(text, records, headers)
    if not has_header and text.startswith(_TABLE):
        output = headless(output)
    if output:
        say(output.removesuffix("\n"))


def say_table(text: str, is_headless: bool) -> None:
    """Print a table; one that has neither header nor rows is no line."""
    shown = headless(text) if is_headless else text
    if shown:
        say(shown)


def show_document(text: str | None, found: Sequence[Mapping[str, Any]]) -> None:
    """Print what ``inspect`` has found: an array for people; in one line when asked for json; or by a template."""
    if text is not None and is_template(text):
        show(text, found)
    elif text is not None:
        say(msgspec.json.encode(found).decode())
    else:
        say(msgspec.json.format(msgspec.json.encode(found), indent=4).decode())


def show_found(text: str | None, refs: Iterable[str], look: Callable[[str], Mapping[str, Any]]) -> int:
    """Print what ``look`` says of each, as ``show_document`` does; complain of others. Returns the exit status."""
    found, status = [], 0
    for ref in refs:
        try:
            found.append(look(ref))
        except BentoError as error:
            complain(error)
            status = max(status, error.exit_code)
    show_document(text, found)
    return status


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in words and not is_template(text):
            raise argparse.ArgumentTypeError(f"{text!r} is neither a template nor one of {', '.join(words)}")
        return text

    return check
