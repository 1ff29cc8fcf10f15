"""Modules that are imported when they are first used (``bento.lazy``): a wrong name would be met by users alone."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.util import find_spec

import bento
from bento.lazy import LazyModule


def test_every_lazy_module_exists():
    names = [found.name for found in pkgutil.walk_packages(bento.__path__, "bento.") if found.name != "bento.__main__"]
    lazy = {
        f"{name}: {each._name}": each._name
        for name in names
        for each in vars(import_module(name)).values()
        if isinstance(each, LazyModule)
    }
    assert lazy
    assert not [where for where, module in lazy.items() if find_spec(module) is None]
