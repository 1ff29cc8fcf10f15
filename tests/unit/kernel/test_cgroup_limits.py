"""What a host's cgroups can keep, on trees of files as they were recorded on hosts of other kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bento.kernel import cgroup_limits
from bento.kernel.cgroup_limits import host_limits, put_back, read_limits
from bento.kernel.mountinfo import MountEntry, parse_mountinfo

V2 = {
    "cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
    "cgroup.subtree_control": "cpu memory pids\n",
    "cpuset.cpus.effective": "0-3\n",
    "cpuset.mems.effective": "0\n",
    "cpu.stat": "",
    "io.stat": "",
    "system.slice/cpu.max": "max 100000\n",
    "system.slice/cpu.weight": "100\n",
    "system.slice/memory.max": "max\n",
    "system.slice/memory.low": "0\n",
    "system.slice/pids.max": "4000\n",
}
"""systemd on Debian 12 with swapaccount=0: no file of swap is in any cgroup."""
V1 = {
    "cpu,cpuacct/cpu.shares": "1024\n",
    "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
    "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "cpuset/cpuset.cpus": "0-7\n",
    "cpuset/cpuset.mems": "0-1\n",
    "cpuset/cpuset.effective_cpus": "0-3\n",
    "memory/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/memory.soft_limit_in_bytes": "9223372036854771712\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    "memory/memory.swappiness": "60\n",
    "blkio/blkio.throttle.read_bps_device": "",
    "pids/docker/pids.max": "max\n",
}
"""Linux 4.15 without swapaccount=1, and with the deadline scheduler: no memory.memsw, no weights."""


def lay_out(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def mounts_of(root: Path, *hierarchies: str) -> list[MountEntry]:
    lines = [
        f"{number} 31 0:{number} / {root}/{name} rw - cgroup cgroup rw,{name}\n"
        for number, name in enumerate(hierarchies, 32)
    ]
    return parse_mountinfo("".join(lines).encode())


def test_version_2_is_known_by_the_cgroups_below_its_root(tmp_path: Path) -> None:
    lay_out(tmp_path, V2)
    found = host_limits(str(tmp_path), [])
    assert {"cpu.max", "cpu.weight", "memory.max", "memory.low", "pids.max"} <= found.files
    assert "memory.swap.max" not in found.files  # a host without that accounting
    assert {"io.max", "cpuset.cpus"} <= found.files  # not handed down yet, which a runtime will do
    assert (found.cpus, found.mems) == ("0-3", "0")


def test_version_2_without_controllers_can_keep_nothing(tmp_path: Path) -> None:
    lay_out(tmp_path, {"cgroup.controllers": "hugetlb\n"})
    assert not any(name.startswith(("cpu", "memory", "io", "pids")) for name in host_limits(str(tmp_path), []).files)


def test_huge_pages_are_limited_by_the_sizes_that_the_kernel_has(tmp_path: Path, monkeypatch) -> None:
    for size in ("hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB"):
        (tmp_path / "mm" / size).mkdir(parents=True)
    sizes = cgroup_limits._page_files(str(tmp_path / "mm"))
    assert set(sizes) == {"hugetlb.64KB.max", "hugetlb.2MB.max", "hugetlb.1GB.max"}
    monkeypatch.setattr(cgroup_limits, "_page_files", lambda: sizes)
    lay_out(tmp_path / "cgroup", {"cgroup.controllers": "hugetlb\n"})
    assert "hugetlb.2MB.max" in host_limits(str(tmp_path / "cgroup"), []).files
    lay_out(tmp_path / "v1", {"hugetlb/hugetlb.2MB.limit_in_bytes": "0\n"})
    assert (
        "hugetlb.2MB.limit_in_bytes" in host_limits(str(tmp_path / "v1"), mounts_of(tmp_path / "v1", "hugetlb")).files
    )


def test_version_1_is_known_by_its_hierarchies(tmp_path: Path) -> None:
    lay_out(tmp_path, V1)
    found = host_limits(str(tmp_path), mounts_of(tmp_path, "cpu,cpuacct", "cpuset", "memory", "blkio", "pids"))
    assert {"cpu.shares", "memory.limit_in_bytes", "memory.oom_control", "pids.max"} <= found.files
    assert found.files.isdisjoint({"memory.memsw.limit_in_bytes", "blkio.weight", "blkio.bfq.weight", "cpu.max"})
    assert (found.cpus, found.mems) == ("0-3", "0-1")


def test_version_1_limits_processes_where_no_cgroup_is_below_the_root_yet(tmp_path: Path) -> None:
    lay_out(tmp_path, {"pids/tasks": "1\n"})
    assert "pids.max" in host_limits(str(tmp_path), mounts_of(tmp_path, "pids")).files
    assert "pids.max" not in host_limits(str(tmp_path), mounts_of(tmp_path, "memory")).files


def test_a_hierarchy_that_is_not_mounted_does_not_count(tmp_path: Path) -> None:
    lay_out(tmp_path, V1)
    found = host_limits(str(tmp_path), mounts_of(tmp_path, "pids"))
    assert found.files >= {"pids.max"}
    assert "memory.limit_in_bytes" not in found.files


def test_the_hybrid_host_has_version_1_and_weights_with_its_scheduler(tmp_path: Path) -> None:
    lay_out(tmp_path, V1 | {"unified/cgroup.controllers": "hugetlb\n", "blkio/blkio.bfq.io_serviced": ""})
    found = host_limits(str(tmp_path), mounts_of(tmp_path, "cpu,cpuacct", "blkio"))
    assert {"blkio.bfq.weight", "blkio.bfq.weight_device", "cpu.cfs_quota_us"} <= found.files
    assert "cpu.max" not in found.files


def test_limits_are_put_back_in_whatever_order_they_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(
        tmp_path,
        {
            "m/memory.limit_in_bytes": "200\n",
            "m/memory.memsw.limit_in_bytes": "300\n",
            "m/memory.usage_in_bytes": "7\n",
            "c/cpu.shares": "1024\n",
        },
    )
    paths = {"memory": str(tmp_path / "m"), "cpu": str(tmp_path / "c"), "cpuacct": str(tmp_path / "c")}
    before = read_limits(paths)
    assert {Path(path).name: text for path, text in before.items()} == {
        "memory.limit_in_bytes": "200\n",
        "memory.memsw.limit_in_bytes": "300\n",
        "cpu.shares": "1024\n",
    }
    (tmp_path / "m/memory.limit_in_bytes").write_text("20\n")
    (tmp_path / "m/memory.memsw.limit_in_bytes").write_text("30\n")
    written: list[tuple[str, str]] = []

    def write(path: str, text: str) -> bool:
        """As the kernel: memory never passes memory with swap."""
        if (
            path.endswith("memory.limit_in_bytes")
            and int((tmp_path / "m/memory.memsw.limit_in_bytes").read_text()) < 200
        ):
            return False
        Path(path).write_text(f"{text}\n")
        written.append((Path(path).name, text))
        return True

    monkeypatch.setattr(cgroup_limits, "write_control", write)
    assert put_back(before) == []
    assert written == [("memory.memsw.limit_in_bytes", "300"), ("memory.limit_in_bytes", "200")]


def test_what_cannot_be_put_back_is_named(tmp_path: Path) -> None:
    refusing = tmp_path / "pids.max"
    refusing.mkdir()
    assert put_back({str(refusing): "5\n", str(tmp_path / "gone/pids.max"): "5\n"}) == [str(refusing)]


def test_a_weight_of_version_2_is_written_as_a_number(tmp_path: Path) -> None:
    lay_out(tmp_path, {"io.weight": "default 100\n8:0 200\n"})
    before = read_limits({"": str(tmp_path)})
    (tmp_path / "io.weight").write_text("50\n")
    put_back(before)
    assert (tmp_path / "io.weight").read_text().startswith("100")
