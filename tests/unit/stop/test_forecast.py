"""What ``bento explain`` says: the machine rehearsed, in words. Pure, so no container is needed."""

from __future__ import annotations

import pytest

from bento.model.stop import Hook, OnDeaf, OnPaused, StopRequest, Verdict
from bento.stop.forecast import Forecast, forecast
from bento.stop.process import Process

from support.looks import BLOCKED, DEAF, DEFAULT, HANDLED, IGNORED, UNKNOWN, WAITING, proc


def explain(*processes: Process, age_s: float = 100.0, is_frozen=False, also_receives=(), **request) -> Forecast:
    return forecast(
        "web", StopRequest(**request), processes, age_s=age_s, is_frozen=is_frozen, also_receives=also_receives
    )


def part(found: Forecast, pid: int) -> str:
    return next(process.part for process in found.processes if process.pid == pid)


def texts(found: Forecast) -> str:
    return "\n".join(f"{step.at_s:.2f} {step.text}" for step in found.steps)


@pytest.mark.parametrize(
    ("processes", "verdict"),
    [
        ([proc(1, HANDLED)], Verdict.GRACEFUL),
        ([proc(1, BLOCKED)], Verdict.GRACEFUL),
        ([proc(1, UNKNOWN)], Verdict.GRACEFUL),
        ([proc(1, DEAF, "sleep")], Verdict.DEFAULT_ACTION),
        ([proc(1, IGNORED)], Verdict.KILLED),
        ([proc(1, DEAF, "sh"), proc(2, HANDLED, under=1)], Verdict.FORWARDED),
        ([proc(1, DEAF, "sh"), proc(2, DEFAULT, "sleep", under=1)], Verdict.FORWARDED),
        ([proc(1, DEAF, "sh"), proc(2, IGNORED, under=1)], Verdict.KILLED),
        ([proc(1, WAITING, "tini"), proc(2, HANDLED, under=1)], Verdict.GRACEFUL),
        ([proc(1, WAITING, "tini"), proc(2, IGNORED, under=1)], Verdict.KILLED),
        ([proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)], Verdict.FORWARDED),
        ([proc(1, HANDLED, "supervisord"), proc(2, DEFAULT, under=1)], Verdict.GRACEFUL),
        ([proc(1, BLOCKED, "systemd")], Verdict.KILLED),
    ],
)
def test_s23_the_verdict_that_is_to_be_expected(processes, verdict):
    assert explain(*processes).verdict is verdict


def test_s13_each_process_is_told_its_part():
    found = explain(
        proc(1, DEAF, "sh"),
        proc(2, HANDLED, "gunicorn", under=1),
        proc(3, HANDLED, "worker", under=2),
        proc(4, DEFAULT, "tee", under=1),
        proc(5, IGNORED, "odd", under=1),
    )
    assert part(found, 1) == "looked through"
    assert part(found, 2) == "told in wave 1"
    assert part(found, 3) == "left to gunicorn (2)"
    assert part(found, 4) == "told in wave 2"
    assert part(found, 5) == "not told"
    assert [process.pid for process in found.processes] == [1, 2, 3, 4, 5]
    assert "wave 1: SIGTERM to gunicorn (2)" in texts(found)


def test_s13_an_init_passes_the_signal_on():
    found = explain(proc(1, WAITING, "tini"), proc(2, HANDLED, "web", under=1))
    assert part(found, 2) == "told by tini (1)"
    assert "tini (1) passes it on to web (2)" in texts(found)


def test_s13_a_shell_with_a_trap_and_a_busy_child():
    found = explain(proc(1, HANDLED, "bash"), proc(2, DEFAULT, "sleep", under=1))
    assert (part(found, 1), part(found, 2)) == ("told in wave 1", "told in wave 2")
    assert found.duration_s == pytest.approx(0.55, abs=0.1)
    assert "which it runs when its foreground child ends" in found.processes[0].why
    assert found.advice[0] == "in the script of bash (1): start sleep with & and wait for it"


def test_s13_an_init_over_a_script_is_not_told_to_use_an_init():
    found = explain(proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2))
    assert found.advice == ("start the program with exec in the script",)


def test_s14_a_young_deaf_program_is_waited_for():
    found = explain(proc(1, DEAF, "sleep"), age_s=4.0)
    assert found.verdict is Verdict.DEFAULT_ACTION
    assert found.duration_s == pytest.approx(6.05, abs=0.1)
    assert texts(found).startswith("0.00 nothing is sent")
    assert part(found, 1) == "not told"


def test_s14_an_old_one_is_ended_at_once_or_waited_for_as_asked():
    found = explain(proc(1, DEAF, "sleep"))
    assert found.duration_s == pytest.approx(0.05, abs=0.02)
    assert "default action of SIGTERM" in found.steps[-1].text
    assert explain(proc(1, DEAF, "sleep"), on_deaf=OnDeaf.WAIT).duration_s == 10.0


def test_s12_node_may_have_only_its_own_handler():
    found = explain(proc(1, HANDLED, "node"))
    assert found.verdict is Verdict.GRACEFUL
    assert found.otherwise.startswith("default-action, if ")
    assert explain(proc(1, HANDLED, "python3")).otherwise == ""


def test_s15_the_last_call_and_the_deadline_are_named():
    steps = {step.at_s: step.text for step in explain(proc(1, HANDLED)).steps}
    assert steps[8.0].startswith("last call")
    assert "SIGKILL" in steps[10.0]
    untold = explain(proc(1, IGNORED), proc(9, HANDLED, "shell", under=777))
    assert part(untold, 9) == "told at the last call"


def test_s11_a_paused_container_refuses_unless_told_otherwise():
    found = explain(proc(1, HANDLED), is_frozen=True)
    assert found.verdict is None
    assert "--paused thaw" in found.cause
    assert found.steps == ()
    assert part(found, 1) == "not told"
    thawed = explain(proc(1, HANDLED), is_frozen=True, on_paused=OnPaused.THAW)
    assert thawed.verdict is Verdict.GRACEFUL
    assert "it is thawed" in texts(thawed)


def test_s07_a_grace_of_nothing_and_one_without_end():
    assert texts(explain(proc(1, HANDLED), grace_s=0.0)).startswith("0.00 a grace of 0: nobody is told")
    endless = explain(proc(1, IGNORED), grace_s=-1.0)
    assert (endless.verdict, endless.duration_s) == (None, None)
    assert "never to be killed" in endless.cause


def test_s07_a_long_grace_over_many_processes_takes_no_time():
    crowd = [proc(pid, IGNORED, under=1) for pid in range(2, 200)]
    assert explain(proc(1, IGNORED), *crowd, grace_s=86400.0).verdict is Verdict.KILLED


def test_s08_the_signal_that_a_program_wants_is_named():
    found = explain(proc(1, HANDLED, "nginx"))
    assert "use --stop-signal QUIT: at SIGQUIT nginx finishes the requests under way" in found.advice
    assert explain(proc(1, HANDLED, "nginx"), signal=3).advice == ()
    assert explain(proc(1, BLOCKED, "systemd"), signal=37).verdict is Verdict.GRACEFUL


def test_s08_a_deaf_program_that_hears_another_signal():
    found = explain(proc(1, DEAF, "python3"), also_receives=(2,))
    assert any("--stop-signal INT" in text for text in found.advice)
    assert any("--init" in text for text in found.advice)
    assert not any("INT" in text for text in explain(proc(1, HANDLED, "python3"), also_receives=(2,)).advice)


def test_s09_hooks_stand_before_the_signal_and_take_their_time():
    hooks = (Hook(kind="inside", command="drain"), Hook(kind="sleep", seconds=3.0))
    found = explain(proc(1, HANDLED), pre_stop=hooks, post_stop=(Hook(kind="host", command="after"),))
    lines = texts(found).splitlines()
    assert lines[:2] == ["0.00 hook, inside: drain", "0.00 hook, sleep 3"]
    assert lines[2].startswith("3.00 wave 1")
    assert any("hook, after the clean-up, host: after" in line for line in lines)


def test_s13_a_script_goes_on_when_its_own_child_has_left_not_an_orphan():
    found = explain(
        proc(1, DEAF, "sh"),
        proc(2, DEFAULT, "job", under=1, is_background=True),
        proc(3, HANDLED, "web", under=1),
        proc(4, DEFAULT, "helper", under=2),
    )
    assert found.verdict is Verdict.FORWARDED
    assert part(found, 3) == "told in wave 1"


def test_s13_words_for_every_disposition():
    kinds = (HANDLED, BLOCKED, WAITING, IGNORED, DEFAULT, UNKNOWN)
    found = explain(proc(1, DEAF, "sh"), *(proc(pid, kind, under=1) for pid, kind in enumerate(kinds, 2)))
    assert len({process.why for process in found.processes}) == 7


def test_a_circle_of_parents_and_strangers_are_shown_once():
    found = explain(proc(1, HANDLED), proc(2, DEFAULT, under=3), proc(3, DEFAULT, under=2), proc(9, DEFAULT, under=777))
    assert sorted(process.pid for process in found.processes) == [1, 2, 3, 9]


@pytest.mark.parametrize("method", ["signal", "systemd"])
def test_s13_processes_that_a_stop_would_only_find_without_pid_1(method):
    assert explain(proc(5, DEFAULT, under=4), method=method).verdict is not None


def test_s13_children_of_who_dies_go_to_pid_1():
    found = explain(proc(1, DEAF, "sh"), proc(2, DEFAULT, "make", under=1), proc(3, DEFAULT, "cc", under=2))
    assert found.verdict is Verdict.FORWARDED
    assert (part(found, 2), part(found, 3)) == ("told in wave 2", "told in wave 2")


def test_s12_node_is_killed_either_way_when_that_is_asked_for():
    assert explain(proc(1, HANDLED, "node"), grace_s=0.0).otherwise == ""


def test_s09_a_hook_that_takes_too_long_is_ended_and_the_signal_has_its_time():
    found = explain(proc(1, HANDLED), pre_stop=(Hook(kind="sleep", seconds=100.0),), hook_timeout_s=3.0)
    assert found.verdict is Verdict.GRACEFUL
    assert found.duration_s == pytest.approx(3.0, abs=0.1)


def test_pid_1_may_seem_to_stand_below_somebody():
    main = Process(pid=1, start_ticks=7, ppid=2, comm="prog", disposition=HANDLED, argv=("prog",), is_main=True)
    assert [process.pid for process in explain(main, proc(2, DEFAULT, under=1)).processes] == [1, 2]


@pytest.mark.parametrize("name", ["systemd", "runit"])
def test_s10_an_init_is_asked_by_the_method_that_goes_with_its_name(name):
    found = forecast("box", StopRequest(method="auto", last_call_s=0.0), (proc(1, BLOCKED, name),), age_s=100.0)
    assert found.verdict is Verdict.GRACEFUL
    assert found.duration_s is not None
    assert found.duration_s < 1.0
