"""A check as JUnit's XML, which CI systems show: a test case for each kind of finding that was looked for. Pure.

There is no standard; this is what Jenkins, GitLab and GitHub's actions read: testsuites, testsuite, testcase, failure,
error, skipped, system-out.
"""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape, quoteattr

from bento.check.catalogue import KINDS
from bento.check.formats import text, words
from bento.model.check import Check, CheckVerdict, Finding

_ALLOWED: Final = "\t\n\r"


def draw(*found: Check) -> str:
    """Return the document of one check or more: a suite each."""
    suites = [line for one in found for line in _suite(one)]
    return "\n".join(
        ('<?xml version="1.0" encoding="UTF-8"?>', '<testsuites name="bento check">', *suites, "</testsuites>")
    )


def _suite(found: Check) -> list[str]:
    is_unjudged = found.verdict is CheckVerdict.UNJUDGED
    cases = _unjudged(found) if is_unjudged else _cases(found)
    failures = sum("<failure" in case for case in cases)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="{int(is_unjudged)}" time="{found.duration_s:.3f}"'
    out = f"    <system-out>{_text(chr(10).join(text.draw(found)))}</system-out>"
    return [f"  <testsuite name={_attribute(found.subject)} {counts}>", *cases, out, "  </testsuite>"]


def _cases(found: Check) -> list[str]:
    by_id = {one.id: one for one in found.findings}
    return [_case(found, kind.id, kind.title, by_id.get(kind.id)) for kind in KINDS]


def _case(found: Check, kind_id: str, title: str, one: Finding | None) -> str:
    head = f"    <testcase classname={_attribute(found.subject)} name={_attribute(f'{kind_id} {title}')}"
    if one is None:
        return f"{head}/>"
    body = _text("\n".join(text.finding_lines(one)))
    if one.severity.weight < found.fail_on.weight:
        return f"{head}>\n      <system-out>{body}</system-out>\n    </testcase>"
    kind = f"type={_attribute(one.severity.value)} message={_attribute(one.detail)}"
    return f"{head}>\n      <failure {kind}>{body}</failure>\n    </testcase>"


def _unjudged(found: Check) -> list[str]:
    head = f'    <testcase classname={_attribute(found.subject)} name="check"'
    return [f"{head}>\n      <error message={_attribute(words.headline(found))}/>\n    </testcase>"]


def _text(what: str) -> str:
    """XML 1.0 has no place for most control characters, whatever a program has printed."""
    return escape("".join(each for each in what if each in _ALLOWED or (each >= " " and each not in "\ufffe\uffff")))


def _attribute(what: str) -> str:
    return quoteattr("".join(each for each in what if each >= " " and each not in "\ufffe\uffff"))
