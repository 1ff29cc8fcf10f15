"""Rule S13.4: programs that pass a signal on to a whole group are read from their options."""

from __future__ import annotations

import pytest

from bento.drivers.processes.forwarders import kills_group


@pytest.mark.parametrize(
    ("words", "variable", "expected"),
    [
        ("", False, False),
        ("sh -g", False, False),
        ("tini -- web", False, False),
        ("/sbin/tini -g -- web", False, True),
        ("tini -v -g -- web", False, True),
        ("tini -vg web", False, True),
        ("tini web -g", False, False),
        ("tini -- web -g", False, False),
        ("tini --version", False, False),
        ("tini", True, True),
        ("docker-init -- web", True, True),
        ("catatonit -g web", False, True),
        ("catatonit web", True, False),
        ("dumb-init web", False, True),
        ("dumb-init -c web", False, False),
        ("dumb-init --single-child web", False, False),
        ("dumb-init web -c", False, True),
    ],
)
def test_s13_the_option_or_the_environment_says_it(words, variable, expected):
    assert kills_group(words.split(), lambda name: variable and name == "TINI_KILL_PROCESS_GROUP") is expected
