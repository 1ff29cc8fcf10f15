"""What a page of a stop says, and that nothing of a container's making is markup in it."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.cli.output.page_file import check_page_file, write_page
from bento.errors import UsageError
from bento.model.check import Change, CheckVerdict, Evidence, Loaded, Remedy
from bento.model.stop import HookResult, ProcessEnd, StopReport, Verdict
from bento.pages import style
from bento.pages.check_page import check_page
from bento.pages.lanes import PROCESSES_MAX, timeline
from bento.pages.page import Column, table
from bento.pages.stop_page import EVENTS_MAX, stop_page
from bento.pages.text import fitted, html, seconds
from bento.pages.timeline import BarKind, MarkKind

from support.reports import CHECKED, SHELL, WRAPPER


def process(pid: int, **fields: object) -> ProcessEnd:
    return replace(ProcessEnd(pid=pid, comm="sleep", how="exited", code=0, receives="default"), **fields)


def words_of(page: str) -> str:
    """What is read of a page."""
    return re.sub(r"<[^>]*>", " ", page.partition("<body>")[2])


def lane(report: StopReport, label: str):
    return next(one for group in timeline(report).groups for one in group.lanes if one.label == label)


def test_verdict_cause_and_remedy_come_first():
    text = words_of(stop_page(WRAPPER))
    order = [
        text.index(part)
        for part in (
            "forwarded",
            "sh does not pass signals on; python3 was signalled instead",
            "Start the program with exec in the script",
            "Timeline",
            "Processes",
            "The record",
        )
    ]
    assert order == sorted(order)


def test_each_process_has_a_lane_from_its_beginning_to_its_end():
    shell, program = lane(WRAPPER, "1622 sh"), lane(WRAPPER, "1626 python3")
    assert [bar.kind for bar in shell.bars] == [BarKind.PROCESS, BarKind.HELD]
    assert [mark.kind for mark in shell.marks] == [MarkKind.KILLED]
    assert [mark.kind for mark in program.marks] == [MarkKind.SIGNAL, MarkKind.EXITED]
    assert program.indent == shell.indent + 1
    assert program.marks[1].at_s == program.bars[0].end_s == WRAPPER.processes[1].ended_s


def test_one_that_came_later_begins_later_and_one_whose_end_was_not_seen_has_none():
    report = replace(WRAPPER, processes=(process(5, began_s=0.1, ended_s=0.2), process(6, how="unknown")))
    late, unseen = lane(report, "5 sleep"), lane(report, "6 sleep")
    assert (late.bars[0].start_s, late.bars[0].end_s) == (0.1, 0.2)
    assert unseen.bars[0].kind is BarKind.UNKNOWN
    assert unseen.marks == ()


def test_a_hook_that_fails_is_marked():
    hook = HookResult(when="pre-stop", kind="host", command="false", start_s=0.0, duration_s=0.1, error="exit status 1")
    shown = lane(replace(WRAPPER, hooks=(hook,)), "pre-stop hook")
    assert (shown.result, [mark.title for mark in shown.marks]) == ("failed", ["exit status 1"])


def test_of_many_processes_those_are_drawn_of_which_there_is_something_to_say():
    many = tuple(process(100 + number, ended_s=0.1) for number in range(200))
    report = replace(WRAPPER, processes=(*many, *WRAPPER.processes))
    group = timeline(report).groups[1]
    assert len(group.lanes) == PROCESSES_MAX
    assert {"1622 sh", "1626 python3"} <= {one.label for one in group.lanes}
    assert "142 more" in group.more
    assert stop_page(report).count("<li>") == 202


def test_the_list_of_events_has_a_bound():
    many = tuple(process(number, ended_s=0.1) for number in range(1, 1000))
    page = stop_page(replace(WRAPPER, processes=many))
    assert "more" in page
    assert page.partition("<h3>Processes")[0].count("<tr>") == EVENTS_MAX + 2


@pytest.mark.parametrize(
    ("verdict", "is_graceful", "level"),
    [
        (Verdict.GRACEFUL, True, "good"),
        (Verdict.FORWARDED, False, "fair"),
        (Verdict.LAST_CALL, False, "fair"),
        (Verdict.KILLED, False, "bad"),
        (Verdict.STUCK, False, "bad"),
    ],
)
def test_how_good_it_was_is_said_by_a_sign_too(verdict, is_graceful, level):
    page = stop_page(replace(WRAPPER, verdict=verdict, is_graceful=is_graceful))
    assert f'<p class="verdict {level}"><b>{ {"good": "✓", "fair": "!", "bad": "✕"}[level] } {verdict.value}' in page


def test_a_check_begins_with_its_findings_and_the_lines_to_change():
    text = words_of(check_page(CHECKED))
    order = [
        text.index(part)
        for part in (
            "failed: 1 error, 1 warning",
            "BG002: PID 1 only waits for the program",
            "exec python3 /srv/server.py",
            "BG011",
            "the plain stop: SIGTERM to PID 1",
            "Run 1: stopped when ready",
            "10 requests, 7 answered, 2 lost, 1 refused",
        )
    ]
    assert order[:6] == sorted(order[:6])
    assert "INT, CHLD" in text  # SigCgt of the shell


def test_each_run_of_a_check_has_a_timeline_of_its_own():
    page = check_page(CHECKED)
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<figure>") == 2
    assert "Timeline of run 2, stopped under load" in page
    assert "first<br>second" in page


def test_several_checks_are_one_page():
    page = check_page(CHECKED, replace(CHECKED, subject="shop:2", verdict=CheckVerdict.PASSED, findings=()))
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    text = words_of(page)
    assert "✕ 1 passed, 1 failed" in text
    assert text.index("shop:1") < text.index("shop:2") < text.index("BG002: PID 1")
    assert "nothing was checked" in words_of(check_page())


def test_columns_in_which_nothing_stands_are_left_out():
    shown = table("T", (("A", Column.WORDS), ("B", Column.WORDS), ("C", Column.NUMBER)), [("", "x", 0), ("", "", 1)])
    assert re.findall(r"<th scope[^>]*>([^<]*)", shown) == ["B", "C"]
    assert table("T", (("A", Column.WORDS),), []) == ""


def test_requests_stand_on_the_axis_of_the_stop():
    lanes = timeline(WRAPPER, CHECKED.runs[1].requests).groups[1].lanes
    assert [(one.label, one.result, len(one.bars), len(one.marks)) for one in lanes] == [
        ("requests answered", "7", 1, 0),
        ("requests lost", "2", 2, 2),
        ("requests refused", "1", 1, 1),
    ]
    assert "under way when the stop began" in lanes[0].bars[0].title


def test_a_check_without_findings_says_so():
    passed = replace(CHECKED, findings=(), runs=(), verdict=CheckVerdict.PASSED, with_bento=None)
    text = words_of(check_page(passed))
    assert "✓ passed: no findings" in text
    assert text.count("None.") == 2


HOSTILE = [
    '"><script>alert(1)</script>',
    "</title></svg><img src=x onerror=alert(1)>",
    "' onmouseover='x",
    "&lt;b&gt;",
    "a\u202egnp.exe",  # turns what follows around
    "\u2066isolated",
    "bell\x07\x1b[2J\x00",
    "byte-\udcff",  # 0xff, as it comes out of /proc
    "]]>--><!--",
    "{display:none}",
    "x" * 5000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_words_are_shown_and_are_no_markup(name):
    hook = HookResult(when=name, kind=name, command=name, start_s=0.0, duration_s=0.1, error=name)
    ours, harmless = (
        stop_page(
            replace(
                WRAPPER,
                name=text,
                cause=text,
                remedy=text,
                notes=(text,),
                errors=(text,),
                hooks=(replace(hook, command=text, error=text, when=text, kind=text),),
                processes=tuple(replace(one, comm=text, waited=text) for one in WRAPPER.processes),
                signalled=tuple(replace(one, comm=text, why=text) for one in WRAPPER.signalled),
                held=tuple(replace(one, comm=text, why=text) for one in WRAPPER.held),
            )
        )
        for text in (name, "harmless")
    )
    tags = re.compile(r"</?[a-z][a-z0-9]*")
    assert tags.findall(ours) == tags.findall(harmless)
    assert ours.replace("\n", "").isprintable()
    assert html(name, most=60)[:20] in ours


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_words_are_no_markup_in_a_check(name):
    ours, harmless = (
        check_page(
            replace(
                CHECKED,
                subject=text,
                command=(text, text),
                findings=tuple(
                    replace(
                        one,
                        detail=text,
                        evidence=Evidence(
                            facts=(text,), processes=(replace(SHELL, comm=text, argv=(text,), why=text, waits=text),)
                        ),
                        remedy=Remedy(text=text, changes=(Change("script", text),)),
                    )
                    for one in CHECKED.findings
                ),
                runs=tuple(
                    replace(
                        run,
                        ready=text,
                        note=text,
                        command=Loaded(command=text, exit_code=1, duration_s=1.0, output=text),
                        processes=(replace(SHELL, argv=(), comm=text),),
                    )
                    for run in CHECKED.runs
                ),
            )
        )
        for text in (name, "harmless")
    )
    tags = re.compile(r"</?[a-z][a-z0-9]*")
    assert tags.findall(ours) == tags.findall(harmless)
    assert ours.replace("\n", "").isprintable()


def test_bytes_and_marks_of_direction_are_seen():
    assert html("byte-\udcff \u202e \x1b") == "byte-\\xff \\u202e \\x1b"
    assert fitted("漢字漢字", 6) == "漢字…"


def test_a_page_asks_for_nothing():
    page = stop_page(WRAPPER)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    inside = page.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(inside.encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    without_namespace = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//\w|src=|@import|<script|url\((?!#)", without_namespace)
    assert set(re.findall(r'href="([^"]*)"', page)) == {"#record"}
    assert 'style="' not in page


@pytest.mark.parametrize("scheme", ["_LIGHT", "_DARK"])
def test_colours_have_contrast(scheme):
    """WCAG 2: 4.5 for text, 3 for what is drawn."""
    colours = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{6})", getattr(style, scheme)))
    for text in ("text", "muted", "link"):
        for ground in ("ground", "raised"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for level in ("good", "fair", "bad"):
        assert contrast(colours[level], colours[f"{level}-ground"]) >= 4.5
    for drawn in ("phase", "cleanup", "hook", "process", "held", "signal", "exited", "killed", "request"):
        assert contrast(colours[drawn], colours["ground"]) >= 3, drawn


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[begin : begin + 2], 16) / 255 for begin in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0 ms"), (0.0123, "12 ms"), (0.9999, "1.00 s"), (12.34, "12.3 s"), (119.9, "2 min"), (7500, "2 h 5 min")],
)
def test_times_are_short(value, text):
    assert seconds(value) == text


def test_a_page_replaces_a_file_when_it_is_whole(tmp_path):
    target = tmp_path / "page.html"
    target.write_text("old")
    target.chmod(0o640)
    write_page(str(target), "new")
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("name", ["", "/", "/dev/null"])
def test_what_is_no_file_is_refused(name):
    with pytest.raises(UsageError):
        check_page_file("report", name)


def test_a_place_that_is_not_there_is_one_clear_error(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        write_page(str(tmp_path / "no" / "page.html"), "x")
    assert list(tmp_path.iterdir()) == []
