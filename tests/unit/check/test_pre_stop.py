"""The hook for a pod whose PID 1 is deaf: for which look it is made, and what it does in a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from bento.check import pre_stop

from support import procs
from support.looks import DEFAULT, DROPPED, HANDLED, proc

SHELLS = [words for words in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(words[0])]
SERVER = """
import signal, sys, time
def leave(number, frame):
    time.sleep(0.2)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_it_is_made_for_the_program_that_a_deaf_pid_1_waits_for():
    shell, server = proc(1, DROPPED, "sh"), proc(2, HANDLED, "my server", under=1)
    assert pre_stop.from_look((shell, server), 3) == pre_stop.script("my server", 3)
    assert "name='my server'" in pre_stop.script("my server", 3)
    assert 'kill -QUIT "$@"' in pre_stop.script("my server", 3)


@pytest.mark.parametrize(
    "look", [(), (proc(1, HANDLED, "web"), proc(2, HANDLED, under=1)), (proc(1, DROPPED), proc(2, DEFAULT, under=1))]
)
def test_where_there_is_nothing_for_it_to_do_there_is_none(look):
    assert pre_stop.from_look(look, 15) == ""


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_it_tells_the_top_most_of_that_name_and_waits_for_their_end(shell, tmp_path):
    name = f"srv{os.getpid()}"  # no other run of the tests beside this one has that: the hook looks at all processes
    program = tmp_path / name
    shutil.copy("/usr/bin/python3", program)
    worker = f"import subprocess; child = subprocess.Popen(['{program}', '-c', 'import time; time.sleep(1000)'])\n"
    with subprocess.Popen([program, "-c", worker + SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        [child] = procs.descendants(server.pid)
        done = subprocess.Popen([*shell, "-c", pre_stop.script(name, 15)], stderr=subprocess.PIPE, text=True)
        assert server.wait(20) == 0  # its worker, which has only the default action, was not told
        said = done.communicate(timeout=20)[1]
        assert (done.returncode, said) == (0, "")
        left = procs.read(child.pid)
        assert left is not None
        assert left.is_alive
        procs.kill(child)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_where_nothing_has_that_name_it_ends_at_once(shell):
    done = subprocess.run([*shell, "-c", pre_stop.script("nosuch", 15)], capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
