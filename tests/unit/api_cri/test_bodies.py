"""What the messages of the interface ask of the engine."""

from __future__ import annotations

from typing import Any

import pytest

from bento.api_cri.bodies import front, images
from bento.api_cri.bodies.containers import read_container, read_signal, signal_number
from bento.api_cri.bodies.resources import read_resources
from bento.api_cri.bodies.sandboxes import read_sandbox
from bento.api_cri.messages import pb
from bento.errors import UsageError
from bento.model.container import MERGE, STRICT, UNCONFINED, Mount
from bento.model.create import CreateOptions
from bento.model.namespaces.mapping import IdMapping, IdRange
from bento.model.network import Port
from bento.model.pods import CNI_FIRST, NamespaceMode, PodOptions
from bento.model.resources import UNLIMITED, Device, Resources
from bento.model.transfer import Credentials

POD = {"name": "web", "uid": "u-1", "namespace": "default", "attempt": 2}


def sandbox(handler: str = "", **fields: Any) -> PodOptions:
    return read_sandbox(pb.PodSandboxConfig(**({"metadata": POD} | fields)), handler)


def container(**fields: Any) -> CreateOptions:
    config = pb.ContainerConfig(**({"metadata": {"name": "nginx"}, "image": {"image": "i"}} | fields))
    pod = pb.PodSandboxConfig(metadata=POD, log_directory="/var/log/pods/x")
    return read_container(config, pod, "p" * 64)


def secured(**context: Any) -> CreateOptions:
    return container(linux={"security_context": context})


def test_container_has_the_words_of_people_beside_its_own():
    made = container(labels={"a": "b"}, annotations={"c": "d"}, log_path="nginx/0.log", working_dir="/w")
    assert made.name == "k8s_nginx_web_default_u-1_0"
    assert made.pod == "p" * 64
    assert made.labels == {"a": "b"}
    assert made.node.log_path == "/var/log/pods/x/nginx/0.log"
    assert made.workdir == "/w"
    kept = front.container_config(made.node.front)
    assert kept.annotations == {"c": "d"}
    assert kept.metadata.name == "nginx"


def test_variables_are_not_kept_twice():
    made = container(envs=[{"key": "SECRET", "value": "x"}, {"key": "EMPTY", "value": ""}])
    assert made.env == ("SECRET=x", "EMPTY=")
    assert not front.container_config(made.node.front).envs


def test_a_name_that_is_too_long_is_drawn():
    assert container(metadata={"name": "x" * 120}).name is None
    assert sandbox(metadata={"name": "x" * 120, "uid": "u"}).name == ""


@pytest.mark.parametrize(
    ("command", "args", "entrypoint", "rest"),
    [([], [], None, ()), (["a"], [], ("a",), ()), ([], ["b"], None, ("b",)), (["a"], ["b"], ("a",), ("b",))],
)
def test_command_takes_the_place_of_the_entry_point_and_args_that_of_the_command(command, args, entrypoint, rest):
    made = container(command=command, args=args)
    assert (made.entrypoint, made.command) == (entrypoint, rest)


@pytest.mark.parametrize(
    ("context", "user"),
    [
        ({}, None),
        ({"run_as_user": {"value": 0}}, "0"),
        ({"run_as_username": "nobody"}, "nobody"),
        ({"run_as_user": {"value": 5}, "run_as_group": {"value": 0}}, "5:0"),
    ],
)
def test_user(context, user):
    assert secured(**context).user == user


def test_a_group_needs_a_user():
    with pytest.raises(UsageError, match="without a user"):
        secured(run_as_group={"value": 5})


def test_groups_and_their_policy():
    made = secured(supplemental_groups=[5, 6])
    assert (made.sandbox.group_add, made.node.group_policy) == (("5", "6"), MERGE)
    assert secured(supplemental_groups_policy=pb.Strict).node.group_policy == STRICT


@pytest.mark.parametrize(
    ("context", "profile"),
    [
        ({}, UNCONFINED),
        ({"seccomp": {"profile_type": pb.SecurityProfile.RuntimeDefault}}, ""),
        ({"seccomp": {"profile_type": pb.SecurityProfile.Unconfined}}, UNCONFINED),
        ({"seccomp": {"profile_type": pb.SecurityProfile.Localhost, "localhost_ref": "/p.json"}}, "/p.json"),
        ({"seccomp": {"profile_type": pb.SecurityProfile.Localhost, "localhost_ref": "localhost//p"}}, "/p"),
        ({"seccomp_profile_path": "runtime/default"}, ""),
        ({"seccomp_profile_path": "localhost//p.json"}, "/p.json"),
        ({"privileged": True, "seccomp": {"profile_type": pb.SecurityProfile.RuntimeDefault}}, UNCONFINED),
    ],
)
def test_seccomp(context, profile):
    assert secured(**context).sandbox.seccomp == profile


def test_apparmor_and_selinux():
    made = secured(
        apparmor={"profile_type": pb.SecurityProfile.Localhost, "localhost_ref": "mine"},
        selinux_options={"type": "t", "level": "s0:c1"},
    ).sandbox
    assert (made.apparmor, made.labels) == ("mine", ("type:t", "level:s0:c1"))
    assert secured(apparmor_profile="unconfined").sandbox.apparmor == UNCONFINED


def test_capabilities():
    made = secured(capabilities={"add_capabilities": ["net_admin"], "drop_capabilities": ["ALL"]}).sandbox
    assert (made.cap_add, made.cap_drop) == (("CAP_NET_ADMIN",), ("ALL",))
    with pytest.raises(UsageError, match="unknown capability"):
        secured(capabilities={"add_capabilities": ["FLY"]})
    with pytest.raises(UsageError, match="unknown capability"):
        secured(capabilities={"add_ambient_capabilities": ["CAP_NOPE"]})
    ambient = secured(capabilities={"add_ambient_capabilities": ["NET_RAW"], "drop_capabilities": ["ALL"]})
    assert (ambient.node.ambient, ambient.sandbox.cap_add) == (("CAP_NET_RAW",), ("CAP_NET_RAW",))


def test_paths_are_those_that_are_said_and_bentos_own_where_nothing_is():
    assert container().node.masked_paths is None
    made = secured(masked_paths=["/proc/x"], readonly_paths=[])
    assert (made.node.masked_paths, made.node.read_only_paths) == (("/proc/x",), ())


@pytest.mark.parametrize(
    ("options", "pid"),
    [
        ({"pid": pb.POD}, ""),
        ({"pid": pb.CONTAINER}, "private"),
        ({"pid": pb.NODE}, "host"),
        ({"pid": pb.TARGET, "target_id": "abc"}, "container:abc"),
    ],
)
def test_pid_namespace(options, pid):
    assert secured(namespace_options=options).namespaces.pid == pid


MAP = {"host_id": 1000, "container_id": 0, "length": 10}
USERNS = {"mode": pb.POD, "uids": [MAP], "gids": [MAP | {"host_id": 2000}]}
IDS = IdMapping(uids=(IdRange(0, 1000, 10),), gids=(IdRange(0, 2000, 10),))


def with_userns(userns):
    return {"security_context": {"namespace_options": {"userns_options": userns}}}


def in_mapped_pod(userns=USERNS, **fields):
    config = pb.ContainerConfig(metadata={"name": "c"}, image={"image": "i"}, linux=with_userns(userns), **fields)
    return read_container(config, pb.PodSandboxConfig(metadata={"name": "p"}, linux=with_userns(USERNS)), "pod")


def test_the_user_namespace_of_a_pod_is_that_of_its_containers():
    assert sandbox(linux=with_userns(USERNS)).ids == IDS
    assert sandbox(linux=with_userns({"mode": pb.NODE})).ids is None
    assert in_mapped_pod().namespaces.ids == IDS
    other = USERNS | {"uids": [MAP | {"length": 9}]}
    for userns in (None, {"mode": pb.NODE}, other):
        with pytest.raises(UsageError, match="not that of the pod"):
            in_mapped_pod(userns)


@pytest.mark.parametrize(
    ("userns", "said"),
    [
        ({"mode": pb.CONTAINER}, "POD or NODE"),
        ({"mode": pb.TARGET}, "POD or NODE"),
        ({"mode": pb.NODE, "uids": [MAP]}, "omit them"),
        ({"mode": pb.POD}, "0 ranges of users"),
        (USERNS | {"gids": [MAP, MAP]}, "2 ranges of groups"),
        (USERNS | {"gids": [MAP | {"length": 0}]}, "bad range of 0 ids"),
        (USERNS | {"gids": [MAP | {"host_id": 0}]}, "the machine's root"),
        (USERNS | {"gids": [MAP | {"host_id": 2**32 - 10}]}, "the last id"),
        (USERNS | {"gids": [MAP | {"container_id": 1}]}, "begin with 0"),
    ],
)
def test_user_namespaces_that_cannot_be(userns, said):
    with pytest.raises(UsageError, match=said):
        sandbox(linux=with_userns(userns))


def test_mounts_show_ids_where_the_kubelet_says_so():
    mapped = {"uidMappings": USERNS["uids"], "gidMappings": USERNS["gids"]}
    mount = {"container_path": "/a", "host_path": "/h"}
    made = in_mapped_pod(mounts=[mount | mapped, mount])
    assert [one.options for one in made.files.mounts] == [(), ("noidmap",)]
    for bad in (mapped | {"gidMappings": [MAP]}, {"uidMappings": [MAP]}):
        with pytest.raises(UsageError, match="mount at /a"):
            in_mapped_pod(mounts=[mount | bad])
    with pytest.raises(UsageError, match="mount at /a: its ids"):
        container(mounts=[mount | mapped])


def test_mounts():
    made = container(
        mounts=[
            {"container_path": "/a", "host_path": "/h"},
            {"container_path": "b", "host_path": "/h", "readonly": True},
            {"container_path": "/c", "host_path": "/h", "readonly": True, "recursive_read_only": True},
            {"container_path": "/d", "host_path": "/h", "propagation": pb.PROPAGATION_HOST_TO_CONTAINER},
        ]
    )
    assert made.files.mounts == (
        Mount(kind="bind", source="/h", destination="/a"),
        Mount(kind="bind", source="/h", destination="/b", read_only=True, read_only_flat=True),
        Mount(kind="bind", source="/h", destination="/c", read_only=True),
        Mount(kind="bind", source="/h", destination="/d", options=("rslave",)),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"recursive_read_only": True},
        {"recursive_read_only": True, "readonly": True, "propagation": pb.PROPAGATION_BIDIRECTIONAL},
        {"uidMappings": [{"length": 1}]},
    ],
)
def test_mounts_that_make_no_sense(fields):
    with pytest.raises(UsageError, match="mount at /a"):
        container(mounts=[{"container_path": "/a", "host_path": "/h"} | fields])


def test_devices():
    made = container(devices=[{"host_path": "/dev/fuse", "container_path": "/dev/f", "permissions": "rw"}])
    assert made.sandbox.devices == (Device(host_path="/dev/fuse", path="/dev/f", access="rw"),)


def test_devices_of_cdi_are_of_the_field_and_of_annotations():
    said = {"cdi.k8s.io/y": "v.com/a=2,v.com/a=3", "cdi.k8s.io/x": "v.com/a=1", "other/cdi.k8s.io/x": "no"}
    made = container(CDI_devices=[{"name": "v.com/a=2"}, {"name": "v.com/b=0"}], annotations=said)
    assert made.sandbox.cdi_devices == ("v.com/a=2", "v.com/b=0", "v.com/a=1", "v.com/a=3")
    for fields in ({"CDI_devices": [{"name": "gpu"}]}, {"annotations": {"cdi.k8s.io/x": ""}}):
        with pytest.raises(UsageError, match="bad device"):
            container(**fields)


@pytest.mark.parametrize(
    ("linux", "limits"),
    [
        ({}, Resources()),
        ({"cpu_period": 100000}, Resources()),
        ({"cpu_period": 100000, "cpu_quota": 50000}, Resources(cpu_period_us=100000, cpu_quota_us=50000)),
        ({"cpu_quota": -1}, Resources(cpu_quota_us=UNLIMITED)),
        ({"memory_limit_in_bytes": 1 << 30, "cpu_shares": 2}, Resources(memory_bytes=1 << 30, cpu_shares=2)),
        ({"hugepage_limits": [{"page_size": "2MB", "limit": 0}]}, Resources()),
    ],
)
def test_limits(linux, limits):
    assert read_resources(pb.LinuxContainerResources(**linux)) == limits


def test_a_new_container_has_no_limit_that_is_none():
    assert container(linux={"resources": {"cpu_quota": -1}}).resources == Resources()
    assert container(linux={"resources": {"oom_score_adj": 5}}).limits.oom_score_adj == 5


def test_files_of_cgroups_are_passed_on():
    made = container(linux={"resources": {"unified": {"memory.oom.group": "1"}}})
    assert made.node.unified == {"memory.oom.group": "1"}


def test_limits_of_huge_pages():
    pages = [{"page_size": "2MB", "limit": 4}, {"page_size": "1GB", "limit": 0}]
    assert container(linux={"resources": {"hugepage_limits": pages}}).node.hugepages == {"2MB": 4, "1GB": 0}
    with pytest.raises(UsageError, match="huge pages"):
        container(linux={"resources": {"hugepage_limits": [{"page_size": "../x", "limit": 1}]}})


def test_signals_go_by_the_numbers_of_the_interface():
    by_name = {value.name.removeprefix("SIGNAL_"): value.number for value in pb.Signal.DESCRIPTOR.values}
    for name, number in (("SIGQUIT", 3), ("SIGTERM", 15), ("SIGRTMIN", 34), ("SIGRTMINPLUS3", 37), ("SIGRTMAX", 64)):
        assert read_signal(by_name[name]) == number
        assert signal_number(number) == by_name[name]
    assert read_signal(0) is None
    assert all(read_signal(number) for number in by_name.values() if number)
    with pytest.raises(UsageError, match="unknown stop signal"):
        read_signal(4711)


def test_pod():
    made = sandbox(
        "runc",
        hostname="h",
        dns_config={"servers": ["10.0.0.1"], "searches": ["s"], "options": ["ndots:5"]},
        port_mappings=[
            {"container_port": 80, "host_port": 8080, "protocol": pb.TCP, "host_ip": "0.0.0.0"},
            {"container_port": 53, "host_port": 0, "protocol": pb.UDP},
        ],
        labels={"a": "b"},
        linux={
            "cgroup_parent": "/kubepods/x",
            "sysctls": {"kernel.shm_rmid_forced": "1"},
            "security_context": {"namespace_options": {"pid": pb.CONTAINER}},
        },
    )
    assert made.name == "k8s_web_default_u-1_2"
    assert (made.hostname, made.runtime, made.network, made.cgroup_parent) == ("h", "runc", CNI_FIRST, "/kubepods/x")
    assert made.ports == (Port(container_port=80, host_port=8080),)
    assert (made.dns, made.dns_search, made.dns_options) == (("10.0.0.1",), ("s",), ("ndots:5",))
    assert (made.pid, made.ipc) == (NamespaceMode.CONTAINER, NamespaceMode.POD)
    assert made.sysctls == {"kernel.shm_rmid_forced": "1"}
    assert front.runtime_handler(made.front) == "runc"
    assert front.sandbox_config(made.front).labels == {"a": "b"}


def test_plugins_of_cni_are_told_which_pod_it_is():
    metadata = {"name": "web;K8S_POD_UID=0", "namespace": "default", "uid": "u-1"}
    assert sandbox(metadata=metadata).cni_args == {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": "default",
        "K8S_POD_NAME": "web-K8S_POD_UID-0",
        "K8S_POD_UID": "u-1",
    }


def test_a_pod_on_the_hosts_network_publishes_nothing():
    made = sandbox(
        port_mappings=[{"container_port": 80, "host_port": 80}],
        linux={"security_context": {"namespace_options": {"network": pb.NODE, "ipc": pb.NODE}}},
    )
    assert (made.network, made.ports, made.ipc) == ("host", (), NamespaceMode.NODE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metadata": {"name": "web"}}, "no uid"),
        ({"port_mappings": [{"container_port": 80, "host_port": 70000}]}, "bad port"),
        ({"port_mappings": [{"container_port": 80, "host_port": 80, "protocol": pb.SCTP}]}, "SCTP"),
        ({"linux": {"security_context": {"namespace_options": {"pid": pb.TARGET}}}}, "pid namespace"),
    ],
)
def test_pods_that_make_no_sense(fields, words):
    with pytest.raises(UsageError, match=words):
        sandbox(**fields)


@pytest.mark.parametrize(
    ("auth", "credentials"),
    [
        ({}, None),
        ({"username": "u", "password": "p"}, Credentials("u", "p")),
        ({"auth": "dTpwOng="}, Credentials("u", "p:x")),
        ({"identity_token": "t"}, Credentials("<token>", "", "t")),
        ({"auth": "dTo=", "identity_token": "t"}, Credentials("u", "", "t")),
    ],
)
def test_credentials(auth, credentials):
    assert images.access(pb.AuthConfig(**auth)).credentials == credentials


@pytest.mark.parametrize("auth", [{"auth": "?"}, {"registry_token": "t"}])
def test_credentials_that_cannot_be_used(auth):
    with pytest.raises(UsageError):
        images.access(pb.AuthConfig(**auth))


def test_what_is_not_ours_has_no_configuration():
    assert not front.is_ours({})
    assert front.container_config({}) == pb.ContainerConfig()
    assert front.container_config({"cri": "damaged"}) == pb.ContainerConfig()
