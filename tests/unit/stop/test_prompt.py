"""Rule S29: a shell at its prompt, without a job, gets SIGHUP."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.model.stop import Occasion, OnDeaf, Scope, StopRequest, Verdict
from bento.model.waits import Descriptor
from bento.stop.actions import HoldBack, KillInit, LetGo, Look, Persist, SendSignal, WatchInit
from bento.stop.forecast.forecast import forecast
from bento.stop.inputs import HeldBack, InitLeaving, Looked, MainExited, SignalNoted, Traced
from bento.stop.process import Process
from bento.stop.rules import prompt
from bento.stop.states import KillCause, Phase
from bento.stop.verdict import judge

from support.looks import (
    BLOCKED,
    DEFAULT,
    DROPPED,
    HANDLED,
    IGNORED,
    Stop,
    polls,
    proc,
    runs,
    serves,
    sleeps,
    thread,
    types,
    waits,
)

HUP = 1


def shell(pid: int = 1, name: str = "bash", *, under: int = 0, **more) -> Process:
    """One at its prompt, with a handler for SIGHUP unless said otherwise."""
    more = {"hangup": HANDLED, "evidence": types()} | more
    return proc(pid, IGNORED, name, under=under, **more)


def session(pid: int = 2, name: str = "bash", **more) -> Process:
    return shell(pid, name, under=99, is_main=False, is_entered=True, **more)


BASH = shell()
DASH = shell(name="dash", hangup=DROPPED, evidence=types("read", "lines", size=8192))
INIT = proc(1, BLOCKED, "catatonit", evidence=thread("read", fds=(Descriptor("signalfd"),)))


def sent(stop: Stop) -> list[tuple[int, int]]:
    """Which processes the last input had signalled, and with what."""
    return [(action.pid, action.signal) for action in stop.actions if isinstance(action, SendSignal)]


# -- which one is at its prompt ----------------------------------------------------------------------


@pytest.mark.parametrize("argv", [
    "bash", "-bash", "/bin/bash -l", "bash --norc -i", "bash --rcfile /etc/rc -i", "bash -o vi", "bash -io vi",
    "zsh +o nomatch", "sh -", "busybox sh", "/bin/busybox ash -l", "dash --",
])  # fmt: skip
def test_s29_a_shell_without_a_script_may_be_at_its_prompt(argv):
    words = tuple(argv.split())
    assert prompt.may_be(shell(name="busybox" if "busybox" in argv else "bash", argv=words))


@pytest.mark.parametrize("argv", [
    "bash start.sh", "bash -c read", "bash -ic read", "bash -i -- start.sh", "bash --norc start.sh",
    "bash -o vi start.sh", "bash -s word", "sh - start.sh", "busybox sh start.sh", "bash --rcfile rc start.sh",
])  # fmt: skip
def test_s29_one_with_a_script_is_not(argv):
    words = tuple(argv.split())
    assert not prompt.may_be(shell(name="busybox" if "busybox" in argv else "bash", argv=words))


@pytest.mark.parametrize("other", [
    proc(1, IGNORED, "vim", hangup=HANDLED), proc(1, IGNORED, "python3", hangup=HANDLED),
    proc(1, IGNORED, "bash", argv=("/usr/bin/python3",), hangup=HANDLED),
    proc(1, IGNORED, "run", argv=("bash",), hangup=HANDLED),
    shell(hangup=IGNORED), shell(hangup=BLOCKED), proc(1, IGNORED, "bash"), proc(1, HANDLED, "bash", hangup=HANDLED),
    proc(2, DEFAULT, "bash", under=1, hangup=HANDLED), shell(is_halted=True),
])  # fmt: skip
def test_s29_nor_is_what_is_no_shell_or_does_not_end_by_sighup_alone(other):
    assert not prompt.may_be(other)


@pytest.mark.parametrize(("name", "hangup", "evidence"), [
    ("bash", HANDLED, types()), ("zsh", HANDLED, types("read", size=1)), ("sh", DROPPED, types("poll")),
    ("dash", DROPPED, types("read", "lines", size=8192)), ("dash", DEFAULT, types("read", "lines", size=1024)),
])  # fmt: skip
def test_s29_how_shells_wait_at_their_prompts(name, hangup, evidence):
    assert prompt.is_reading(shell(name=name, hangup=hangup, evidence=evidence))


TWO = replace(types(), threads=types().threads * 2)


@pytest.mark.parametrize(("hangup", "evidence"), [
    (HANDLED, types("read", "lines", size=4096)),  # read, select in bash, or sh that is bash
    (HANDLED, types("read", "keys", size=1)),  # read -n in bash, read -k in zsh
    (DROPPED, types("read", "lines", size=1)),  # read in dash
    (DROPPED, types("poll", "lines")), (DROPPED, types("poll", "keys")),  # read in busybox
    (DROPPED, types("poll", "lines", size=8192)),
    (HANDLED, types("pselect6", "")), (HANDLED, types(timeout_s=3.0)), (HANDLED, types(state="D")),
    (HANDLED, thread("pselect6", fds=(Descriptor("tty", terminal="edited"), Descriptor("pipe")))),
    (HANDLED, thread("pselect6")), (HANDLED, waits()), (HANDLED, runs()), (HANDLED, types("write")),
    (HANDLED, TWO), (HANDLED, None),
])  # fmt: skip
def test_s29_how_they_wait_elsewhere(hangup, evidence):
    assert not prompt.is_reading(shell(hangup=hangup, evidence=evidence))


# -- as PID 1 ----------------------------------------------------------------------------------------


def test_s29_a_shell_at_its_prompt_gets_sighup_once_it_has_been_there_for_a_moment():
    stop = Stop()
    stop.look(replace(BASH, evidence=None))
    assert stop.did(Look(examine=True))
    stop.look(BASH)
    assert stop.look_until(0.29, BASH) == []
    assert stop.look_until(0.36, BASH) == [1]
    assert stop.look_until(9.9, BASH) == []
    (one,) = stop.state.signalled
    assert (one.signal, one.occasion, one.receives) == ("SIGHUP", Occasion.INIT, "handled")
    assert "closes" in one.why


def test_s29_what_is_sent_is_sighup_and_it_leaves():
    stop = Stop()
    stop.look(BASH)
    stop.look(BASH, after_s=0.31)
    assert sent(stop) == [(1, HUP)]
    assert stop.look(replace(BASH, evidence=runs()), after_s=0.05) == []  # it writes its history
    stop.give(MainExited(), after_s=0.01)
    found = judge(stop.state, exit_code=129, oom_kills=0)
    assert (found.verdict, found.cause) == (Verdict.GRACEFUL, "bash was at its prompt, and ended by SIGHUP")
    assert found.is_graceful


def test_s29_one_in_which_lines_are_typed_is_left_alone():
    stop = Stop()
    for turn in range(40):
        assert stop.look(replace(BASH, switches=turn), after_s=0.2) == []
    assert stop.look_until(9.9, replace(BASH, switches=40)) == [1]


def test_s29_one_that_stays_is_killed_when_the_grace_is_over():
    stop = Stop()
    stop.look_until(10.0, BASH)
    assert stop.state.kill_cause is KillCause.GRACE_OVER
    found = judge(stop.state, exit_code=137, oom_kills=0)
    assert "got SIGHUP at its prompt" in found.cause
    assert "more time" in found.remedy


@pytest.mark.parametrize("request_", [{"scope": Scope.MAIN}, {"signal": HUP}])
def test_s29_the_plain_stop_sends_its_own_signal(request_):
    stop = Stop(StopRequest(**request_))
    takes = HANDLED if "signal" in request_ else IGNORED
    stop.look(replace(BASH, disposition=takes))
    assert sent(stop) == [(1, request_.get("signal", 15))]
    assert stop.look_until(9.9, replace(BASH, disposition=takes)) == []


def test_s29_without_a_deadline_it_gets_it_too():
    assert Stop(StopRequest(grace_s=-1.0)).look_until(5.0, BASH) == [1]


@pytest.mark.parametrize("beside", [
    proc(2, DEFAULT, "sleep", under=1, evidence=sleeps()),  # a job
    proc(2, DEFAULT, "vim", under=1, is_halted=True, evidence=thread("read", state="T")),
    proc(2, DEFAULT, "dump", under=99, is_main=False, is_entered=True, evidence=runs()),  # an exec session
    proc(2, HANDLED, "server", under=99, is_main=False, is_entered=True, evidence=serves()),
    session(evidence=waits()),
])  # fmt: skip
def test_s29_with_anything_beside_it_that_may_be_at_work_it_is_left_alone(beside):
    assert 1 not in Stop().look_until(9.9, BASH, beside)


def test_s29_a_pid_1_that_sighup_does_not_reach_is_ended_after_a_second():
    stop = Stop()
    assert stop.look_until(0.9, DASH) == []
    assert stop.state.phase is Phase.GRACE
    assert stop.look_until(1.2, DASH) == []
    assert stop.state.kill_cause is KillCause.PROMPT
    assert any(note.startswith("a shell alone at its prompt: dash (1)") for note in stop.state.notes)
    stop.give(MainExited())
    found = judge(stop.state, exit_code=137, oom_kills=0)
    assert found.verdict is Verdict.DEFAULT_ACTION
    assert "alone at its prompt" in found.cause
    assert not found.is_graceful


def test_s29_that_is_done_by_its_end_alone():
    stop = Stop()
    stop.look(DASH)
    stop.look(DASH, after_s=1.0)
    assert isinstance(stop.actions[-1], KillInit)


@pytest.mark.parametrize("request_", [{"on_deaf": OnDeaf.WAIT}, {"grace_s": -1.0}])
def test_s29_where_nothing_is_to_be_ended_early_it_is_not(request_):
    stop = Stop(StopRequest(**request_))
    assert stop.look_until(9.9, DASH) == []
    assert stop.state.phase is Phase.GRACE


@pytest.mark.parametrize("beside", [
    session(), session(name="dash", hangup=DEFAULT), proc(2, DEFAULT, "sleep", under=1, evidence=sleeps()),
])  # fmt: skip
def test_s29_nor_while_anything_is_beside_it(beside):
    stop = Stop()
    stop.look_until(7.9, DASH, beside)
    assert stop.state.phase is Phase.GRACE


# -- elsewhere ---------------------------------------------------------------------------------------


def test_s29_shells_in_exec_sessions_get_it_when_pid_1_is_held_at_its_exit():
    stop = Stop()
    stop.look(BASH, session())
    assert stop.look(BASH, session(), after_s=0.31) == []
    assert stop.did(WatchInit(holds_exit=True))
    stop.give(Traced())
    assert sent(stop) == [(1, HUP)]
    stop.give(InitLeaving(), after_s=0.02)
    leaving = replace(BASH, evidence=runs())
    stop.give(Looked((leaving, session())))
    stop.give(HeldBack(()), after_s=0.01)
    stop.look(leaving, session(), after_s=0.01)
    assert sent(stop) == [(2, HUP)]
    assert stop.state.signalled[1].session
    stop.look(leaving, session(evidence=runs()), after_s=0.1)  # it writes its history
    assert LetGo not in map(type, stop.actions)
    stop.look(leaving, after_s=0.1)
    assert isinstance(stop.actions[0], LetGo)


def test_s29_and_any_pid_1_is_held_at_its_exit_for_them():
    stop = Stop()
    web = proc(1, HANDLED, "web", evidence=serves())
    stop.look(web, replace(session(), evidence=None))
    assert stop.did(Look(examine=True))  # is it at its prompt?
    stop.look(web, session())
    assert stop.did(WatchInit(holds_exit=True))
    stop.give(Traced())
    stop.give(InitLeaving(), after_s=0.02)
    stop.give(Looked((web, replace(session(), evidence=None))))
    stop.give(Looked((web, session())))
    assert isinstance(stop.actions[1], HoldBack)
    stop.give(HeldBack(()), after_s=0.01)
    assert stop.look(web, session(switches=1), after_s=0.01) == []  # it has run: maybe it is at work
    assert LetGo not in map(type, stop.actions)
    stop.look(web, session(switches=1), after_s=0.31)
    assert sent(stop) == [(2, HUP)]


def test_s29_not_for_a_shell_that_saves_nothing():
    stop = Stop()
    stop.look(proc(1, HANDLED, "web", evidence=serves()), session(name="dash", hangup=DEFAULT))
    assert stop.signalled_now == [1]


def test_s13a_a_shell_whose_terminal_has_closed_is_waited_for():
    """As below tmux: that ends its shells by closing their terminals, and leaves."""
    tmux, pane = proc(1, HANDLED, "tmux", evidence=serves()), shell(3, under=2)
    server = proc(2, HANDLED, "tmux", under=1, evidence=serves())
    stop = Stop()
    stop.look(tmux, server, pane)
    stop.give(Traced())
    stop.give(InitLeaving(), after_s=0.1)
    stop.give(Looked((tmux, server, replace(pane, evidence=None))))
    stop.give(Looked((tmux, server, pane)))
    stop.give(HeldBack(()))
    assert stop.look(tmux, server, pane) == [2]
    orphan = replace(pane, ppid=1, evidence=runs())
    stop.look(tmux, server, orphan, after_s=0.1)
    assert stop.did(Persist(), HoldBack((), hang_up=True))  # the server waits for PID 1, its client
    stop.give(HeldBack(()))
    for _ in range(5):
        assert stop.look(tmux, orphan, after_s=0.1) == []  # not a second one
        assert LetGo not in map(type, stop.actions)
    stop.look(tmux, after_s=0.1)
    assert isinstance(stop.actions[0], LetGo)


def test_s29_a_shell_that_pid_1_only_waits_for_gets_it_in_its_place():
    stop, script = Stop(), proc(1, DROPPED, "sh", evidence=waits(2))
    child = shell(2, under=1, evidence=types("read", size=1), name="zsh")
    stop.look(script, child)
    assert stop.look_until(0.6, script, child) == []
    assert stop.state.hold.asked == ((1, 7),)
    stop.give(HeldBack(((1, 7),)))
    stop.look(script, child)
    assert sent(stop) == [(2, HUP)]
    assert stop.state.signalled[0].occasion is Occasion.PROGRAM


def test_s29_below_an_init_it_gets_it_when_that_has_its_signal_and_nothing_else_is_left():
    stop, child = Stop(), shell(2, under=1)
    stop.look(INIT, child, after_s=0.02)
    stop.look(INIT, child, after_s=0.02)
    stop.give(Traced())
    assert sent(stop) == [(1, 15)]
    assert stop.look_until(0.5, INIT, child) == []
    assert stop.look_until(1.1, INIT, child) == [2]
    assert stop.state.signalled[1].signal == "SIGHUP"
    stop.give(MainExited())
    assert "got SIGHUP in the end" in judge(stop.state, exit_code=129, oom_kills=0).cause


def test_s29_not_while_anything_else_is_there():
    stop, child, dump = Stop(), shell(2, under=1), proc(3, DEFAULT, "dump", under=1, evidence=polls())
    stop.look(INIT, child, dump, after_s=0.02)
    stop.give(Traced())
    assert 2 not in stop.look_until(7.9, INIT, child, dump)


def test_s29_sessions_are_left_alone_until_the_init_leaves():
    stop, child = Stop(), session()
    stop.look(INIT, child, after_s=0.02)
    stop.look(INIT, child, after_s=0.02)
    stop.give(Traced())
    assert stop.look_until(7.9, INIT, child) == []


def test_s29_a_trap_runs_when_the_shell_in_the_foreground_has_left():
    script, child = proc(1, HANDLED, "sh", evidence=waits(2)), shell(2, under=1)
    stop = Stop()
    stop.look(script, child)
    stop.give(Traced())
    stop.give(SignalNoted((1, 7), is_only_noted=True))
    assert stop.look_until(1.6, script, child) == [2]


def test_s15_the_last_call_is_sighup_for_them():
    stop, busy = Stop(), proc(2, DEFAULT, "dump", under=1, evidence=runs())
    web = proc(1, HANDLED, "web", evidence=serves())
    stop.look(web, busy, session(3))
    stop.give(Traced())
    assert stop.look_until(7.9, web, busy, session(3)) == []
    assert stop.look_until(8.1, web, busy, session(3)) == [3]
    assert stop.state.signalled[-1].signal == "SIGHUP"


def test_s29_where_it_has_left_its_prompt_before_the_tracer_answers_nothing_is_sent():
    stop = Stop()
    stop.look(BASH, session())
    stop.look(BASH, session(), after_s=0.31)
    stop.look(replace(BASH, evidence=runs()), session(), after_s=0.01)
    stop.give(Traced())
    assert sent(stop) == []


def test_s29_a_session_with_a_job_does_not_get_it():
    job = proc(3, DEFAULT, "sleep", under=2, evidence=sleeps())
    stop = Stop()
    web = proc(1, HANDLED, "web", evidence=serves())
    stop.look(web, session(), job)
    stop.give(Traced())
    stop.give(InitLeaving(), after_s=0.1)
    stop.give(Looked((web, session(), job), is_frozen=True))
    assert stop.state.hold.asked == ((2, 7),)  # it would go on to its next command
    stop.give(HeldBack(((2, 7),)))
    stop.look(web, session(), job, after_s=0.31)
    assert sent(stop) == []
    assert isinstance(stop.actions[0], LetGo)


# -- said beforehand ---------------------------------------------------------------------------------


def test_s29_a_forecast_names_it():
    found = forecast("c", StopRequest(), (BASH,), age_s=100.0)
    assert (found.verdict, found.cause) == (Verdict.GRACEFUL, "bash was at its prompt, and ended by SIGHUP")
    assert found.processes[0].part == "signalled, with SIGHUP: it is at its prompt"
    assert any(step.text.startswith("SIGHUP to bash (1): PID 1") for step in found.steps)
    assert found.duration_s is not None
    assert found.duration_s < 1.0


def test_s29_and_that_a_shell_which_it_does_not_reach_is_ended():
    found = forecast("c", StopRequest(), (DASH,), age_s=100.0)
    assert found.verdict is Verdict.DEFAULT_ACTION
    assert any("Bento ends dash (1): a shell alone at its prompt" in step.text for step in found.steps)
