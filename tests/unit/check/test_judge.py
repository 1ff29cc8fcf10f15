"""What a check finds in what was observed. Pure, so no container is needed: each id with its fault, and without."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.check.catalogue import BY_ID, KINDS
from bento.check.judge import is_hopeless, judge, verdict_of
from bento.check.observed import Observation, Sample
from bento.model.check import CheckVerdict, Finding, Loaded, Requests, RunKind, Severity
from bento.model.stop import UNSEEN, ProcessEnd, StopRequest, Verdict
from bento.programs.table import read
from bento.stop.process import Process

from support.checks import end, numbered, observed, report, state
from support.looks import (
    BLOCKED,
    DEFAULT,
    DROPPED,
    HANDLED,
    IGNORED,
    UNKNOWN,
    WAITING,
    polls,
    proc,
    sleeps,
    thread,
    waits,
)


def ids(*runs: Observation) -> list[str]:
    return [one.id for one in judge(runs)]


def only(*runs: Observation) -> Finding:
    (found,) = judge(runs)
    return found


def changed(found: Finding) -> dict[str, str]:
    return {change.place: change.text for change in reversed(found.remedy.changes)}


def server(disposition=HANDLED, name: str = "server", **more) -> Process:
    return proc(1, disposition, name, evidence=polls("listen"), **more)


def graceful(main: Process, **more) -> Observation:
    return observed(main, came=report(end(main, "exited", 0, at_s=0.1)), received_s=0.1, ready_s=0.2, **more)


def killed(*look: Process, samples: tuple[Sample, ...] = (), **more) -> Observation:
    ends = [end(one, "killed-by-us", 9, at_s=10.0) for one in look]
    return observed(*look, came=report(*ends, killed=True, duration_s=10.1), samples=samples, **more)


# -- does the signal reach the program? ------------------------------------------------------------


@pytest.mark.parametrize("disposition", [HANDLED, BLOCKED, WAITING, UNKNOWN])
def test_one_that_receives_the_signal_and_ends_has_no_findings(disposition):
    assert ids(graceful(server(disposition))) == []


def test_bg001_deaf():
    found = only(killed(server(DROPPED)))
    assert (found.id, found.severity, found.runs) == ("BG001", Severity.ERROR, (1,))
    assert changed(found)["compose"] == "init: true"
    assert [process.pid for process in found.evidence.processes] == [1]


def test_bg001_also_where_it_ended_by_itself_just_then():
    assert ids(graceful(server(DROPPED))) == ["BG001"]


def test_bg001_names_a_signal_that_it_handles():
    found = only(killed(server(DROPPED), also_receives=(2, 3)))
    assert changed(found)["dockerfile"] == "STOPSIGNAL SIGINT"
    assert found.evidence.facts == ("it has a handler for SIGINT, SIGQUIT",)


def test_bg001_has_the_line_of_a_handler_for_a_language_that_is_known():
    assert "signal.signal(signal.SIGTERM" in changed(only(killed(server(DROPPED, "python3.11"))))["program"]


def test_bg002_wrapper():
    sh = proc(1, DROPPED, "sh", evidence=waits(), argv=("sh", "start.sh"))
    found = only(killed(sh, proc(2, HANDLED, "web", under=1, evidence=polls("listen"))))
    assert found.id == "BG002"
    assert [process.pid for process in found.evidence.processes] == [1, 2]
    assert "exec web" in [change.text for change in found.remedy.changes]
    assert "kill -TERM" in changed(found)["pod"]


def test_bg002_through_several_wrappers_down_to_one_that_has_no_handler_either():
    sh = proc(1, DROPPED, "sh", evidence=waits(), argv=("/bin/sh", "-c", "a; b"))
    su = proc(2, DEFAULT, "su", under=1, evidence=waits())
    job = proc(3, DEFAULT, "job", under=2, evidence=sleeps())
    found = only(killed(sh, su, job))
    assert (found.id, changed(found)["dockerfile"]) == ("BG002", 'ENTRYPOINT ["/usr/bin/tini", "--"]\nCMD ["job"]')
    assert changed(found)["compose"] == 'init: true\ncommand: ["job"]'


def test_a_wrapper_that_handles_the_signal_is_none():
    init = proc(1, WAITING, "tini", evidence=waits())
    app = proc(2, DEFAULT, "app", under=1, evidence=sleeps())
    came = report(end(init, "exited", 143, at_s=0.1), end(app, "signalled", 15, at_s=0.1), exit_code=143)
    assert ids(observed(init, app, came=came)) == []


def test_bg003_ignored():
    found = only(killed(server(IGNORED)))
    assert (found.id, found.remedy.changes) == ("BG003", ())
    assert changed(only(killed(server(IGNORED), also_receives=(3,))))["command"]
    assert changed(only(killed(server(IGNORED, "perl"))))["program"]


def test_bg004_swallowed():
    swallowed = killed(server(name="node"), samples=(_sample(DROPPED, at_s=9.0), Sample(at_s=10.0, main=None)))
    found = only(swallowed)
    assert (found.id, "process.on('SIGTERM'" in changed(found)["program"]) == ("BG004", True)
    assert "SIGTERM would now be dropped by PID 1 (1)" in [moment.text for moment in found.evidence.timeline]
    assert changed(only(killed(server(), samples=(_sample(DROPPED),))))["command"] == "--init"


def _sample(main, *, at_s: float = 9.0, is_pending: bool = False, alive: tuple[str, ...] = ()) -> Sample:
    return Sample(at_s=at_s, main=main, is_pending=is_pending, alive=alive)


def test_what_shows_only_after_its_end_is_not_in_the_timeline():
    main = server(DROPPED)
    late = killed(main, samples=(_sample(HANDLED, at_s=10.5),))
    assert not any("would now be" in moment.text for moment in only(late).evidence.timeline)


def test_bg005_unread():
    assert ids(killed(server(BLOCKED), samples=(_sample(BLOCKED, is_pending=True),))) == ["BG005"]
    assert ids(killed(server(BLOCKED), samples=(_sample(BLOCKED),))) == ["BG010"]


def _shell_with_trap(child_evidence=None) -> tuple[Process, Process]:
    sh = proc(1, HANDLED, "sh", evidence=waits())
    return sh, proc(2, DEFAULT, "sleep", under=1, evidence=child_evidence or sleeps())


def test_bg006_late_trap():
    found = only(killed(*_shell_with_trap()))
    assert (found.id, changed(found)["script"]) == ("BG006", 'sleep & child=$!\nwait "$child"')


def test_bg006_also_where_it_only_took_long():
    sh, child = _shell_with_trap()
    ends = (end(sh, "exited", 0, at_s=6.0), end(child, "exited", 0, at_s=5.9))
    assert ids(observed(sh, child, came=report(*ends, duration_s=6.0))) == ["BG006"]
    assert ids(observed(sh, child, came=report(*ends, duration_s=0.2))) == []


def test_a_shell_in_its_wait_builtin_is_judged_by_what_it_does():
    sh = proc(1, HANDLED, "dash", evidence=thread("rt_sigsuspend"))
    child = proc(2, DEFAULT, "sleep", under=1, evidence=sleeps())
    assert ids(killed(replace(sh, sees_children=True), child)) == ["BG010"]
    assert ids(graceful(proc(1, HANDLED, "bash", evidence=sleeps()))) == []


def test_bg007_kill_as_stop_signal():
    found = only(killed(server(DROPPED), request=StopRequest(signal=9)))
    assert (found.id, changed(found)["compose"]) == ("BG007", "stop_signal: SIGTERM")


NGINX, TINI = read("nginx"), read("tini")


@pytest.mark.parametrize(("pid", "programs"), [(1, {1: NGINX}), (2, {1: TINI, 2: NGINX})])
def test_bg008_a_known_program_gets_another_signal_than_its_orderly_one(pid, programs):
    tini, nginx = proc(1, WAITING, "tini"), proc(pid, HANDLED, "nginx", under=pid - 1, evidence=polls("listen"))
    look = (nginx,) if pid == 1 else (tini, nginx)
    ends = [end(one, "exited", 0, at_s=0.1) for one in look]
    found = only(observed(*look, came=report(*ends), received_s=0.1, ready_s=0.2, programs=programs))
    assert (found.id, found.severity) == ("BG008", Severity.WARNING)
    assert f"nginx ({pid}) is nginx: at SIGTERM it closes all connections at once" in found.detail
    assert changed(found)["dockerfile"] == "STOPSIGNAL SIGQUIT"
    assert found.evidence.facts == ("source: nginx documentation, Controlling nginx (fast shutdown)",)


def test_bg008_not_for_its_orderly_signal_nor_for_what_is_not_known():
    nginx = server(HANDLED, "nginx")
    assert ids(graceful(nginx, programs={1: NGINX}, request=StopRequest(signal=3))) == []
    assert ids(graceful(nginx)) == []
    assert ids(graceful(server(HANDLED, "redis"), programs={1: read("redis")})) == []
    assert ids(killed(server(DROPPED, "cron"), programs={1: read("cron")})) == ["BG001"]


def test_an_init_is_judged_by_its_end_alone():
    asked = StopRequest(method="busybox")
    main = server(DROPPED, "init")
    came = report(end(main, "signalled", 2, at_s=0.1), exit_code=130)
    assert ids(observed(main, came=came, request=asked)) == []


# -- how does it end? ------------------------------------------------------------------------------


def test_bg010_grace_exceeded():
    found = only(killed(server(), samples=(_sample(HANDLED, alive=("worker (7)",)),)))
    assert (found.id, "worker (7)" in found.detail) == ("BG010", True)
    assert changed(found)["pod"] == "terminationGracePeriodSeconds: 30"
    assert ids(killed(server())) == ["BG010"]


def test_bg011_slow():
    main = server()
    came = report(end(main, "exited", 0, at_s=6.0), duration_s=6.0)
    assert changed(only(observed(main, came=came)))["compose"] == "stop_grace_period: 12s"


def test_bg020_killed_with_pid_1():
    main, worker = server(), proc(2, HANDLED, "worker", under=1)
    came = report(end(main, "exited", 0, at_s=1.0), end(worker, "killed-with-pid-1", 9, at_s=0.99))
    found = only(observed(main, worker, came=came))
    assert (found.id, [one.pid for one in found.evidence.processes]) == ("BG020", [1, 2])
    assert "was killed by the kernel along with PID 1" in found.evidence.timeline[-2].text


def test_bg020_not_for_what_has_no_handler_nor_for_what_went_long_before():
    main, worker = server(), proc(2, HANDLED, "worker", under=1)
    job = proc(3, DEFAULT, "job", under=1)
    gone = end(worker, "killed-with-pid-1", 9, at_s=0.2)
    came = report(end(main, "exited", 0, at_s=1.0), end(job, "killed-with-pid-1", 9), gone)
    assert ids(observed(main, worker, job, came=came)) == []


def test_bg020_names_the_first_few_and_what_no_look_has_shown():
    main = server()
    unseen = ProcessEnd(pid=99, comm=UNSEEN, how="killed-with-pid-1", code=9, receives=UNSEEN)
    assert (
        "a process that began during the stop" in only(observed(main, came=report(end(main, "exited"), unseen))).detail
    )
    workers = [proc(pid, HANDLED, "w", under=1) for pid in range(2, 9)]
    ends = [end(one, "killed-with-pid-1", 9) for one in workers]
    assert "and 2 more" in only(observed(main, *workers, came=report(end(main, "exited"), *ends))).detail


def test_bg021_own_session():
    init = proc(1, WAITING, "tini", evidence=waits())
    app, daemon = proc(2, HANDLED, "app", under=1), proc(3, HANDLED, "daemon", under=1)
    ends = (end(init, "exited", 0, at_s=0.1), end(app, "exited", 0), end(daemon, "killed-with-pid-1", 9))
    near = (state(init), state(app, session=2))
    far = observed(
        init, app, proc(3, HANDLED, "daemon", under=2), came=report(*ends), states=(*near, state(daemon, session=3))
    )
    assert ids(far) == ["BG021"]
    same = observed(init, app, daemon, came=report(*ends), states=(*near, state(daemon, session=2)))
    assert ids(same) == ["BG020"]


def test_bg022_zombies():
    main = server()
    left = [state(proc(pid, DEFAULT, "gone", under=1), letter="Z") for pid in range(5, 10)]
    found = only(graceful(main, zombies=tuple(left)))
    assert (found.id, "and 2 more ended, and server (1)" in found.detail) == ("BG022", True)
    assert {process.state for process in found.evidence.processes} == {"Z"}
    assert "process 77" in only(graceful(main, zombies=(state(proc(5, DEFAULT, "gone", under=77), letter="Z"),))).detail


@pytest.mark.parametrize(("code", "found"), [(0, []), (143, []), (None, []), (3, ["BG030"]), (139, ["BG031"])])
def test_exit_codes(code, found):
    main = server()
    assert ids(observed(main, came=report(end(main, "exited", code, at_s=0.1), exit_code=code))) == found


def test_bg030_knows_go_that_does_not_handle_the_signal():
    main = server(catches_all=True)
    found = only(observed(main, came=report(end(main, "exited", 2), exit_code=2)))
    assert "signal.NotifyContext" in changed(found)["program"]


def test_bg030_knows_with_which_code_a_known_program_ends_in_order():
    main, programs = server(HANDLED, "privoxy"), {1: read("privoxy")}
    for code, is_known in ((15, True), (3, False)):
        came = report(end(main, "exited", code), exit_code=code)
        found = only(observed(main, came=came, programs=programs))
        assert ("That is how privoxy ends in order" in found.detail) == is_known


def test_bg031_knows_want_of_memory():
    main = server()
    by_oom = report(end(main, "killed-with-pid-1", 9), verdict=Verdict.KILLED, exit_code=137, cause="OOM killer")
    assert only(observed(main, came=by_oom)).remedy.text == "give it more memory"
    assert ids(observed(main, came=report(end(main, "unknown"), verdict=Verdict.KILLED, exit_code=137))) == ["BG031"]


def test_what_had_gone_is_not_judged():
    main = server()
    assert ids(observed(main, came=report(verdict=Verdict.ALREADY_EXITED))) == []
    assert ids(observed(came=report())) == []
    assert ids(observed(main)) == []


# -- at other moments ------------------------------------------------------------------------------


def test_bg012_start_up_window():
    late = replace(graceful(server()), run=replace(graceful(server()).run, received_s=1.5))
    lost = observed(server(DROPPED), kind=RunKind.START_UP, number=2, stopped_s=0.4)
    found = only(late, lost)
    assert (found.id, found.evidence.facts) == ("BG012", ("run 2: 0.40 s after the start: dropped",))
    assert ids(graceful(server()), lost) == []


def test_bg013_start_up_stop():
    early = killed(server(), kind=RunKind.START_UP, number=2, stopped_s=0.3, samples=(_sample(HANDLED),))
    found = only(graceful(server()), early, numbered(early, 3))
    assert (found.id, found.runs) == ("BG013", (2, 3))
    swallowed = killed(server(), kind=RunKind.START_UP, number=2, samples=(_sample(HANDLED), _sample(DROPPED)))
    assert ids(graceful(server()), swallowed) == []  # it was still the runtime's program: the signal was lost
    assert ids(killed(server()), early) == ["BG010"]


def test_starts_say_nothing_of_one_that_never_receives_it():
    assert ids(killed(server(DROPPED), received_s=2.0), killed(server(), kind=RunKind.START_UP)) == ["BG001"]


def test_bg014_second_signal():
    main, long = server(), report(end(server(), "exited", 0, at_s=2.0), duration_s=2.0)
    settled = observed(main, came=long)

    def twice(**more) -> Observation:
        return observed(main, kind=RunKind.TWICE, number=2, came=report(end(main, "exited"), **more))

    assert ids(settled, twice(exit_code=1, duration_s=2.0)) == ["BG014"]
    assert ids(settled, twice(exit_code=0, duration_s=0.5)) == ["BG014"]
    assert ids(settled, twice(exit_code=0, duration_s=2.0)) == []
    assert ids(settled, twice(killed=True)) == []
    assert ids(killed(main), twice(exit_code=1)) == ["BG010"]
    python = server(name="python3")
    other = observed(python, kind=RunKind.TWICE, number=2, came=report(end(python, "exited"), exit_code=1))
    assert "SIG_IGN" in changed(only(settled, other))["program"]


# -- work and state --------------------------------------------------------------------------------


def _loaded(kind: RunKind = RunKind.LOAD, *, code: int | None = None, output: str = "", **counted) -> Observation:
    requests = Requests(sent=20, answered=10, **counted) if counted else None
    command = Loaded(command="ab", exit_code=code, duration_s=1.0, output=output) if output else None
    return observed(server(), kind=kind, came=report(), requests=requests, command=command)


def test_bg040_requests_lost():
    found = only(_loaded(unanswered=2))
    assert (found.id, found.detail.partition(",")[0]) == ("BG040", "2 of 12 requests")
    assert "--drain" in only(_loaded(RunKind.DRAIN, unanswered=2)).detail
    assert ids(_loaded(refused=9)) == []
    gone = observed(kind=RunKind.LOAD, came=report(), requests=Requests(sent=1, unanswered=1))
    assert only(gone).evidence.processes == ()


def test_bg041_late_requests_lost():
    found = only(_loaded(unanswered_late=2))
    assert (found.id, changed(found)["command"]) == ("BG041", "--drain")
    assert ids(_loaded(unanswered_late=1)) == []


def test_bg042_load_failed():
    assert only(_loaded(code=1, output="3 errors")).evidence.facts == ("3 errors",)
    assert "did not end" in only(_loaded(code=None, output="slow")).detail
    assert ids(_loaded(code=0, output="fine")) == []


def _after(*, code: int | None = None, output: str = "", ready_s: float | None = 0.1) -> Observation:
    command = Loaded(command="fsck", exit_code=code, duration_s=0.1, output=output)
    return observed(kind=RunKind.AFTER, number=2, command=command, ready_s=ready_s, note="it ended")


def test_bg050_unclean_state():
    assert only(_after(code=1, output="journal replayed")).evidence.facts == ("journal replayed",)
    assert only(_after(code=None)).evidence.facts == ()
    assert ids(_after(code=0)) == []


def test_bg051_no_second_start():
    found = only(_after(code=0, ready_s=None))
    assert (found.id, "it ended" in found.detail) == ("BG051", True)


# -- all together ----------------------------------------------------------------------------------


def test_a_finding_of_several_runs_stands_once_with_the_heaviest_first():
    main = server()
    odd = observed(main, came=report(end(main, "exited", 3), exit_code=3))
    found = judge([odd, numbered(odd, 2), numbered(_loaded(unanswered=1), 3)])
    assert [(one.id, one.runs) for one in found] == [("BG040", (3,)), ("BG030", (1, 2))]


def test_a_look_at_what_runs_is_judged_by_what_shows():
    left = (state(proc(5, DEFAULT, "gone", under=1), letter="Z"),)
    assert ids(observed(server(DROPPED), kind=RunKind.LOOK, zombies=left)) == ["BG001", "BG022"]
    assert ids(observed(server(), kind=RunKind.LOOK)) == []


def test_the_verdict_follows_from_the_severity_that_was_named():
    found = judge([killed(server())])
    assert verdict_of(found, Severity.ERROR) is CheckVerdict.FAILED
    assert verdict_of((), Severity.INFO) is CheckVerdict.PASSED
    slow = judge([observed(server(), came=report(end(server(), "exited"), exit_code=3))])
    assert verdict_of(slow, Severity.ERROR) is CheckVerdict.PASSED


def test_what_the_signal_does_not_reach_is_not_stopped_at_other_moments():
    assert is_hopeless(killed(server(DROPPED)))
    assert is_hopeless(killed(server()))
    assert not is_hopeless(graceful(server()))
    assert not is_hopeless(observed(server()))


def test_ids_are_unique_and_every_one_is_tried_here():
    assert len(BY_ID) == len(KINDS) == len({kind.name for kind in KINDS})
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert [kind.id for kind in KINDS if f"test_{kind.id.lower()}_" not in text and f'"{kind.id}"' not in text] == []


def test_a_look_shows_a_daemon_that_an_init_never_tells():
    init = proc(1, WAITING, "tini", evidence=waits())
    app, daemon = proc(2, HANDLED, "app", under=1), proc(3, HANDLED, "daemon", under=1)
    far = (state(init), state(app, session=2), state(daemon, session=3))

    def look(*processes: Process, states=far) -> list[str]:
        return ids(observed(*processes, kind=RunKind.LOOK, states=states))

    assert look(init, replace(app, ppid=1), replace(daemon, ppid=2)) == ["BG021"]
    assert look(init, app, replace(daemon, ppid=2, is_entered=True)) == []
    assert look(replace(init, comm="app", argv=("app",)), app, replace(daemon, ppid=2)) == []
    assert look(init, app, replace(daemon, ppid=2, disposition=DEFAULT)) == []
    assert ids(observed(kind=RunKind.LOOK)) == []


def test_a_look_shows_a_shell_in_front_of_a_program_that_stays():
    sh, child = _shell_with_trap()
    assert ids(observed(sh, child, kind=RunKind.LOOK)) == ["BG006"]
    assert ids(observed(sh, replace(child, evidence=polls("listen")), kind=RunKind.LOOK)) == []
    listener = replace(child, evidence=replace(polls("listen"), listening=1))
    assert ids(observed(sh, listener, kind=RunKind.LOOK)) == ["BG006"]
    assert ids(observed(sh, replace(child, evidence=sleeps(1.0)), kind=RunKind.LOOK)) == []
