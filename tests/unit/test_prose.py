"""Processes and files are things, not persons: what people read says "the process that", or "a user", but not "who".

Nor does it have words of Bento's own where the field has one.
"""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    REPOSITORY / "docs/peers.toml",
    REPOSITORY / "bench/README.md",
    REPOSITORY / "tests/differential/workloads/README.md",
]
FOLDERS_OF_SOURCES = ("src", "bench", "demo", "tools", ".ci")
"""Below the repository: all of their programs are held to the same, with their names."""
KINDS = {".py", ".sh", ".bash", ".zsh", ".fish", ""}
SOURCES = [
    *(REPOSITORY / name for name in ("Makefile", "pyproject.toml")),
    *sorted((REPOSITORY / "requirements").glob("*.in")),
    *sorted((REPOSITORY / "tests").rglob("*.toml")),
    *(
        path
        for folder in FOLDERS_OF_SOURCES
        for path in sorted((REPOSITORY / folder).rglob("*"))
        if path.is_file() and path.suffix in KINDS
    ),
]
TESTS = [path for path in sorted((REPOSITORY / "tests").rglob("*.py")) if path != Path(__file__)]

PERSONS = r"who|whoever|whom|whomever|somebody|nobody|anybody|everybody|someone|anyone|everyone"
OWN_WORDS = r"hears|heard|lodges?|lodged|lodgings?|disowned|attends?|attending"
"""The field says: receives; holds, monitor cgroup; strips the owner; exit owner."""
BANNED = re.compile(rf"(?<![A-Za-z])({PERSONS}|{OWN_WORDS})(?![A-Za-z])", re.IGNORECASE)
LEFT_OUT = re.compile(
    r"<!-- tools/(?P<tool>[a-z-]+) -->.*?<!-- end of tools/(?P=tool) -->"  # made of sources, and of tests' names
    r"|^```.*?^```$"  # what is typed and printed
    r"|``[^`\n]+``|`[^`\n]+`",  # names, such as the user `nobody`
    re.DOTALL | re.MULTILINE,
)


def banned_in(text: str) -> list[str]:
    """Each line with a banned word, by its number."""
    rest = LEFT_OUT.sub(lambda left_out: "\n" * left_out.group().count("\n"), text)
    lines = enumerate(zip(text.splitlines(), rest.splitlines(), strict=True), 1)
    return [f"{number}: {line.strip()}" for number, (line, rest_of_it) in lines if BANNED.search(rest_of_it)]


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_things_are_not_called_persons(path):
    assert banned_in(path.read_text(encoding="utf-8")) == []


def without_strings(source: str) -> str:
    """Leave of a program its names, comments and docstrings: tests have a user and files of such names."""
    lines = [""] * (source.count("\n") + 1)
    is_statement = True  # begins here
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_docstring = token.type == tokenize.STRING and is_statement
        if is_docstring or token.type in (tokenize.NAME, tokenize.COMMENT):
            for number, text in enumerate(token.string.split("\n"), token.start[0] - 1):
                lines[number] += f" {text}"
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            is_statement = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return "\n".join(lines)


def test_nor_are_they_in_the_tests():
    found = {
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in TESTS
        for line in banned_in(without_strings(path.read_text(encoding="utf-8")))
    }
    assert found == set()


def test_strings_of_tests_may_say_anything():
    source = 'def f():\n    """Who waits."""\n    nobody = "who"  # whoever\n    g("nobody")\n'
    assert [line.partition(":")[0] for line in banned_in(without_strings(source))] == ["2", "3"]
    assert banned_in(without_strings('f("nobody",\n  "who")\n')) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("the process that waits\n", []),
        ("whole lines, and whose they are\n", []),
        ("whoever waits\n", ["1"]),
        ("a program hears it\n", ["1"]),
        ("a rehearsal\n", []),
        ("a line\nNobody waits\n", ["2"]),
        ("def nobody_waits(): ...\n", ["1"]),
        ("`-u nobody` and ``nobody``\n", []),
        ("```\n# bento exec -u nobody web id\n```\nwho\n", ["4"]),
        ("<!-- tools/rule-table -->\nwho\n<!-- end of tools/rule-table -->\nwho\n", ["4"]),
    ],
)
def test_what_counts(text, numbers):
    assert [line.partition(":")[0] for line in banned_in(text)] == numbers
