"""Errors as Docker's clients expect them: a status, and words that some of them look for."""

from __future__ import annotations

from typing import Final

from bento.api_docker.http.replies import NOT_MODIFIED, Reply, failure
from bento.api_docker.http.words import in_dockers
from bento.errors import BentoError, CommandNotExecutable, CommandNotFound

_ENDINGS: Final[dict[type[BentoError], str]] = {
    # By these words Docker's command line finds its exit status: 127, and 126.
    CommandNotFound: "executable file not found in $PATH",
    CommandNotExecutable: "permission denied",
}


def as_reply(error: BentoError) -> Reply:
    """Return an error as the answer to a request."""
    return NOT_MODIFIED if error.http_status == 304 else failure(message_of(error), error.http_status)


def message_of(error: BentoError) -> str:
    """Return an error in one line, in the words that clients look for."""
    text = in_dockers(error.message) or str(error)
    ending = _ENDINGS.get(type(error), "")
    return text if not ending or ending in text else f"{text}: {ending}"


def status_of(code: str) -> int:
    """Return the status for the code of an error that another process has met."""
    return _STATUSES.get(code, 500)


def _all(root: type[BentoError]) -> list[type[BentoError]]:
    return [root, *(found for child in root.__subclasses__() for found in _all(child))]


_STATUSES: Final = {kind.code: kind.http_status for kind in _all(BentoError)}
