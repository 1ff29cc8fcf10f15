"""Cgroups on sample texts and on plain directories that look like them."""

from __future__ import annotations

import os

import pytest

from bento.errors import DeadlineExceeded, InternalError
from bento.kernel import cgroup
from bento.kernel.mountinfo import parse_mountinfo

HYBRID = parse_mountinfo(b"""\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
""")
UNIFIED = parse_mountinfo(b"31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n")
NESTED = parse_mountinfo(b"31 23 0:28 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")


def test_each_controller_has_its_directory_on_a_hybrid_host():
    text = "9:name=systemd:/bento-x\n8:pids:/bento-x\n6:freezer:/bento-x\n2:cpu,cpuacct:/a:b\n0::/bento-x\n"
    assert cgroup.locate(text, HYBRID) == {
        "name=systemd": "/sys/fs/cgroup/systemd/bento-x",
        "freezer": "/sys/fs/cgroup/freezer/bento-x",
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/a:b",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/a:b",
        "": "/sys/fs/cgroup/unified/bento-x",
    }  # pids is not mounted


def test_version_2_alone_has_one_directory():
    assert cgroup.locate("0::/bento-x\n", UNIFIED) == {"": "/sys/fs/cgroup/bento-x"}
    assert cgroup.locate("0::/\n", UNIFIED) == {"": "/sys/fs/cgroup"}


def test_what_lies_outside_the_mounted_part_is_left_out():
    assert cgroup.locate("0::/docker/abc/bento-x\n", NESTED) == {"": "/sys/fs/cgroup/bento-x"}
    assert cgroup.locate("0::/docker/abcd\n", NESTED) == {}
    assert cgroup.locate("0::/../other\n", UNIFIED) == {}


def test_nothing_is_a_containers_own_where_it_is_with_us():
    assert cgroup.Cgroups.of_process(os.getpid()).paths == {}


def test_a_hierarchys_root_is_refused():
    # Any mount point will do; everything of the hierarchy is in its root.
    with pytest.raises(InternalError):
        cgroup.Cgroups({"": "/proc"})


@pytest.mark.parametrize(
    ("files", "mode"),
    [(["cgroup.controllers"], "v2"), (["unified/cgroup.controllers"], "hybrid"), (["freezer/tasks"], "v1")],
)
def test_the_hosts_mode_shows_in_its_files(tmp_path, files, mode):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert cgroup.mode(str(tmp_path)) == mode


def test_what_is_gone_is_empty_and_never_an_error(tmp_path):
    gone = cgroup.Cgroups({"": str(tmp_path / "a"), "freezer": str(tmp_path / "b"), "pids": str(tmp_path / "c")})
    assert not gone.exists()
    assert gone.pids() == []
    assert not gone.is_frozen()
    gone.freeze()
    gone.thaw()
    assert gone.kill() == 0
    assert gone.oom_kills() is None
    assert gone.remove() == []


def test_processes_of_nested_cgroups_count(tmp_path):
    (tmp_path / "nested").mkdir()
    (tmp_path / "cgroup.procs").write_text("12\n7\n")
    (tmp_path / "nested/cgroup.procs").write_text("30\n")
    assert cgroup.Cgroups({"": str(tmp_path)}).pids() == [7, 12, 30]


def test_version_2_is_asked_first(tmp_path):
    for name, pid in (("u", 1), ("f", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text(f"{pid}\n")
    both = {"freezer": str(tmp_path / "f"), "": str(tmp_path / "u")}
    assert cgroup.Cgroups(both).pids() == [1]
    assert cgroup.Cgroups({**both, "": str(tmp_path / "hidden")}).pids() == [2]


def test_a_freeze_in_either_version_shows(tmp_path):
    for name in "uf":
        (tmp_path / name).mkdir()
    both = cgroup.Cgroups({"freezer": str(tmp_path / "f"), "": str(tmp_path / "u")})
    assert not both.is_frozen()
    (tmp_path / "f/freezer.state").write_text("FREEZING\n")
    assert both.is_frozen()
    (tmp_path / "f/freezer.state").write_text("THAWED\n")
    (tmp_path / "u/cgroup.freeze").write_text("1\n")
    assert both.is_frozen()


def test_a_thaw_reaches_nested_cgroups_of_both_versions(tmp_path):
    for name in ("u/nested", "f/nested"):
        (tmp_path / name).mkdir(parents=True)
    for path in (tmp_path / "u", tmp_path / "u/nested"):
        (path / "cgroup.freeze").write_text("1")
    for path in (tmp_path / "f", tmp_path / "f/nested"):
        (path / "freezer.state").touch()
    cgroup.Cgroups({"freezer": str(tmp_path / "f"), "": str(tmp_path / "u")}).thaw()
    assert {(tmp_path / name / "cgroup.freeze").read_text() for name in ("u", "u/nested")} == {"0"}
    assert {(tmp_path / name / "freezer.state").read_text() for name in ("f", "f/nested")} == {"THAWED"}


def test_what_cannot_be_frozen_is_thawed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "_FREEZE_LIMIT_S", 0.002)
    (tmp_path / "cgroup.freeze").write_text("0")
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(DeadlineExceeded):
        cgroup.Cgroups({"": str(tmp_path)}).freeze()
    assert (tmp_path / "cgroup.freeze").read_text() == "0"


def test_oom_kills_are_read_in_both_versions(tmp_path):
    (tmp_path / "memory.events").write_text("low 0\noom 4\noom_kill 2\noom_group_kill 1\n")
    assert cgroup.Cgroups({"": str(tmp_path)}).oom_kills() == 2
    assert cgroup.Cgroups({"": str(tmp_path / "hidden")}).oom_kills() is None
    # Version 1 counts each cgroup for itself.
    (tmp_path / "nested").mkdir()
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (tmp_path / "nested/memory.oom_control").write_text("oom_kill 4\n")
    assert cgroup.Cgroups({"memory": str(tmp_path), "": str(tmp_path)}).oom_kills() == 7


def test_directories_that_stay_busy_are_named(tmp_path):
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/file").touch()  # a real cgroup's files vanish with it; this keeps the directory busy
    groups = cgroup.Cgroups({"pids": str(tmp_path / "a"), "cpu": str(tmp_path / "x"), "cpuacct": str(tmp_path / "x")})
    assert groups.remove() == [str(tmp_path / "x")]
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "x/y").exists()


def test_a_tree_is_found_however_directories_count_their_links(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "cgroup.procs").touch()
    everything = sorted(map(str, (tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "c")))
    assert sorted(cgroup._tree(str(tmp_path))) == everything
    monkeypatch.setattr(cgroup, "_LEAF_LINKS", -1)  # as on a filesystem where every directory has one
    assert sorted(cgroup._tree(str(tmp_path))) == everything
