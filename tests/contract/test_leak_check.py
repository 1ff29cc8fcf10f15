"""The leak check itself: what it must see, and how it clears up."""

from __future__ import annotations

import os
import subprocess

from support import leaks, procs

ORPHAN = "import os, sys, time\nif os.fork(): os._exit(0)\nos.setsid(); os.close(1); time.sleep(60)"
"""Leaves a process of another session behind, as a monitor is."""


def _leave_an_orphan(*prefix: str) -> None:
    subprocess.run([*prefix, "/usr/bin/python3", "-c", ORPHAN], check=True, timeout=10)


def test_orphan_of_another_session_is_seen_and_ended(leak_check):
    _leave_an_orphan()
    assert any(line.startswith("process ") for line in leak_check.look())
    leak_check.sweep()
    assert leak_check.leaks() == []


def test_mount_in_a_foreign_namespace_is_seen_with_its_holder(leak_check):
    point = leak_check.base / "m"
    point.mkdir()
    mount = f'mount -t tmpfs none {point}; exec "$@"'
    _leave_an_orphan("unshare", "-m", "--propagation", "private", "/bin/sh", "-c", mount, "sh")
    assert any(line.startswith("mount ") and "python3" in line for line in leak_check.look())
    assert not os.path.ismount(point)
    leak_check.sweep()
    assert leak_check.leaks() == []


def test_cgroup_is_seen_in_any_hierarchy_and_removed(leak_check):
    found = [entry.path for entry in os.scandir(leaks.CGROUP_ROOT)]
    hierarchies = [path for path in found if os.path.exists(f"{path}/cgroup.procs")]
    made = f"{(hierarchies or [leaks.CGROUP_ROOT])[0]}/bento-{os.urandom(32).hex()}"
    os.mkdir(made)
    assert f"cgroup {made}" in leak_check.look()
    leak_check.sweep()
    assert not os.path.exists(made)


def test_files_that_name_a_container_are_seen(leak_check, roots):
    identifier = os.urandom(32).hex()
    (roots.run_root / "locks").mkdir(parents=True)
    (roots.run_root / "locks" / f"{identifier}.lock").touch()
    (roots.root / "layers" / identifier).mkdir(parents=True)
    assert leak_check.files() == [f"file {roots.run_root}/locks/{identifier}.lock"]
    leaks.remove_tree(roots.run_root)


def test_orphans_are_reaped_at_once(leak_check):
    """Otherwise a monitor that has ended stays a zombie and container tests wait for nobody."""
    before = {process.pid for process in procs.descendants()}  # such as a registry that several tests share
    subprocess.run(["/bin/sh", "-c", "sleep 0.05 & exit 0"], check=True)

    def is_reaped() -> bool:
        return before.issuperset(process.pid for process in procs.descendants())

    procs.wait_until(is_reaped, timeout_s=20, what="the orphan to be reaped")
