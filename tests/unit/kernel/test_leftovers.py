"""What a process looks at before it takes another job."""

from __future__ import annotations

import os
import threading

from bento.command import spawn
from bento.kernel.process import leftovers
from bento.kernel.process.leftovers import Held

LIMIT_S = 120


def test_a_job_leaves_nothing_where_the_next_one_is_taken(tmp_path):
    def held() -> Held:
        return leftovers.held(os.getpid())

    before = held()
    assert held() == before
    with (tmp_path / "file").open("w"):
        assert held() != before
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    assert held() != before
    leave.set()
    thread.join()
    child = spawn(["/bin/true"], capture=False)
    assert held().has_children
    child.finish(LIMIT_S)
    assert held() == before
    umask = os.umask(0o077)
    try:
        assert held() != before
    finally:
        os.umask(umask)


def test_it_is_seen_when_the_other_process_has_gone():
    child = spawn(["/bin/true"], capture=False)
    child.finish(LIMIT_S)
    assert leftovers.held(child.pid).around is None
