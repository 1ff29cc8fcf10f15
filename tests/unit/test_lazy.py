"""Modules that are imported when they are first used (``bento.lazy``): a wrong name would be met by users alone."""

from __future__ import annotations

import ast
import pkgutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

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


def test_a_lazy_module_has_the_name_that_it_is_used_by():
    """Type checkers see the names of the imports for them, and not those that there are when the program runs."""
    wrong = []
    for path in Path(next(iter(bento.__path__))).rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.If) and node.orelse and ast.unparse(node.test) == "TYPE_CHECKING":
                imports = [each for each in node.body if isinstance(each, ast.Import | ast.ImportFrom)]
                seen = {alias.asname or alias.name for each in imports for alias in each.names}
                targets = [target for each in node.orelse if isinstance(each, ast.Assign) for target in each.targets]
                there = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
                wrong += [(path.name, name) for name in there - seen]
    assert wrong == []
