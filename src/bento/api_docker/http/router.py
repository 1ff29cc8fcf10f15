"""From a method and a path to the function that answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from msgspec import Struct

from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Answer, failure
from bento.errors import UsageError

if TYPE_CHECKING:
    from bento.api_docker.http.replies import Reply

Handler = Callable[[Call], Awaitable[Answer]]

API_VERSION: Final = (1, 44)
"""Below 1.42 Docker's command line drops ``stop -s``; from 1.45 on fields are gone that older clients read."""
MIN_VERSION: Final = (1, 24)

_VERSIONED: Final = re.compile(r"/v(\d{1,3})\.(\d{1,3})(/.*)", re.ASCII | re.DOTALL)
_PARAM: Final = re.compile(r"\{(\w+)(\*?)\}")


class Route(Struct, frozen=True):
    """A row of the table. In ``pattern`` ``{ref}`` is one part of the path, ``{ref*}`` one that may hold slashes."""

    method: str
    pattern: str
    handler: Handler


class Found(Struct, frozen=True):
    """What answers a request."""

    handler: Handler
    path: str  # without the version
    version: tuple[int, int]
    params: dict[str, str]


class Router:
    """All routes. ``left_out``: beginnings of paths that Docker has and Bento does not, and the answer."""

    def __init__(self, routes: Iterable[Route], left_out: dict[str, Reply]) -> None:
        self._routes: dict[str, list[tuple[str, re.Pattern[str], Handler]]] = {}
        for route in routes:
            first = route.pattern.split("/")[1]
            self._routes.setdefault(first, []).append((route.method, _compiled(route.pattern), route.handler))
        self._left_out = left_out

    def find(self, method: str, target: str) -> Found | Reply:
        """Return what answers, or the error that does. Raises UsageError for a version that is not spoken here."""
        version, path = API_VERSION, target
        if versioned := _VERSIONED.fullmatch(target):
            version, path = (int(versioned[1]), int(versioned[2])), versioned[3]
            _check_version(version)
        others = False
        for known, pattern, handler in self._routes.get(path.split("/", 2)[1] if path.startswith("/") else "", ()):
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if known == method:
                params = {name: unquote(value, errors="surrogateescape") for name, value in match.groupdict().items()}
                return Found(handler, path, version, params)
            others = True
        if others:
            return failure(f"{method} is not allowed for {path}", 405)
        for beginning, answer in self._left_out.items():
            if path == beginning or path.startswith(f"{beginning}/"):
                return answer
        return failure("page not found", 404)


def _check_version(version: tuple[int, int]) -> None:
    """The words are Docker's: clients look for them."""
    said, most, least = (f"{major}.{minor}" for major, minor in (version, API_VERSION, MIN_VERSION))
    if version > API_VERSION:
        raise UsageError(f"client version {said} is too new. Maximum supported API version is {most}")
    if version < MIN_VERSION:
        raise UsageError(
            f"client version {said} is too old. Minimum supported API version is {least}, "
            "please upgrade your client to a newer version"
        )


def _compiled(pattern: str) -> re.Pattern[str]:
    parts, at = [], 0
    for match in _PARAM.finditer(pattern):
        parts += [re.escape(pattern[at : match.start()]), f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})"]
        at = match.end()
    return re.compile("".join([*parts, re.escape(pattern[at:])]), re.DOTALL)
