"""Rule S12: what a signal would do, read before it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from bento.stop.process import Disposition, Process, disposition

TERM = 1 << 14
NONE: dict[str, Any] = {"blocked": 0, "ignored": 0, "caught": 0, "waits": False}
NONE |= {"is_namespace_init": False, "is_traced": False}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"caught": TERM}, Disposition.HANDLED),
        ({"caught": TERM, "is_namespace_init": True}, Disposition.HANDLED),
        ({"blocked": TERM}, Disposition.BLOCKED),
        ({"blocked": TERM, "caught": TERM}, Disposition.BLOCKED),
        ({"blocked": TERM, "ignored": TERM}, Disposition.BLOCKED),
        ({"ignored": TERM}, Disposition.IGNORED),
        ({"ignored": TERM, "is_namespace_init": True}, Disposition.IGNORED),
        ({}, Disposition.DEFAULT),
        ({"is_namespace_init": True}, Disposition.DROPPED),
        ({"is_namespace_init": True, "waits": None}, Disposition.DROPPED),
        ({"is_namespace_init": True, "waits": True}, Disposition.WAITING),  # tini
        ({"waits": True}, Disposition.WAITING),
        ({"is_namespace_init": True, "is_traced": True}, Disposition.UNKNOWN),
        ({"ignored": TERM, "is_traced": True}, Disposition.UNKNOWN),
        ({"blocked": TERM >> 1, "caught": TERM << 1, "is_namespace_init": True}, Disposition.DROPPED),
    ],
)
def test_s12_the_masks_say_what_would_happen(shown, expected):
    assert disposition(15, **(NONE | shown)) is expected


@pytest.mark.parametrize(("number", "mask"), [(1, 1), (34, 1 << 33), (64, 1 << 63)])
def test_s12_every_signal_has_its_bit(number, mask):
    assert disposition(number, **(NONE | {"caught": mask})) is Disposition.HANDLED


@pytest.mark.parametrize("number", [17, 18, 23, 28])
def test_s12_some_signals_are_ignored_by_default(number):
    assert disposition(number, **NONE) is Disposition.IGNORED
    assert disposition(number, **(NONE | {"is_namespace_init": True})) is Disposition.IGNORED
    assert disposition(number, **(NONE | {"caught": 1 << (number - 1)})) is Disposition.HANDLED


def test_s12_only_some_dispositions_reach_the_program():
    assert {d.value for d in Disposition if d.receives} == {"handled", "blocked", "waiting", "unknown"}


def test_s03_a_process_is_its_pid_and_its_start_time():
    one = Process(pid=5, start_ticks=100, ppid=1, comm="a", disposition=Disposition.DEFAULT)
    later = Process(pid=5, start_ticks=101, ppid=1, comm="a", disposition=Disposition.DEFAULT)
    assert one.key == (5, 100)
    assert one.key != later.key
