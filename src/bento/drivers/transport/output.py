"""The only place that reads what skopeo says: its errors, and the bars it draws on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from bento.errors import BentoError, MissingTool, NotFound, NotPermitted, StorageUnusable, TransportFailed, UsageError

_FATAL: Final = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')
_BAR: Final = re.compile(
    r"Copying blob ([0-9a-f]{12}) +(?:\[[^\]]*\] +([\d.]+) ?([kKMGT]?i?)[bB]|(done|skipped: already exists))"
)
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FACTORS: Final = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_WRAPPERS: Final = re.compile(
    r"(?:Error (?:parsing image name|loading manifest for image|retrieving manifest for image|reading blob)[^:]*"
    r'(?: "[^"]*")?|initializing (?:source|destination) \S+|determining manifest MIME type for \S+'
    r"|writing blob|trying to reuse blob \S+ at destination|reading (?:signatures|config blob \S+)"
    r"|Error (?:reading|writing) [^:]*): "
)

_TLS_HINT: Final = "for a registry without TLS, use --tls-verify=false"
_CERTIFICATE_HINT: Final = "put its authority's certificate into --cert-dir, or use --tls-verify=false"
_LOGIN_HINT: Final = "is the name right? for a private one, use bento login, or give --creds"
_NOT_LOGGED_IN: Final = re.compile("not logged in|no such file or directory")
"""The second of the file that it keeps them in."""
_REFUSED_HINT: Final = "is the name right, and is what --creds or --authfile says?"
_AGAIN_HINT: Final = "try again: what has come whole is kept"

_Kind = type[BentoError]
_KNOWN: Final[tuple[tuple[str, _Kind, str, str], ...]] = (
    (r"server gave HTTP response to HTTPS client", TransportFailed, "the registry does not speak TLS", _TLS_HINT),
    (r"x509: |failed to verify certificate", TransportFailed, "the registry's certificate is not trusted",
     _CERTIFICATE_HINT),
    (r"no space left on device|disk quota exceeded", StorageUnusable, "the disk is full",
     "free some space and try again"),
    (r"reading JSON file|unmarshaling JSON at", UsageError, "the file with the credentials cannot be read",
     "see --authfile"),
    (r"unauthorized: |invalid username/password|\b401 \(?Unauthorized", NotPermitted, "the registry refuses",
     _LOGIN_HINT),
    (r": denied\b|access denied|requested access to the resource is denied|\b403 \(?Forbidden", NotPermitted,
     "the registry refuses", _LOGIN_HINT),
    (r"(?:fetching|reading) blob\b.* 404 \(?Not Found", TransportFailed, "the registry has lost a part of the image",
     "it has to be pushed again"),
    (r"manifest unknown|name unknown|\b404 \(?Not Found|does not resolve to an image ID|no descriptor found", NotFound,
     "there is no such image", "see that name and tag are right"),
    (r"more than one image in oci", UsageError, "there are several images in it", "name one of them: oci:DIR:NAME"),
    (r"no image found in (?:manifest list|image index) for", UsageError, "there is no image for this platform",
     "try another one"),
    (r"no such host|Temporary failure in name resolution|server misbehaving", TransportFailed,
     "the registry's name is not known", "is it written right, and is there a network?"),
    (r"connection refused", TransportFailed, "nothing answers there: connection refused",
     "is the port right, and does the registry run?"),
    (r"network is unreachable|no route to host", TransportFailed, "there is no way to the registry",
     "is there a network?"),
    (r"i/o timeout|TLS handshake timeout|deadline exceeded|Client\.Timeout", TransportFailed,
     "the registry does not answer in time", _AGAIN_HINT),
    (r"connection reset|unexpected EOF|broken pipe", TransportFailed, "the connection broke", _AGAIN_HINT),
    (r"toomanyrequests|\b429 \(?Too Many", TransportFailed, "the registry wants no more requests for now",
     "try again later, or log in with --creds"),
    (r"policy\.json: no such file", MissingTool, "skopeo has no /etc/containers/policy.json",
     "on Debian: apt-get install golang-github-containers-common"),
    (r"rejected by policy|Source image rejected|Running image .* is rejected", NotPermitted,
     "the policy of this host forbids it", "see /etc/containers/policy.json"),
    (r"does not match expected|Digest did not match|manifest would not match", TransportFailed,
     "what came is not what was promised, its digest differs", "the source is damaged: it has to come there anew"),
    (r"no such file or directory", NotFound, "there is nothing there", "see that the path is right"),
)  # fmt: skip
"""What skopeo's words mean, most specific first: pattern, error, what is wrong, what to do."""


class Bar(Struct, frozen=True):
    """How far a blob is, named by the first 12 digits; ``done_bytes`` None: it is complete."""

    prefix: str
    done_bytes: int | None


def explain(stderr: str, what: str) -> BentoError:
    """Return skopeo's failure as an error of ours about ``what``."""
    fatal = _FATAL.findall(stderr)
    lines = stderr.strip().splitlines()
    words = _unquoted(fatal[-1]) if fatal else (lines[-1] if lines else "it gave no reason")
    words = " ".join(words.split())
    for pattern, kind, meaning, hint in _KNOWN:
        if re.search(pattern, words):
            return kind(f"{what}: {meaning}", hint=hint)
    while words != (shorter := _WRAPPERS.sub("", words, count=1)):
        words = shorter
    return TransportFailed(f"{what}: {words}", hint="these are skopeo's words")


def is_not_logged_in(stderr: str) -> bool:
    """Whether skopeo says that it keeps no credentials of a registry."""
    return _NOT_LOGGED_IN.search(stderr) is not None


def after_login(error: NotPermitted) -> NotPermitted:
    """Return the refusal of a request that had credentials: the hint must not ask for them."""
    hint = _REFUSED_HINT if error.hint == _LOGIN_HINT else error.hint
    return NotPermitted(error.message, hint=hint)


def bars(text: str) -> Iterator[Bar]:
    """Yield what the bars say that skopeo drew on a terminal; the last of a blob is the newest."""
    for prefix, number, unit, end in _BAR.findall(_CONTROL.sub("", text)):
        yield Bar(prefix, None if end else int(float(number) * _FACTORS.get(unit.replace("k", "K"), 1)))


def _unquoted(text: str) -> str:
    """Undo what logrus does to a message with blanks in it (Go's strconv.Quote)."""
    return re.sub(r"\\(.)", lambda match: {"n": " ", "t": " "}.get(match[1], match[1]), text)
