"""Processes held where they are, unseen by their parents; and what a shell does with a signal (S13.2, S13.3)."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bento.drivers.tracer.base import AtExit, Held, LetGo, Lost, Noted, Released, Watched

from support import procs
from support.tracing import Program, Tracing, children, let_go, tracer_of, watch


def key_of(pid: int) -> tuple[int, int]:
    found = procs.read(pid)
    assert found is not None
    return found.key


def state_of(pid: int) -> str:
    found = procs.read(pid)
    return found.state if found else ""


def hold(tracer: Tracing, *pids: int) -> None:
    keys = tuple(key_of(pid) for pid in pids)
    tracer.hold(1, keys)
    answer = tracer.wait_for(Held)
    assert answer.held == keys
    assert not answer.failed


SCRIPT = "sleep 0.6 & wait $!; sleep 0.6; echo went on; sleep 60"
ABOVE = {
    "su": ["su", "root", "-c", f"/bin/sh -c '{SCRIPT}; :'"],
    "script": ["script", "-qec", f"/bin/sh -c '{SCRIPT}; :'", "/dev/null"],
    "sudo": ["sudo", "/bin/sh", "-c", SCRIPT],
    "bash-m": ["bash", "-mc", f"/bin/sh -c '{SCRIPT}; :'; echo next"],
    "bash-i": ["bash", "--norc", "-ic", f"/bin/sh -c '{SCRIPT}; :'; echo next"],
    "python": [sys.executable, "-c", f"import os; os.system(\"/bin/sh -c '{SCRIPT}; :'\"); print('next', flush=True)"],
}


@pytest.mark.parametrize("name", ABOVE)
def test_a_held_shell_is_not_continued_and_its_parent_sees_nothing(tracer, name):
    master, slave = pty.openpty()
    with Program(ABOVE[name], stdin=slave) as program:
        os.close(slave)
        shell = 0

        def found() -> bool:
            nonlocal shell
            for process in procs.descendants(program.pid):
                words = procs.cmdline(process.pid)
                if words.startswith("/bin/sh -c sleep 0.6") and children(process.pid):
                    shell = process.pid
            return bool(shell)

        procs.wait_until(found, timeout_s=5, what="the shell")
        hold(tracer, shell)
        before = [(p.pid, p.state) for p in above(shell, program.outer.pid)]
        # The end of its child wakes it for a moment, in which it stops again.
        procs.wait_until(lambda: state_of(shell) == "t", timeout_s=5, what="the shell to be held")
        time.sleep(1.5)
        assert program.is_silent(0)
        assert state_of(shell) == "t"
        assert [(p.pid, p.state) for p in above(shell, program.outer.pid)] == before
        assert all(state == "S" for _, state in before)
        # Ended while it is held, it ends at once, and what is above goes on as ever.
        os.kill(shell, signal.SIGKILL)
        assert "ended" in tracer.wait_for(LetGo).why
        procs.wait_until(lambda: state_of(shell) in ("", "Z"), timeout_s=5)
        os.close(master)


def above(pid: int, top: int) -> list[procs.Process]:
    found = []
    while pid != top:
        process = procs.read(pid)
        assert process is not None
        pid = process.ppid
        found.append(procs.read(pid))
    return [process for process in found if process is not None]


def test_let_go_a_held_process_goes_on(tracer):
    with Program(["/bin/sh", "-c", "sleep 0.3; echo first; sleep 0.3; echo second"]) as program:
        hold(tracer, program.pid)
        assert program.is_silent(0.6)
        let_go(tracer, program.key)
        assert program.line() == "first"
        assert program.line() == "second"
        assert program.code() == 0


def test_signals_wait_for_a_held_process(tracer):
    with Program(["/bin/sh", "-c", "trap 'echo told' TERM; echo ready; while :; do sleep 0.1; done"]) as program:
        assert program.line() == "ready"
        hold(tracer, program.pid)
        program.send(signal.SIGTERM)
        assert program.is_silent(0.4)
        tracer.release(1)
        assert program.line() == "told"


@pytest.mark.parametrize("ending", ["tracer killed", "released", "continued and released"])
def test_a_stop_signal_queues_behind_a_hold(tracer, ending, tmp_path):
    """So that a held process stays where it is also when the tracer dies; SIGCONT takes it out of the queue again."""
    go_on = tmp_path / "go-on"
    script = f"echo ready; while [ ! -e {go_on} ]; do sleep 0.02; done; echo on; sleep 60"
    with Program(["/bin/sh", "-c", script]) as program:
        assert program.line() == "ready"
        hold(tracer, program.pid)
        go_on.touch()
        program.send(signal.SIGSTOP)
        assert program.state() == "t"
        if ending == "continued and released":
            program.send(signal.SIGCONT)
        if ending == "tracer killed":
            tracer.kill()
            tracer.wait_for(Lost)
        else:
            tracer.release(1)
            tracer.wait_for(Released)
        if ending == "continued and released":
            assert program.line() == "on"
        else:
            procs.wait_until(lambda: program.state() == "T")
            assert program.is_silent(0.5)


def test_a_watched_process_can_be_held_and_a_stopped_one(tracer):
    with Program(["/bin/sh", "-c", "echo ready; while :; do sleep 0.1; done"]) as program:
        assert program.line() == "ready"
        tracer.watch(1, program.pid, program.start_ticks, hold_exit=True)
        assert tracer.wait_for(Watched).error == ""
        program.send(signal.SIGSTOP)
        procs.wait_until(lambda: program.state() in "tT")
        hold(tracer, program.pid)
        program.send(signal.SIGCONT)
        time.sleep(0.1)
        assert program.state() == "t"
        program.send(signal.SIGKILL)
        assert "killed" in tracer.wait_for(LetGo).why
        assert program.has_ended(5)


def test_what_cannot_be_held_is_named(tracer):
    with Program(["sleep", "60"]) as program, Program(["sleep", "60"]) as other:
        gone = (program.pid, program.start_ticks - 1)
        tracer.hold(1, [gone, other.key])
        answer = tracer.wait_for(Held)
        assert answer.held == (other.key,)
        assert [(failure.key, failure.reason) for failure in answer.failed] == [(gone, "it has ended")]
        tracer.watch(2, other.pid, other.start_ticks, hold_exit=True)
        assert "another job" in tracer.wait_for(Watched).error


@pytest.mark.parametrize("count", [200])
def test_threads_without_number(tracer, count):
    text = f"""
import os, threading, time
def nap():
    while True: time.sleep(0.01)
for _ in range({count} - 1): threading.Thread(target=nap, daemon=True).start()
os.write(1, b"ready\\n")
time.sleep(0.5); os.write(1, b"on\\n")
time.sleep(1); os._exit(4)
"""
    with Program.python(text) as program:
        assert program.line() == "ready"
        begun = time.monotonic()
        hold(tracer, program.pid)
        print(f"{count} threads seized and held in {(time.monotonic() - begun) * 1000:.1f} ms")
        tids = os.listdir(f"/proc/{program.pid}/task")
        assert len(tids) == count
        states = [Path(f"/proc/{program.pid}/task/{tid}/stat").read_text().split()[2] for tid in tids]
        assert set(states) == {"t"}
        assert program.is_silent(0.7)
        begun = time.monotonic()
        let_go(tracer)
        print(f"released in {(time.monotonic() - begun) * 1000:.1f} ms")
        assert program.line() == "on"
        tracer.watch(1, program.pid, program.start_ticks, hold_exit=True)
        assert tracer.wait_for(Watched).error == ""
        assert tracer.wait_for(AtExit).code == 4 << 8
        assert not program.has_ended(0.1)
        tracer.release(1)
        assert program.code() == 4


SHELLS = {"bash": ["bash", "-c"], "dash": ["dash", "-c"], "busybox": ["busybox", "sh", "-c"]}
SCRIPTS = {
    # A foreground child: the trap waits for it.
    "foreground": ("trap 'echo told' TERM; echo ready; sleep 1; echo after", True),
    "in a function": ("trap 'echo told' TERM; f() { echo ready; sleep 1; }; f; echo after", True),
    "pipeline": ("trap 'echo told' TERM; echo ready; sleep 1 | cat; echo after", True),
    "subshell": ("trap 'echo told' TERM; echo ready; (sleep 1; :); echo after", True),
    # Its wait builtin returns at once.
    "wait": ("trap 'echo told' TERM; sleep 1 & echo ready; wait $!; echo after", False),
    "wait for all": ("trap 'echo told' TERM; sleep 1 & echo ready; wait; echo after", False),
    "busy": ("trap 'echo told' TERM; echo ready; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done", False),
    "read": ("trap 'echo told' TERM; echo ready; read x; echo after", False),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_shell_that_has_only_noted_the_signal_is_known(tracer, shell, name):
    text, expected = SCRIPTS[name]
    reader, writer = os.pipe()
    with Program([*SHELLS[shell], text], stdin=reader) as program:
        assert program.line() == "ready"
        time.sleep(0.1)
        tracer.watch(1, program.pid, program.start_ticks, hold_exit=False, note_signal=signal.SIGTERM)
        assert tracer.wait_for(Watched).error == ""
        program.send(signal.SIGTERM)
        assert tracer.wait_for(Noted) == Noted(job=1, pid=program.pid, only_noted=expected)
        procs.wait_until(lambda: tracer_of(program.pid) == 0)
        if name != "read":
            assert program.line() == "told"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_that_begins_its_trap_has_not_only_noted_the_signal_and_stays_watched(tracer, shell):
    text = "trap 'echo trap; sleep 0.3; echo done; exit 5' TERM; echo ready; sleep 60 & wait $!"
    with Program([*SHELLS[shell], text]) as program:
        assert program.line() == "ready"
        time.sleep(0.1)
        tracer.watch(1, program.pid, program.start_ticks, hold_exit=True, note_signal=signal.SIGTERM)
        assert tracer.wait_for(Watched).error == ""
        program.send(signal.SIGTERM)
        assert tracer.wait_for(Noted).only_noted is False
        assert program.line() == "trap"
        assert tracer_of(program.pid) == tracer.pid
        assert tracer.wait_for(AtExit).code == 5 << 8
        tracer.release(1)
        tracer.wait_for(Released)
        assert program.code() == 5


def test_a_tracer_that_retires_lets_all_go_and_the_next_request_starts_another(tracer):
    """What is held goes on; and it is not refused to the next one because the first, which is slow, still traces it."""
    with Program(["sleep", "60"]) as program:
        hold(tracer, program.pid)
        first, pidfd = tracer.pid, os.pidfd_open(tracer.pid)
        tracer.retire()
        tracer.retire()
        assert select.select([pidfd], [], [], 10)[0]
        assert tracer_of(program.pid) == 0
        hold(tracer, program.pid)
        slow = tracer.pid
        os.kill(slow, signal.SIGSTOP)
        tracer.retire()
        with subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -CONT {slow}"]):
            assert watch(tracer, program).error == ""
            assert tracer_of(program.pid) == tracer.pid
            assert tracer.pid not in (first, slow)
        os.close(pidfd)


@pytest.mark.parametrize("count", [1, 500])
def test_what_it_costs_to_seize_and_hold(tracer, count):
    text = f"""
import os, time
for _ in range({count} - 1):
    if os.fork() == 0: time.sleep(60); os._exit(0)
os.write(1, b"ready\\n")
time.sleep(60)
"""
    with Program.python(text) as program:
        assert program.line() == "ready"
        begun = time.monotonic()
        tracer.fileno()
        tracer.release(2)
        tracer.wait_for(Released)
        started = time.monotonic()
        before = pss_kib(tracer.pid)
        keys = [key_of(process.pid) for process in procs.descendants(program.outer.pid)]
        assert len(keys) == count
        again = time.monotonic()
        for pid, start_ticks in keys:
            tracer.watch(1, pid, start_ticks, hold_exit=True)
        for _ in keys:
            assert tracer.wait_for(Watched).error == ""
        seized = time.monotonic()
        tracer.hold(1, keys)
        assert len(tracer.wait_for(Held).held) == count
        held = time.monotonic()
        let_go(tracer)
        released = time.monotonic()
        print(
            f"{count} processes: start {(started - begun) * 1000:.1f} ms, seize {(seized - again) * 1000:.1f} ms, hold"
            f" {(held - seized) * 1000:.1f} ms, release {(released - held) * 1000:.1f} ms; PSS {before} KiB, then"
            f" {pss_kib(tracer.pid)} KiB"
        )
        assert released - again < 10


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
