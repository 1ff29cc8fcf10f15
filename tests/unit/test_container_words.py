"""The words of what a container is to be: its entry point, limits, restart policy, requirements, labels."""

from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.model.container import RestartPolicy, Ulimit
from bento.parse.container import (
    parse_entrypoint,
    parse_label,
    parse_requirement,
    parse_restart,
    parse_ulimit,
    parse_workdir,
)


def test_an_entry_point_is_a_word_or_a_json_array() -> None:
    assert parse_entrypoint("/bin/x y") == ("/bin/x y",)
    assert parse_entrypoint('["id", "-u"]') == ("id", "-u")
    assert parse_entrypoint("[ -f x ]") == ("[ -f x ]",)
    assert parse_entrypoint("") == ()


def test_limits_and_policies() -> None:
    assert parse_ulimit("nofile=1024") == Ulimit(name="nofile", soft=1024, hard=1024)
    assert parse_ulimit("nofile=1:-1") == Ulimit(name="nofile", soft=1, hard=-1)
    assert parse_restart("on-failure:3") == RestartPolicy(name="on-failure", limit=3)
    for text in ("nofile", "nofile=x", "nofile=1:x"):
        with pytest.raises(UsageError, match="bad limit"):
            parse_ulimit(text)
    for text in ("", "always:1", "on-failure:", "on-failure:-1", "sometimes"):
        with pytest.raises(UsageError, match="bad restart policy"):
            parse_restart(text)


def test_what_is_required() -> None:
    assert parse_requirement("db") == ("db", False)
    assert parse_requirement("db:healthy") == ("db", True)
    for text in ("db:", "db:running", ":x"):
        with pytest.raises(UsageError, match="bad --requires"):
            parse_requirement(text)


def test_labels_and_directories() -> None:
    assert [parse_label(text) for text in ("a", "a=", "a=b=c")] == [("a", ""), ("a", ""), ("a", "b=c")]
    assert (parse_workdir(""), parse_workdir("/srv")) == (None, "/srv")
    with pytest.raises(UsageError):
        parse_label("=x")
    with pytest.raises(UsageError):
        parse_workdir("srv")
