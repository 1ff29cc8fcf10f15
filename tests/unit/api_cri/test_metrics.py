"""What containers take, under the names that people's queries have."""

from __future__ import annotations

from typing import Any

from bento.api_cri.bodies import front
from bento.api_cri.messages import pb
from bento.api_cri.shapes import metrics
from bento.model.container import Container, ContainerSpec, NodeSettings, Run
from bento.model.disk import FilesystemUsage
from bento.model.pods import Pod, PodSettings
from bento.model.resources import Resources
from bento.model.stats import BlockUsage, LinkUsage, MachineUsage, ProcessUsage
from bento.testing.usage import usage

MACHINE = MachineUsage(unix_ns=5_000_000_000, mono_s=1.0, cpu_ns=1, cpus=2, memory_bytes=1 << 30)
LABELS = ["c1", "n", "busybox", "space", "web", "main"]


def seen(resources: Resources | None = None, oom_kills: int | None = 0, **some: Any) -> metrics.Seen:
    config = pb.ContainerConfig(metadata={"name": "main"}, image={"image": "busybox"})
    spec = ContainerSpec(
        image="busybox",
        image_id="sha256:1",
        layers=(),
        node=NodeSettings(front=front.keep(config)),
        resources=resources or Resources(),
    )
    said = pb.PodSandboxConfig(metadata={"name": "web", "uid": "u", "namespace": "space"})
    run = Run(number=1, runtime="/usr/bin/crun", started_unix_ns=3_900_000_000)
    link = LinkUsage(name="eth0", **{f"{way}_{what}": 1 for way in ("rx", "tx") for what in
                                     ("bytes", "packets", "errors", "dropped")})  # fmt: skip
    block = BlockUsage(major=8, minor=1, read_bytes=10, write_bytes=20, reads=1, writes=2)
    return metrics.Seen(
        container=Container(id="c1", name="n", created_unix_ns=1, spec=spec, run=run),
        pod=Pod(id="p1", name="k8s_web", created_unix_ns=1, settings=PodSettings(front=front.keep(said))),
        usage=usage(MACHINE, **({"links": (link,), "blocks": (block,)} | some)),
        files=FilesystemUsage(path="/r", used_bytes=7, files=1, unix_ns=1),
        disk_bytes=100,
        inodes=50,
        free_inodes=40,
        processes=ProcessUsage(processes=3, descriptors=9, sockets=2, oom_kills=oom_kills),
    )


def values(one: metrics.Seen) -> dict[str, list[tuple[int, list[str]]]]:
    made = metrics.sandbox(one.pod, [one], 77)
    assert [each.container_id for each in made.container_metrics] == ["c1"]
    found: dict[str, list[tuple[int, list[str]]]] = {}
    for metric in (*made.metrics, *made.container_metrics[0].metrics):
        assert metric.timestamp == 77
        found.setdefault(metric.name, []).append((metric.value.value, list(metric.label_values)))
    return found


def test_each_metric_has_a_value_for_each_of_its_labels():
    """Else the kubelet's client of Prometheus refuses it."""
    described = {each.name: list(each.label_keys) for each in metrics.descriptors()}
    found = values(seen())
    assert found.keys() == described.keys()
    for name, rows in found.items():
        assert {len(labels) for _, labels in rows} == {len(described[name])}, name
    assert all(each.help for each in metrics.descriptors())


def test_what_is_counted_and_whose_it_is():
    asked = Resources(cpu_quota_us=-1, cpu_shares=5, memory_swap_bytes=-1)
    found = values(seen(asked, cpu_ns=2_900_000_000, pids=4, memory_stat={"file": 6, "pgfault": 8}, pids_limit=None))
    assert found["container_cpu_usage_seconds_total"] == [(2, [*LABELS, "total"])]
    assert found["container_start_time_seconds"] == [(3, LABELS)]
    assert found["container_last_seen"] == [(5, LABELS)]
    assert found["container_memory_cache"] == [(6, LABELS)]
    assert (8, [*LABELS, "pgfault", "hierarchy"]) in found["container_memory_failures_total"]
    assert found["container_threads"] == [(4, LABELS)]
    assert found["container_threads_max"] == [(0, LABELS)]
    assert found["container_fs_writes_bytes_total"] == [(20, [*LABELS, "8:1"])]
    assert (10, [*LABELS, "8:1", "8", "1", "read"]) in found["container_blkio_device_usage_total"]
    assert found["container_network_receive_bytes_total"] == [(1, ["p1", "k8s_web", "", "space", "web", "POD", "eth0"])]
    assert found["container_spec_cpu_quota"] == found["container_spec_memory_swap_limit_bytes"] == [(0, LABELS)]
    assert found["container_spec_cpu_shares"] == [(5, LABELS)]


def test_what_cgroups_do_not_count_has_no_value():
    assert values(seen(oom_kills=2))["container_oom_events_total"] == [(2, LABELS)]
    assert "container_oom_events_total" not in values(seen(oom_kills=None))


def test_no_limit_of_memory_is_0():
    assert values(seen(memory_limit_bytes=1 << 30))["container_spec_memory_limit_bytes"] == [(0, LABELS)]
    assert values(seen(memory_limit_bytes=1 << 20))["container_spec_memory_limit_bytes"] == [(1 << 20, LABELS)]


def test_a_pod_in_which_nothing_runs_has_none():
    made = metrics.sandbox(seen().pod, [], 77)
    assert (made.pod_sandbox_id, len(made.metrics), len(made.container_metrics)) == ("p1", 0, 0)
