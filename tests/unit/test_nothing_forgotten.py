"""What CONTRIBUTING.md says is to be touched for something new: a place that was forgotten is a failure here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from msgspec import Struct

from bento import CreateOptions, ExecOptions, Settings, StopOptions, config_load
from bento.cli import main, verbs
from bento.model.container import ContainerSettings, ContainerSpec
from bento.model.resources import Resources
from bento.model.stop import StopRequest, StopRules
from bento.model.stop_words import WORDS

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src/bento"
LIBRARY = REPOSITORY / "docs/library.md"
GROUPS = {
    name: type(default)
    for name, default in zip(ContainerSettings.__struct_fields__, ContainerSettings.__struct_defaults__, strict=True)
    if isinstance(default, Struct) and name != "restart"
}
"""The groups of settings, which CreateOptions and ContainerSpec share."""
RECORDED_OTHERWISE = {
    "image", "command", "entrypoint", "env", "workdir", "user", "hostname", "network", "labels", "runtime", "requires",
    "pod",
}  # fmt: skip
"""What a caller says of a container and the record has with another meaning (see ARCHITECTURE.md)."""
NOT_SHOWN = {
    "read_only_tmpfs", "pre_stop", "post_stop", "hook_timeout_s", "max_bytes", "max_files",
    "ambient", "hugepages", "unified", "group_policy", "front", "masked_paths", "read_only_paths", "log_path",
}  # fmt: skip
"""The first is shown by its mounts, max_bytes, max_files and the last three by what they come to; how hooks ended is in
the report of a stop; the next five are of a cluster's node."""
TRIED_WHOLE = {"bento.drivers.transport.skopeo"}
"""By the command line alone, in tests/integration."""


def nodes(folder: Path) -> Iterator[ast.AST]:
    for path in folder.rglob("*.py"):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


@cache
def read_in(folder: Path) -> set[str]:
    """The attributes that are read below a folder, and the words that may name one for getattr."""
    return {
        node.attr if isinstance(node, ast.Attribute) else str(node.value)
        for node in nodes(folder)
        if (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load))
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    }


def words_in(folder: Path) -> set[str]:
    return {node.value for node in nodes(folder) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_module_of_a_verb_is_in_the_table():
    modules = {
        ".".join(path.relative_to(SOURCE / "cli").with_suffix("").parts)
        for path in (SOURCE / "cli").rglob("*.py")
        if "\ndef run(args: argparse.Namespace, context: Context) -> int:" in path.read_text(encoding="utf-8")
    }
    named = {module for module, _ in (verbs.VERBS | verbs.HIDDEN).values()}
    assert modules == named


def options_of(verb: str) -> set[str]:
    parser = main.Parser(prog=verb)
    main.load(verb).configure(parser)
    return {action.dest for action in parser._actions} - {"help", "==SUPPRESS=="}


def test_every_option_is_read():
    words = read_in(SOURCE / "cli")
    forgotten = []
    for verb in verbs.VERBS:
        limits = Resources.__struct_fields__ if verb in ("run", "create", "update", "check") else ()
        given = options_of(verb).difference(words, limits)
        forgotten += [(verb, dest) for dest in given if not dest.startswith("rule_")]
    assert forgotten == []


def made_of(record: type[Struct]) -> set[str]:
    """The fields that the command line gives to a record; what it reads as a dict may be any word of the readers."""
    given: set[str] = set()
    for node in nodes(SOURCE / "cli/options"):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == record.__name__:
            given |= {keyword.arg for keyword in node.keywords if keyword.arg}
            if any(keyword.arg is None for keyword in node.keywords):
                given |= words_in(SOURCE / "cli/options") | words_in(SOURCE / "parse")
    return given


OF_NODES = {"node", "image_name"}
"""What the agent of a cluster's node says alone, and nothing on the command line."""


@pytest.mark.parametrize(
    "record",
    [CreateOptions, *(kind for name, kind in GROUPS.items() if name not in OF_NODES)],
    ids=lambda each: each.__name__,
)
def test_every_setting_of_a_container_has_its_option(record):
    given = options_of("run") if record is Resources else made_of(record)
    assert (
        set(record.__struct_fields__) - given - {"attachments", "ids"} - OF_NODES == set()
    )  # until --network is a list


def test_no_setting_is_declared_twice():
    asked, recorded = set(CreateOptions.__annotations__), set(ContainerSpec.__annotations__)
    assert asked & recorded == RECORDED_OTHERWISE
    assert (asked | recorded) & set(ContainerSettings.__annotations__) == set()


def test_every_group_is_described():
    described = re.findall(r"^### (\w+)$", LIBRARY.read_text(encoding="utf-8"), re.MULTILINE)
    assert {record.__name__ for record in GROUPS.values()} <= set(described)


def test_every_setting_is_shown_by_inspect():
    fields = {field for record in GROUPS.values() for field in record.__struct_fields__}
    assert fields - read_in(SOURCE / "docker") == NOT_SHOWN


@pytest.mark.parametrize(
    "record",
    [CreateOptions, ContainerSpec, *GROUPS.values(), StopOptions, ExecOptions, Settings],
    ids=lambda each: each.__name__,
)
def test_every_field_is_read(record):
    words = read_in(SOURCE)
    assert [field for field in record.__struct_fields__ if field not in words] == []


def test_every_setting_has_its_text():
    targets = {field for field, _ in config_load._SETTINGS.values()}
    assert targets | {"stop_rules"} == set(Settings.__struct_fields__)


def test_every_rule_of_stop_has_its_words():
    assert set(WORDS) == set(StopRules.__struct_fields__)


def test_every_rule_of_stop_is_asked_for_with_a_default():
    defaults = StopRequest()
    assert {field for field in StopRules.__struct_fields__ if not hasattr(defaults, field)} == set()


def test_every_rule_of_stop_takes_effect():
    read = {node.attr for node in nodes(SOURCE / "stop") if isinstance(node, ast.Attribute)}
    assert set(StopRules.__struct_fields__) - read == set()


def test_every_driver_has_a_contract():
    text = (SOURCE / "wiring.py").read_text(encoding="utf-8")
    drivers = set(re.findall(r'LazyModule\("(bento\.drivers\.\w+\.\w+)"\)', text))
    assert drivers
    imported = set()
    for node in nodes(REPOSITORY / "tests"):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    assert drivers - imported == TRIED_WHOLE


def test_every_driver_family_has_its_promise():
    for family in (path for path in (SOURCE / "drivers").iterdir() if (path / "__init__.py").exists()):
        assert hasattr(import_module(f"bento.drivers.{family.name}.base"), "Protocol")
