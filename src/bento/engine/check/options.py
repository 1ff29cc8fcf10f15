"""What a check is told, looked at before anything is made."""

from __future__ import annotations

import re
from typing import Final

from bento.errors import UsageError
from bento.model.check import CheckOptions, Load

_PORT_MAX: Final = 65535
_PATH: Final = re.compile(r"/[!-~]*")
"""What a request line can hold (RFC 9112, 3.2.1): other characters are written as %XX."""


def refuse(options: CheckOptions) -> None:
    """Refuse options that make no sense. Raises UsageError."""
    if options.grace_s is not None and options.grace_s <= 0:
        raise UsageError("a check needs a grace, and one that ends", hint="give seconds, such as --grace 10")
    if options.repeat < 1:
        raise UsageError("a check is repeated once at least", hint="such as --repeat 5")
    if options.start_up < 0:
        raise UsageError(f"bad number of moments of the start {options.start_up}", hint="0 for none")
    expression(options.ready.log)
    for command in (options.ready.command, options.load.command, options.after):
        if "\0" in command or any("\ud800" <= character <= "\udfff" for character in command):
            raise UsageError(f"not valid UTF-8: {command!r}", hint="a command must be text")
    _refuse_load(options.load)


def expression(text: str) -> re.Pattern[bytes]:
    """Return by what a line of its log is known. Raises UsageError."""
    try:
        return re.compile(text.encode(errors="surrogateescape"))
    except re.error as error:
        raise UsageError(f"bad regular expression {text!r}: {error}", hint="see Python's re") from None


def _refuse_load(load: Load) -> None:
    if load.port is not None and not 0 < load.port <= _PORT_MAX:
        raise UsageError(f"bad port {load.port} for the load", hint="one of the container, from 1 to 65535")
    if not _PATH.fullmatch(load.path):
        raise UsageError(f"bad path {load.path!r} for the load", hint="it begins with /, and has spaces as %20")
