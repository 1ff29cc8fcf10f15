"""The end of a command, as the error stream tells it: Kubernetes' Status (apimachinery, meta/v1)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from bento.streaming.protocols import Remote


class Outcome(Struct, frozen=True):
    """How a session ended: by a command's ``exit_code``; 0 for attach. ``failure``: it could not be had, and why."""

    exit_code: int = 0
    failure: str = ""


def encode(outcome: Outcome, remote: Remote) -> bytes:
    """Return what the error stream carries; b"": nothing."""
    message = _message(outcome)
    if not remote.has_status:
        return message.encode()
    document: dict[str, Any] = {"metadata": {}, "status": "Failure" if message else "Success"}
    if outcome.failure:
        document |= {
            "message": message,
            "reason": "InternalError",
            "details": {"causes": [{"message": outcome.failure}]},
            "code": 500,
        }
    elif message:
        document |= {
            "message": message,
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(outcome.exit_code)}]},
        }
    return msgspec.json.encode(document)


def _message(outcome: Outcome) -> str:
    if outcome.failure:
        return f"Internal error occurred: {outcome.failure}"
    return f"command terminated with non-zero exit code: exit status {outcome.exit_code}" if outcome.exit_code else ""
