"""Import pathlib, msgspec and argparse without what they import themselves and a command line never calls.

That is a seventh of the start of a process. In the place of such modules stand others that hand out functions
which, when called after all, import the real module and call its own. They are in ``sys.modules`` only while the
three are imported: what imports one of these modules later gets the real one. The library, which is a guest in
its caller's process, does none of this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

_UNUSED = (
    "urllib",  # pathlib, for Path.as_uri
    "urllib.parse",  # the same; brings ipaddress
    "gettext",  # argparse, which looks for translations of its words; they stay English here, as Bento's own
    "platform",  # uuid, which msgspec imports to know UUIDs
    "decimal",  # msgspec, for a type that no record has; brings numbers
    "textwrap",  # msgspec._json_schema
    "msgspec._json_schema",
    "msgspec.inspect",
    "msgspec.msgpack",
    "msgspec.toml",
    "msgspec.yaml",
)


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: getattr(import_module(self.__name__), name)(*args, **kwargs)


def import_lean(*names: str) -> None:
    """Import these, or pathlib, msgspec and argparse, unless they are there. Idempotent."""
    standing = {name: _StandIn(name) for name in _UNUSED if name not in sys.modules}
    if "platform" in standing:  # the one function that is called while it is imported
        standing["platform"].system = lambda: os.uname().sysname  # type: ignore[attr-defined]
    if "gettext" in standing:  # those that argparse calls
        standing["gettext"].gettext = lambda message: message  # type: ignore[attr-defined]
        standing["gettext"].ngettext = lambda one, several, n: one if n == 1 else several  # type: ignore[attr-defined]
    sys.modules.update(standing)
    try:
        for name in names or ("pathlib", "msgspec", "argparse"):
            import_module(name)
    finally:
        for name, module in standing.items():
            del sys.modules[name]
            package, _, inner = name.rpartition(".")
            if vars(sys.modules.get(package, module)).get(inner) is module:
                delattr(sys.modules[package], inner)
