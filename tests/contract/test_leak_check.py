"""The leak check itself: what it must see, and how it clears up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bento import Engine
from bento.config import Settings
from bento.drivers.network.bridge import BridgeNetwork
from bento.model.create import CreateOptions
from bento.model.network import Attachment, Connection

from support import leaks, procs
from support.netns import Netns

ORPHAN = "import os, sys, time\nif os.fork(): os._exit(0)\nos.setsid(); os.close(1); time.sleep(60)"
"""Leaves a process of another session behind, as a monitor is."""


def _leave_an_orphan(*prefix: str) -> None:
    subprocess.run([*prefix, "/usr/bin/python3", "-c", ORPHAN], check=True, timeout=10)


@contextmanager
def _orphans_are_of_others() -> Iterator[None]:
    """As if this process were its own reaper: what it has left behind descends from another one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procs, "reaper_pid", os.getpid)
        yield


def _make_cgroup() -> Path:
    found = [entry.path for entry in os.scandir(leaks.CGROUP_ROOT)]
    hierarchies = [path for path in found if os.path.exists(f"{path}/cgroup.procs")]
    made = Path((hierarchies or [leaks.CGROUP_ROOT])[0], f"bento-{os.urandom(32).hex()}")
    made.mkdir()
    return made


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


def test_cgroup_is_seen_in_any_hierarchy_and_removed(leak_check, monkeypatch):
    monkeypatch.setattr(leaks, "is_shared", lambda: False)
    leak_check.before.is_shared = False
    made = _make_cgroup()
    assert f"cgroup {made}" in leak_check.look()
    monkeypatch.setattr(leak_check, "new_cgroups", lambda: [str(made)])  # none that another run has just made
    leak_check.sweep()
    assert not made.exists()


def _place(driver: BridgeNetwork, identifier: str) -> Connection:
    return driver.choose(driver.default(), identifier, (), Attachment(network="bridge"))


def test_links_and_tables_of_an_engine_of_this_test_are_seen(leak_check, roots):
    """A real bridge, in a network namespace that is the host's for it."""
    host, inside = Netns(), Netns()
    try:
        driver = BridgeNetwork(roots.root, is_default=False)
        identifier = os.urandom(32).hex()
        host.inside(
            lambda: driver.connect(identifier, (_place(driver, identifier),), f"/proc/{inside.pid}/ns/net", dict)
        )
        kinds = [line.split()[0] for line in host.inside(leak_check.network)]
        assert kinds.count("link") == 2
        assert "table" in kinds
        host.inside(leak_check.sweep)
        assert host.inside(leak_check.network) == []
    finally:
        host.close()
        inside.close()


def test_empty_cgroup_is_no_leak_where_other_engines_are_at_work(leak_check, tmp_path):
    """What has made it, if not this test, has removed its record already, or its root is unknown."""
    (tmp_path / "conmon").symlink_to("/usr/bin/sleep")
    with subprocess.Popen([tmp_path / "conmon", "60"]) as other:
        cgroup = _make_cgroup()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(procs, "reaper_pid", lambda: -1)
                patch.delenv("BENTO_TEST_TOP", raising=False)
                assert leaks.is_shared()
                assert leak_check.new_cgroups() == []
        finally:
            cgroup.rmdir()
            other.kill()


def test_an_empty_cgroup_counts_for_the_root_that_has_had_its_container(leak_check, roots):
    with Engine(Settings(root=roots.root, run_root=roots.run_root)) as engine:
        removed = engine.remove(engine.create(CreateOptions(image="host", command=("sleep", "9"))).id)
    theirs = _make_cgroup()
    own = theirs.with_name(f"bento-{removed.id}")
    try:
        own.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            for shared in (True, False):
                patch.setattr(leaks, "is_shared", lambda shared=shared: shared)
                found = leak_check.new_cgroups()  # may name one that another run has just made
                assert str(own) in found
                assert str(theirs) not in found
    finally:
        leak_check.sweep()
        theirs.rmdir()
    assert not own.exists()


def test_what_others_do_meanwhile_is_no_leak(leak_check, tmp_path):
    """Processes, cgroups, links, tables and mount namespaces of engines that have other roots, or of other kinds."""
    point = tmp_path / "m"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
    try:
        # It gets a copy of the mount that no unmount on the host reaches.
        _leave_an_orphan("unshare", "-m", "--propagation", "private")
    finally:
        subprocess.run(["umount", point], check=True)
    assert any(line.startswith("mount ") for line in leak_check.look())
    host, inside = Netns(), Netns()
    theirs = procs.with_word(ORPHAN)[0]
    cgroup = _make_cgroup()
    try:
        (cgroup / "cgroup.procs").write_text(str(theirs.pid))
        driver = BridgeNetwork(tmp_path / "other", is_default=False)
        identifier = os.urandom(32).hex()
        host.inside(
            lambda: driver.connect(identifier, (_place(driver, identifier),), f"/proc/{inside.pid}/ns/net", dict)
        )
        host("nft", "add", "table", "ip", "filter")
        with _orphans_are_of_others():
            # The processes that keep the two network namespaces have their parent here.
            found = [line for line in host.inside(leak_check.look) if not line.startswith("process ")]
            # Another run on this machine may just then have a cgroup that is empty: none but this one is asked for.
            assert [line for line in found if not line.startswith("cgroup ") or str(cgroup) in line] == []
            procs.kill(theirs)
            procs.wait_until(lambda: not (cgroup / "cgroup.procs").read_text(), what="its end")
            assert str(cgroup) not in leak_check.new_cgroups()
    finally:
        host.close()
        inside.close()
        leak_check.sweep()
        with suppress(FileNotFoundError):
            cgroup.rmdir()


def test_files_that_name_a_container_are_seen(leak_check, roots):
    identifier = os.urandom(32).hex()
    (roots.run_root / "locks").mkdir(parents=True)
    (roots.run_root / "locks" / f"{identifier}.lock").touch()
    (roots.root / "layers" / identifier).mkdir(parents=True)
    assert leak_check.files() == [f"file {roots.run_root}/locks/{identifier}.lock"]
    leaks.remove_tree(roots.run_root)


def test_orphans_are_reaped_at_once(leak_check):
    """Otherwise a monitor that has ended stays a zombie and container tests wait for no process."""
    before = {process.pid for process in procs.descendants()}  # such as a registry that several tests share
    subprocess.run(["/bin/sh", "-c", "sleep 0.05 & exit 0"], check=True)

    def is_reaped() -> bool:
        return before.issuperset(process.pid for process in procs.descendants())

    procs.wait_until(is_reaped, timeout_s=20, what="the orphan to be reaped")
