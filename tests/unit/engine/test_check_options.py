"""Options of a check that make no sense are refused before anything is made."""

from __future__ import annotations

import pytest

from bento.engine.check.options import refuse
from bento.errors import UsageError
from bento.model.check import CheckOptions, Load, Readiness


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (CheckOptions(grace_s=0.0), "needs a grace"),
        (CheckOptions(repeat=0), "once at least"),
        (CheckOptions(start_up=-1), "bad number of moments"),
        (CheckOptions(ready=Readiness(log="(")), "bad regular expression"),
        (CheckOptions(ready=Readiness(command="x\udcff")), "not valid UTF-8"),
        (CheckOptions(after="x\udcff"), "not valid UTF-8"),
        (CheckOptions(load=Load(command="x\0")), "not valid UTF-8"),
        (CheckOptions(load=Load(port=0)), "bad port 0"),
        (CheckOptions(load=Load(port=65536)), "bad port 65536"),
        (CheckOptions(load=Load(port=80, path="x")), "bad path 'x'"),
        (CheckOptions(load=Load(port=80, path="/ HTTP/1.1\r\nX: y")), "bad path"),
        (CheckOptions(load=Load(port=80, path="/\xe9")), "bad path"),
    ],
)
def test_what_makes_no_sense(options, words):
    with pytest.raises(UsageError, match=words):
        refuse(options)


def test_what_makes_sense():
    refuse(CheckOptions(ready=Readiness(log="\udcff", command="true"), load=Load(port=80, path="/a?b=%20"), start_up=0))
