"""How the command line of another engine is run, and what it says is read."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bento import command
from bento.errors import BentoError, DeadlineExceeded, ForeignEngineFailed, NotFound, UsageError
from bento.units import SIGTERM, parse_signal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.command import Child, Completed

LIMIT_S: Final = 10.0
NEVER_S: Final = 100_000_000
"""Three years, for an engine that takes no other word for never."""
SIGNAL_LABEL: Final = "io.containerd.image.config.stop-signal"
"""Of containerd's containers: the stop signal."""
_PACKAGES: Final = {"docker": "docker.io", "ctr": "containerd"}
"""Debian's, where they are called otherwise than the program."""
_REAP_S: Final = 1.0  # its end was seen
_SAID_MOST: Final = 300
_ENVIRONMENT: Final = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION",
    "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERD_ADDRESS", "CONTAINERD_NAMESPACE",
    "NERDCTL_TOML", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
)  # fmt: skip
"""What tells these programs where their engine is; they get nothing else of the caller's."""


def run(argv: list[str]) -> Completed:
    """Run a program of an engine to its end. Raises MissingTool, ForeignEngineFailed when it does not answer."""
    try:
        return command.run(_found(argv), timeout_s=LIMIT_S, env=_environment())
    except DeadlineExceeded as error:
        raise no_answer(argv[0], f"within {LIMIT_S:g} s") from error


def spawn(argv: list[str]) -> Child:
    """Start one, in a session of its own: what ends this process does not end it. Raises MissingTool."""
    return command.spawn(_found(argv), env=_environment(), new_session=True)


def _found(argv: list[str]) -> list[str]:
    return [str(command.find_program(argv[0], package=_PACKAGES.get(argv[0], argv[0]))), *argv[1:]]


def finish(child: Child) -> Completed | str:
    """Reap one that has ended; return in its place why that is impossible."""
    try:
        return child.finish(_REAP_S)
    except BentoError as error:
        return error.message


def _environment() -> dict[str, str]:
    given = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return command.clean_environment() | given


def no_answer(program: str, why: str) -> ForeignEngineFailed:
    """Return the error for an engine that is not there, or says nothing."""
    return ForeignEngineFailed(f"{program} does not answer: {why}", hint="is its daemon running, and for this user?")


def said(done: Completed) -> str:
    """Return the end of what a program said, in one line."""
    words = " ".join((done.stderr if done.stderr.strip() else done.stdout).split())
    return words[-_SAID_MOST:] or f"exit status {done.returncode}"


def one_object(done: Completed, program: str, ref: str, unknown: Iterable[str]) -> dict[str, Any]:
    """Return the one JSON object, or the only one of an array, that a program printed.

    ``unknown``: words of its error, in small letters, for a container that there is not. Raises NotFound,
    ForeignEngineFailed.
    """
    if done.returncode != 0:
        text = said(done)
        if any(word in text.lower() for word in unknown):
            raise NotFound(f"{program} knows no container {ref}")
        raise no_answer(program, text)
    try:
        found = msgspec.json.decode(done.stdout.encode())
    except msgspec.DecodeError as error:
        raise not_understood(program) from error
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise not_understood(program)
    return found


def not_understood(program: str) -> ForeignEngineFailed:
    """Return the error for an answer that is not what this engine is known to say."""
    return ForeignEngineFailed(f"{program} answered in a way that is not understood", hint="which version is it?")


def part(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object inside of an object; an empty one where there is none."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def number(found: dict[str, Any], name: str, default: int = 0) -> int:
    """Return a whole number inside of an object."""
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def text(found: dict[str, Any], name: str) -> str:
    """Return a text inside of an object."""
    value = found.get(name)
    return value if isinstance(value, str) else ""


def signal_of(found: dict[str, Any], name: str) -> int:
    """Return a signal, which stands there as a name or as a number; SIGTERM where there is none."""
    value = found.get(name)
    try:
        return parse_signal(str(value)) if value else SIGTERM
    except UsageError:
        return SIGTERM


def time_of(found: dict[str, Any], name: str) -> float | None:
    """Return a time (RFC 3339) in seconds since 1970; None where there is none."""
    try:
        at = datetime.fromisoformat(text(found, name))
    except ValueError:
        return None
    return at.timestamp() if at.year > 1970 and at.tzinfo is not None else None


def check_name(ref: str, program: str) -> str:
    """Return what a user has called a container. Raises UsageError for what the program would take for an option."""
    if not ref or ref.startswith("-") or not ref.isprintable():
        raise UsageError(f"{program}: {ref!r} is no container's name")
    return ref
