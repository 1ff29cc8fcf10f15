"""Documents that are JSON, or YAML where PyYAML is installed."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

import msgspec

from bento.errors import MissingTool, UsageError


def decode(text: str, what: str, *, hint: str) -> Any:
    """Return what a document holds. ``what``: its name for messages; ``hint``: what to do where PyYAML is not there.

    Raises MissingTool, UsageError.
    """
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(text)
    try:
        yaml = import_module("yaml")  # an extra: JSON needs nothing
    except ModuleNotFoundError:
        raise MissingTool(f"{what} is YAML, which takes PyYAML", hint=hint) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{what}: {' '.join(str(error).split())}") from None
    except RecursionError:  # anchors of YAML can hold themselves
        raise UsageError(f"{what} is nested too deeply, or in itself") from None
