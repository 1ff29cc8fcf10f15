"""The words of health checks: ``--health-cmd`` and ``--health-on-failure``."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from bento.errors import UsageError
from bento.model.health import OnUnhealthy
from bento.model.image import CMD, CMD_SHELL, NO_CHECK


def parse_command(text: str) -> tuple[str, ...]:
    """Return the test of ``--health-cmd``: for a shell, or of a JSON array, as Podman has it, without one; ``none``: no
    check. () for "": the image's. Raises UsageError.
    """
    if "\0" in text:
        raise UsageError("a health check cannot hold a NUL byte")
    if text == "none":
        return (NO_CHECK,)
    if text.startswith("["):
        with suppress(msgspec.DecodeError):  # as "[ -f x ]", which is for the shell
            words = tuple(msgspec.json.decode(text, type=list[str]))
            if not words or not words[0]:
                raise UsageError(f"health check {text!r} names no program")
            return words if words[0] in (CMD, CMD_SHELL, NO_CHECK) else (CMD, *words)
    return (CMD_SHELL, text) if text else ()


def parse_on_failure(text: str) -> OnUnhealthy:
    """What is done with a container that is unhealthy. Raises UsageError."""
    try:
        return OnUnhealthy(text)
    except ValueError:
        raise UsageError(f"bad --health-on-failure {text!r}", hint="use none, kill, restart or stop") from None
