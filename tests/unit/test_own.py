"""Which processes are Bento's own command line, as a lock on one byte says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bento import own


def in_child(run_root: Path) -> int:
    """A child that has marked itself, and waits."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        own.mark(run_root)
        os.write(writer, b"x")
        signal.pause()
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)
    return pid


def test_a_process_that_said_so_is_bentos_own_until_its_end(tmp_path: Path) -> None:
    pid = in_child(tmp_path)
    assert own.is_own(tmp_path, pid)
    assert not own.is_own(tmp_path, os.getpid())
    assert not own.is_own(tmp_path / "another", pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not own.is_own(tmp_path, pid)


def test_a_look_takes_no_mark_away(tmp_path: Path) -> None:
    first = in_child(tmp_path)
    second = os.fork()
    if second == 0:
        own.mark(tmp_path)
        own.mark(tmp_path)
        is_seen = own.is_own(tmp_path, first)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0 if is_seen else 1)
    os.waitpid(second, os.WUNTRACED)
    assert own.is_own(tmp_path, second)
    os.kill(second, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]) == 0
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
