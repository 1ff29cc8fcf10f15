"""What is better than a stop signal: only where the table knows, and only where it is better."""

from __future__ import annotations

import pytest

from bento.engine.stop import report
from bento.programs.advice import advice, describe
from bento.programs.table import programs, read
from bento.units import SIGTERM, parse_signal


@pytest.mark.parametrize(
    ("name", "signal", "line"),
    [
        ("nginx", "TERM", "STOPSIGNAL SIGQUIT"),
        ("nginx", "INT", "STOPSIGNAL SIGQUIT"),
        ("nginx", "QUIT", None),
        ("nginx", "USR1", None),  # nothing is said of it
        ("apache2", "TERM", "STOPSIGNAL SIGWINCH"),
        ("postgres", "TERM", "STOPSIGNAL SIGINT"),
        ("postgres", "QUIT", "STOPSIGNAL SIGINT"),
        ("postgres", "INT", None),
        ("redis", "TERM", None),
        ("redis", "INT", None),  # as good
        ("gunicorn", "TERM", None),
        ("gunicorn", "QUIT", "STOPSIGNAL SIGTERM"),
        ("waitress", "TERM", ""),  # no signal is better
        ("cron", "TERM", ""),
    ],
)
def test_s24_a_better_signal_is_named_where_it_is_known(name, signal, line):
    found = advice(read(name), parse_signal(signal))
    assert (found.line if found else None) == line


def test_s24_the_sentence_says_what_happens_and_what_to_write():
    found = advice(read("nginx"), SIGTERM)
    assert found is not None
    assert found.text == (
        "at SIGTERM nginx closes all connections at once, and cuts the requests under way; write STOPSIGNAL SIGQUIT"
        " in the Dockerfile, or use --stop-signal QUIT: then it takes no new connection, finishes the requests"
        " under way, and ends"
    )
    assert (found.program, found.signal, found.better) == ("nginx", "SIGTERM", "SIGQUIT")
    none = advice(read("waitress"), SIGTERM)
    assert none is not None
    assert none.text.startswith(
        "at SIGTERM waitress does nothing as PID 1: it has no handler for it; run it with --init"
    )


def test_a_program_is_described_with_what_the_signal_does_to_it():
    assert describe(read("redis"), SIGTERM).startswith("redis, database in memory: at SIGTERM it disconnects")
    assert describe(read("redis"), 28) == "redis, database in memory"


def test_s24_a_report_asks_for_each_program_to_which_sigterm_is_not_the_best_and_for_no_other():
    """It asks by the kernel's name of a process, without the table: scripts go by their interpreter's there."""
    wanted = {
        match.executable.rstrip("*"): program.name
        for program in programs().values()
        for match in program.match
        if match.executable and (found := advice(program, SIGTERM)) is not None and found.better
    }
    asked = report._ASKED
    assert {name: asked.get(name) for name in wanted} == wanted
    assert set(asked.values()) == set(wanted.values())
