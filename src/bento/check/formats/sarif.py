"""A check as SARIF 2.1.0 (OASIS), which code scanning of GitHub, GitLab and others reads. Pure.

An image has no source file: the location of a result is the image by name (a logical location) and, since GitHub takes
no result without a file, an artifact of that name.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from bento.check.catalogue import KINDS
from bento.check.formats import text, words
from bento.model.check import Check, CheckVerdict, Finding, Severity

_LEVELS: Final = {Severity.INFO: "note", Severity.WARNING: "warning", Severity.ERROR: "error"}
_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def draw(*found: Check, version: str) -> str:
    """Return the document of one check or more. ``version`` is Bento's."""
    document = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "bento check", "version": version, "rules": _rules()}},
                "invocations": [_invocation(each) for each in found],
                "results": [_result(each, one) for each in found for one in each.findings],
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode()


def _rules() -> list[dict[str, Any]]:
    return [
        {
            "id": kind.id,
            "name": "".join(word.capitalize() for word in kind.name.split("-")),
            "shortDescription": {"text": kind.title},
            "help": {"text": kind.remedy},
            "defaultConfiguration": {"level": _LEVELS[kind.severity]},
        }
        for kind in KINDS
    ]


def _invocation(found: Check) -> dict[str, Any]:
    is_judged = found.verdict is not CheckVerdict.UNJUDGED
    invocation: dict[str, Any] = {"executionSuccessful": is_judged}
    if not is_judged:
        notification = {"level": "error", "message": {"text": words.headline(found)}}
        invocation["toolExecutionNotifications"] = [notification]
    return invocation


def _result(found: Check, one: Finding) -> dict[str, Any]:
    return {
        "ruleId": one.id,
        "ruleIndex": [kind.id for kind in KINDS].index(one.id),
        "level": _LEVELS[one.severity],
        "message": {"text": "\n".join((f"{one.title}: {one.detail}", *text.remedy_lines(one)))},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": re.sub(r"[^\w./-]", "_", found.subject)},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": found.subject, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"subjectAndRule/v1": f"{found.subject} {one.id}"},
    }
