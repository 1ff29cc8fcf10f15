"""Stops of what Bento has not made, on fakes: what is refused, what the engine is asked, what is kept (rule S31)."""

from __future__ import annotations

import threading

import pytest

from bento.drivers.engines.base import ForeignContainer
from bento.engine.foreign.names import ForeignName
from bento.engine.foreign.reports import MOST, Reports
from bento.engine.foreign.stop import stop_foreign
from bento.engine.stop.request import StopOptions
from bento.errors import (
    AlreadyStopped,
    ForeignEngineFailed,
    NotFound,
    UsageError,
    WrongState,
)
from bento.model.stop import Hook, OnPaused, Verdict
from bento.stop.process import Disposition
from bento.testing.drivers import FakeDrivers
from bento.testing.engines import FakeEngine
from bento.testing.processes import LISTENS, SLEEPS, WAITS, FakeProcess

from support.observed import Observed

WEB = ForeignName("web", "docker")
ID = "f" * 64


def polite(drivers: FakeDrivers, code: int = 0) -> FakeProcess:
    return drivers.processes.add("server", exits=code << 8)


def known(drivers: FakeDrivers, main: FakeProcess | None, name: str = "web", **more) -> FakeEngine:
    """Have Docker know a container, whose cgroup says so."""
    engine = drivers.engines["docker"]
    if main is not None:
        main.comm = f"{main.comm}-{ID}"
    engine.add(ForeignContainer(id=more.pop("id", ID), name=name, **more), main)
    return engine


def stop(drivers: FakeDrivers, *wanted: ForeignName, **options):
    return stop_foreign(drivers, wanted or (WEB,), StopOptions(**options))


def test_s31_a_process_is_stopped_as_a_container_is(drivers):
    main = polite(drivers, 3)
    [outcome] = stop(drivers, ForeignName(str(main.identity.pid)))
    assert outcome.error is None
    assert main.signals == [15]
    report = outcome.report
    assert (report.verdict, report.exit_code, report.name) == (
        Verdict.GRACEFUL, 3, f"process {main.identity.pid}",
    )  # fmt: skip
    assert {phase.name for phase in report.phases} <= {"signal", "reaction", "exit", "record"}
    assert Reports(drivers.root).find(ForeignName(str(main.identity.pid))) == report
    assert list((drivers.run_root / "foreign" / "stops").iterdir()) == []
    assert not drivers.store.list()


def test_s31_its_engine_is_asked_and_signals_it(drivers):
    main = polite(drivers)
    engine = known(drivers, main, signal=3, grace_s=7.0)
    [outcome] = stop(drivers)
    assert outcome.error is None
    assert engine.stops == [("web", 7.0, None)]
    assert main.signals == [3]
    report = outcome.report
    assert (report.id, report.signal, report.grace_s, report.verdict) == (ID, "SIGQUIT", 7.0, Verdict.GRACEFUL)
    assert report.notes == ("docker was asked first (docker stop -t 7 web)",)
    assert "engine" in [phase.name for phase in report.phases]
    for ref in ("web", ID, ID[:8]):
        assert Reports(drivers.root).find(ForeignName(ref, "docker")) == report
    with pytest.raises(NotFound):
        Reports(drivers.root).find(ForeignName("web", "podman"))


def test_s31_what_its_engine_does_not_signal_is_signalled_by_bento(drivers, monkeypatch):
    monkeypatch.setattr("bento.stop.rules.asking.ARRIVES_S", 0.05)
    main = drivers.processes.add("sh", Disposition.DROPPED)
    server = drivers.processes.add("server", under=main, exits=0)
    main.evidence, server.evidence = WAITS, LISTENS
    known(drivers, main)
    [outcome] = stop(drivers)
    assert (main.signals, server.signals) == ([15, 9], [15])
    assert outcome.report.verdict is Verdict.FORWARDED
    assert [one.comm for one in outcome.report.signalled] == ["server"]


def test_s31_a_kill_is_the_engines(drivers):
    main = drivers.processes.add("stubborn", Disposition.IGNORED)
    engine = known(drivers, main)
    engine.on_stop = lambda process, number: drivers.processes.end(process, number)
    [outcome] = stop(drivers, grace_s=0.0)
    assert engine.stops == [("web", 0.0, 9)]
    assert (outcome.report.verdict, outcome.report.cause) == (Verdict.KILLED, "a kill was asked for")


def test_s31_what_its_engine_does_not_kill_bento_kills_later(drivers):
    main = drivers.processes.add("stubborn", Disposition.IGNORED)
    main.evidence = SLEEPS
    engine = known(drivers, main)
    [outcome] = stop(drivers, grace_s=0.2)
    assert engine.stops == [("web", 0.2, None)]
    assert drivers.processes.kills == 1
    assert outcome.report.verdict is Verdict.KILLED
    assert outcome.report.grace_s == 0.2
    assert outcome.report.duration_s > 1.2  # its engine takes whole seconds


def test_s31_what_its_engine_cannot_stop_is_let_be(drivers):
    main = polite(drivers)
    engine = known(drivers, main)
    engine.error = "permission denied"
    [outcome] = stop(drivers)
    assert isinstance(outcome.error, ForeignEngineFailed)
    assert "docker could not stop container web: permission denied" in outcome.error.message
    assert main.signals == []
    assert main.status is None


def test_s31_a_restart_is_reported(drivers):
    main, again = polite(drivers), drivers.processes.add("server")
    engine = known(drivers, main)

    def restart(process: FakeProcess, number: int) -> None:
        drivers.processes.end(process, 0)
        engine.add(ForeignContainer(id=ID, name="web"), again)

    engine.on_stop = restart
    [outcome] = stop(drivers)
    assert "docker has started it again" in outcome.report.notes


def test_s28_one_that_cannot_be_stopped_stops_no_other(drivers):
    main = polite(drivers)
    known(drivers, main)
    process = polite(drivers)
    wanted = (ForeignName("nobody", "docker"), WEB, ForeignName("4000000"), ForeignName(str(process.identity.pid)))
    outcomes = stop(drivers, *wanted)
    assert [type(outcome.error) for outcome in outcomes] == [NotFound, type(None), NotFound, type(None)]


def test_s31_an_engine_that_does_not_answer_is_asked_once(drivers):
    engine = drivers.engines["docker"]
    engine.is_silent = True
    outcomes = stop(drivers, WEB, ForeignName("db", "docker"))
    assert engine.found == ["web"]
    assert all(isinstance(outcome.error, ForeignEngineFailed) for outcome in outcomes)


@pytest.mark.parametrize("ref", ["0", "x", "-1", "1.5", "99999999", ""])
def test_s01_a_bad_pid(drivers, ref):
    [outcome] = stop(drivers, ForeignName(ref))
    assert isinstance(outcome.error, UsageError)


def test_s31_what_bento_must_not_touch_is_refused(drivers):
    main = polite(drivers)
    child = drivers.processes.add("child", under=main)

    def refused(pid: int) -> str:
        [outcome] = stop(drivers, ForeignName(str(pid)))
        assert isinstance(outcome.error, WrongState)
        return str(outcome.error)

    assert "process 1 is the init of this host" in refused(1)
    assert f"that would be {main.identity.pid}" in refused(child.identity.pid)
    container, own = drivers.server("mine")
    drivers.processes.own_ids[own.identity.pid] = container.id
    assert "use: bento stop mine" in refused(own.identity.pid)
    drivers.processes.own_ids[own.identity.pid] = "e" * 64
    assert "with the --root that has it" in refused(own.identity.pid)
    drivers.processes.nested_ids.add("d" * 64)
    assert f"has containers of Bento's under it: {'d' * 12}" in refused(main.identity.pid)
    assert main.signals == own.signals == []


def test_s31_a_process_that_is_not_its_containers_is_refused(drivers):
    main = polite(drivers)
    engine = drivers.engines["docker"]
    engine.add(ForeignContainer(id=ID, name="web", started_unix_s=1.0), main)
    [outcome] = stop(drivers)
    assert "does not seem to be PID 1 of container web of docker" in str(outcome.error)
    engine.add(ForeignContainer(id=ID, name="web", status="restarting"), None)
    [outcome] = stop(drivers)
    assert isinstance(outcome.error, AlreadyStopped)
    assert "to end that: docker stop web" in str(outcome.error)


def test_s31_one_that_ends_while_it_is_looked_for_has_stopped(drivers, monkeypatch):
    main = polite(drivers)
    known(drivers, main)
    situate = drivers.processes.situate

    def end_first(pid: int):
        drivers.processes.end(main, 0)
        return situate(pid)

    monkeypatch.setattr(drivers.processes, "situate", end_first)
    [outcome] = stop(drivers)
    assert isinstance(outcome.error, AlreadyStopped)


def test_s11_what_is_paused_is_refused(drivers):
    main = polite(drivers)
    engine = known(drivers, main)
    drivers.processes.frozen.add(main.identity.pid)
    for on_paused in OnPaused:
        [outcome] = stop(drivers, on_paused=on_paused)
        assert "use: docker unpause web; to kill it as it is: stop --force --pid" in str(outcome.error)
    assert engine.stops == []
    assert drivers.processes.thaws == 0
    [outcome] = stop(drivers, ForeignName(str(main.identity.pid)), grace_s=0.0)
    assert outcome.error is None

    process = polite(drivers)
    drivers.processes.frozen.add(process.identity.pid)
    by_pid = ForeignName(str(process.identity.pid))
    [outcome] = stop(drivers, by_pid)
    assert "stop --paused thaw --pid" in str(outcome.error)
    [outcome] = stop(drivers, by_pid, on_paused=OnPaused.THAW)
    assert outcome.error is None
    assert drivers.processes.thaws == 2


@pytest.mark.parametrize(
    "options",
    [
        {"pre_stop": (Hook(kind="inside", command="true"),)},
        {"drain": True},
        {"command": "poweroff"},
        {"total_s": 5.0},
        {"method": "systemd"},
        {"extend": True, "grace_s": 3.0},
    ],
)
def test_s31_options_that_are_of_no_use(drivers, options):
    main = polite(drivers)
    known(drivers, main)
    with pytest.raises(UsageError):
        stop(drivers, **options)
    assert main.signals == []


def test_s08_an_engine_that_takes_no_signal_is_not_told_one(drivers):
    main = polite(drivers)
    engine = known(drivers, main)
    [outcome] = stop(drivers, signal=2)
    assert "make it with --stop-signal SIGINT" in str(outcome.error)
    engine.takes_signal = True
    [outcome] = stop(drivers, signal=2)
    assert (engine.stops, main.signals) == ([("web", 10.0, 2)], [2])


def test_s05_a_second_stop_joins_the_first(drivers):
    main = drivers.processes.add("slow")
    engine = known(drivers, main)
    outcomes: list = []
    begun = threading.Event()

    def first() -> None:
        outcomes.extend(stop_foreign(drivers, [WEB], StopOptions(), Observed(on_begun=lambda _: begun.set())))

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(20.0)
    joined = threading.Event()
    by_pid = ForeignName(str(main.identity.pid))
    second = threading.Thread(
        target=lambda: outcomes.extend(
            stop_foreign(drivers, [by_pid], StopOptions(), Observed(on_begun=lambda _: joined.set()))
        )
    )
    second.start()
    assert joined.wait(20.0)
    drivers.processes.end(main, 0)
    thread.join(20.0)
    second.join(20.0)
    assert len(outcomes) == 2
    assert outcomes[0].report == outcomes[1].report
    assert len(engine.stops) == 1


def test_s23_reports_are_bounded_and_what_is_damaged_is_passed_over(drivers):
    main = polite(drivers)
    [outcome] = stop(drivers, ForeignName(str(main.identity.pid)))
    reports, directory = Reports(drivers.root), drivers.root / "foreign"
    (directory / "x.json").write_text("no report", encoding="utf-8")
    assert reports.find(ForeignName(str(main.identity.pid))) == outcome.report
    for number in range(MOST):
        (directory / f"{number}.json").write_text("{}", encoding="utf-8")
    reports.keep("", outcome.report)
    assert len(list(directory.iterdir())) == MOST
    count, freed_bytes = reports.clear()
    assert count == MOST
    assert freed_bytes > MOST
    assert list(directory.iterdir()) == []
