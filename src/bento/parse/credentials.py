"""``--creds``: the user that a registry is asked as."""

from __future__ import annotations

from collections.abc import Callable

from bento.errors import UsageError
from bento.model.transfer import Credentials


def parse_credentials(text: str, ask: Callable[[str], str]) -> Credentials:
    """``USER[:PASSWORD]``. ``ask`` is called with the user for a password that is not there. Raises UsageError."""
    user, colon, password = text.partition(":")
    if not user:
        raise UsageError("--creds names no user", hint="use --creds USER or --creds USER:PASSWORD")
    return Credentials(user, password if colon else ask(user))
