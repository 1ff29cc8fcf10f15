"""``--format`` with a Go template, as scripts for Docker and Podman have it.

Loaded only by a command that was given one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bento.cli.output.render import aligned
from bento.cli.output.templates.evaluate import evaluate
from bento.cli.output.templates.parse import parse
from bento.errors import UsageError
from bento.log import printable

TABLE: Final = "table "


def render(text: str, records: Iterable[Mapping[str, Any]], headers: Mapping[str, str] | None = None) -> str:
    r"""Return what a template makes of each record, a line or more for each, all of them ended.

    ``headers``: of the columns of a table, by field; without them there are no tables. With ``table `` before the
    template, columns are where it has tabs. ``\t`` and ``\n`` outside of actions stand for what they do in Go. Raises
    UsageError.
    """
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError("bad template: it is not UTF-8 text")
    is_table = headers is not None and text.startswith(TABLE)
    nodes = parse(text.removeprefix(TABLE).strip(" ") if is_table else text)
    lines = [evaluate(nodes, record) for record in records]
    if headers is not None and is_table:
        lines.insert(0, evaluate(nodes, {**headers, "Label": _label}, is_header=True))
        return aligned([line.split("\t") for line in "\n".join(lines).split("\n")]) + "\n"
    return "".join(f"{line}\n" for line in lines)


def with_label(fields: Mapping[str, object], labels: Mapping[str, str]) -> dict[str, object]:
    """Return the fields of a record that has labels, with the method ``.Label`` for one. Labels stay in their line."""
    return {
        **fields,
        "Labels": printable(str(fields["Labels"])),
        "Label": lambda key: printable(labels.get(key, "")),
    }


def _label(key: str) -> str:
    """The header of a column with one label, as Docker has it: the last part of its key."""
    return re.sub("[-_]", " ", key.rpartition(".")[2])
