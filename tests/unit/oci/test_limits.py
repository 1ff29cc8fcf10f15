from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.model.container import Ulimit
from bento.oci import limits
from bento.oci.limits import Allowance, clamp, merge


def may_raise(nr_open: int = 1048576) -> Allowance:
    return Allowance(hard={}, may_raise=True, nr_open=nr_open)


def may_not_raise(**hard: int) -> Allowance:
    return Allowance(hard=hard, may_raise=False, nr_open=1048576)


def test_the_default_is_dockers_where_it_may_be_set() -> None:
    result = clamp(merge(()), may_raise())

    assert result.rlimits == [{"type": "RLIMIT_NOFILE", "hard": 524288, "soft": 1024}]
    assert result.notes == ()


def test_a_caller_without_the_capability_gets_his_own_limit_and_a_note() -> None:
    result = clamp(merge(()), may_not_raise(nofile=20000))

    assert result.rlimits == [{"type": "RLIMIT_NOFILE", "hard": 20000, "soft": 1024}]
    (note,) = result.notes
    assert "nofile 1024:524288 lowered to 1024:20000" in note
    assert "CAP_SYS_RESOURCE" in note


def test_the_soft_limit_never_exceeds_the_hard_one() -> None:
    result = clamp([Ulimit(name="nofile", soft=4096, hard=8192)], may_not_raise(nofile=512))

    assert result.rlimits == [{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 512}]


def test_nothing_opens_more_files_than_the_kernel_allows() -> None:
    result = clamp([Ulimit(name="nofile", soft=limits.UNLIMITED, hard=limits.UNLIMITED)], may_raise(nr_open=1000))

    assert result.rlimits == [{"type": "RLIMIT_NOFILE", "hard": 1000, "soft": 1000}]
    assert "unlimited:unlimited" in result.notes[0]


def test_unlimited_is_written_as_the_kernel_writes_it() -> None:
    wanted = Ulimit(name="core", soft=limits.UNLIMITED, hard=limits.UNLIMITED)

    assert clamp([wanted], may_raise()).rlimits == [{"type": "RLIMIT_CORE", "hard": 2**64 - 1, "soft": 2**64 - 1}]
    assert clamp([wanted], may_not_raise(core=-1)).notes == ()


def test_what_was_asked_for_replaces_the_default() -> None:
    asked = (Ulimit(name="nofile", soft=1, hard=2), Ulimit(name="nproc", soft=3, hard=4))

    assert merge(asked) == asked


def test_this_process_can_be_asked() -> None:
    allowed = limits.allowance(["nofile", "core"])

    assert allowed.hard.keys() == {"nofile", "core"}
    assert allowed.nr_open > 0


@pytest.mark.parametrize("name", ["nofiles", "", "NOFILE", "ofile", "infinity"])
def test_an_unknown_limit_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="nofile"):
        limits.allowance([name])


@pytest.mark.parametrize(("soft", "hard"), [(0, 1024), (10, 20), (31, 1024)])
def test_limit_that_the_runtime_cannot_live_with_is_refused(soft: int, hard: int) -> None:
    with pytest.raises(UsageError, match="too few for the runtime"):
        limits.check([Ulimit(name="nofile", soft=soft, hard=hard)])
    limits.check([Ulimit(name="nproc", soft=soft, hard=hard), Ulimit(name="nofile", soft=32, hard=hard + 32)])
    limits.check([Ulimit(name="nofile", soft=-1, hard=-1)])
