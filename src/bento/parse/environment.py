"""Variables of a program's environment, as options and files give them."""

from __future__ import annotations

from collections.abc import Mapping

from bento.errors import UsageError


def variable(word: str, environ: Mapping[str, str]) -> str:
    """K=V as it is; K alone with the caller's value, or as it is when the caller has none: then it is to be unset."""
    if "=" in word:
        return word
    value = environ.get(word)
    return word if value is None else f"{word}={value}"


def check_variable(entry: str) -> None:
    """Raise UsageError for what is neither ``K=V`` nor ``K``."""
    if not entry.partition("=")[0] or "\0" in entry:
        raise UsageError(f"bad environment variable {entry!r}", hint="use NAME=VALUE")


def merge_env(*layers: tuple[str, ...]) -> tuple[str, ...]:
    """Merge lists of ``K=V``, and ``K`` to unset it; later ones win, the place of the first is kept.

    Raises UsageError.
    """
    merged: dict[str, str] = {}
    for entry in (entry for layer in layers for entry in layer):
        check_variable(entry)
        key, equals, value = entry.partition("=")
        if equals:
            merged[key] = value
        else:
            merged.pop(key, None)
    return tuple(f"{key}={value}" for key, value in merged.items())


def parse_env_file(text: str, *, path: str) -> list[str]:
    """Return the lines of an env file, as ``parse_lines`` does. ``path``: what an error names.

    Raises UsageError for a name with blanks in it: others take such files for shell scripts.
    """
    lines = parse_lines(text)
    for line in lines:
        name = line.partition("=")[0]
        if not name or any(char.isspace() for char in name):
            raise UsageError(
                f"env file {path}: bad name {name!r}", hint="write NAME=VALUE, without blanks, or NAME alone"
            )
    return lines


def parse_lines(text: str) -> list[str]:
    """Return the lines of a file but for empty ones and comments, which begin with #."""
    lines = (line.lstrip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]
