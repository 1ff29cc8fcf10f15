"""How a registry is to be asked: the header ``X-Registry-Auth``, and the body of ``POST /auth``."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from binascii import Error

import msgspec
from msgspec import Struct

from bento.errors import UsageError
from bento.model.transfer import TOKEN_USER, Access, Credentials


class Auth(Struct, kw_only=True):
    """Docker's AuthConfig."""

    username: str | None = None
    password: str | None = None
    auth: str | None = None
    email: str | None = None
    serveraddress: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


def read_header(text: str) -> Access:
    """Return how the registry of one image is asked; "" and "{}": with what is kept here. Raises UsageError."""
    if not text:
        return Access()
    try:
        padded = text + "=" * (-len(text) % 4)
        given = msgspec.json.decode(urlsafe_b64decode(padded) or b"{}", type=Auth)
    except (Error, ValueError, msgspec.MsgspecError):
        raise UsageError("bad X-Registry-Auth", hint="it is JSON in base64url") from None
    if given.identitytoken:
        user = given.username or TOKEN_USER
        return Access(credentials=Credentials(user, given.password or "", given.identitytoken))
    return Access(credentials=read_credentials(given))


def read_credentials(given: Auth) -> Credentials | None:
    """Return user and password; None: there are none. Raises UsageError."""
    if not given.username and (given.identitytoken or given.registrytoken):
        raise UsageError("tokens of a registry are not supported", hint="give a user and a password")
    return Credentials(given.username, given.password or "") if given.username else None
