"""The messages of the Container Runtime Interface, v1 (cri-api, api.proto), from the package that ships them.

Its ``__init__`` imports its own clients, and with them grpcio, which nothing here uses and which need not be installed:
so the package is put in its place without that, and only the module with the messages is imported.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final

from bento.errors import MissingTool

_PACKAGE: Final = "cri_api"
NEEDED: Final = "install bento[cri]: the Python packages container-runtime-interface-api, protobuf and grpclib"


def _load() -> Any:
    if _PACKAGE not in sys.modules:
        spec = PathFinder.find_spec(_PACKAGE)
        if spec is None or spec.submodule_search_locations is None:
            raise MissingTool("the messages of the Container Runtime Interface are not installed", hint=NEEDED)
        package = ModuleType(_PACKAGE)
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules[_PACKAGE] = package
    return import_module(f"{_PACKAGE}.v1.api_pb2")


pb: Final[Any] = _load()
"""The module. Its classes are made when it is imported, and have no types that a checker could see without it."""

Message = Any
"""A message of it."""


def signal_names() -> dict[int, str]:
    """Return the signals as the interface numbers them, which is not as the kernel does; 0 is none.

    By numbers, as the names have changed: newer ones begin with SIGNAL_.
    """
    return {value.number: value.name.removeprefix("SIGNAL_") for value in pb.Signal.DESCRIPTOR.values if value.number}
