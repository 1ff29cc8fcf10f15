"""Tokens: what a URL is good for, once and for a minute."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Final

from bento import clock
from bento.errors import BentoError
from bento.streaming.requests import Request

LIVES_S: Final = 60.0
"""As in the streaming library of Kubernetes (pkg/cri/streaming/request_cache.go)."""
WAITING_MAX: Final = 1000
_BYTES: Final = 16


class TooMany(BentoError):
    """A thousand URLs wait to be used; each expires after a minute."""

    code = "too-many"
    http_status = 429


class Tokens:
    """Those that were given out and not used yet, the oldest first. For one thread."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, tuple[float, Request]] = OrderedDict()

    def give(self, request: Request) -> str:
        """Return a new token for a request: 128 bits of chance, in letters that a URL may have. Raises TooMany."""
        self._forget_old()
        if len(self._waiting) >= WAITING_MAX:
            raise TooMany("too many streaming requests are in flight", hint="use the URLs that were given out")
        token = secrets.token_urlsafe(_BYTES)
        self._waiting[token] = (clock.mono_s() + LIVES_S, request)
        return token

    def take(self, token: str) -> Request | None:
        """Return what a token is good for, and forget it; None: it never was one, was used, or is too old."""
        self._forget_old()
        found = self._waiting.pop(token, None)
        return None if found is None else found[1]

    def _forget_old(self) -> None:
        now_s = clock.mono_s()
        while self._waiting and next(iter(self._waiting.values()))[0] <= now_s:
            self._waiting.popitem(last=False)
