"""Some of ``make stress`` in each run of the suite: random verbs by several processes, kills, and a model beside it."""

from __future__ import annotations

import os

import pytest

from stress import session
from support import leaks

SECONDS = float(os.environ.get("BENTO_STRESS_SECONDS", "45"))
"""The look at the end comes on top: a minute in all."""
SEED = int(os.environ.get("BENTO_STRESS_SEED", "1"))


@pytest.mark.timeout(int(SECONDS) + 300)
def test_whatever_is_done_at_once_and_killed_everything_is_accounted_for(leak_check: leaks.LeakWatch) -> None:
    leak_check.roots += [leak_check.base / "l", leak_check.base / "r"]
    try:
        print(session.run(leak_check.base, seconds=SECONDS, seed=SEED))
    except session.Failed as error:
        pytest.fail(str(error), pytrace=False)
