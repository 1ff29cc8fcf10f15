"""A check as Markdown (CommonMark with GitHub's tables), for a comment or a job's summary. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bento.check.formats import text, words
from bento.model.check import Check, Finding


def draw(found: Check) -> str:
    """Return the document."""
    own = words.with_bento(found)
    lines = [
        f"## {_plain(found.subject)}: {_plain(words.headline(found))}",
        "",
        f"Judged by the plain stop: {words.asked(found)}.",
        *([f"With Bento: {_plain(own)}."] if own else []),
        "",
        "| run | what | came of it |",
        "|---|---|---|",
        *(f"| {run.number} | {words.KINDS[run.kind]} | {_plain(words.run_words(run))} |" for run in found.runs),
    ]
    for one in found.findings:
        lines += ["", *_finding(one)]
    return "\n".join(lines)


def _finding(one: Finding) -> Iterator[str]:
    yield f"### {one.id} {one.severity.value}: {one.title}"
    yield ""
    yield _plain(f"{one.detail}.")
    yield ""
    yield _plain(f"To do: {one.remedy.text}.")
    for place, lines in words.changes(one):
        yield from ("", f"{place}:", "", *_fenced(lines.splitlines()))
    evidence = list(text.evidence_lines(one.evidence))
    if evidence:
        yield from ("", "<details><summary>evidence</summary>", "", *_fenced(evidence), "", "</details>")


def _fenced(lines: list[str]) -> Iterator[str]:
    """A fence is longer than any in what it holds."""
    fence = "```"
    while any(fence in line for line in lines):
        fence += "`"
    yield from (fence, *lines, fence)


def _plain(what: str) -> str:
    """Words that are not Bento's own have no meaning as Markdown."""
    return "".join(f"\\{each}" if each in "\\`*_<>[]|#&" else each for each in what.replace("\n", " "))
