"""Images as the interface names them, and the credentials of a pull."""

from __future__ import annotations

import base64
import binascii

from bento.api_cri.messages import Message
from bento.errors import UsageError
from bento.model.transfer import TOKEN_USER, Access, Credentials


def named(spec: Message) -> str:
    """Return the name or id of an image. Raises UsageError where there is none."""
    name: str = spec.image
    if not name:
        raise UsageError("no image is named", hint="fill in image.image")
    return name


def access(auth: Message) -> Access:
    """Return how the registry is spoken to. Raises UsageError for credentials that cannot be read, or used."""
    user, password = auth.username, auth.password
    if not user and auth.auth:
        try:
            text = base64.b64decode(auth.auth, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise UsageError("auth of the registry is not base64 of USER:PASSWORD") from None
        user, _, password = text.partition(":")
        password = password.rstrip("\0")
    if auth.identity_token:
        return Access(credentials=Credentials(user or TOKEN_USER, password, auth.identity_token))
    if not user and auth.registry_token:
        raise UsageError("a registry_token is not taken: it would be on a command line", hint="use an identity_token")
    return Access(credentials=Credentials(user, password)) if user else Access()
