"""Where a page goes that a verb makes: a file that is there when it is whole, or standard output."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bento.errors import UsageError
from bento.files.whole import replaced, unwritable, write_all

STREAM = "-"


def check_page_file(verb: str, name: str) -> None:
    """Refuse a place that is no file before anything is done for the page. Raises UsageError."""
    if not name:
        raise UsageError(f"{verb}: --html needs the name of a file, or - for stdout")
    if name != STREAM and os.path.exists(name) and not os.path.isfile(name):
        raise UsageError(f"{verb}: {name} is no file", hint="name a file for the page, or - for stdout")
    directory = os.path.dirname(name) or "."
    if name != STREAM and not os.path.isdir(directory):
        raise UsageError(f"{verb}: {directory} is no directory", hint="make it, or name another place for the page")


def write_page(name: str, text: str) -> None:
    """Write a page. A file that was there is replaced by a whole one. Raises what ``replaced`` does."""
    data = text.encode()
    if name == STREAM:
        sys.stdout.flush()
        write_all(sys.stdout.fileno(), data)
        return
    with replaced(Path(name), 0o644) as fd:
        try:
            write_all(fd, data)
        except OSError as error:
            raise unwritable(name, error) from error
