"""User namespaces of pods by the Container Runtime Interface: root in a pod is another user of the machine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from bento.api_cri.messages import pb

from support import cri
from support.cli import BentoCli
from support.cri import Kubelet
from support.procs import wait_until
from support.workload import busybox_rootfs, masks

FIRST, COUNT = 1_000_000, 65536
MAP = [{"host_id": FIRST, "container_id": 0, "length": COUNT}]
MAPPED = {"uidMappings": MAP, "gidMappings": MAP}
OWN = {"mode": pb.POD, "uids": MAP, "gids": MAP}
SCRIPT = "trap 'exit 3' TERM; touch /f; chown 5:6 /f; echo ready; while :; do sleep 1; done"


class MappedKubelet(Kubelet):
    """What a kubelet would ask for a pod with ``hostUsers: false``."""

    def run_pod(self, name: str = "own", userns: dict[str, Any] = OWN, **linux: Any) -> str:
        """Make a pod, for the containers to come."""
        options = {"userns_options": userns, **linux.pop("namespace_options", {"pid": pb.CONTAINER})}
        return super().run_pod(name, linux={"security_context": {"namespace_options": options}} | linux)

    def create(self, *command: str, name: str = "main", userns: dict[str, Any] = OWN, **fields: Any) -> str:
        """Make a container."""
        options = {"namespace_options": {"pid": pb.CONTAINER, "userns_options": userns}}
        context = {"security_context": options | fields.pop("context", {})}
        return super().create(*command, name=name, linux=context, **fields)


def refused(call: Any, *arguments: Any, **fields: Any) -> str:
    with pytest.raises(GRPCError) as error:
        call(*arguments, **fields)
    assert error.value.status is Status.INVALID_ARGUMENT
    return str(error.value.message)


@pytest.fixture
def image(bento: BentoCli, tmp_path: Path) -> None:
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) < (6, 3):
        pytest.skip("an older kernel has no idmapped mounts of tmpfs, where a test may lie")
    rootfs = busybox_rootfs(tmp_path / "fs")
    for applet in ("chown", "stat", "ip"):
        (rootfs / "bin" / applet).unlink(missing_ok=True)
        (rootfs / "bin" / applet).symlink_to("busybox")
    bento("import", rootfs, "bb")


@pytest.fixture
def kubelet(bento: BentoCli, image: None) -> Iterator[MappedKubelet]:
    with cri.serving(bento) as node, node.client() as client:
        made = MappedKubelet(client, node)
        yield made
        for pod in client("ListPodSandbox").items:
            client("RemovePodSandbox", pod_sandbox_id=pod.id)


def pid_of(bento: BentoCli, made: str) -> int:
    return int(bento.inspect(made)["State"]["Pid"])


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def test_a_pid_namespace_of_the_pod_belongs_to_its_users(kubelet: MappedKubelet, bento: BentoCli) -> None:
    small = [MAP[0] | {"length": 2000}]
    for name, userns in (("own", OWN), ("small", OWN | {"uids": small, "gids": small})):
        shared = {"pid": pb.POD, "userns_options": userns}
        pod = kubelet.run_pod(name, userns=userns, namespace_options={"pid": pb.POD})
        first = kubelet.start("sh", "-c", "sleep 1001; :", context={"namespace_options": shared})
        second = kubelet.start("sleep", "1002", name="side", context={"namespace_options": shared})
        listed = kubelet.said(first, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert all(word in listed for word in ("/init -P", "sleep 1001", "sleep 1002"))
        init = json.loads(bento("pod", "inspect", pod).stdout)[0]["Pid"]
        pids = (init, *(pid_of(bento, made) for made in (first, second)))
        for kind in ("user", "pid"):
            assert len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}) == 1
        assert FIRST <= int(masks(init)["Uid"].split()[0]) < FIRST + COUNT
        assert int(masks(init)["CapEff"], 16) == 0
        assert kubelet.said(second, "stat -c %u /proc/1") == str(min(65534, userns["uids"][0]["length"] - 1))
        kubelet.call("StopContainer", container_id=first, timeout=100)
        assert kubelet.status(first).state == pb.CONTAINER_EXITED
        assert kubelet.status(first).message
        assert kubelet.status(second).state == pb.CONTAINER_RUNNING
        kubelet.call("StopPodSandbox", pod_sandbox_id=pod)
        assert kubelet.status(second).state == pb.CONTAINER_EXITED
        kubelet.call("RemovePodSandbox", pod_sandbox_id=pod)


def test_status_says_it(kubelet: MappedKubelet) -> None:
    said = {one.name: one.features for one in kubelet.call("Status").runtime_handlers}
    assert said[""].user_namespaces
    assert said["crun"].user_namespaces
    assert said["runc"].user_namespaces
    assert "runsc" not in said or not said["runsc"].user_namespaces


def test_two_containers_of_a_pod_share_ids_that_are_no_others(
    kubelet: MappedKubelet, bento: BentoCli, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "of-host").touch()
    pod = kubelet.run_pod(sysctls={"net.core.somaxconn": "77", "kernel.shmmni": "99"})
    mounts = [
        {"container_path": "/v", "host_path": str(volume), **MAPPED},
        {"container_path": "/plain", "host_path": str(volume)},
    ]
    first = kubelet.start("sh", "-c", SCRIPT, mounts=mounts, log_path="0.log")
    capabilities = {"capabilities": {"add_capabilities": ["NET_ADMIN"]}}
    second = kubelet.start("sleep", "1000", name="side", mounts=mounts, context=capabilities)
    wait_until(lambda: "ready" in (kubelet.node.logs / "own/0.log").read_text(), what="its start")

    pids = [pid_of(bento, made) for made in (first, second)]
    assert len({os.readlink(f"/proc/{pid}/ns/user") for pid in (*pids, os.getpid())}) == 2
    assert all(Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(FIRST), str(COUNT)] for pid in pids)
    assert masks(pids[0])["Uid"].split() == [str(FIRST)] * 4
    assert masks(pids[0])["Gid"].split() == [str(FIRST)] * 4

    assert kubelet.said(first, "id -u; stat -c %u:%g /f /v/of-host /plain/of-host").split() == [
        "0",
        "5:6",
        "0:0",
        "65534:65534",
    ]
    assert owner(bento.roots.root / "containers" / first / "upper/f") == (5, 6)
    assert kubelet.said(first, "touch /v/made; chown 7:8 /v/made; echo x >/dev/shm/x; stat -c %u /dev/shm") == "0"
    assert owner(volume / "made") == (7, 8)
    assert kubelet.said(second, "stat -c %u:%g /v/made; cat /dev/shm/x; stat -c %u /dev/shm/x").split() == [
        "7:8",
        "x",
        "0",
    ]
    # What belongs to the pod is root's there.
    kubelet.said(second, "ip addr add 10.9.8.7/32 dev lo")
    assert "10.9.8.7" in kubelet.said(first, "ip addr")
    assert kubelet.said(first, "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni").split() == ["77", "99"]
    assert "k8s-own" in kubelet.said(first, "test -e /sys/class/net/lo && cat /proc/sys/kernel/hostname")

    usage = kubelet.call("ListContainerStats").stats
    assert len(usage) == 2
    assert all(one.memory.working_set_bytes.value for one in usage)
    said = kubelet.call("PodSandboxStatus", pod_sandbox_id=pod).status.linux.namespaces.options.userns_options
    assert (said.mode, said.uids[0].host_id) == (pb.POD, FIRST)

    kubelet.call("StopContainer", container_id=first, timeout=20)
    found = kubelet.status(first)
    assert (found.exit_code, found.state) == (3, pb.CONTAINER_EXITED)
    assert found.message
    kubelet.call("StopPodSandbox", pod_sandbox_id=pod)
    kubelet.call("RemovePodSandbox", pod_sandbox_id=pod)
    assert not list((bento.roots.run_root / "pods").glob("*"))


def test_what_cannot_be_is_refused_and_leaves_nothing(kubelet: MappedKubelet, bento: BentoCli, tmp_path: Path) -> None:
    assert "network of the host" in refused(
        kubelet.run_pod, namespace_options={"network": pb.NODE, "pid": pb.CONTAINER}
    )
    assert "PID namespace of the host" in refused(kubelet.run_pod, namespace_options={"pid": pb.NODE})
    assert "2 ranges" in refused(kubelet.run_pod, userns=OWN | {"uids": MAP * 2})
    assert "0 ranges" in refused(kubelet.run_pod, userns=OWN | {"gids": []})
    for bad in ({"length": 0}, {"host_id": 0}, {"host_id": 2**32 - 9}, {"container_id": 1}):
        assert "ids" in refused(kubelet.run_pod, userns=OWN | {"gids": [MAP[0] | bad]})
    assert "given for" in refused(kubelet.run_pod, userns=OWN | {"mode": pb.NODE})
    assert "POD or NODE" in refused(kubelet.run_pod, userns=OWN | {"mode": pb.CONTAINER})
    assert not kubelet.call("ListPodSandbox").items

    kubelet.run_pod()
    other = [MAP[0] | {"host_id": FIRST + COUNT}]
    assert "not that of the pod" in refused(kubelet.create, "true", userns={"mode": pb.NODE})
    assert "not that of the pod" in refused(kubelet.create, "true", userns=OWN | {"uids": other})
    mount = {"container_path": "/v", "host_path": str(tmp_path), "uidMappings": other, "gidMappings": MAP}
    assert "mount at /v" in refused(kubelet.create, "true", mounts=[mount])
    assert "privileged" in refused(kubelet.create, "true", context={"privileged": True})
    assert not kubelet.call("ListContainers").containers
    assert "--userns" in bento.fails("run", "--pod", kubelet.pod, "--userns", "auto", "bb", "true", code=125)
    assert bento("run", "--rm", "--pod", kubelet.pod, "bb", "cat", "/proc/self/uid_map").stdout.split()[1] == str(FIRST)

    kubelet.run_pod("plain", userns={"mode": pb.NODE})
    assert "not that of the pod" in refused(kubelet.create, "true")
    mount = {"container_path": "/v", "host_path": str(tmp_path), **MAPPED}
    assert "mount at /v" in refused(kubelet.create, "true", userns={"mode": pb.NODE}, mounts=[mount])


def test_another_server_finds_it_after_a_kill(bento: BentoCli, image: None) -> None:
    with cri.serving(bento) as node, node.client() as client:
        kubelet = MappedKubelet(client, node)
        pod = kubelet.run_pod()
        first = kubelet.start("sleep", "1000")
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
    with cri.serving(bento) as node, node.client() as client:
        kubelet.call, kubelet.node = client, node
        [found] = client("ListPodSandbox").items
        assert (found.id, found.state) == (pod, pb.SANDBOX_READY)
        second = kubelet.start("sleep", "1000", name="side")
        ids = {os.readlink(f"/proc/{pid_of(bento, made)}/ns/user") for made in (first, second)}
        assert len(ids) == 1
        assert kubelet.said(first, "id -u") == "0"
        shown = json.loads(bento("pod", "inspect", pod).stdout)
        assert str(FIRST) in json.dumps(shown)
        client("RemovePodSandbox", pod_sandbox_id=pod)
        assert not client("ListPodSandbox").items
    assert not list((bento.roots.run_root / "pods").glob("*"))
