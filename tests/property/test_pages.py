"""Pages of any record: well-formed, nothing outside of the picture, no text over another, no markup but our own."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bento.model.stop import (
    AskedBy,
    Held,
    HookResult,
    Occasion,
    PhaseTiming,
    ProcessEnd,
    Signalled,
    StopReport,
    Verdict,
)
from bento.pages.axis import Axis, rows
from bento.pages.drawing import NARROW, WIDE, Drawing
from bento.pages.lanes import timeline
from bento.pages.page import picture
from bento.pages.stop_page import stop_page
from bento.pages.text import columns, fitted, visible
from bento.pages.tree import with_depth

# Surrogates, control characters and marks of direction among them: a program may take any name.
TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
TIME = st.one_of(st.floats(0, 30), st.floats(-1e6, 1e9))
PID = st.integers(0, 9)

PROCESSES = st.lists(
    st.builds(
        ProcessEnd,
        pid=PID,
        ppid=PID,
        comm=TEXT,
        how=st.sampled_from(["exited", "signalled", "killed-by-us", "killed-with-pid-1", "unknown", "alive"]),
        code=st.none() | st.integers(0, 255),
        receives=TEXT,
        session=st.booleans(),
        waited=TEXT,
        began_s=st.none() | TIME,
        ended_s=st.none() | TIME,
    ),
    max_size=8,
).map(tuple)

REPORTS = st.builds(
    StopReport,
    id=TEXT,
    name=TEXT,
    asked_by=st.sampled_from(AskedBy),
    method=TEXT,
    signal=TEXT,
    grace_s=TIME,
    started_unix_ns=st.integers(-(1 << 63), 1 << 63),
    duration_s=TIME,
    verdict=st.sampled_from(Verdict),
    cause=TEXT,
    remedy=TEXT,
    exit_code=st.none() | st.integers(0, 255),
    disposition=TEXT,
    is_graceful=st.booleans(),
    is_slow=st.booleans(),
    phases=st.lists(
        st.builds(
            PhaseTiming, name=st.sampled_from(["signal", "exit", "record"]) | TEXT, start_s=TIME, duration_s=TIME
        ),
        max_size=6,
    ).map(tuple),
    signalled=st.lists(
        st.builds(
            Signalled,
            pid=PID,
            start_ticks=st.just(0),
            comm=TEXT,
            at_s=TIME,
            why=TEXT,
            receives=TEXT,
            occasion=st.sampled_from(Occasion),
            signal=TEXT,
        ),
        max_size=4,
    ).map(tuple),
    held=st.lists(st.builds(Held, pid=PID, comm=TEXT, why=TEXT, at_s=TIME), max_size=3).map(tuple),
    processes=PROCESSES,
    hooks=st.lists(
        st.builds(HookResult, when=TEXT, kind=TEXT, command=TEXT, start_s=TIME, duration_s=TIME, error=TEXT), max_size=2
    ).map(tuple),
    notes=st.lists(TEXT, max_size=2).map(tuple),
    errors=st.lists(TEXT, max_size=2).map(tuple),
)


class Balanced(HTMLParser):
    """Raises AssertionError for an element that is not closed, or closed by another one."""

    VOID = {"meta"}

    def __init__(self):
        super().__init__()
        self.open = []
        self.names = set()

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outside_or_over(drawing: Drawing) -> list[object]:
    """Return texts that leave the picture, and pairs that meet."""
    found: list[object] = []
    texts = drawing.texts
    for number, one in enumerate(texts):
        if one.left < -0.01 or one.right > drawing.form.width + 0.01 or not 8 <= one.y <= drawing.height:
            found.append(one)
        found += [
            (one, other)
            for other in texts[number + 1 :]
            if abs(one.y - other.y) < 11 and one.left < other.right - 0.01 and other.left < one.right - 0.01
        ]
    return found


@settings(max_examples=40)
@given(REPORTS)
def test_any_report_is_a_whole_page(report):
    parser = Balanced()
    page = stop_page(report)
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert not parser.names & {"script", "img", "link", "iframe"}
    assert page.encode().decode().replace("\n", "").isprintable()


@pytest.mark.parametrize("form", [WIDE, NARROW])
@settings(max_examples=40)
@given(report=REPORTS)
def test_any_report_is_a_picture_without_a_text_over_another(form, report):
    drawing = Drawing(timeline(report), form)
    assert outside_or_over(drawing) == []
    root = ElementTree.fromstring(drawing.svg())
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        if "x" in rect.attrib:
            x, width = float(rect.attrib["x"]), float(rect.attrib["width"])
            assert x >= 0
            assert width > 0
            assert x + width <= form.width + 0.1


@settings(max_examples=40)
@given(REPORTS)
def test_any_report_is_a_file_of_svg(report):
    root = ElementTree.fromstring(picture(timeline(report)))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


@given(st.floats(0, 1e9), st.floats(0, 400), st.floats(1, 900), st.floats(20, 200), TIME)
def test_an_axis_keeps_all_inside_and_its_ticks_apart(duration_s, left, width, gap, at_s):
    axis = Axis(duration_s, left, left + width)
    assert left <= axis.x(at_s) <= left + width
    ticks = axis.ticks(gap)
    assert ticks[0].label == "0"
    assert all(left - 1e-6 <= tick.x <= left + width + 1e-6 for tick in ticks)
    assert all(after.x - before.x >= gap * 0.999 for before, after in itertools.pairwise(ticks))
    assert len({tick.label for tick in ticks}) == len(ticks)


@given(st.lists(st.tuples(st.floats(0, 900), st.floats(0, 200)).map(lambda one: (one[0], one[0] + one[1]))))
def test_spans_in_a_row_do_not_meet(spans):
    numbers = rows(spans, 5.0)
    for one, (begin, end) in enumerate(spans):
        for other in range(one):
            if numbers[one] == numbers[other]:
                assert begin >= spans[other][1] + 5 or spans[other][0] >= end + 5


@given(PROCESSES)
def test_each_process_is_in_the_tree_once(processes):
    found = with_depth(processes)
    assert sorted(map(id, processes)) == sorted(id(process) for process, _ in found)
    assert all(after <= before + 1 for (_, before), (_, after) in itertools.pairwise(found))


@given(TEXT, st.integers(0, 40))
def test_what_is_fitted_fits_and_hides_nothing(text, most):
    assert columns(fitted(text, most)) <= most
    assert visible(text).isprintable()
