"""How a check is shown."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from bento.check.catalogue import KINDS
from bento.check.formats import junit, markdown, sarif, text
from bento.check.judge import judge
from bento.check.seeing import with_ends
from bento.model.check import (
    Change,
    Check,
    CheckKind,
    CheckVerdict,
    Evidence,
    Loaded,
    Remedy,
    Requests,
    RunKind,
    Severity,
    WithBento,
)
from bento.model.stop import ProcessEnd, Verdict

from support.checks import end, observed, report, state
from support.looks import DEFAULT, DROPPED, HANDLED, polls, proc, sleeps, waits

SHELL = proc(1, DROPPED, "sh", evidence=waits(), argv=("sh", "-c", "web\n; true"))
WEB = proc(2, HANDLED, "web", under=1, evidence=polls("listen"))
KILLED = report(end(SHELL, "killed-by-us", 9, at_s=10.0), end(WEB, "alive", at_s=10.0), killed=True)
OWN = WithBento(verdict=Verdict.FORWARDED, cause="sh was held", duration_s=0.2, otherwise="killed, if it is at work")


def check(*seen, verdict: CheckVerdict = CheckVerdict.FAILED, **more) -> Check:
    return Check(
        subject="web:1",
        kind=CheckKind.IMAGE,
        signal="SIGTERM",
        grace_s=10.0,
        started_unix_ns=1_700_000_000_000_000_000,
        duration_s=12.5,
        runs=tuple(one.run for one in seen),
        findings=judge(seen),
        verdict=verdict,
        **more,
    )


def wrapped() -> Check:
    seen = observed(SHELL, WEB, came=KILLED, ready="quiet for 1 s", ready_s=0.1)
    odd = report(end(WEB, "signalled", 15), end(SHELL, "unknown"), exit_code=None)
    return check(seen, observed(WEB, kind=RunKind.START_UP, number=2, stopped_s=0.05, came=odd), with_bento=OWN)


def test_an_init_is_asked_by_its_method():
    asked = replace(report(end(WEB, "exited", 130), exit_code=130), method="systemd")
    lines = text.draw(check(observed(WEB, came=asked)))
    assert "  judged by   the plain stop: its init asked by method systemd, a grace of 10 s, SIGKILL" in lines


def test_what_was_looked_at_has_no_more_to_say():
    assert text.draw(check(observed(WEB, kind=RunKind.LOOK)))[-1] == "  run 1       looked at"


def test_text_says_what_and_why_and_what_to_do():
    lines = text.draw(wrapped())
    shown = "\n".join(lines)
    assert lines[0] == "web:1: failed: 1 error"
    assert "  with Bento  forwarded in 0.20 s: sh was held (or killed, if it is at work)" in lines
    assert "ready after 0.10 s (quiet for 1 s); killed after 0.10 s, exit code 137" in shown
    assert "stopped at 0.05 s, graceful after 0.10 s, exit code not known" in shown
    assert "BG002 error: PID 1 only waits for the program, and does not pass the stop signal on  (run 1)" in lines
    assert "    1 sh -c web ; true" in lines  # a line break in an argument does not break the line
    assert "SigCgt 0000000000004000, in wait4; it waits for a child" in shown
    assert "      Dockerfile:   CMD [" in shown
    assert shown.isprintable() or "\x1b" not in shown


def test_text_of_what_passed_and_of_what_could_not_be_judged():
    seen = observed(WEB, came=report(end(WEB, "exited", 0)))
    assert text.draw(check(seen, verdict=CheckVerdict.PASSED))[0] == "web:1: passed: no findings"
    failed = check(
        verdict=CheckVerdict.UNJUDGED, error="it ended", with_bento=replace(OWN, verdict=None, duration_s=None)
    )
    assert text.draw(failed)[0] == "web:1: could not be judged: it ended"
    assert "  with Bento  no end: sh was held (or killed, if it is at work)" in text.draw(failed)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            {"requests": Requests(sent=9, answered=5, unanswered=2, refused=2)},
            "9 requests, 5 answered, 2 lost, 2 refused",
        ),
        (
            {"requests": Requests(sent=10, answered=5, unanswered=2, refused=2)},
            "10 requests, 5 answered, 2 lost, 2 refused, 1 more without an answer",
        ),
        ({"command": Loaded(command="ab", exit_code=3, duration_s=1.0)}, "'ab': exit code 3"),
        ({"command": Loaded(command="ab", exit_code=None, duration_s=1.0)}, "'ab': killed"),
        ({"note": "it ended"}, "it ended"),
        ({"kind": RunKind.START_UP}, "at 0.00 s the signal is handled: not sent"),
    ],
)
def test_a_run_in_words(run, words):
    run.setdefault("kind", RunKind.LOAD)
    assert any(line.endswith(words) for line in text.draw(check(observed(WEB, **run))))


def test_a_run_that_shows_no_process():
    assert any("lost: not sent" in line for line in text.draw(check(observed(kind=RunKind.START_UP))))


def test_a_zombie_and_a_long_command_in_words():
    long = proc(1, HANDLED, "web", argv=("web", "x" * 90))
    left = state(proc(5, DEFAULT, "gone", under=1), letter="Z")
    shown = "\n".join(
        text.draw(check(observed(long, came=report(end(long, "exited", 7), exit_code=7), zombies=(left,))))
    )
    assert "5 [gone]" in shown
    assert "state Z: it has ended, and process 1 has not reaped it" in shown
    assert "x..." in shown


def test_how_each_process_ended_is_added_to_what_was_seen():
    seen = observed(SHELL, proc(2, DEFAULT, "job", under=1, evidence=sleeps()))
    ended = with_ends(seen.run.processes, [ProcessEnd(pid=2, comm="job", how="exited", code=4)])
    assert [(one.how, one.code) for one in ended] == [("", None), ("exited", 4)]


def test_junit_has_a_case_for_each_id_and_is_xml_whatever_a_program_prints():
    found = replace(wrapped(), subject='a "web" <1>\x01')
    document = ElementTree.fromstring(junit.draw(found))
    suite = document[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ('a "web" <1>', str(len(KINDS)), "1")
    (failure,) = suite.iter("failure")
    assert (failure.get("type"), "exec web" in (failure.text or "")) == ("error", True)
    assert "with Bento" in (suite.findtext("system-out") or "")


def test_junit_counts_what_is_below_the_severity_that_was_named_as_passed():
    first = proc(1, HANDLED, "web", evidence=polls("listen"))
    odd = observed(first, came=report(end(first, "signalled", 3, at_s=0.1), exit_code=3))
    document = ElementTree.fromstring(junit.draw(check(odd, fail_on=Severity.ERROR)))
    assert document[0].get("failures") == "0"
    assert "BG030" in [case.findtext("system-out", "")[:5] for case in document.iter("testcase")]


def test_junit_of_what_could_not_be_judged_is_an_error():
    document = ElementTree.fromstring(junit.draw(check(verdict=CheckVerdict.UNJUDGED, error="it & ended")))
    (error,) = document.iter("error")
    assert (document[0].get("errors"), error.get("message")) == ("1", "could not be judged: it & ended")


def test_sarif_has_a_rule_for_each_id_and_a_result_for_each_finding():
    (run,) = json.loads(sarif.draw(wrapped(), version="1.2"))["runs"]
    rules, (result,) = run["tool"]["driver"]["rules"], run["results"]
    assert [rule["id"] for rule in rules] == [kind.id for kind in KINDS]
    assert (result["ruleId"], rules[result["ruleIndex"]]["id"], result["level"]) == ("BG002", "BG002", "error")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "web_1"
    assert "exec web" in result["message"]["text"]
    assert run["invocations"] == [{"executionSuccessful": True}]
    (failed,) = json.loads(sarif.draw(check(verdict=CheckVerdict.UNJUDGED, error="it ended"), version="1"))["runs"]
    (invocation,) = failed["invocations"]
    assert (invocation["executionSuccessful"], failed["results"]) == (False, [])
    assert invocation["toolExecutionNotifications"][0]["message"]["text"] == "could not be judged: it ended"


def test_markdown_shows_lines_to_change_and_gives_no_words_a_meaning():
    found = replace(wrapped(), subject="a|b *c*")
    shown = markdown.draw(found)
    assert shown.startswith("## a\\|b \\*c\\*: failed: 1 error\n")
    assert "\n| 1 | stopped when ready | " in shown
    assert "\nscript:\n\n```\nexec web\n```\n" in shown
    assert "<details><summary>evidence</summary>" in shown
    own = replace(
        found.findings[0], evidence=Evidence(), remedy=Remedy(text="x", changes=(Change("script", "a ``` b"),))
    )
    shown = markdown.draw(replace(found, findings=(own,), with_bento=None))
    assert "````\na ``` b\n````" in shown
    assert "<details>" not in shown
    assert "With Bento" not in shown


def test_facts_are_shown_line_by_line():
    loaded = observed(WEB, kind=RunKind.LOAD, command=Loaded(command="ab", exit_code=1, duration_s=1.0, output="a\nb"))
    assert {"    a", "    b"} <= set(text.draw(check(loaded)))


def test_how_it_went_is_a_timeline():
    first = proc(1, HANDLED, "web", evidence=polls("listen"))
    one = replace(report(end(first, "exited", 3, at_s=0.1), exit_code=3), signalled=())
    shown = text.draw(check(observed(first, came=one)))
    assert "       0.00 s  new connections are refused" in shown
    assert "       0.10 s  web (1) exited with 3" in shown
