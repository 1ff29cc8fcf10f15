"""The frame of a page, and the parts that every page has: tables, facts, the figure of a timeline."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from bento.pages.drawing import NARROW, WIDE, Drawing
from bento.pages.style import PAGE, PICTURE
from bento.pages.text import html
from bento.pages.timeline import Timeline

_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"  # no script, and no request
)


def page(title: str, head: str, body: str, *, foot: str) -> str:
    """Return a whole page. ``head``, ``body`` and ``foot`` are HTML already, ``title`` is not."""
    policy = _POLICY.format(hash=b64encode(sha256(PAGE.encode()).digest()).decode())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html(title, most=120)}</title>\n<style>{PAGE}</style>\n</head>\n<body>\n"
        f"<header>{head}</header>\n<main>\n{body}\n</main>\n<footer>{foot}</footer>\n</body>\n</html>\n"
    )


def figure(timeline: Timeline, *, key: str = "") -> str:
    """Return a timeline in two forms, of which the style shows the one for which there is room.

    ``key``: what sets it apart from others on its page.
    """
    return f"<figure>{Drawing(timeline, WIDE, key=key).svg()}{Drawing(timeline, NARROW, key=key).svg()}</figure>"


def picture(timeline: Timeline) -> str:
    """Return a timeline as a file of its own, with its style and a ground."""
    svg = Drawing(timeline, WIDE).svg(style=PICTURE, margin=16)
    return svg.replace("<g>", "\n<g>").replace("<text ", "\n<text ") + "\n"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return names with what is so called; both are plain text."""
    items = "".join(f"<div><dt>{html(name)}</dt><dd>{html(value)}</dd></div>" for name, value in rows)
    return f'<dl class="facts">{items}</dl>'


class Column:
    """How a column is set: ``time`` and ``number`` are not broken, ``name`` is a stranger's, ``words`` is text."""

    TIME: Final = "time"
    NUMBER: Final = "number"
    NAME: Final = "name"
    WORDS: Final = "words"


def table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[object]], *, rank: int = 3) -> str:
    """Return a table with a heading of this rank; "" without rows. ``columns``: names, and how each is set.

    Columns in which nothing stands are left out. A table that is too wide is scrolled by itself, also by keys.
    """
    if not rows:
        return ""
    filled = [index for index in range(len(columns)) if any(str(row[index]) for row in rows)]
    columns, rows = [columns[index] for index in filled], [[row[index] for index in filled] for row in rows]
    head = "".join(f'<th scope="col">{html(name)}</th>' for name, _ in columns)
    body = "".join(
        f"<tr>{''.join(_cell(value, kind) for value, (_, kind) in zip(row, columns, strict=True))}</tr>" for row in rows
    )
    return (
        f"<h{rank}>{html(title)}</h{rank}>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html(title)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: object, kind: str) -> str:
    text = html(value)
    return f'<td class="{kind}">{f"<code><bdi>{text}</bdi></code>" if kind == Column.NAME else text}</td>'
