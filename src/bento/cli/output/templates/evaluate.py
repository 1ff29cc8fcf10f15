"""Evaluates a template's tree on a record: a mapping whose values are texts, numbers, lists, mappings, or methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bento.cli.output.templates import words
from bento.cli.output.templates.parse import Block, Call, Chain, Constant, Node, Pipe, Text, fail, quoted
from bento.errors import UsageError

MAX_STEPS: Final = 100_000
MAX_OUTPUT: Final = 1 << 22
MAPS: Final = frozenset((
    "Annotations", "Attributes", "Cgroups", "Data", "ExposedPorts", "Labels", "Networks", "Options", "PortBindings",
    "Ports", "Tmpfs",
    "Volumes",
))  # fmt: skip
"""Fields that hold maps, whose keys a user has chosen, and not records, whose fields are ours."""

_LISTS: Final = frozenset((
    "Aliases", "CapAdd", "CapDrop", "Cmd", "DNSNames", "DeviceCgroupRules", "Entrypoint", "ExecIDs", "ExtraHosts",
    "GroupAdd", "Links", "OnBuild", "SecondaryIPAddresses", "SecondaryIPv6Addresses", "SecurityOpt", "Shell",
    "VolumesFrom",
))  # fmt: skip
"""Fields that hold lists, or null where they are empty."""

_ZEROS: Final = {"Mounts": {"Name": "", "Driver": ""}}
"""Fields of a list's records that none of them may have, with their zero values."""


def evaluate(nodes: Sequence[Node], record: Any, *, is_header: bool = False) -> str:
    """Return what a template makes of a record. ``is_header``: of the headers of a table. Raises UsageError."""
    return _Evaluation(record, is_header).run(nodes)


class _Evaluation:
    """One run; counts its steps, so that ranges within ranges come to an end."""

    def __init__(self, record: Any, is_header: bool) -> None:
        self._is_header = is_header
        self._steps = self._length = 0
        self._output: list[str] = []
        self._variables: list[tuple[str, Any]] = [("$", record)]
        self._record = record

    def run(self, nodes: Sequence[Node]) -> str:
        """Return the whole output."""
        self._body(nodes, self._record)
        return "".join(self._output)

    def _body(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            self._count()
            match node:
                case Text():
                    self._write(node.text)
                case Pipe():
                    value = self._pipe(node, dot)
                    if not node.names:
                        self._write(words.go_text(value))
                case Block():
                    self._scoped(node, dot)

    def _scoped(self, block: Block, dot: Any) -> None:
        """A block's variables end with it."""
        depth = len(self._variables)
        try:
            (self._range if block.kind == "range" else self._choose)(block, dot)
        finally:
            del self._variables[depth:]

    def _choose(self, block: Block, dot: Any) -> None:
        for asked, body in block.branches:
            value = self._pipe(asked, dot)
            if words.is_true(value):
                self._inner(body, value if block.kind == "with" else dot)
                return
        self._inner(block.otherwise, dot)

    def _range(self, block: Block, dot: Any) -> None:
        asked, body = block.branches[0]
        value = self._bare(asked, dot)
        pairs = _pairs(value)
        depth = len(self._variables)
        for key, each in pairs:
            given = {1: (each,), 2: (key, each)}.get(len(asked.names), ())
            for name, item in zip(asked.names, given, strict=True):
                self._give(name, item, is_new=asked.is_new)
            self._inner(body, each)
            del self._variables[depth:]
        if not pairs:
            self._inner(block.otherwise, dot)

    def _inner(self, body: Sequence[Node], dot: Any) -> None:
        depth = len(self._variables)
        self._count()
        self._body(body, dot)
        del self._variables[depth:]

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value = self._bare(pipe, dot)
        for name in pipe.names:
            self._give(name, value, is_new=pipe.is_new)
        return value

    def _bare(self, pipe: Pipe, dot: Any) -> Any:
        """The value, printed nowhere."""
        last: list[Any] = []
        for command in pipe.commands:
            self._count()
            last = [self._command(command, dot, last)]
        return last[0]

    def _command(self, command: Sequence[Constant | Call | Chain], dot: Any, last: list[Any]) -> Any:
        first, *rest = command
        if isinstance(first, Call) and first.name in ("and", "or"):
            return self._and_or(first.name, rest, dot, last)
        if isinstance(first, Call):
            return self._call(first.name, [*(self._operand(word, dot) for word in rest), *last])
        value = self._operand(first, dot, is_called=False)
        if callable(value):
            return _method(value, [*(self._operand(word, dot) for word in rest), *last])
        if rest or last:
            fail(f"{quoted(words.go_text(value))} is no function and takes no words")
        return value

    def _and_or(self, name: str, rest: Sequence[Constant | Call | Chain], dot: Any, last: list[Any]) -> Any:
        """The first word that decides; those behind it are not looked at."""
        if not rest and not last:
            fail(f"{name} takes words")
        value: Any = None
        for word in rest:
            value = self._operand(word, dot)
            if words.is_true(value) == (name == "or"):
                return value
        return last[0] if last else value

    def _call(self, name: str, values: list[Any]) -> Any:
        if self._is_header and name in words.HEADER_FUNCTIONS:
            return words.keep(*values)
        return words.call(name, values)

    def _operand(self, operand: Constant | Call | Chain, dot: Any, *, is_called: bool = True) -> Any:
        self._count()
        if isinstance(operand, Constant):
            return operand.value
        if isinstance(operand, Call):
            return self._command((operand,), dot, [])
        if isinstance(operand.start, Pipe):
            value = self._bare(operand.start, dot)
        else:
            value = dot if operand.start == "." else self._variable(operand.start)
        for name in operand.fields:
            value = _field(value, name)
        return _method(value, []) if is_called and callable(value) else value

    def _variable(self, name: str) -> Any:
        return next(value for known, value in reversed(self._variables) if known == name)

    def _give(self, name: str, value: Any, *, is_new: bool) -> None:
        if is_new:
            self._variables.append((name, value))
            return
        at = max(at for at, (known, _) in enumerate(self._variables) if known == name)
        self._variables[at] = (name, value)

    def _count(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            fail(f"it takes more than {MAX_STEPS} steps")

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_OUTPUT:
            fail(f"it makes more than {MAX_OUTPUT} characters")
        self._output.append(text)


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    """What a range goes through: a list by numbers, a map by its keys in order, a number as so many."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return sorted(words.shown(value).items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if type(value) is int and value <= MAX_STEPS:
        return [(number, number) for number in range(value)]
    fail(f"range: {quoted(words.go_text(value))} is no list and no map")


def _field(value: Any, name: str) -> Any:
    """A field of a record, in any case; of a map what it has, or nil; of nil nil."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UsageError(
            f"bad template: {quoted(words.go_text(value))} has no field {quoted(name)}", hint="it is no record"
        )
    found = value.get(name)
    if name not in value and not isinstance(value, words.Map):
        known = {**value.zeros, **value} if isinstance(value, words.Element) else value
        alike = [key for key in known if key.lower() == name.lower()]
        if len(alike) != 1:
            raise UsageError(
                f"bad template: there is no field {quoted(name)}", hint=f"there are {', '.join(sorted(known))}"
            )
        name, found = alike[0], known[alike[0]]
    if found is None and name in _LISTS:
        return words.NilList()
    if isinstance(found, list | tuple):
        return words.elements(found, _ZEROS.get(name, {}))
    return words.Map(found) if name in MAPS and isinstance(found, dict) else found


def _method(value: Callable[..., Any], given: list[Any]) -> Any:
    """Methods of ours take one text."""
    if len(given) != 1 or not isinstance(given[0], str):
        fail('a method such as .Label takes one text, as in {{.Label "key"}}')
    return value(given[0])
