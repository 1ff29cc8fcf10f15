"""``explain`` on fakes: what it refuses, and that it asks as the stop itself would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.engine.explain import explain, explain_process
from bento.engine.request import StopOptions
from bento.errors import AlreadyStopped, NotFound, WrongState
from bento.model.container import Status
from bento.model.stop import OnDeaf, Verdict
from bento.stop.process import Disposition

from support.engine import FakeParts


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[FakeParts]:
    made = FakeParts(tmp_path)
    yield made
    made.processes.close()


def test_s13_a_container_and_its_pid_1_are_explained_alike(parts):
    main = parts.processes.add("server")
    container = parts.add("web", main, stop_timeout_s=3.0, stop_signal=3)
    found = explain(parts, "web", StopOptions())
    assert (found.name, found.signal, found.grace_s, found.verdict) == ("web", "SIGQUIT", 3.0, Verdict.GRACEFUL)
    assert container.run is not None
    other = explain_process(parts, main.identity.pid, StopOptions(grace_s=1.0))
    assert (other.signal, other.grace_s, other.verdict) == ("SIGTERM", 1.0, Verdict.GRACEFUL)


def test_s14_its_age_is_that_of_its_run(parts):
    parts.add("web", parts.processes.add("server", Disposition.DROPPED), age_s=4.0)
    found = explain(parts, "web", StopOptions(on_deaf=OnDeaf.END))
    assert found.duration_s == pytest.approx(6.05, abs=0.5)


def test_s01_what_does_not_run_is_not_explained(parts):
    parts.add("done", None, status=Status.STOPPED)
    with pytest.raises(AlreadyStopped):
        explain(parts, "done", StopOptions())
    with pytest.raises(NotFound):
        explain(parts, "nobody", StopOptions())
    with pytest.raises(NotFound):
        explain_process(parts, 4_000_000, StopOptions())


def test_s01_only_pid_1_of_a_namespace_is_explained(parts):
    main = parts.processes.add("server")
    child = parts.processes.add("child", under=main)
    with pytest.raises(WrongState, match=f"that would be {main.identity.pid}"):
        explain_process(parts, child.identity.pid, StopOptions())
