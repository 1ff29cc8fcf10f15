"""Variables on the command line and in files, for ``run``, ``create`` and ``exec``."""

from __future__ import annotations

import os

from bento.errors import UsageError


def variable(word: str) -> str:
    """K=V as it is; K alone with the caller's value, or "" when the caller has none: Docker's rule."""
    if "=" in word:
        return word
    value = os.environ.get(word)
    return "" if value is None else f"{word}={value}"


def read_env_file(path: str) -> list[str]:
    """Return the lines of an env file; empty ones and those that begin with # are comments. Raises UsageError."""
    try:
        with open(path, encoding="utf-8") as stream:
            lines = [line.rstrip("\n").lstrip() for line in stream]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"env file {path}: {reason}") from None
    return [line for line in lines if line and not line.startswith("#")]
