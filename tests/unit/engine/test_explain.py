"""``explain`` on fakes: what it refuses, and that it asks as the stop itself would."""

from __future__ import annotations

import pytest

from bento.config import Settings
from bento.engine.foreign.looking import explain as explain_foreign
from bento.engine.foreign.names import ForeignName
from bento.engine.lifecycle.explain import explain
from bento.engine.stop.request import StopOptions
from bento.errors import AlreadyStopped, NotFound, WrongState
from bento.model.container import Status
from bento.model.stop import OnDeaf, StopRules, StopSettings, Verdict
from bento.stop.process import Disposition
from bento.testing.processes import LISTENS, SLEEPS


def test_s13_a_container_and_its_pid_1_are_explained_alike(drivers):
    main = drivers.processes.add("server")
    container = drivers.add("web", main, stop=StopSettings(timeout_s=3.0, signal=3))
    found = explain(drivers, "web", StopOptions())
    assert (found.name, found.signal, found.grace_s, found.verdict) == ("web", "SIGQUIT", 3.0, Verdict.GRACEFUL)
    assert container.run is not None
    other = explain_foreign(drivers, ForeignName(str(main.identity.pid)), StopOptions(grace_s=1.0))
    assert (other.signal, other.grace_s, other.verdict) == ("SIGTERM", 1.0, Verdict.GRACEFUL)


def test_s14_its_age_is_that_of_its_run(drivers):
    main = drivers.processes.add("server", Disposition.DROPPED)
    main.evidence = LISTENS
    drivers.add("web", main, age_s=4.0)
    found = explain(drivers, "web", StopOptions())
    assert found.duration_s == pytest.approx(6.05, abs=0.2)


def test_s14_what_can_wake_is_read(drivers):
    drivers.add("web", drivers.processes.add("job", Disposition.DROPPED))
    found = explain(drivers, "web", StopOptions())
    assert [(one.waits, one.is_resting) for one in found.processes] == [("runs", False)]
    assert found.unsure[0].startswith("whether job (")


def test_s00_the_configuration_is_asked_as_a_stop_would(drivers):
    main = drivers.processes.add("sleep", Disposition.DROPPED)
    main.evidence = SLEEPS
    drivers.add("web", main)
    assert explain(drivers, "web", StopOptions()).verdict is Verdict.DEFAULT_ACTION
    drivers.settings = Settings(stop_rules=StopRules(on_deaf=OnDeaf.WAIT))
    assert explain(drivers, "web", StopOptions()).verdict is Verdict.KILLED
    assert explain_foreign(drivers, ForeignName(str(main.identity.pid)), StopOptions()).verdict is Verdict.KILLED


def test_s01_what_does_not_run_is_not_explained(drivers):
    drivers.add("done", None, status=Status.STOPPED)
    with pytest.raises(AlreadyStopped):
        explain(drivers, "done", StopOptions())
    with pytest.raises(NotFound):
        explain(drivers, "nobody", StopOptions())
    with pytest.raises(NotFound):
        explain_foreign(drivers, ForeignName("4000000"), StopOptions())


def test_s01_only_pid_1_of_a_namespace_is_explained(drivers):
    main = drivers.processes.add("server")
    child = drivers.processes.add("child", under=main)
    with pytest.raises(WrongState, match=f"that would be {main.identity.pid}"):
        explain_foreign(drivers, ForeignName(str(child.identity.pid)), StopOptions())
