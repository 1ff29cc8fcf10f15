"""What ``bento explain`` says: the machine rehearsed, in words. Pure, so no container is needed."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from bento.model.stop import Hook, Occasion, OnDeaf, OnPaused, OnWrapper, Scope, StopRequest, Verdict
from bento.model.waits import Descriptor, Evidence, ThreadWait
from bento.programs.table import read
from bento.stop.forecast import forecast as forecast_module
from bento.stop.forecast.cast import Cast
from bento.stop.forecast.forecast import Forecast, ProcessForecast, forecast
from bento.stop.inputs import Looked
from bento.stop.process import Disposition, Process

from support.looks import BLOCKED, DEFAULT, DROPPED, HANDLED, IGNORED, UNKNOWN, WAITING


def thread(call: str, *, state: str = "S", **more) -> Evidence:
    return Evidence(threads=(ThreadWait(tid=1, state=state, call=call, **more),))


WAITS = thread("wait4", child=0)  # for any child
SLEEPS = thread("clock_nanosleep", timeout_s=900.0)
RUNS = thread("", state="R")
SIGSUSPEND = thread("rt_sigsuspend")  # dash's wait builtin
POLLS = thread("epoll_wait", fds=(Descriptor("socket"),))
LISTENS = Evidence(threads=(ThreadWait(tid=1, state="S", call="accept4", fds=(Descriptor("listen"),)),), listening=1)


def proc(pid: int, disposition: Disposition, name: str = "prog", *, under: int = 0, **more) -> Process:
    """A process; ``under`` is its parent, and none makes it PID 1 of a namespace of its own."""
    more.setdefault("is_namespace_init", under == 0)
    more.setdefault("evidence", SLEEPS)
    more.setdefault("is_waiting", more["evidence"] == WAITS)
    more.setdefault("argv", (name,))
    return Process(pid=pid, start_ticks=7, ppid=under, comm=name, disposition=disposition, is_main=under == 0, **more)


def shell(pid: int, disposition: Disposition = DROPPED, name: str = "sh", **more) -> Process:
    """A shell that waits for its foreground child."""
    return proc(pid, disposition, name, **({"evidence": WAITS} | more))


def explain(
    *processes: Process, age_s: float = 100.0, is_frozen=False, also_receives=(), programs=None, **request
) -> Forecast:
    return forecast(
        "web",
        StopRequest(**request),
        processes,
        age_s=age_s,
        is_frozen=is_frozen,
        also_receives=also_receives,
        programs=programs,
    )


def shown(found: Forecast, pid: int) -> ProcessForecast:
    return next(process for process in found.processes if process.pid == pid)


def part(found: Forecast, pid: int) -> str:
    return shown(found, pid).part


def texts(found: Forecast) -> str:
    return "\n".join(f"{step.at_s:.2f} {step.text}" for step in found.steps)


@pytest.mark.parametrize(
    ("processes", "verdict"),
    [
        ([proc(1, HANDLED)], Verdict.GRACEFUL),
        ([proc(1, BLOCKED)], Verdict.GRACEFUL),
        ([proc(1, UNKNOWN)], Verdict.GRACEFUL),
        ([proc(1, DROPPED, "sleep")], Verdict.DEFAULT_ACTION),
        ([proc(1, DROPPED, "job", evidence=RUNS)], Verdict.KILLED),
        ([proc(1, DROPPED, "server", evidence=LISTENS)], Verdict.DEFAULT_ACTION),
        ([proc(1, IGNORED)], Verdict.KILLED),
        ([shell(1), proc(2, HANDLED, under=1)], Verdict.FORWARDED),
        ([shell(1), proc(2, HANDLED, under=1, evidence=POLLS)], Verdict.FORWARDED),
        ([shell(1), proc(2, DEFAULT, "sleep", under=1)], Verdict.FORWARDED),
        ([shell(1), proc(2, DEFAULT, "dump", under=1, evidence=RUNS)], Verdict.KILLED),
        ([shell(1), proc(2, IGNORED, under=1, evidence=RUNS)], Verdict.KILLED),
        ([proc(1, WAITING, "tini"), proc(2, HANDLED, under=1)], Verdict.GRACEFUL),
        ([proc(1, WAITING, "tini"), proc(2, IGNORED, under=1)], Verdict.KILLED),
        ([proc(1, WAITING, "tini"), shell(2, DEFAULT, under=1), proc(3, HANDLED, under=2)], Verdict.GRACEFUL),
        ([proc(1, HANDLED, "supervisord"), proc(2, HANDLED, under=1)], Verdict.GRACEFUL),
        ([proc(1, BLOCKED, "systemd")], Verdict.KILLED),
    ],
)
def test_s23_the_verdict_that_is_to_be_expected(processes, verdict):
    assert explain(*processes).verdict is verdict


def test_s13_wrappers_are_held_and_each_process_has_its_part():
    found = explain(
        shell(1),
        proc(2, HANDLED, "gunicorn", under=1, evidence=POLLS),
        proc(3, HANDLED, "worker", under=2),
        proc(4, DEFAULT, "tee", under=1),
        proc(5, IGNORED, "odd", under=1),
    )
    assert part(found, 1) == "held: it goes no further"
    assert part(found, 2) == "signalled in the place of PID 1"
    assert part(found, 3) == "left to gunicorn (2)"
    assert (part(found, 4), part(found, 5)) == ("not signalled", "not signalled")
    assert [process.pid for process in found.processes] == [1, 2, 3, 4, 5]
    lines = texts(found).splitlines()
    assert "sh (1) is held, and goes no further" in lines[0]
    assert "SIGTERM to gunicorn (2): PID 1 does not receive the signal" in lines[1]
    assert "gunicorn (2) ends" in lines[2]
    assert "Bento ends sh (1): what it waited for has ended" in lines[3]
    assert found.unsure == ()


def test_s13_a_wrapper_may_continue():
    found = explain(shell(1), proc(2, HANDLED, "web", under=1), on_wrapper=OnWrapper.CONTINUE)
    assert found.verdict is Verdict.FORWARDED
    assert part(found, 1) == "not signalled"
    assert "sh (1) leaves, with the status of what it ran" in texts(found)


def test_s13_a_loop_whose_child_has_just_begun_is_no_wrapper_yet():
    found = explain(shell(1), proc(2, HANDLED, "item", under=1, age_s=0.1))
    assert found.verdict is Verdict.FORWARDED
    assert found.duration_s == pytest.approx(0.2, abs=0.05)


def test_s13_an_init_passes_the_signal_on():
    found = explain(proc(1, WAITING, "tini", evidence=SIGSUSPEND), proc(2, HANDLED, "web", under=1))
    assert part(found, 2) == "gets the signal from tini (1)"
    assert "tini (1) passes it on to web (2)" in texts(found)
    assert "tini (1) leaves" in texts(found)
    assert found.unsure == ()


def test_s13_an_init_with_g_passes_it_on_to_all_below():
    found = explain(
        proc(1, WAITING, "tini", kills_group=True),
        shell(2, DEFAULT, under=1),
        proc(3, HANDLED, "web", under=2),
        proc(4, HANDLED, "log", under=1),
    )
    assert {part(found, pid) for pid in (2, 3, 4)} == {"gets the signal from tini (1)"}
    assert found.verdict is Verdict.GRACEFUL


def test_s13_forwarders_in_a_circle_pass_it_on_once():
    found = explain(proc(1, WAITING, "tini"), proc(2, HANDLED, "su", under=3), proc(3, HANDLED, "su", under=2))
    assert found.verdict is not None
    chain = explain(
        proc(1, WAITING, "tini", kills_group=True), proc(2, HANDLED, "su", under=1), proc(3, HANDLED, "web", under=2)
    )
    assert chain.verdict is Verdict.GRACEFUL
    assert texts(chain).count("to web (3)") == 1


def test_s13_a_supervisor_goes_on_when_its_child_has_ended():
    """One that has not got the signal, or makes something else of it."""
    found = explain(
        proc(1, WAITING, "tini", kills_group=True),
        proc(2, BLOCKED, "systemd", under=1, evidence=WAITS),
        proc(3, HANDLED, "web", under=2),
    )
    assert found.verdict is Verdict.KILLED
    assert "systemd (2) leaves" not in texts(found)


def test_s13a_what_a_shell_at_its_exit_waited_for_may_end():
    found = explain(shell(1, HANDLED), proc(2, HANDLED, "web", under=1, evidence=POLLS), proc(3, HANDLED, under=1))
    assert found.verdict is Verdict.LAST_CALL
    assert found.otherwise == "graceful, if the shell is in its wait builtin and runs its trap at once"


def test_s13a_pid_1_is_held_at_its_exit_for_what_it_leaves_behind():
    found = explain(proc(1, WAITING, "tini"), shell(2, DEFAULT, under=1), proc(3, HANDLED, "web", under=2))
    assert part(found, 1) == "signalled, and held at its exit"
    assert part(found, 3) == "signalled while PID 1 is held at its exit"
    lines = texts(found).splitlines()
    held = next(at for at, line in enumerate(lines) if "tini (1) is about to exit, and is held there" in line)
    assert "SIGTERM to web (3): PID 1 was leaving" in lines[held + 1]
    assert "tini (1) ends" in texts(found)
    assert "which it did not wait for" in found.cause


def test_s13a_without_the_hold_the_kernel_cuts_it_short():
    processes = proc(1, WAITING, "tini"), shell(2, DEFAULT, under=1), proc(3, HANDLED, "web", under=2)
    assert explain(*processes, exit_hold_s=0.0).verdict is Verdict.CUT_SHORT
    plain = explain(*processes, scope=Scope.MAIN)
    assert (plain.verdict, part(plain, 3)) == (Verdict.CUT_SHORT, "left to tini (1)")
    assert "last call" not in texts(explain(proc(1, IGNORED), scope=Scope.MAIN))


def test_s13a_what_goes_on_at_the_exit_of_pid_1_is_held():
    found = explain(
        shell(1, HANDLED, evidence=SIGSUSPEND), shell(2, DEFAULT, under=1), proc(3, HANDLED, "dump", under=2)
    )
    assert part(found, 2) == "held: it goes no further"
    assert part(found, 3) == "signalled while PID 1 is held at its exit"


def test_s13a_an_exit_hold_that_ends_too_soon():
    stubborn = proc(3, BLOCKED, "systemd", under=1, evidence=POLLS)
    found = explain(shell(1, HANDLED, evidence=SIGSUSPEND), stubborn, exit_hold_s=2.0)
    assert found.verdict is Verdict.CUT_SHORT
    assert found.duration_s == pytest.approx(2.0, abs=0.1)
    long = explain(shell(1, HANDLED, evidence=SIGSUSPEND), stubborn, grace_s=3.0)
    assert long.duration_s == pytest.approx(3.0, abs=0.1)


def test_s13a_a_supervisor_is_assumed_to_end_what_it_has_started_and_that_is_said():
    workers = [proc(pid, HANDLED, "worker", under=1) for pid in range(2, 7)]
    found = explain(proc(1, HANDLED, "master"), *workers)
    assert part(found, 2) == "left to master (1)"
    (doubt,) = found.unsure
    assert "whether master (1) ends worker (2), worker (3), worker (4) and 2 more before it exits" in doubt
    assert "PID 1 is held at its exit until these have ended" in doubt
    (other,) = explain(proc(1, HANDLED, "master"), workers[0], scope=Scope.MAIN).unsure
    assert "worker (2) before it exits: if not, the kernel ends these with it" in other
    assert explain(proc(1, HANDLED, "master"), proc(2, DEFAULT, under=1)).unsure == ()


def test_s13a_a_guest_leaves_the_others_alive():
    guest = proc(1, HANDLED, "web", is_namespace_init=False)
    found = explain(guest, proc(9, HANDLED, "session", under=777, is_entered=True))
    assert found.verdict is Verdict.GRACEFUL
    assert part(found, 9) == "signalled when PID 1 has gone"
    alone = explain(proc(1, DEFAULT, "sleep", is_namespace_init=False))
    assert alone.verdict is Verdict.GRACEFUL


def test_s13_a_shell_with_a_trap_and_a_busy_child():
    found = explain(shell(1, HANDLED, "bash"), proc(2, DEFAULT, "sleep", under=1))
    assert (part(found, 1), part(found, 2)) == ("signalled", "signalled, so that the shell runs its trap")
    assert found.duration_s == pytest.approx(0.05, abs=0.05)
    assert "which it runs when its foreground child ends" in shown(found, 1).why
    assert "bash (1) runs its trap, and ends" in texts(found)
    assert found.advice == ("start sleep with & in the script, and wait for it",)
    (doubt,) = found.unsure
    assert doubt.startswith("whether bash (1) runs its trap at once, in its wait builtin, or when sleep (2) has ended")
    assert found.otherwise == ""


def test_s13_a_shell_with_a_trap_before_a_job():
    found = explain(shell(1, HANDLED), proc(2, DEFAULT, "dump", under=1, evidence=RUNS))
    assert found.verdict is Verdict.KILLED
    assert found.otherwise == "graceful, if the shell is in its wait builtin and runs its trap at once"
    assert "in the script of sh (1): start dump with & and wait for it, unless it does so" in found.advice


def test_s13_a_shell_whose_jobs_are_all_in_the_background_runs_its_trap_at_once():
    """`trap 'kill $P; wait $P; exit $?' TERM; server & P=$!; wait $P`, in bash."""
    own, null = ("/dev/null rw 9", "/dev/null r 9")
    waiting, serving = (replace(evidence, stdin=text) for evidence, text in ((WAITS, own), (LISTENS, null)))
    found = explain(shell(1, HANDLED, "bash", evidence=waiting), proc(2, HANDLED, "web", under=1, evidence=serving))
    assert (found.verdict, found.unsure, found.otherwise, found.advice) == (Verdict.GRACEFUL, (), "", ())


def test_s13_a_shell_in_its_wait_builtin_runs_its_trap_at_once():
    found = explain(shell(1, HANDLED, evidence=SIGSUSPEND), proc(2, DEFAULT, "dump", under=1, evidence=RUNS))
    assert (found.verdict, found.unsure, found.advice) == (Verdict.GRACEFUL, (), ())
    assert shown(found, 1).why == "it has a trap for SIGTERM"


def test_s13_without_evidence_a_shell_is_taken_to_wait_for_its_children():
    found = explain(shell(1, HANDLED, evidence=None), proc(2, DEFAULT, under=1, evidence=None))
    assert found.verdict is Verdict.KILLED
    assert shown(found, 1).waits == ""
    assert "its foreground child" in shown(found, 1).why
    assert "whether sh (1) runs its trap at once" in found.unsure[0]


def test_s14_what_can_wake_stands_with_each_process():
    found = explain(
        proc(1, DROPPED, "job", evidence=POLLS),
        shell(2, under=1),
        proc(3, DEFAULT, "pause", under=1, evidence=thread("clock_nanosleep", timeout_s=3.0)),
        proc(4, DEFAULT, "server", under=1, evidence=LISTENS),
        proc(5, DEFAULT, "odd", under=1, evidence=None),
    )
    assert [(one.waits, one.wakes_in_s, one.is_resting) for one in found.processes] == [
        ("polls a socket", 0.0, False),
        ("waits for a child", None, True),
        ("sleeps, for 3.0 s more at least", 3.0, False),
        ("listens, and nothing is connected to it", 0.0, True),
        ("", None, False),
    ]
    assert found.unsure == (
        "whether job (1) is at work, which is waited for: it polls a socket",
        "whether pause (3) is at work, which is waited for: it sleeps, for 3.0 s more at least",
        "whether odd (5) is at work, which is waited for: it could not be read",
    )
    for other in ({"on_deaf": OnDeaf.WAIT}, {"grace_s": -1.0}, {"scope": Scope.MAIN}):
        assert explain(proc(1, DROPPED, "job", evidence=POLLS), **other).unsure == (), other


def test_s14_what_sleeps_may_be_at_work_once_it_has_slept():
    """Not ended after 7 s, as it would be if it still slept for 3 s then."""
    evidence = Evidence(
        threads=(
            ThreadWait(tid=1, state="S", call="poll", timeout_s=5.0, fds=(Descriptor("timerfd", wakes_in_s=3.0),)),
        ),
        alarm_s=4.0,
    )
    assert explain(proc(1, DROPPED, "cron", evidence=evidence)).verdict is Verdict.KILLED
    assert explain(proc(1, DROPPED, "sleep", evidence=thread("pause"))).verdict is Verdict.DEFAULT_ACTION


def test_s14_a_young_listener_is_waited_for():
    found = explain(proc(1, DROPPED, "server", evidence=LISTENS), age_s=4.0)
    assert found.verdict is Verdict.DEFAULT_ACTION
    assert found.duration_s == pytest.approx(6.05, abs=0.2)
    assert texts(found).startswith("0.00 nothing is sent")
    assert "Bento ends server (1): a listener at rest, without CPU time for 1 s" in texts(found)
    assert part(found, 1) == "not signalled"
    assert found.unsure == ("whether server (1), which is 4.0 s old, still sets up a handler",)


def test_s14_what_cannot_wake_is_ended_at_once_also_when_it_is_young():
    found = explain(proc(1, DROPPED, "sleep"), age_s=0.5)
    assert found.duration_s == pytest.approx(0.02, abs=0.02)
    assert "nothing in the container could wake before the deadline" in found.steps[-1].text
    assert found.unsure == ()
    assert explain(proc(1, DROPPED, "sleep"), on_deaf=OnDeaf.WAIT).duration_s == 10.0
    endless = explain(proc(1, DROPPED, "job", evidence=RUNS), age_s=1.0, grace_s=-1.0)
    assert (endless.verdict, endless.unsure) == (
        None,
        ("whether job (1), which is 1.0 s old, still sets up a handler",),
    )


def test_s14_end_does_not_look():
    found = explain(proc(1, DROPPED, "job", evidence=RUNS), on_deaf=OnDeaf.END)
    assert found.verdict is Verdict.DEFAULT_ACTION
    assert "--deaf end was given" in texts(found)


def test_s12_node_may_have_only_its_own_handler():
    found = explain(proc(1, HANDLED, "node"))
    assert found.verdict is Verdict.GRACEFUL
    assert found.otherwise.startswith("default-action, if ")
    assert explain(proc(1, HANDLED, "python3")).otherwise == ""
    assert explain(shell(1), proc(2, HANDLED, "node", under=1)).otherwise != ""
    assert explain(proc(1, HANDLED, "node"), grace_s=0.0).otherwise == ""
    over = explain(proc(1, HANDLED, "node", evidence=thread("pause")), proc(2, HANDLED, under=1))
    assert over.otherwise.startswith("forwarded, if ")


def test_s12_what_cannot_be_read_is_said():
    assert explain(proc(1, UNKNOWN)).unsure == ("what SIGTERM does to prog (1): it is traced, or may not be read",)
    assert explain(proc(1, BLOCKED)).unsure == ("whether prog (1) reads SIGTERM, which it blocks",)
    assert explain(proc(1, BLOCKED, "catatonit")).unsure == ()


def test_s15_the_last_call_and_the_deadline_are_named():
    steps = {step.at_s: step.text for step in explain(proc(1, HANDLED)).steps}
    assert steps[8.0].startswith("last call")
    assert "SIGKILL" in steps[10.0]
    untold = explain(proc(1, IGNORED), proc(9, HANDLED, "shell", under=777, is_entered=True))
    assert part(untold, 9) == "signalled at the last call"
    assert shown(untold, 9).session


def test_s11_a_paused_container_refuses_without_an_option():
    found = explain(proc(1, HANDLED), is_frozen=True)
    assert found.verdict is None
    assert "--paused thaw" in found.cause
    assert (found.steps, found.unsure, part(found, 1)) == ((), (), "not signalled")
    thawed = explain(proc(1, HANDLED), is_frozen=True, on_paused=OnPaused.THAW)
    assert thawed.verdict is Verdict.GRACEFUL
    assert "it is thawed" in texts(thawed)


def test_s07_a_grace_of_nothing_and_one_without_end():
    assert texts(explain(proc(1, HANDLED), grace_s=0.0)).startswith("0.00 a grace of 0: no process is signalled")
    endless = explain(proc(1, IGNORED), grace_s=-1.0)
    assert (endless.verdict, endless.duration_s) == (None, None)
    assert "never to be killed" in endless.cause


def test_s07_a_long_grace_over_many_processes_takes_few_looks(monkeypatch):
    """A look each second of a day would be 17 million processes: minutes."""
    look, seen = Cast.look, [0]

    def counted(cast: Cast, now_s: float, *, examine: bool) -> Looked:
        seen[0] += len(cast.alive)
        return look(cast, now_s, examine=examine)

    monkeypatch.setattr(Cast, "look", counted)
    crowd = [proc(pid, IGNORED, under=1) for pid in range(2, 200)]
    assert explain(proc(1, IGNORED), *crowd, grace_s=86400.0).verdict is Verdict.KILLED
    assert 199 <= seen[0] < 250_000


def test_s08_the_signal_that_a_program_wants_is_named():
    nginx = {1: read("nginx"), 9: read("nginx")}
    found = explain(proc(1, HANDLED, "nginx"), programs=nginx)
    assert "at SIGTERM nginx closes all connections at once" in found.advice[0]
    assert "write STOPSIGNAL SIGQUIT in the Dockerfile" in found.advice[0]
    assert shown(found, 1).known.startswith("nginx, web server and proxy: at SIGTERM it closes all connections")
    worker = explain(proc(1, HANDLED, "nginx"), proc(2, HANDLED, "nginx", under=1), programs=nginx | {2: nginx[1]})
    assert shown(worker, 2).known == ""  # that is said of what has started it
    dropped = explain(proc(1, DROPPED, "nginx"), programs=nginx)
    assert shown(dropped, 1).known == "nginx, web server and proxy"  # it does not get the signal
    assert explain(proc(1, HANDLED, "nginx"), signal=3, programs=nginx).advice == ()
    assert explain(proc(1, HANDLED, "nginx"), signal=3, last_signal=15, programs=nginx).advice == ()
    assert explain(proc(1, HANDLED, "nginx")).advice == ()  # a name alone is a guess
    assert explain(proc(1, BLOCKED, "systemd"), signal=37).verdict is Verdict.GRACEFUL
    session = explain(
        proc(1, HANDLED), proc(9, HANDLED, "nginx", under=777, is_entered=True), programs={9: read("nginx")}
    )
    assert session.advice == ()


def test_s08_a_program_that_receives_another_signal_only():
    found = explain(proc(1, DROPPED, "python3"), also_receives=(2,))
    assert any("--stop-signal INT" in text for text in found.advice)
    assert any("--init" in text for text in found.advice)
    assert not any("INT" in text for text in explain(proc(1, HANDLED, "python3"), also_receives=(2,)).advice)


def test_s09_hooks_stand_before_the_signal_and_take_their_time():
    hooks = (Hook(kind="inside", command="drain"), Hook(kind="sleep", seconds=3.0))
    found = explain(proc(1, HANDLED), pre_stop=hooks, post_stop=(Hook(kind="host", command="after"),))
    lines = texts(found).splitlines()
    assert lines[:2] == ["0.00 hook, inside: drain", "0.00 hook, sleep 3"]
    assert lines[2].startswith("3.00 SIGTERM to prog (1)")
    assert any("hook, after the clean-up, host: after" in line for line in lines)


def test_s09_a_hook_that_takes_too_long_is_ended_and_the_signal_has_its_time():
    found = explain(proc(1, HANDLED), pre_stop=(Hook(kind="sleep", seconds=100.0),), hook_timeout_s=3.0)
    assert found.verdict is Verdict.GRACEFUL
    assert found.duration_s == pytest.approx(3.0, abs=0.1)


def test_s17a_new_connections_are_refused_first():
    assert texts(explain(proc(1, HANDLED), drain=True)).startswith("0.00 new connections are refused")


def test_s13_words_for_every_disposition():
    kinds = (HANDLED, BLOCKED, WAITING, IGNORED, DEFAULT, UNKNOWN)
    found = explain(shell(1), *(proc(pid, kind, under=1) for pid, kind in enumerate(kinds, 2)))
    assert len({process.why for process in found.processes}) == 7
    assert "to pass it on" in shown(explain(proc(1, HANDLED, "tini")), 1).why
    assert "node sets one of its own" in shown(explain(proc(1, HANDLED, "node")), 1).why


def test_s13_every_occasion_has_its_words():
    assert set(forecast_module._PARTS) == set(Occasion)


def test_a_circle_of_parents_and_strangers_are_shown_once():
    found = explain(proc(1, HANDLED), proc(2, DEFAULT, under=3), proc(3, DEFAULT, under=2), proc(9, DEFAULT, under=777))
    assert sorted(process.pid for process in found.processes) == [1, 2, 3, 9]


@pytest.mark.parametrize("method", ["signal", "systemd", "auto"])
def test_s13_processes_that_a_stop_would_only_find_without_pid_1(method):
    assert explain(proc(5, DEFAULT, under=4), method=method).verdict is not None


def test_pid_1_may_seem_to_stand_below_another():
    main = Process(
        pid=1, start_ticks=7, ppid=2, comm="prog", disposition=HANDLED, argv=("prog",), is_main=True,
        is_namespace_init=True, evidence=SLEEPS,
    )  # fmt: skip
    assert [process.pid for process in explain(main, proc(2, DEFAULT, under=1)).processes] == [1, 2]


@pytest.mark.parametrize("name", ["systemd", "runit"])
def test_s10_an_init_is_asked_by_the_method_that_goes_with_its_name(name):
    services = proc(2, HANDLED, "service", under=1)
    request = StopRequest(method="auto", last_call_s=0.0)
    found = forecast("box", request, (proc(1, BLOCKED, name), services), age_s=100.0)
    assert found.verdict is Verdict.GRACEFUL
    assert found.duration_s is not None
    assert found.duration_s < 1.0


def test_s13_never_is_a_number_in_json():
    assert shown(explain(shell(1), proc(2, HANDLED, under=1)), 1).wakes_in_s is None
    assert not math.isinf(shown(explain(proc(1, HANDLED)), 1).wakes_in_s or 0.0)
