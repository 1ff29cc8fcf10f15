"""Go's text/template as far as ``--format`` needs it: from text to a tree. Pure, and bounded.

Left out: ``define``, ``template``, ``block``, ``break`` and ``continue``; they are not written on a command line.
"""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct

from bento.errors import UsageError

MAX_LENGTH: Final = 16_384
MAX_DEPTH: Final = 40  # blocks and parentheses within each other: both readers go down by recursion
MAX_WORDS: Final = 64  # of one command
FUNCTIONS: Final = frozenset((
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "split", "title", "truncate", "upper",
))  # fmt: skip
_QUOTED_MAX: Final = 30
_KEYWORDS: Final = frozenset(["if", "range", "with", "else", "end", "define", "template", "block", "break", "continue"])
_STRINGS: Final = r'"(?:[^"\\\n]|\\.)*"|`[^`]*`'
_ACTION: Final = re.compile(rf'\{{\{{(-\s)?(/\*.*?\*/|(?:{_STRINGS}|[^"`])*?)(\s-)?\}}\}}', re.DOTALL)
_BLOCK: Final = re.compile(r"\s*(if|range|with|else|end)\b(.*)", re.DOTALL)
_TOKEN: Final = re.compile(
    rf"(?P<string>{_STRINGS})|(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.]))"
    r"|(?P<variable>\$\w*)|(?P<field>\.[^\W\d]\w*)|(?P<dot>\.)|(?P<word>[^\W\d]\w*)|(?P<sign>:=|[=|(),])|(?P<space>\s+)"
)
_ESCAPES: Final = {"\\t": "\t", "\\n": "\n"}
_CONSTANTS: Final[dict[str, Any]] = {"true": True, "false": False, "nil": None}
_GO_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([abfnrtv\\\"'])|(.))", re.DOTALL
)
_GO_LETTERS: Final = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))


class Text(Struct, frozen=True):
    """What stands between actions."""

    text: str


class Constant(Struct, frozen=True):
    """A string, number, boolean or nil."""

    value: Any


class Call(Struct, frozen=True):
    """A function by its name."""

    name: str


class Chain(Struct, frozen=True):
    """``.A.B``, ``$x.A`` or ``(...).A``: where it begins (``.``, a variable, a pipeline), and the fields from there."""

    start: str | Pipe
    fields: tuple[str, ...]


class Pipe(Struct, frozen=True):
    """Commands, each of which gets the value before it as its last word; and the variables that it is given to."""

    commands: tuple[tuple[Constant | Call | Chain, ...], ...]
    names: tuple[str, ...] = ()
    is_new: bool = False  # ``:=`` and not ``=``


class Block(Struct, frozen=True):
    """``if`` (with each ``else if``), ``range`` or ``with``: what is asked, what follows; and what else."""

    kind: str
    branches: tuple[tuple[Pipe, tuple[Node, ...]], ...]
    otherwise: tuple[Node, ...]


Node = Text | Pipe | Block


def parse(text: str) -> tuple[Node, ...]:
    """Return a template as a tree. Raises UsageError."""
    if len(text) > MAX_LENGTH:
        raise UsageError(f"the template is longer than {MAX_LENGTH} characters")
    reader = _Blocks(_split(text))
    body, word = reader.body(0, ["$"])
    if word:
        fail(f"{quoted(word)} belongs to no block")
    return body


def fail(what: str) -> NoReturn:
    """Refuse a template."""
    raise UsageError(f"bad template: {what}", hint="docs/cli.md, 'Templates', says what is known")


def quoted(text: str) -> str:
    """Return the beginning of a text for a message of one line."""
    text = text.strip()
    return repr(text if len(text) <= _QUOTED_MAX else f"{text[: _QUOTED_MAX - 1]}…")


def _split(text: str) -> list[Text | str]:
    """Return text and actions in turn, trimmed where ``{{-`` and ``-}}`` say so, without comments."""
    parts: list[Text | str] = []
    position, is_trimmed = 0, False
    while (start := text.find("{{", position)) >= 0:
        action = _ACTION.match(text, start)
        if action is None:
            fail(f"{quoted(text[start:])} is not closed by }}}}")
        before = text[position:start]
        before = before.lstrip() if is_trimmed else before
        parts.append(Text(_unescape(before.rstrip() if action[1] else before)))
        if not action[2].strip().startswith("/*"):
            parts.append(action[2])
        position, is_trimmed = action.end(), bool(action[3])
    parts.append(Text(_unescape(text[position:].lstrip() if is_trimmed else text[position:])))
    return parts


def _unescape(text: str) -> str:
    """What a shell's single quotes keep a caller from typing, as Docker has it."""
    return re.sub(r"\\[tn]", lambda match: _ESCAPES[match[0]], text)


class _Blocks:
    """Puts actions together to blocks."""

    def __init__(self, parts: list[Text | str]) -> None:
        self._parts = parts
        self._position = 0

    def body(self, depth: int, names: list[str]) -> tuple[tuple[Node, ...], str]:
        """Read up to the action that ends this body; return it, and that action (``end``, ``else ...``, or "")."""
        if depth > MAX_DEPTH:
            fail(f"blocks are more than {MAX_DEPTH} deep")
        nodes: list[Node] = []
        names = list(names)
        while self._position < len(self._parts):
            part = self._parts[self._position]
            self._position += 1
            if isinstance(part, Text):
                nodes.append(part)
                continue
            block = _BLOCK.fullmatch(part)
            if block is None:
                nodes.append(_Words(part, names).declaration(most=1))
            elif block[1] in ("end", "else"):
                return tuple(nodes), part.strip()
            else:
                nodes.append(self._block(block[1], block[2], depth, names))
        if depth:
            fail("a block has no {{end}}")
        return tuple(nodes), ""

    def _block(self, kind: str, rest: str, depth: int, names: list[str]) -> Block:
        names = list(names)  # those of the block are gone behind it
        branches: list[tuple[Pipe, tuple[Node, ...]]] = []
        while True:
            asked = _Words(rest, names).declaration(most=2 if kind == "range" else 1)
            body, word = self.body(depth + 1, names)
            branches.append((asked, body))
            again = re.fullmatch(r"else\s+if\s+(.*)", word, re.DOTALL) if kind == "if" else None
            if again is None:
                break
            rest = again[1]
        otherwise: tuple[Node, ...] = ()
        if word == "else":
            otherwise, word = self.body(depth + 1, names)
        if word != "end":
            fail(f"{quoted(word)} is not what may follow in a block of {kind!r}")
        return Block(kind, tuple(branches), otherwise)


class _Words:
    """Reads what is in one action."""

    def __init__(self, text: str, names: list[str]) -> None:
        self._text = text
        self._names = names
        self._tokens = [*_tokens(text), ("", "")]
        self._position = 0
        self._depth = 0

    def declaration(self, *, most: int) -> Pipe:
        """Read the whole of it as a pipeline, which may be given to so many variables at most."""
        names, is_new = self._targets(most)
        pipe = self._pipe()
        if self._peek() != ("", ""):
            fail(f"unexpected {quoted(self._peek()[1])} in {quoted(self._text)}")
        for name in names if not is_new else ():
            self._check(name)
        self._names += names if is_new else ()
        return msgspec.structs.replace(pipe, names=names, is_new=is_new)

    def _targets(self, most: int) -> tuple[tuple[str, ...], bool]:
        """``$x :=``, ``$i, $v :=`` or ``$x =``."""
        tokens = [token for token in self._tokens if token[0] != "space"]
        assigned = [at for at, token in enumerate(tokens) if token in (("sign", ":="), ("sign", "="))]
        if not assigned:
            return (), False
        words = tokens[: assigned[0]]
        names = tuple(word for kind, word in words[::2] if kind == "variable" and word != "$")
        if len(assigned) > 1 or not 1 <= len(names) <= most or len(words) != 2 * len(names) - 1:
            fail(f"{quoted(self._text)} gives to no variable")
        if any(word != ("sign", ",") for word in words[1::2]):
            fail(f"{quoted(self._text)} gives to no variable")
        while self._next()[1] not in (":=", "="):
            pass
        return names, tokens[assigned[0]][1] == ":="

    def _pipe(self) -> Pipe:
        commands = [self._command()]
        while self._peek() == ("sign", "|"):
            self._next()
            commands.append(self._command())
        return Pipe(tuple(commands))

    def _command(self) -> tuple[Constant | Call | Chain, ...]:
        words = []
        while self._peek() not in (("", ""), ("sign", "|"), ("sign", ")")):
            words.append(self._operand())
        if not words:
            fail(f"{quoted(self._text)} lacks a value")
        if len(words) > MAX_WORDS:
            fail(f"a command has more than {MAX_WORDS} words")
        return tuple(words)

    def _operand(self) -> Constant | Call | Chain:
        kind, word = self._next()
        if kind == "string":
            return Constant(word[1:-1] if word[0] == "`" else _GO_ESCAPE.sub(_escaped, word[1:-1]))
        if kind == "number":
            return Constant(_number(word))
        if kind == "word" and word in _CONSTANTS:
            return Constant(_CONSTANTS[word])
        if kind == "word":
            if word not in FUNCTIONS:
                of_what = "is not for --format" if word in _KEYWORDS else f"is no function; one of {_listed()}"
                fail(f"{quoted(word)} {of_what}")
            return Call(word)
        if kind == "variable":
            self._check(word)
            return Chain(word, self._fields())
        if kind in ("dot", "field"):
            return Chain(".", (*((word[1:],) if kind == "field" else ()), *self._fields()))
        if (kind, word) == ("sign", "("):
            return self._parenthesis()
        fail(f"unexpected {quoted(word)} in {quoted(self._text)}")

    def _parenthesis(self) -> Chain:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            fail(f"parentheses are more than {MAX_DEPTH} deep")
        inner = self._pipe()
        if self._next() != ("sign", ")"):
            fail(f"a parenthesis is not closed in {quoted(self._text)}")
        self._depth -= 1
        return Chain(inner, self._fields())

    def _fields(self) -> tuple[str, ...]:
        """Fields that follow without a blank."""
        fields = []
        while self._tokens[self._position][0] == "field":
            fields.append(self._tokens[self._position][1][1:])
            self._position += 1
        return tuple(fields)

    def _check(self, name: str) -> None:
        if name not in self._names:
            fail(f"there is no variable {quoted(name)}")

    def _peek(self) -> tuple[str, str]:
        while self._tokens[self._position][0] == "space":
            self._position += 1
        return self._tokens[self._position]

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            fail(f"unexpected {text[position]!r} in {quoted(text)}")
        tokens.append((match.lastgroup, match[0]))
        position = match.end()
    return tokens


def _number(word: str) -> int | float:
    if "x" in word.lower():
        return int(word, 16)
    if re.fullmatch(r"[+-]?\d+", word):
        return int(word) if len(word) < 20 else fail(f"{word} is too large a number")
    return float(word)


def _escaped(match: re.Match[str]) -> str:
    if match[6] is not None:
        fail(f"unknown escape {match[0]!r}")
    if match[5] is not None:
        return _GO_LETTERS[match[5]]
    code = int(match[4], 8) if match[4] else int(match[1] or match[2] or match[3], 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else fail(f"{match[0]} is no character")


def _listed() -> str:
    return ", ".join(sorted(FUNCTIONS))
