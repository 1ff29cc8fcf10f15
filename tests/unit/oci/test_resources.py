from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.model.container import ContainerSpec
from bento.oci import resources

ALL = {"pids", "memory", "cpu"}


def spec(**limits) -> ContainerSpec:
    return ContainerSpec(image="host", image_id="", layers=("/",), **limits)


def test_nothing_asked_for_is_nothing_set() -> None:
    resources.check(spec(), frozenset())
    assert resources.build(spec()) == {}


def test_limits_are_the_runtime_specs() -> None:
    assert resources.build(spec(pids_limit=20, memory_bytes=1 << 26, cpus=1.5)) == {
        "pids": {"limit": 20},
        "memory": {"limit": 1 << 26},
        "cpu": {"quota": 150_000, "period": 100_000},
    }


@pytest.mark.parametrize(
    "limit", [{"pids_limit": 0}, {"memory_bytes": 4096}, {"cpus": 0.0}, {"cpus": float("nan")}], ids=str
)
def test_nonsense_is_refused(limit) -> None:
    with pytest.raises(UsageError):
        resources.check(spec(**limit), ALL)


@pytest.mark.parametrize(
    ("limit", "name"), [({"pids_limit": 9}, "pids"), ({"memory_bytes": 1 << 26}, "memory"), ({"cpus": 1.0}, "cpu")]
)
def test_a_limit_nobody_would_keep_is_refused(limit, name) -> None:
    resources.check(spec(**limit), ALL)
    with pytest.raises(UsageError, match=f"no {name} cgroup controller"):
        resources.check(spec(**limit), ALL - {name})
