"""What comes to nothing leaves nothing, and says so."""

from __future__ import annotations

import os

from support import procs
from support.workload import assert_clean


def test_create_whose_cidfile_cannot_be_written_makes_no_container(bento, tmp_path):
    said = bento.fails("create", "--name", "cc", "--cidfile", tmp_path / "no" / "x", "host", "true", code=2)
    assert "cidfile" in said
    assert bento("ps", "-aq").stdout == ""
    assert_clean(bento)


def test_a_cidfile_that_is_not_ours_is_left_alone(bento, tmp_path):
    theirs = tmp_path / "cid"
    theirs.symlink_to(tmp_path / "nowhere")
    bento.fails("run", "--cidfile", theirs, "host", "true", code=125)
    assert theirs.is_symlink()
    mine = tmp_path / "mine"
    bento.fails("run", "--cidfile", mine, "host", "no-such-program", code=127)
    assert not mine.exists()


def test_s20_stop_is_no_success_when_its_worker_was_killed(bento):
    bento("run", "-d", "--name", "w", "host", "/bin/sh", "-c", 'trap "" TERM; while :; do sleep 1; done')
    with bento.start("stop", "-t", "20", "w") as stop:
        procs.wait_until(lambda: bento.state("w")["Status"] == "stopping")
        worker = next(p for p in procs.descendants(stop.pid))
        procs.kill(worker)
        out, err = stop.communicate(timeout=30)
    assert stop.returncode == 1
    assert out == ""
    assert "was killed before it was done" in err
    bento("stop", "-t", "0", "w")


def test_run_in_the_foreground_has_the_status_also_when_something_removes_the_container(bento):
    with bento.start("run", "--name", "w", "host", "sleep", "60") as run:
        procs.wait_until(lambda: bento("ps", "-q", "--filter", "status=running").stdout != "")
        bento("rm", "-f", "w")
        run.communicate(timeout=30)
    assert run.returncode == 137


def test_on_the_host_network_the_host_has_its_own_name(bento):
    assert bento("run", "--rm", "--network", "host", "host", "hostname").stdout.strip() == os.uname().nodename
