"""Containers and pods by the Container Runtime Interface, over the socket of a server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from bento.api_cri.bodies import front
from bento.api_cri.messages import pb

from support import cri
from support.cli import BentoCli
from support.cri import ON_HOST, Kubelet, refused
from support.netns import NetCli
from support.tracing import kept_in_exit
from support.workload import ONE_RUNTIME, busybox_rootfs

pytestmark = ONE_RUNTIME

SLEEP = ("sleep", "1000")
LIMIT_S = 60.0
PLUGIN = """#!/bin/sh
cat >/dev/null
echo "$CNI_COMMAND $CNI_ARGS" >>{log}
echo '{{"cniVersion": "1.0.0", "ips": [{{"address": "10.77.0.9/24"}}], "interfaces": []}}'
"""


@pytest.fixture
def image(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "rootfs"), "bb")


@pytest.fixture
def kubelet(bento: BentoCli, image: None) -> Iterator[Kubelet]:
    with cri.serving(bento) as node, node.client() as client:
        made = Kubelet(client, node)
        yield made
        for pod in client("ListPodSandbox").items:
            client("RemovePodSandbox", pod_sandbox_id=pod.id)


def test_life_of_a_container(kubelet: Kubelet) -> None:
    pod = kubelet.run_pod(labels={"app": "web"}, annotations={"note": "x"})
    script = "printf par; sleep 0.3; echo tial; echo wrong >&2; exec sleep 1000"
    made = kubelet.create("sh", "-c", script, labels={"l": "1"}, annotations={"a": "2"}, log_path="main/0.log")
    assert refused(kubelet, "CreateContainer", pod_sandbox_id="f" * 64) is Status.NOT_FOUND
    assert refused(kubelet, "ExecSync", container_id=made, cmd=["true"]) is Status.FAILED_PRECONDITION
    found = kubelet.status(made)
    assert (found.state, found.labels["l"], found.annotations["a"]) == (pb.CONTAINER_CREATED, "1", "2")
    kubelet.call("StartContainer", container_id=made)
    assert refused(kubelet, "StartContainer", container_id=made) is Status.FAILED_PRECONDITION
    found = kubelet.status(made)
    assert (found.state, found.image_id.startswith("sha256:")) == (pb.CONTAINER_RUNNING, True)
    assert found.user.linux.uid == 0

    answer = kubelet.exec(made, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out\n", b"err\n", 3)
    assert refused(kubelet, "ExecSync", container_id=made, cmd=["sleep", "77"], timeout=1) is Status.DEADLINE_EXCEEDED
    assert "77" not in kubelet.said(made, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").replace("'sleep 77'", "")

    log = Path(kubelet.status(made).log_path)
    deadline_s = time.monotonic() + LIMIT_S
    while b"wrong" not in log.read_bytes():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    rows = [line.split(" ", 3) for line in log.read_text().splitlines()]
    assert ["stderr", "F", "wrong"] in [row[1:] for row in rows]
    assert "".join(row[3] for row in rows if row[1] == "stdout") == "partial"
    log.rename(log.with_suffix(".1"))
    kubelet.call("ReopenContainerLog", container_id=made)
    assert log.read_bytes() == b""

    [listed] = kubelet.call("ListContainers", filter={"label_selector": {"l": "1"}, "pod_sandbox_id": pod}).containers
    assert (listed.id, listed.metadata.name, listed.pod_sandbox_id) == (made, "main", pod)
    assert not kubelet.call("ListContainers", filter={"state": {"state": pb.CONTAINER_EXITED}}).containers
    [stats] = kubelet.call("ListContainerStats", filter={"id": made[:12]}).stats
    assert stats.memory.working_set_bytes.value > 0
    assert stats.writable_layer.inodes_used.value > 0
    assert kubelet.call("PodSandboxStats", pod_sandbox_id=pod).stats.linux.process.process_count.value >= 1

    kubelet.call("UpdatePodSandboxResources", pod_sandbox_id=pod, resources={"cpu_shares": 77})
    said = json.loads(kubelet.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True).info["info"])
    assert front.sandbox_config(said["settings"]["front"]).linux.resources.cpu_shares == 77
    keys = {each.name: len(each.label_keys) for each in kubelet.call("ListMetricDescriptors").descriptors}
    [counted] = [each for each in kubelet.call("ListPodSandboxMetrics").pod_metrics if each.pod_sandbox_id == pod]
    metrics = {each.name: each for each in counted.container_metrics[0].metrics}
    assert all(len(each.label_values) == keys[each.name] for each in (*counted.metrics, *metrics.values()))
    assert metrics["container_memory_working_set_bytes"].value.value > 0
    assert metrics["container_processes"].value.value >= 1
    assert metrics["container_file_descriptors"].value.value >= 3

    for _ in range(2):
        kubelet.call("StopContainer", container_id=made, timeout=10)
    found = kubelet.status(made)
    assert (found.state, found.exit_code, found.reason) == (pb.CONTAINER_EXITED, 143, "Error")
    assert found.message
    info = json.loads(kubelet.call("ContainerStatus", container_id=made, verbose=True).info["info"])
    assert info["stopReport"]["asked_by"] == "user"
    assert refused(kubelet, "ReopenContainerLog", container_id=made) is Status.FAILED_PRECONDITION
    for _ in range(2):
        kubelet.call("RemoveContainer", container_id=made)
    kubelet.call("StopContainer", container_id=made)
    assert refused(kubelet, "ContainerStatus", container_id=made) is Status.NOT_FOUND


def test_every_moment_of_an_exit_has_its_answer(kubelet: Kubelet) -> None:
    kubelet.run_pod()
    own = {"linux": {"security_context": {"namespace_options": {"network": pb.NODE, "pid": pb.CONTAINER}}}}
    made = kubelet.start("sh", "-c", "trap 'exit 3' TERM; sleep 1000 & wait", log_path="main/0.log", **own)
    pid = json.loads(kubelet.call("ContainerStatus", container_id=made, verbose=True).info["info"])["pid"]

    async def run(*command: str) -> Any:
        return await kubelet.call.call("ExecSync", container_id=made, cmd=command)

    def answers(expected: dict[str, Status]) -> None:
        asked: dict[str, dict[str, Any]] = {
            "ExecSync": {"cmd": ["true"]},
            "Exec": {"cmd": ["true"], "stdout": True},
            "Attach": {"stdout": True},
            "ReopenContainerLog": {},
            "UpdateContainerResources": {"linux": {"cpu_shares": 100}},
            "ContainerStats": {},
        }
        for name, fields in asked.items():
            try:
                kubelet.call(name, container_id=made, **fields)
                got = Status.OK
            except GRPCError as error:
                got = error.status
            assert got is expected.get(name, Status.OK), name

    begun = kubelet.call.run(_begun(run("sh", "-c", "echo x >/tmp/begun; exec sleep 1000")))
    while kubelet.exec(made, "cat", "/tmp/begun").exit_code:
        time.sleep(0.02)
    with kept_in_exit(pid):
        assert kubelet.call.run(begun).exit_code == 128 + signal.SIGKILL
        answers({"ExecSync": Status.FAILED_PRECONDITION})
    assert kubelet.ended(made).exit_code == 3
    over = ("ExecSync", "Exec", "Attach", "ReopenContainerLog")
    answers(dict.fromkeys(over, Status.FAILED_PRECONDITION))


async def _begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.ensure_future(work)


def test_what_is_over_takes_no_name_from_what_comes(kubelet: Kubelet) -> None:
    first = kubelet.run_pod()
    image = kubelet.call("ImageStatus", image={"image": "bb"}).image
    asked = {"image": {"image": image.id, "user_specified_image": "bb"}}
    over = kubelet.start("true", **asked)
    kubelet.ended(over)
    made = kubelet.start(*SLEEP, **asked)
    [listed] = kubelet.call("PodSandboxStatus", pod_sandbox_id=first).containers_statuses[-1:]
    for found in (kubelet.status(over), kubelet.status(made), listed):
        assert (found.image.image, found.image_id) == ("docker.io/library/bb:latest", image.id)
        assert found.image_ref in image.repo_digests
    assert refused(kubelet, "RunPodSandbox", config=kubelet.sandbox) is Status.FAILED_PRECONDITION
    kubelet.call("StopPodSandbox", pod_sandbox_id=first)
    assert kubelet.run_pod() != first


@pytest.mark.parametrize("name", ["host", f"sha256:{'0' * 64}"])
def test_the_machine_s_own_root_is_no_image(kubelet: Kubelet, name: str) -> None:
    pod = kubelet.run_pod()
    assert not kubelet.call("ImageStatus", image={"image": name}).HasField("image")
    assert not kubelet.call("ListImages", filter={"image": {"image": name}}).images
    with pytest.raises(GRPCError):
        kubelet.call("PullImage", image={"image": name})
    config: dict[str, Any] = {"metadata": {"name": "x"}, "image": {"image": name}, "command": SLEEP}
    assert refused(kubelet, "CreateContainer", pod_sandbox_id=pod, config=config) is Status.NOT_FOUND
    config["mounts"] = [{"container_path": "/host", "image": config["image"], "readonly": True}]
    config["image"] = {"image": "bb"}
    assert refused(kubelet, "CreateContainer", pod_sandbox_id=pod, config=config) is Status.NOT_FOUND


def test_a_container_as_its_security_context_has_it(kubelet: Kubelet, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    (outer / "below").mkdir(parents=True)
    (outer / "link").symlink_to("below")
    kubelet.run_pod()
    read_only = {"host_path": str(outer), "readonly": True}
    made = kubelet.start(
        *SLEEP,
        envs=[{"key": "A", "value": "b c"}],
        stop_signal=next(v.number for v in pb.Signal.DESCRIPTOR.values if v.name.endswith("SIGINT")),
        mounts=[
            {"container_path": "/flat", **read_only},
            {"container_path": "/deep", **read_only, "recursive_read_only": True},
            {"container_path": "/linked", "host_path": str(outer / "link")},
            {"container_path": "/image", "image": {"image": "bb"}, "readonly": True},
            {"container_path": "/part", "image": {"image": "bb"}, "image_sub_path": "etc", "readonly": True},
        ],
        linux={
            "resources": {"memory_limit_in_bytes": 64 << 20},
            "security_context": {
                "run_as_user": {"value": 1234},
                "run_as_group": {"value": 5},
                "supplemental_groups": [99],
                "readonly_rootfs": True,
                "no_new_privs": True,
                "capabilities": {"drop_capabilities": ["ALL"], "add_ambient_capabilities": ["CHOWN"]},
                "masked_paths": ["/proc/keys"],
                "readonly_paths": ["/proc/sys"],
                "seccomp": {"profile_type": pb.SecurityProfile.RuntimeDefault},
            },
        },
    )
    found = kubelet.status(made)
    assert (found.user.linux.uid, found.user.linux.gid) == (1234, 5)
    assert sorted(found.user.linux.supplemental_groups) == [5, 77, 99]  # ann's own among them
    assert pb.Signal.Name(found.stop_signal).endswith("SIGINT")
    assert found.resources.linux.memory_limit_in_bytes == 64 << 20
    assert [mount.container_path for mount in found.mounts] == ["/flat", "/deep", "/linked", "/image", "/part"]
    facts = kubelet.said(made, "id -u; id -G; echo $A; cat /proc/self/status; ls /part /image; touch /x 2>&1 || true")
    assert facts.startswith("1234\n5 ")
    for words in (
        "b c",
        "CapBnd:\t0000000000000001",
        "CapAmb:\t0000000000000001",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "passwd",
        "Read-only",
    ):
        assert words in facts
    assert kubelet.exec(made, "touch", "/image/x").exit_code != 0
    kubelet.call("UpdateContainerResources", container_id=made, linux={"memory_limit_in_bytes": 96 << 20})
    assert kubelet.status(made).resources.linux.memory_limit_in_bytes == 96 << 20
    assert refused(kubelet, "RemoveImage", image={"image": "bb"}) is Status.FAILED_PRECONDITION
    kubelet.call("StopContainer", container_id=made, timeout=0)
    assert kubelet.status(made).exit_code == 137


HOSTILE: tuple[dict[str, Any], ...] = (
    {"image": {"image": "nothing"}},
    {"metadata": {}},
    {"mounts": [{"container_path": "/a", "host_path": "/no/such/place"}]},
    {"mounts": [{"container_path": "/a", "image": {"image": "bb"}}]},
    {"devices": [{"host_path": "/etc/passwd"}]},
    {"linux": {"security_context": {"run_as_group": {"value": 1}}}},
    {"linux": {"security_context": {"namespace_options": {"pid": pb.TARGET, "target_id": "nothing"}}}},
    {"linux": {"resources": {"memory_limit_in_bytes": 1}}},
    {"stop_signal": 4000},
)


def test_nothing_is_made_of_hostile_values(kubelet: Kubelet) -> None:
    kubelet.run_pod()
    for fields in HOSTILE:
        config = {"metadata": {"name": "c"}, "image": {"image": "bb"}, "command": SLEEP} | fields
        status = refused(kubelet, "CreateContainer", pod_sandbox_id=kubelet.pod, config=config)
        assert status in (Status.INVALID_ARGUMENT, Status.NOT_FOUND), fields
        assert not kubelet.call("ListContainers").containers, fields
    for call in ("StopContainer", "ContainerStatus", "RemoveContainer", "StopPodSandbox", "ExecSync", "Exec"):
        assert refused(kubelet, call) is Status.INVALID_ARGUMENT, call
    made = kubelet.create(*SLEEP, log_path="../" * 20)
    assert refused(kubelet, "StartContainer", container_id=made) is not Status.OK
    assert kubelet.status(made).reason == "StartError"


def test_a_stop_goes_on_without_its_caller_and_without_the_server(bento: BentoCli, image: None) -> None:
    with cri.serving(bento) as node, node.client() as client:
        kubelet = Kubelet(client, node)
        pod = kubelet.run_pod()
        deaf = kubelet.start("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
        with pytest.raises((GRPCError, asyncio.TimeoutError)):
            client("StopContainer", 1.0, container_id=deaf, timeout=1000)
        assert kubelet.status(deaf).state == pb.CONTAINER_RUNNING
        kubelet.until_stopping(deaf)
        client("StopContainer", container_id=deaf, timeout=0)  # it joins, and brings the end nearer
        assert kubelet.ended(deaf).message.startswith("killed")
        slow = kubelet.start("sh", "-c", "trap 'sleep 5; exit 5' TERM; while :; do sleep 0.1; done", name="slow")
        other = kubelet.start(*SLEEP, name="other")
        with pytest.raises((GRPCError, asyncio.TimeoutError)):
            client("StopContainer", 1.0, container_id=slow, timeout=100)
        kubelet.until_stopping(slow)
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
    with cri.serving(bento) as node, node.client() as client:
        kubelet = Kubelet(client, node)
        assert kubelet.ended(slow).exit_code == 5
        assert kubelet.status(other).state == pb.CONTAINER_RUNNING
        assert client("ListPodSandbox").items[0].state == pb.SANDBOX_READY
        client("StopPodSandbox", pod_sandbox_id=pod)
        assert kubelet.status(other).state == pb.CONTAINER_EXITED
        client("RemovePodSandbox", pod_sandbox_id=pod)
        assert not client("ListContainers").containers


def test_a_pod_with_a_network(net_bento: NetCli, tmp_path: Path) -> None:
    net_bento("import", busybox_rootfs(tmp_path / "rootfs"), "bb")
    with cri.serving(net_bento) as node, node.client() as client:
        kubelet = Kubelet(client, node)
        pod = kubelet.run_pod(
            hostname="inside",
            dns_config={"servers": ["192.0.2.53"], "searches": ["a.test"], "options": ["ndots:5"]},
            linux={"sysctls": {"net.core.somaxconn": "77"}, "cgroup_parent": f"/bento-test-{os.getpid()}-cri"},
            labels={"app": "web"},
        )
        status = client("PodSandboxStatus", pod_sandbox_id=pod).status
        assert (status.state, status.labels["app"], status.metadata.uid) == (pb.SANDBOX_READY, "web", "uid-web")
        assert status.network.ip
        made = kubelet.start(*SLEEP)
        said = kubelet.said(made, "cat /proc/sys/kernel/hostname /etc/resolv.conf /proc/sys/net/core/somaxconn")
        assert said == "inside\nsearch a.test\nnameserver 192.0.2.53\noptions ndots:5\n77"
        assert client("ListPodSandbox", filter={"label_selector": {"app": "web"}}).items[0].id == pod
        assert not client("ListPodSandbox", filter={"label_selector": {"app": "other"}}).items
        [found] = client("PodSandboxStatus", pod_sandbox_id=pod).containers_statuses
        assert (found.id, found.state) == (made, pb.CONTAINER_RUNNING)
        for _ in range(2):
            client("StopPodSandbox", pod_sandbox_id=pod)
        assert client("PodSandboxStatus", pod_sandbox_id=pod).status.state == pb.SANDBOX_NOTREADY
        assert kubelet.status(made).state == pb.CONTAINER_EXITED
        assert refused(kubelet, "PortForward", pod_sandbox_id=pod) is Status.FAILED_PRECONDITION
        config = {"metadata": {"name": "late"}, "image": {"image": "bb"}, "command": SLEEP}
        assert refused(kubelet, "CreateContainer", pod_sandbox_id=pod, config=config) is Status.FAILED_PRECONDITION
        for _ in range(2):
            client("RemovePodSandbox", pod_sandbox_id=pod)
        assert refused(kubelet, "PodSandboxStatus", pod_sandbox_id=pod) is Status.NOT_FOUND
        client("StopPodSandbox", pod_sandbox_id=pod)


def test_pods_are_on_the_first_network_of_cni(
    net_bento: NetCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lists := tmp_path / "lists").mkdir()
    (plugins := tmp_path / "plugins").mkdir()
    (lists / "05-odd.conflist").write_text('{"cniVersion": "1.0.0", "name": "odd", "plugins": [{"type": "odd"}]}')
    monkeypatch.setenv("BENTO_CNI_DIRECTORY", str(lists))
    monkeypatch.setenv("BENTO_CNI_PLUGINS", str(plugins))
    with cri.serving(net_bento) as node, node.client() as client:
        kubelet = Kubelet(client, node)

        def network() -> Any:
            [found] = [each for each in client("Status").status.conditions if each.type == "NetworkReady"]
            return found

        assert (network().status, "'odd'" in network().message) == (False, True)
        own = {"linux": {}, "port_mappings": [{"container_port": 80, "host_port": 8080}]}
        assert refused(kubelet, "RunPodSandbox", config=kubelet.asked("web", **own)) is Status.UNKNOWN
        (plugins / "odd").write_text(PLUGIN.format(log=tmp_path / "log"))
        (plugins / "odd").chmod(0o755)
        assert network().status
        pod = kubelet.run_pod("web", **own)  # though the plugin publishes no port
        assert client("PodSandboxStatus", pod_sandbox_id=pod).status.network.ip == "10.77.0.9"
        client("RemovePodSandbox", pod_sandbox_id=pod)
    added, *removed = (tmp_path / "log").read_text().splitlines()
    assert added.split() == [
        "ADD", f"IgnoreUnknown=1;K8S_POD_NAMESPACE=tests;K8S_POD_NAME=web;K8S_POD_UID=uid-web;"
        f"K8S_POD_INFRA_CONTAINER_ID={pod}",
    ]  # fmt: skip
    assert {line.split()[0] for line in removed} == {"DEL"}


def test_events_of_a_pod_and_its_container(kubelet: Kubelet) -> None:
    kubelet.run_pod("other")

    async def follow() -> list[tuple[str, int, int, int]]:
        call = kubelet.call.call
        metadata = {"name": "web", "uid": "u", "namespace": "tests"}
        async with kubelet.call.stream("GetContainerEvents") as events:
            pod = (await call("RunPodSandbox", config={"metadata": metadata, "linux": ON_HOST})).pod_sandbox_id
            config = {"metadata": {"name": "c"}, "image": {"image": "bb"}, "command": ["true"]}
            made = (await call("CreateContainer", pod_sandbox_id=pod, config=config)).container_id
            await call("StartContainer", container_id=made)
            seen: list[tuple[str, int, int, int]] = []
            while not seen or seen[-1][:2] != ("pod", pb.CONTAINER_DELETED_EVENT):
                event = await asyncio.wait_for(events.recv_message(), LIMIT_S)
                found = event.pod_sandbox_status
                assert (found.id, found.metadata.uid) == (pod, "u"), event
                whose = {pod: "pod", made: "container"}[event.container_id]
                seen.append((whose, event.container_event_type, found.state, len(event.containers_statuses)))
                if seen[-1][:2] == ("container", pb.CONTAINER_STOPPED_EVENT):
                    for method in ("StopPodSandbox", "RemovePodSandbox"):
                        await call(method, pod_sandbox_id=pod)
            await events.cancel()
            return seen

    seen = kubelet.call.run(follow())
    assert [kind for whose, kind, _, _ in seen if whose == "container"] == [0, 1, 2, 3]
    assert [kind for whose, kind, _, _ in seen if whose == "pod"] == [0, 1, 2, 3]
    assert seen[-1] == ("pod", pb.CONTAINER_DELETED_EVENT, pb.SANDBOX_NOTREADY, 0)  # of what is gone by then


def test_what_a_container_mounts_reaches_the_host_where_that_is_asked_for(kubelet: Kubelet, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    (place / "from-host").mkdir(parents=True)
    (place / "from-container").mkdir()
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "--make-rshared", place], check=True)
        kubelet.run_pod(linux={"security_context": {"privileged": True, **ON_HOST["security_context"]}})
        made = kubelet.start(
            *SLEEP,
            mounts=[
                {"container_path": "/s", "host_path": str(place), "propagation": pb.PROPAGATION_BIDIRECTIONAL},
                {"container_path": "/m", "host_path": str(place), "propagation": pb.PROPAGATION_HOST_TO_CONTAINER},
            ],
            linux={"security_context": {"privileged": True}},
        )
        kubelet.said(made, "/bin/busybox mount -t tmpfs x /s/from-container && echo here > /s/from-container/file")
        assert (place / "from-container/file").read_text() == "here\n"
        subprocess.run(["mount", "-t", "tmpfs", "x", place / "from-host"], check=True)
        (place / "from-host/file").write_text("there\n")
        assert kubelet.said(made, "cat /s/from-host/file /m/from-host/file") == "there\nthere"
    finally:
        subprocess.run(["umount", "-R", place], check=True)
