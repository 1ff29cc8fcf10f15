"""What processes begin, by the kernel's own word (``kernel.births``)."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from bento.kernel.namespace import in_network
from bento.kernel.process.births import Births

from support import procs
from support.reaper import machine_network

# It begins nothing else meanwhile: the kernel has room for some thousand events that were not read.
SCRIPT = """
read line
(sleep 1000; true) &
true
child=
while [ -z "$child" ]; do read -r child </proc/$!/task/$!/children; done
kill -9 $! $child
echo "$!"
kill -9 $$
"""


@pytest.fixture
def births():
    following = Births()
    with open(machine_network(), "rb") as file:
        in_network(file.fileno(), lambda: following.follow(0, []))
    yield following
    following.close()


def test_what_begins_later_and_is_killed_is_named_at_any_depth(births):
    with subprocess.Popen(["/bin/bash", "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        births.follow(shell.pid, [shell.pid])
        out, _ = shell.communicate(b"\n")
    procs.wait_until(lambda: len(births.killed(shell.pid)) >= 2, what="the ends of both")
    assert len(births.killed(shell.pid)) == 2
    assert int(out) in births.killed(shell.pid)
    assert births.killed(1) == []


def test_what_was_there_before_does_not_count(births):
    with subprocess.Popen(["/bin/sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE) as shell:
        assert shell.stdout
        child = int(shell.stdout.readline())
        births.follow(shell.pid, [shell.pid, child])
        os.kill(child, signal.SIGKILL)
        shell.wait()
        assert births.killed(shell.pid) == []


def test_what_ends_by_itself_and_threads_do_not_count(births):
    code = "import threading, os; t = threading.Thread(target=int); t.start(); t.join(); os.system('true')"
    with subprocess.Popen(["/bin/sh", "-c", 'read line; python3 -c "$1"', "sh", code], stdin=subprocess.PIPE) as shell:
        births.follow(shell.pid, [shell.pid])
        shell.communicate(b"\n")
    assert births.killed(shell.pid) == []
