"""Modules that are imported when they are first used: a verb pays only for what it needs.

Mostly for the two tables that name everything, ``bento.wiring`` and ``bento.engine.facade``. Type checkers and
import-linter see the real imports beside it, so this hides nothing from them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LazyModule:
    """Stands for a module until an attribute of it is wanted."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
