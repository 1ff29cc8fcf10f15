"""What people read: times in their largest unit, and nothing that gives a terminal orders."""

from __future__ import annotations

import pytest

from bento import log
from bento.cli import context, main
from bento.cli.output.render import table
from bento.docker.words import span
from bento.errors import BentoError

DAY_S = 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (7200, "2 hours"),
        (DAY_S, "1 day"), (13 * DAY_S, "13 days"), (14 * DAY_S, "2 weeks"), (59 * DAY_S, "8 weeks"),
        (60 * DAY_S, "2 months"), (729 * DAY_S, "24 months"), (730 * DAY_S, "2 years"), (1060 * DAY_S, "2 years"),
    ],
)  # fmt: skip
def test_a_time_is_told_in_its_largest_unit(seconds, text):
    assert span(seconds * 10**9) == text


HOSTILE = "a\x1b[2Jb\nc\u202e\udcff"
SHOWN = r"a\x1b[2Jb\nc\u202e\udcff"


def test_a_strangers_words_give_no_orders(capsys):
    log.warning(HOSTILE)
    main._complain(HOSTILE)
    context.complain(BentoError(HOSTILE, hint=HOSTILE))
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 3
    assert said.count(SHOWN) == 4
    assert said.replace("\n", "").isprintable()


def test_a_cell_of_a_table_stays_in_its_line():
    assert table(("A", "B"), [(HOSTILE, "é")]).splitlines()[1] == f"{SHOWN}   é"
