"""Rules S12 - S15: who is told when, on the clock. All times are virtual."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.model.stop import OnDeaf, StopRequest
from bento.stop.actions import KillInit, Persist, SendSignal, Thaw
from bento.stop.inputs import DeadlineMoved, SignalledExited, TimerFired
from bento.stop.states import KillCause, Phase, Timer
from bento.units import NO_LIMIT

from support.looks import BLOCKED, DEAF, DEFAULT, HANDLED, IGNORED, UNKNOWN, WAITING, Stop, proc


def ended_main(stop: Stop) -> bool:
    return KillInit() in stop.actions and stop.state.kill_cause is KillCause.DEFAULT_ACTION


# -- one program ---------------------------------------------------------------------------------


@pytest.mark.parametrize("heard", [HANDLED, WAITING, UNKNOWN])
def test_s12_a_program_that_hears_is_told_at_the_first_look(heard):
    stop = Stop()
    assert stop.look(proc(1, heard)) == [1]
    assert stop.actions == (Persist(), SendSignal(1, 7, 15, False))
    assert stop.state.phase is Phase.GRACE


def test_s12_one_that_blocks_it_is_told_at_the_second_look():
    """Whoever starts a process blocks every signal for a moment; told then, it would die of it."""
    stop = Stop()
    assert stop.look(proc(1, BLOCKED)) == []
    assert stop.state.timers[Timer.LOOK] == pytest.approx(1000.01)
    assert stop.look(proc(1, BLOCKED), after_s=0.011) == [1]


def test_s12_nobody_else_is_told_meanwhile():
    stop = Stop()
    shell, reader = proc(1, DEAF, "sh"), proc(3, DEFAULT, "tee", under=1)
    assert stop.look(shell, proc(2, BLOCKED, under=1), reader) == []
    assert stop.look(shell, proc(2, BLOCKED, under=1), reader, after_s=0.011) == [2]


def test_s12_a_shell_that_starts_a_command_does_not_read_signals():
    stop = Stop()
    child = proc(2, HANDLED, under=1)
    assert stop.look(proc(1, BLOCKED, "sh"), child) == []
    assert stop.look(proc(1, BLOCKED, "sh"), child, after_s=0.4) == []
    assert stop.look(proc(1, DEAF, "sh"), child, after_s=0.02) == [2]
    assert stop.look(proc(1, BLOCKED, "sh"), after_s=0.2) == []
    assert stop.look(proc(1, BLOCKED, "sh"), after_s=0.4) == []


def test_s12_unless_it_was_started_that_way():
    stop = Stop()
    assert stop.look_until(0.49, proc(1, BLOCKED, "sh")) == []
    assert stop.look_until(0.6, proc(1, BLOCKED, "sh")) == [1]


def test_s12_an_init_that_reads_signals_is_known_for_it():
    assert Stop().look(proc(1, BLOCKED, "catatonit")) == [1]


def test_s11_nor_is_there_time_to_look_twice_before_a_thaw():
    stop = Stop()
    assert stop.look(proc(1, BLOCKED), is_frozen=True) == [1]
    assert stop.actions[-1] == Thaw()


def test_s08_the_signal_that_was_asked_for_is_the_one_sent():
    stop = Stop(StopRequest(signal=3))
    stop.look(proc(1, HANDLED))
    assert stop.actions[1] == SendSignal(1, 7, 3, False)


def test_s13_nobody_is_told_twice():
    stop = Stop()
    stop.look(proc(1, HANDLED))
    assert stop.look_until(9.9, proc(1, HANDLED)) == []


def test_s11_the_signal_is_pending_before_the_container_is_thawed():
    stop = Stop()
    stop.look(proc(1, HANDLED), is_frozen=True)
    assert stop.actions == (Persist(), SendSignal(1, 7, 15, False), Thaw())


def test_s11_a_frozen_container_is_thawed_also_when_nobody_is_told():
    stop = Stop()
    assert stop.look(proc(1, IGNORED), is_frozen=True) == []
    assert stop.actions == (Thaw(),)


def test_s11_a_frozen_deaf_program_is_thawed_and_ended():
    stop = Stop()
    stop.look(proc(1, DEAF), is_frozen=True)
    stop.look(proc(1, DEAF), after_s=0.051, is_frozen=True)
    assert Thaw() in stop.actions
    assert ended_main(stop)


def test_s11_who_was_stopped_by_sigstop_is_woken():
    stop = Stop()
    stop.look(proc(1, HANDLED, is_halted=True))
    assert stop.actions[1] == SendSignal(1, 7, 15, True)


def test_s12_a_told_program_shows_that_it_reacts():
    stop = Stop()
    stop.look(proc(1, HANDLED))
    stop.look(proc(1, HANDLED), after_s=0.051)
    assert not [mark for mark in stop.state.marks if mark.name == "reaction"]
    stop.look(proc(1, HANDLED, cpu_ticks=3), after_s=0.051)
    stop.look(proc(1, HANDLED, cpu_ticks=9), after_s=0.051)
    assert [mark.at_s for mark in stop.state.marks if mark.name == "reaction"] == [pytest.approx(1000.1, abs=0.01)]


def test_s12_leaving_is_a_reaction_too():
    stop = Stop()
    stop.look(proc(1, DEAF, "sh"), proc(2, HANDLED, under=1))
    stop.look(proc(1, DEAF, "sh"), after_s=0.2)
    assert [mark.name for mark in stop.state.marks] == ["signal", "reaction"]


# -- deaf (S14) ----------------------------------------------------------------------------------


def test_s14_deaf_in_two_looks_50_ms_apart_is_ended():
    stop = Stop()
    stop.look(proc(1, DEAF))
    assert stop.state.timers[Timer.LOOK] == pytest.approx(1000.05)
    stop.look(proc(1, DEAF), after_s=0.04)
    assert stop.state.phase is Phase.GRACE
    stop.look(proc(1, DEAF), after_s=0.011)
    assert ended_main(stop)


def test_s14_one_look_in_which_it_hears_begins_anew():
    stop = Stop()
    stop.look(proc(1, DEAF))
    assert stop.look(proc(1, HANDLED), after_s=0.051) == [1]
    assert stop.state.watch.deaf_since_s is None


def test_s14_within_the_start_window_it_is_waited_for():
    stop = Stop(age_s=3.0)
    assert stop.look_until(6.9, proc(1, DEAF)) == []
    assert stop.state.phase is Phase.GRACE
    stop.look(proc(1, DEAF), after_s=0.1)
    assert ended_main(stop)


def test_s14_and_told_once_as_soon_as_it_hears():
    stop = Stop(age_s=0.5)
    stop.look(proc(1, DEAF))
    stop.look_until(1.5, proc(1, DEAF))
    assert stop.look(proc(1, HANDLED, cpu_ticks=5)) == [1]
    assert stop.state.signalled[0].why == "PID 1, as soon as it could hear"
    assert stop.look_until(9.9, proc(1, HANDLED)) == []


def test_s14_also_when_it_had_children_meanwhile():
    stop = Stop(age_s=0.5)
    stop.look(proc(1, DEAF), proc(2, IGNORED, under=1))
    assert stop.look(proc(1, HANDLED), proc(2, IGNORED, under=1), after_s=0.051) == [1]


def test_s14_a_start_window_of_nothing():
    stop = Stop(StopRequest(start_window_s=0.0), age_s=0.0)
    stop.look(proc(1, DEAF))
    stop.look(proc(1, DEAF), after_s=0.051)
    assert ended_main(stop)


def test_s14_deaf_wait_keeps_the_whole_grace():
    stop = Stop(StopRequest(on_deaf=OnDeaf.WAIT))
    assert stop.look_until(9.99, proc(1, DEAF)) == []
    assert stop.state.phase is Phase.GRACE
    stop.give(TimerFired(Timer.DEADLINE), after_s=0.01)
    assert stop.state.kill_cause is KillCause.GRACE_OVER


def test_s14_who_ignores_it_gets_the_whole_grace():
    stop = Stop()
    assert stop.look_until(9.99, proc(1, IGNORED)) == []
    assert stop.state.phase is Phase.GRACE


def test_s14_deaf_and_no_limit_is_ended_all_the_same():
    """It is the default action, not a kill; --deaf wait is the way to wait."""
    stop = Stop(StopRequest(grace_s=NO_LIMIT))
    stop.look(proc(1, DEAF))
    stop.look(proc(1, DEAF), after_s=0.051)
    assert ended_main(stop)


def test_s14_with_somebody_below_a_deaf_one_is_not_ended():
    stop = Stop()
    assert stop.look_until(5.0, proc(1, DEAF), proc(2, IGNORED, under=1)) == []
    assert stop.state.phase is Phase.GRACE


# -- swallowed (S12) -----------------------------------------------------------------------------


def test_s12_node_without_a_handler_is_deaf_after_one_idle_second():
    stop = Stop()
    stop.look(proc(1, HANDLED, "node"))
    stop.look_until(0.99, proc(1, DEAF, "node"))
    assert stop.state.phase is Phase.GRACE
    stop.look(proc(1, DEAF, "node"), after_s=0.06)
    assert ended_main(stop)


def test_s12_while_it_works_it_is_not_idle():
    stop = Stop()
    stop.look(proc(1, HANDLED, "node"))
    for number in range(80):
        stop.look(proc(1, DEAF, "node", cpu_ticks=number), after_s=0.1)
    assert stop.state.phase is Phase.GRACE


def test_s12_another_program_that_dropped_its_handler_may_be_waiting_for_a_disk():
    stop = Stop()
    stop.look(proc(1, HANDLED, "python3"))
    stop.look_until(4.9, proc(1, DEAF, "python3"))
    assert stop.state.phase is Phase.GRACE
    stop.look(proc(1, DEAF, "python3"), after_s=0.2)
    assert ended_main(stop)


def test_s12_and_without_a_limit_it_gets_ten_seconds():
    stop = Stop(StopRequest(grace_s=NO_LIMIT))
    stop.look(proc(1, HANDLED, "python3"))
    stop.look_until(9.9, proc(1, DEAF, "python3"))
    assert stop.state.phase is Phase.GRACE
    stop.look(proc(1, DEAF, "python3"), after_s=0.2)
    assert ended_main(stop)


def test_s12_the_children_of_node_are_told_when_it_has_swallowed_the_signal():
    stop = Stop()
    child = proc(2, HANDLED, under=1)
    stop.look(proc(1, HANDLED, "node"), child)
    assert stop.look_until(0.9, proc(1, DEAF, "node"), child) == []
    assert stop.look_until(1.2, proc(1, DEAF, "node"), child) == [2]


def test_s12_those_of_others_may_have_been_told_by_the_handler():
    stop = Stop()
    child = proc(2, HANDLED, under=1)
    stop.look(proc(1, HANDLED, "python3"), child)
    assert stop.look_until(9.99, proc(1, DEAF, "python3"), child) == []


def test_s13_nobody_else_is_told_while_one_cleans_up_with_the_default_action_restored():
    stop = Stop()
    shell, tee = proc(1, DEAF, "sh"), proc(3, DEFAULT, "tee", under=1)
    assert stop.look(shell, proc(2, HANDLED, under=1), tee) == [2]
    assert stop.look_until(7.9, shell, proc(2, DEFAULT, under=1), tee) == []


def test_s12_a_signal_that_nobody_reads_is_not_heard():
    stop = Stop()
    child = proc(2, HANDLED, under=1)
    assert stop.look_until(0.02, proc(1, BLOCKED), child) == [1]
    assert stop.look_until(0.49, proc(1, BLOCKED, is_pending=True), child) == []
    assert stop.look_until(0.6, proc(1, BLOCKED, is_pending=True), child) == [2]


def test_s12_but_who_is_halted_cannot_read():
    stop = Stop()
    child, halted = proc(2, HANDLED, under=1), proc(1, BLOCKED, is_pending=True, is_halted=True)
    assert stop.look_until(7.9, halted, child) == [1]


# -- waves (S13) ---------------------------------------------------------------------------------


def test_s13_the_shell_wrapper_ends_in_milliseconds():
    stop = Stop()
    assert stop.look(proc(1, DEAF, "sh"), proc(2, DEFAULT, "sleep", under=1)) == [2]
    assert stop.state.signalled[0].wave == 2


def test_s13_wave_2_comes_100_ms_after_wave_1_has_left():
    shell, tee = proc(1, DEAF, "sh"), proc(3, DEFAULT, "tee", under=1)
    stop = Stop()
    assert stop.look(shell, proc(2, HANDLED, under=1), tee) == [2]
    assert stop.look_until(3.0, shell, proc(2, HANDLED, under=1), tee) == []
    stop.give(SignalledExited(2))
    assert stop.look(shell, tee) == []
    assert stop.look(shell, tee, after_s=0.09) == []
    assert stop.look(shell, tee, after_s=0.02) == [3]


def test_s13_a_reader_that_still_works_gets_two_seconds():
    shell = proc(1, DEAF, "sh")
    stop = Stop()
    stop.look(shell, proc(2, HANDLED, under=1), proc(3, DEFAULT, "gzip", under=1))
    told_s = None
    for number in range(1, 60):
        if stop.look(shell, proc(3, DEFAULT, "gzip", under=1, cpu_ticks=number), after_s=0.051):
            told_s = stop.now_s
            break
    assert told_s == pytest.approx(1002.05, abs=0.06)


def test_s13_wave_2_waits_for_the_last_of_wave_1():
    shell, tee = proc(1, DEAF, "sh"), proc(4, DEFAULT, "tee", under=1)
    two, three = proc(2, HANDLED, under=1), proc(3, HANDLED, under=1)
    stop = Stop()
    assert stop.look(shell, two, three, tee) == [2, 3]
    assert stop.look(shell, three, tee, after_s=1.0) == []
    assert stop.look_until(4.0, shell, three, tee) == []


def test_s13_the_wrapper_leaves_by_itself_with_its_childs_status():
    init, shell, server = proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)
    stop = Stop()
    assert stop.look(init, shell, server) == [3]
    stop.give(SignalledExited(3), after_s=1.0)
    assert stop.look(init, shell) == []
    assert stop.look_until(1.45, init, shell) == []


def test_s13_one_that_has_not_moved_after_half_a_second_is_told():
    init, shell, server = proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)
    stop = Stop()
    stop.look(init, shell, server)
    stop.look(init, shell, after_s=1.0)
    assert stop.look_until(1.6, init, shell) == [1]
    assert stop.state.signalled[-1].why == "a wrapper that did not leave with its child"


def test_s13_a_plain_wrapper_too():
    top, shell, server = proc(1, DEAF, "sh"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)
    stop = Stop()
    stop.look(top, shell, server)
    stop.look(top, shell, after_s=1.0)
    assert stop.look_until(1.45, top, shell) == []
    assert stop.look_until(1.6, top, shell) == [2]


def test_s13_a_deaf_one_is_ended_when_it_has_not_moved():
    stop = Stop()
    stop.look(proc(1, DEAF, "sh"), proc(2, HANDLED, under=1))
    stop.look(proc(1, DEAF, "sh"), after_s=1.0)
    stop.look_until(1.45, proc(1, DEAF, "sh"))
    assert stop.state.phase is Phase.GRACE
    stop.look_until(1.6, proc(1, DEAF, "sh"))
    assert stop.state.kill_cause is KillCause.DEFAULT_ACTION


def test_s13_one_that_works_has_moved():
    stop = Stop()
    stop.look(proc(1, DEAF, "python3"), proc(2, HANDLED, under=1))
    for number in range(80):
        stop.look(proc(1, DEAF, "python3", cpu_ticks=number), after_s=0.1)
    assert stop.state.phase is Phase.GRACE


@pytest.mark.parametrize("heard", [DEFAULT, HANDLED])
def test_s13_the_next_command_of_a_wrapper_is_left_to_work(heard):
    """A start script that cleans up after its server."""
    shell, cleanup = proc(1, DEAF, "sh"), proc(3, heard, "rclone", under=1)
    stop = Stop()
    assert stop.look(shell, proc(2, HANDLED, under=1)) == [2]
    assert stop.look(shell, cleanup, after_s=0.3) == []
    assert stop.look_until(7.99, shell, cleanup) == []
    assert stop.look_until(8.1, shell, cleanup) == [3]
    assert stop.state.signalled[-1].wave == 3


def test_s13_a_look_that_missed_somebody_makes_no_newcomer_of_it():
    """Forked while the first look went on."""
    stop = Stop()
    assert stop.look(proc(1, DEAF, "sh")) == []
    assert stop.look(proc(1, DEAF, "sh"), proc(2, DEFAULT, "sleep", under=1), after_s=0.04) == [2]


def test_s13_a_newcomer_that_no_wrapper_started_is_told():
    init = proc(1, DEAF, "runner")
    stop = Stop()
    stop.look(init, proc(2, DEFAULT, "xargs", under=1), proc(3, HANDLED, under=2))
    assert stop.look(init, proc(2, DEFAULT, "xargs", under=1), proc(4, HANDLED, "next", under=2), after_s=0.2) == [4]


def test_s13_a_loop_in_pid_1_is_ended_when_it_restarts_what_was_told():
    stop = Stop()
    stop.look(proc(1, DEAF, "sh"), proc(2, DEFAULT, "sleep", under=1))
    stop.look(proc(1, DEAF, "sh"), proc(3, DEFAULT, "sleep", under=1), after_s=0.051)
    assert ended_main(stop)


def test_s13_a_loop_below_is_told_itself():
    stop = Stop()
    top, loop = proc(1, DEAF, "sh"), proc(2, DEFAULT, "sh", under=1)
    assert stop.look(top, loop, proc(3, DEFAULT, "sleep", under=2)) == [3]
    assert stop.look(top, loop, proc(4, DEFAULT, "sleep", under=2), after_s=0.051) == [2]
    assert stop.look(top, loop, proc(4, DEFAULT, "sleep", under=2), after_s=0.051) == []


def test_s13_a_loop_of_several_is_told_once():
    stop = Stop()
    top, loop = proc(1, DEAF, "sh"), proc(2, DEFAULT, "sh", under=1)
    stop.look(top, loop, proc(3, DEFAULT, "cat", under=2), proc(4, DEFAULT, "tee", under=2))
    assert stop.look(top, loop, proc(5, DEFAULT, "cat", under=2), proc(6, DEFAULT, "tee", under=2), after_s=0.1) == [2]


def test_s13_a_loop_is_not_ended_over_somebody_elses_clean_up():
    stop = Stop()
    top, side = proc(1, DEAF, "sh"), proc(2, DEFAULT, "bash", under=1)
    stop.look(top, side, proc(3, HANDLED, under=2), proc(4, DEFAULT, "sleep", under=1))
    cleanup = proc(5, DEFAULT, "rsync", under=2)
    assert stop.look(top, side, cleanup, proc(4, DEFAULT, "sleep", under=1), after_s=0.2) == []
    assert stop.look(top, side, cleanup, proc(4, DEFAULT, "sleep", under=1), after_s=0.2) == [4]
    assert stop.look(top, side, cleanup, proc(6, DEFAULT, "sleep", under=1), after_s=0.2) == []
    assert stop.state.phase is Phase.GRACE


def test_s13_a_program_that_is_restarted_and_hears_is_told_each_time():
    stop = Stop()
    assert stop.look(proc(1, DEAF, "sh"), proc(2, HANDLED, under=1)) == [2]
    assert stop.look(proc(1, DEAF, "sh"), proc(3, HANDLED, under=1), after_s=0.2) == [3]


def test_s13_but_not_for_ever():
    stop = Stop()
    told = [stop.look(proc(1, DEAF, "sh"), proc(pid, HANDLED, under=1), after_s=0.03) for pid in range(2, 7)]
    assert told == [[2], [3], [4], [5], []]
    assert ended_main(stop)


def test_s13_a_loop_below_around_one_that_hears_is_told_itself():
    stop = Stop()
    top, loop = proc(1, DEAF, "sh"), proc(2, DEFAULT, "sh", under=1)
    told = [stop.look(top, loop, proc(pid, HANDLED, under=2), after_s=0.03) for pid in range(3, 8)]
    assert told == [[3], [4], [5], [6], [2]]


def test_s13_orphans_of_who_answered_for_them_are_not_told_again():
    """Their parent may have told them before it left."""
    shell, worker = proc(1, DEAF, "sh"), proc(3, HANDLED, "worker", under=2)
    stop = Stop()
    assert stop.look(shell, proc(2, HANDLED, "master", under=1), worker) == [2]
    orphan = proc(3, HANDLED, "worker", under=1)
    assert stop.look(shell, orphan, after_s=0.2) == []
    assert stop.look_until(9.99, shell, orphan) == []
    assert stop.look(shell, proc(3, DEFAULT, "worker", under=1)) == []


def test_s18_who_is_left_behind_by_pid_1_is_told_once_it_has_gone():
    """In a shared PID namespace: nobody is left who could tell them."""
    main, worker, orphan = proc(1, HANDLED, "master"), proc(3, HANDLED, "worker", under=1), proc(4, DEFAULT, under=4711)
    stop = Stop()
    assert stop.look(main, worker, orphan) == [1]
    orphaned = proc(3, HANDLED, "worker", under=4711)
    assert stop.look(orphaned, orphan, after_s=0.2) == [3]
    assert stop.look(orphan, after_s=0.2) == [4]


# -- shells with a trap (S13) ---------------------------------------------------------------------


def test_s13_a_shell_with_a_trap_is_told_first_and_its_child_when_it_does_not_move():
    shell, child = proc(1, HANDLED, "bash"), proc(2, HANDLED, under=1)
    stop = Stop()
    assert stop.look(shell, child) == [1]
    assert stop.look_until(0.49, shell, child) == []
    assert stop.look_until(0.6, shell, child) == [2]
    assert stop.look_until(7.9, shell, child) == []


def test_s13_a_plain_child_of_it_too():
    shell, child = proc(1, HANDLED, "bash"), proc(2, DEFAULT, "sleep", under=1)
    stop = Stop()
    stop.look(shell, child)
    assert stop.look_until(0.6, shell, child) == [2]


def test_s13_what_its_child_runs_is_told_by_the_same_rules():
    shell, script, server = proc(1, HANDLED, "bash"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)
    stop = Stop()
    stop.look(shell, script, server)
    assert stop.look_until(0.6, shell, script, server) == [3]


def test_s13_a_shell_whose_trap_runs_a_command_has_moved():
    shell, server = proc(1, HANDLED, "bash"), proc(2, HANDLED, under=1)
    backup = proc(3, DEFAULT, "pg_dump", under=1)
    stop = Stop()
    assert stop.look(shell, server) == [1]
    assert stop.look_until(7.9, shell, server, backup) == []


def test_s13_a_shell_does_not_wait_for_its_background_jobs():
    """Its trap has run, and has told them itself: a second signal would mean "quit now"."""
    shell, server = proc(1, HANDLED, "bash"), proc(2, HANDLED, under=1, is_background=True)
    stop = Stop()
    assert stop.look(shell, server) == [1]
    assert stop.look_until(9.9, shell, server) == []


def test_s13_a_shell_that_dropped_its_trap_has_run_it():
    stop = Stop()
    child = proc(2, HANDLED, under=1)
    assert stop.look(proc(1, HANDLED, "bash"), child) == [1]
    assert stop.look_until(9.9, proc(1, DEAF, "bash"), child) == []


def test_s13_another_program_with_a_handler_is_not_opened():
    supervisor, child = proc(1, HANDLED, "supervisord"), proc(2, HANDLED, under=1)
    stop = Stop()
    stop.look(supervisor, child)
    assert stop.look_until(9.9, supervisor, child) == []


def test_s13_orphans_that_come_to_a_shell_as_pid_1_are_not_its_children():
    shell, worker = proc(1, HANDLED, "bash"), proc(3, HANDLED, "worker", under=2)
    stop = Stop()
    stop.look(shell, proc(2, HANDLED, "master", under=1), worker)
    assert stop.look_until(0.6, shell, proc(2, HANDLED, "master", under=1), worker) == [2]
    assert stop.look_until(7.9, shell, proc(3, HANDLED, "worker", under=1)) == []


@pytest.mark.parametrize(
    ("argv", "told"),
    [(("catatonit", "--", "bash"), [3]), (("tini", "-g", "--", "bash"), []), (("dumb-init", "bash"), [])],
)
def test_s13_a_trap_below_an_init_was_told_by_it(argv, told):
    """Inits that signal the whole group have told the server too."""
    init = proc(1, WAITING, argv[0], argv=argv)
    shell, server = proc(2, HANDLED, "bash", under=1), proc(3, HANDLED, under=2)
    stop = Stop()
    assert stop.look(init, shell, server) == [1]
    assert stop.look_until(0.45, init, shell, server) == []
    assert stop.look_until(7.9, init, shell, server) == told


def test_s13_a_shell_with_a_trap_below_a_supervisor_is_left_to_it():
    top, shell, server = proc(1, HANDLED), proc(2, HANDLED, "bash", under=1), proc(3, HANDLED, under=2)
    stop = Stop()
    assert stop.look(top, shell, server) == [1]
    assert stop.look_until(9.9, top, shell, server) == []


# -- last call (S15) -----------------------------------------------------------------------------


@pytest.mark.parametrize(("grace_s", "lead_s"), [(10.0, 2.0), (100.0, 2.0), (5.0, 1.0), (1.0, 0.2)])
def test_s15_the_last_call_comes_shortly_before_the_deadline(grace_s, lead_s):
    stop = Stop(StopRequest(grace_s=grace_s))
    assert stop.state.timers[Timer.LAST_CALL] == pytest.approx(1000 + grace_s - lead_s)
    assert stop.state.timers[Timer.DEADLINE] == pytest.approx(1000 + grace_s)


@pytest.mark.parametrize(("wanted_s", "at_s"), [(3.0, 1007.0), (60.0, 1000.0)])
def test_s15_its_lead_can_be_chosen(wanted_s, at_s):
    stop = Stop(StopRequest(last_call_s=wanted_s))
    assert stop.state.timers[Timer.LAST_CALL] == pytest.approx(at_s)


@pytest.mark.parametrize(
    "request_", [StopRequest(last_call_s=0.0), StopRequest(grace_s=NO_LIMIT), StopRequest(grace_s=0.0)]
)
def test_s15_or_it_is_off(request_):
    assert Timer.LAST_CALL not in Stop(request_).state.timers


def test_s15_with_the_last_call_off_nobody_else_is_told():
    shell, busy, tee = proc(1, DEAF, "sh"), proc(2, HANDLED, under=1), proc(3, DEFAULT, "tee", under=1)
    stop = Stop(StopRequest(last_call_s=0.0))
    stop.look(shell, busy, tee)
    assert stop.look_until(9.99, shell, busy, tee) == []


def test_s15_it_tells_who_was_not_told_once():
    shell, busy, tee = proc(1, DEAF, "sh"), proc(2, HANDLED, under=1), proc(3, DEFAULT, "tee", under=1)
    stop = Stop()
    assert stop.look(shell, busy, tee) == [2]
    assert stop.look_until(7.99, shell, busy, tee) == []
    assert stop.look_until(9.99, shell, busy, tee) == [3]
    assert [mark.name for mark in stop.state.marks][-2:] == ["last call", "last call made"]


def test_s15_an_init_and_a_shell_over_somebody_busy_are_not_told():
    """They would end at once, and take the busy one with them before its time is over."""
    processes = proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)
    stop = Stop()
    assert stop.look(*processes) == [3]
    assert stop.look_until(9.99, *processes) == []
    assert stop.state.phase is Phase.GRACE


def test_s15_a_caller_who_brings_the_deadline_nearer_does_not_lose_it():
    stop = Stop()
    stop.look(proc(1, HANDLED))
    stop.give(DeadlineMoved(1002.0), after_s=1.0)
    assert stop.state.timers[Timer.LAST_CALL] == pytest.approx(1001.8)


def test_s15_it_is_made_once_also_when_the_deadline_moves_away():
    tee = proc(3, IGNORED, "tee", under=1)
    stop = Stop()
    stop.look_until(8.5, proc(1, IGNORED), tee)
    stop.give(DeadlineMoved(1030.0, extend=True))
    assert Timer.LAST_CALL not in stop.state.timers


# -- looking again -------------------------------------------------------------------------------


def test_s12_looks_come_soon_while_something_may_be_decided_and_seldom_after():
    stop = Stop()
    stop.look(proc(1, HANDLED))
    assert stop.state.timers[Timer.LOOK] == pytest.approx(1000.05)
    stop.look_until(0.9, proc(1, HANDLED))
    assert stop.state.timers[Timer.LOOK] <= 1000.96
    stop.look_until(1.3, proc(1, HANDLED))
    assert stop.state.timers[Timer.LOOK] > 1002.0


def test_s12_a_newcomer_makes_it_look_soon_again():
    stop = Stop()
    stop.look(proc(1, HANDLED))
    stop.look_until(3.5, proc(1, HANDLED))
    stop.look(proc(1, HANDLED), proc(2, DEFAULT, under=1))
    assert stop.state.timers[Timer.LOOK] == pytest.approx(stop.now_s + 0.05)


def test_s13_an_exit_of_somebody_told_is_looked_at_at_once():
    stop = Stop()
    stop.look(proc(1, DEAF, "sh"), proc(2, HANDLED, under=1))
    assert [type(action).__name__ for action in stop.give(SignalledExited(2))] == ["Look"]


def test_s03_a_later_process_with_the_same_pid_is_another_one():
    stop = Stop()
    shell = proc(1, DEAF, "sh")
    assert stop.look(shell, proc(2, HANDLED, under=1)) == [2]
    again = replace(proc(2, HANDLED, under=1), start_ticks=99)
    assert stop.look(shell, again, after_s=0.2) == [2]
    assert stop.actions[1] == SendSignal(2, 99, 15, False)
