"""What the report of a stop says, and its verdict."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace

from bento import clock
from bento.engine.lifecycle import reconcile
from bento.engine.stop.request import StopOptions
from bento.engine.views import inspect
from bento.errors import (
    StorageUnusable,
)
from bento.model.container import Namespaces
from bento.model.stop import (
    AskedBy,
    Occasion,
    StopReport,
    Verdict,
)
from bento.stop.process import Disposition
from bento.testing.processes import LISTENS, SLEEPS, WAITS

from support.stopping import report_of, stop

# -- many (S26, S28) -------------------------------------------------------------------------------------------


def test_s23_a_removal_that_fails_leaves_no_graceful_verdict(drivers, monkeypatch):
    drivers.server(auto_remove=True)

    def failing(container_id):
        raise StorageUnusable("read-only")

    monkeypatch.setattr(drivers.storage, "remove", failing)
    outcome = stop(drivers)
    assert isinstance(outcome.error, StorageUnusable)
    assert outcome.report.verdict is Verdict.STUCK
    assert outcome.report.cause == "it was signalled and ended by itself, but its removal failed (read-only)"
    assert outcome.report.errors == ("removal: read-only",)


# -- the report (S23, S24) ----------------------------------------------------------------------------------------


def test_s23_the_report_says_what_was_signalled_and_how_each_process_ended(drivers):
    shell = drivers.processes.add("sh", Disposition.DROPPED)
    server = drivers.processes.add("server", under=shell)
    reader = drivers.processes.add("sleep", Disposition.DEFAULT, under=shell)
    shell.evidence, server.evidence, reader.evidence = WAITS, LISTENS, SLEEPS
    drivers.add("web", shell)
    server.on_signal = lambda number: server.end(3 << 8)
    stop(drivers, options=StopOptions(signal=2))
    report = report_of(drivers)
    assert (report.signal, report.method, report.disposition) == ("SIGINT", "signal", "dropped")
    assert (report.exit_code, report.grace_s, report.is_slow) == (3, 10.0, False)
    assert [(one.comm, one.occasion) for one in report.signalled] == [("server", Occasion.PROGRAM)]
    ends = {end.pid: (end.comm, end.how, end.code) for end in report.processes}
    assert ends == {
        shell.identity.pid: ("sh", "killed-by-us", 9),
        server.identity.pid: ("server", "exited", 3),
        reader.identity.pid: ("sleep", "killed-with-pid-1", 9),
    }
    names = [phase.name for phase in report.phases]
    assert [names[0], names[-6:]] == ["signal", ["log drain", "runtime", "cgroup", "network", "unmount", "record"]]
    assert all(phase.duration_s >= 0 for phase in report.phases)
    assert report.duration_s >= report.phases[-1].start_s


def test_s23_the_report_has_the_tree_what_each_waited_for_and_what_came_later(drivers, monkeypatch):
    shell = drivers.processes.add("sh", Disposition.DROPPED)
    server = drivers.processes.add("server", under=shell)
    shell.evidence, server.evidence = WAITS, LISTENS
    drivers.add("web", shell)

    def fork(number):
        late = drivers.processes.add("helper", under=server)
        late.identity = replace(late.identity, start_ticks=int(clock.boot_s() * os.sysconf("SC_CLK_TCK")) + 10)

    def looking(*args, **options):
        found = look(*args, **options)
        if any(process.comm == "helper" for process in found):  # it was seen: now the program may end
            server.end(0)
        return found

    look = drivers.processes.look
    monkeypatch.setattr(drivers.processes, "look", looking)
    server.on_signal = fork
    stop(drivers)
    first, second, late = report_of(drivers).processes
    assert (second.ppid, late.ppid) == (first.pid, second.pid)
    assert (first.waited, second.waited) == ("waits for a child", "accepts on a listening socket")
    assert (first.began_s, second.began_s) == (None, None)
    assert late.began_s is not None
    assert late.began_s > 0


@pytest.mark.parametrize(("is_shared", "verdict"), [(False, Verdict.CUT_SHORT), (True, Verdict.GRACEFUL)])
def test_s23_what_began_and_was_killed_between_two_looks_is_no_graceful_end(drivers, is_shared, verdict):
    _, main = drivers.server(
        code=0, namespaces=Namespaces(pid="host" if is_shared else "")
    )  # there PID 1's end kills nothing
    drivers.fake_births.unseen[main.identity.pid] = [4711]
    stop(drivers)
    assert report_of(drivers).verdict is verdict
    assert (
        [(end.pid, end.how) for end in report_of(drivers).processes[1:]] == [(4711, "killed-with-pid-1")]
    ) is not is_shared


def test_s24_the_oom_killer_is_known_by_the_change_of_its_count(drivers):
    drivers.processes.oom_count = 2
    container, main = drivers.server(code=137)
    answer = main.on_signal

    def told(number):
        drivers.processes.oom_count = 3
        answer(number)

    main.on_signal = told
    stop(drivers)
    assert "OOM" in report_of(drivers).cause
    assert drivers.store.get(container.id).exit.oom_killed


def test_s24_a_kill_for_want_of_memory_that_did_not_end_it_is_noted(drivers):
    container, main = drivers.server(code=0, command=("app",))
    drivers.processes.oom_count = 2
    assert inspect.inspect(drivers, container)["State"]["OOMKilled"] is True
    answer = main.on_signal

    def told(number):
        drivers.processes.oom_count = 3
        answer(number)

    main.on_signal = told
    stop(drivers)
    report = report_of(drivers)
    assert report.verdict is Verdict.GRACEFUL
    assert [note for note in report.notes if "memory" in note] == [
        "the kernel killed 2 of its processes for want of memory before the stop",
        "the kernel killed 1 of its processes for want of memory during the stop",
    ]
    assert drivers.store.get(container.id).exit.oom_killed


@pytest.mark.parametrize("is_marked", [True, False])
def test_s24_the_monitor_remembers_it_when_the_cgroup_has_gone(drivers, is_marked):
    container, main = drivers.server(code=137)
    run_dir = drivers.run_dir(container.id)
    run_dir.mkdir(parents=True, exist_ok=True)
    if is_marked:
        (run_dir / "oom").touch()
    drivers.processes.oom_count = None
    drivers.processes.end(main, 9)
    ended = reconcile.find(drivers, container.id).exit
    assert ended is not None
    assert ended.oom_killed is is_marked


def test_s25_a_stop_that_took_over_half_of_its_grace_is_slow(drivers):
    drivers.stubborn()
    stop(drivers, options=StopOptions(grace_s=0.05))
    assert report_of(drivers).is_slow
    assert "stubborn ignores SIGTERM" in report_of(drivers).cause


def test_s23_a_stop_that_failed_leaves_a_report_of_its_own(drivers):
    container, main = drivers.stubborn()
    main.is_immortal = True
    drivers.store.modify(container.id, lambda c: replace(c, report=_old_report()))
    report = stop(drivers, options=StopOptions(grace_s=0.0, kill_timeout_s=0.02)).report
    assert report.verdict is Verdict.STUCK
    assert report == drivers.store.get(container.id).report


def _old_report() -> StopReport:
    return StopReport(
        asked_by=AskedBy.USER,
        method="signal",
        signal="SIGTERM",
        grace_s=1.0,
        started_unix_ns=1,
        duration_s=1.0,
        verdict=Verdict.GRACEFUL,
        cause="",
        remedy="",
        exit_code=0,
        disposition="handled",
    )
