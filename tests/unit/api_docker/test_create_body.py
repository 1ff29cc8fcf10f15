"""What the body of a create asks for."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bento.api_docker import bodies
from bento.api_docker.bodies.containers import Create, Host
from bento.api_docker.bodies.create import read_create
from bento.errors import UsageError
from bento.model.container import Mount, Namespaces, RestartPolicy, Streams, Ulimit
from bento.model.create import CreateOptions
from bento.model.network import Attachment, Port
from bento.model.resources import Device, DeviceRate


def read(name: str = "", **fields: Any) -> CreateOptions:
    body = msgspec.json.decode(msgspec.json.encode({"Image": "i"} | fields), type=Create)
    return read_create(body, name=name).options


def host(**fields: object) -> CreateOptions:
    return read(HostConfig=fields)


EMPTY = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": True, "AttachStderr": True,
    "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None, "Image": "i", "Volumes": {},
    "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": {},
    "HostConfig": {
        "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "default",
        "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": False,
        "VolumeDriver": "", "VolumesFrom": None, "ConsoleSize": [24, 80], "CapAdd": None, "CapDrop": None,
        "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": None, "GroupAdd": None,
        "IpcMode": "", "Cgroup": "", "Links": None, "OomScoreAdj": 0, "PidMode": "", "Privileged": False,
        "PublishAllPorts": False, "ReadonlyRootfs": False, "SecurityOpt": None, "UTSMode": "", "UsernsMode": "",
        "ShmSize": 0, "Isolation": "", "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "",
        "BlkioWeight": 0, "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "CpuPeriod": 0, "CpuQuota": 0,
        "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [],
        "DeviceCgroupRules": None, "DeviceRequests": None, "MemoryReservation": 0, "MemorySwap": 0,
        "MemorySwappiness": -1, "OomKillDisable": False, "PidsLimit": 0, "Ulimits": [], "CpuCount": 0,
        "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "MaskedPaths": None, "ReadonlyPaths": None,
    },
    "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": None, "Aliases": None, "MacAddress": ""}}},
}  # fmt: skip
"""What Docker's command line sends where nothing was said."""


def test_what_says_nothing_is_nothing():
    asked = read_create(msgspec.json.decode(msgspec.json.encode(EMPTY), type=Create), name="")
    assert asked.options == CreateOptions(image="i", network="bridge")
    assert asked.warnings == ()


def test_program_and_words():
    asked = read(
        "web", Cmd=["a", "b"], Env=["K=V"], Hostname="h", User="1:2", WorkingDir="/w", Labels={"l": "v"}, Tty=True,
        OpenStdin=True, StdinOnce=True, StopSignal="SIGINT", StopTimeout=3,
        Healthcheck={"Test": ["CMD", "x"], "Interval": 10**9, "Retries": 2},
    )  # fmt: skip
    assert (asked.name, asked.command, asked.env, asked.hostname) == ("web", ("a", "b"), ("K=V",), "h")
    assert (asked.user, asked.workdir, asked.labels) == ("1:2", "/w", {"l": "v"})
    assert asked.streams == Streams(tty=True, stdin_open=True, stdin_once=True)
    assert (asked.stop.signal, asked.stop.timeout_s) == (2, 3.0)
    assert asked.health.check is not None
    assert (asked.health.check.test, asked.health.check.retries) == (("CMD", "x"), 2)


@pytest.mark.parametrize(
    ("given", "meant"), [(None, None), ([], None), ([""], ()), ("", ()), (["a", "b"], ("a", "b")), ("a", ("a",))]
)
def test_an_entry_point_is_kept_cleared_or_replaced(given, meant):
    assert read(Entrypoint=given).entrypoint == meant


def test_mounts_of_all_kinds():
    asked = read(
        Volumes={"/anonymous": {}, "/taken": {}},
        HostConfig={
            "Binds": ["/h:/c:ro", "v:/taken"],
            "Tmpfs": {"/t": "size=1m", "/u": ""},
            "Mounts": [
                {"Type": "bind", "Source": "/s", "Target": "/m", "BindOptions": {"Propagation": "rslave"}},
                {"Type": "bind", "Source": "/s", "Target": "/p", "BindOptions": {"CreateMountpoint": True}},
                {
                    "Type": "bind",
                    "Source": "/s",
                    "Target": "/q",
                    "ReadOnly": True,
                    "BindOptions": {"ReadOnlyNonRecursive": True},
                },
                {"Type": "volume", "Target": "/n", "VolumeOptions": {"NoCopy": True}},
                {"Type": "tmpfs", "Target": "/o", "TmpfsOptions": {"SizeBytes": 5, "Mode": 0o700}},
            ],
        },
    ).files.mounts
    assert asked == (
        Mount(kind="bind", source="/h", destination="/c", read_only=True, make_source=True),
        Mount(kind="volume", source="v", destination="/taken"),
        Mount(kind="bind", source="/s", destination="/m", options=("rslave",)),
        Mount(kind="bind", source="/s", destination="/p", make_source=True),
        Mount(kind="bind", source="/s", destination="/q", read_only=True, read_only_flat=True),
        Mount(kind="volume", destination="/n", no_copy=True),
        Mount(kind="tmpfs", destination="/o", options=("size=5", "mode=700")),
        Mount(kind="tmpfs", destination="/t", options=("size=1m",)),
        Mount(kind="tmpfs", destination="/u"),
        Mount(kind="volume", destination="/anonymous"),
    )


def test_ports():
    asked = read(
        ExposedPorts={"80/tcp": {}, "53/udp": {}},
        HostConfig={
            "PortBindings": {
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "8081"}],
                "53/udp": [{"HostPort": ""}],
                "90": None,
            }
        },
    ).ports
    assert asked.exposed == ("80/tcp", "53/udp")
    assert asked.published == (
        Port(container_port=80, host_port=8080, host_ip="127.0.0.1"),
        Port(container_port=80, host_port=8081, host_ip="::1"),
        Port(container_port=53, protocol="udp"),
        Port(container_port=90),
    )


def networks(mode: str, endpoints: dict[str, object], **fields: Any) -> tuple[str, tuple[Attachment, ...]]:
    asked = read(HostConfig={"NetworkMode": mode}, NetworkingConfig={"EndpointsConfig": endpoints}, **fields)
    return asked.network, asked.attachments


def test_networks():
    assert networks("none", {"none": {}}) == ("none", ())
    assert networks("container:a", {}) == ("container:a", ())
    assert networks("n", {"n": {"NetworkID": "x", "Gateway": "1.2.3.4"}}) == ("n", ())
    assert networks("n", {"n": {"Aliases": ["a", "a"], "IPAMConfig": {"IPv4Address": "10.1.2.3"}}, "m": None}) == (
        "n",
        (Attachment(network="n", aliases=("a",), ipv4="10.1.2.3"), Attachment(network="m")),
    )
    assert networks("", {"m": {"Aliases": ["a"]}})[0] == "m"
    links = ["db:store", "/db:/web/other", "db", "a" * 64 + ":long", "db:store"]
    linked = ("db:store", "db:other", "db:db", "a" * 12 + ":long")
    assert networks("n", {"n": {"Links": links}})[1] == (Attachment(network="n", links=linked),)
    for bad in ("a:b:c", ":b", "a:", "a b", "a=b:c"):
        with pytest.raises(UsageError):
            networks("n", {"n": {"Links": [bad]}})
    assert networks("n", {}, MacAddress="02:00:00:00:00:01") == (
        "n",
        (Attachment(network="n", mac="02:00:00:00:00:01"),),
    )
    assert read(NetworkDisabled=True).network == "none"
    with pytest.raises(UsageError):
        networks("host", {"host": {"Aliases": ["a"]}})


def test_limits_and_sandbox():
    asked = host(
        NanoCpus=500_000_000, Memory=1 << 20, MemorySwap=-1, PidsLimit=-1, CpusetCpus="0",
        BlkioDeviceReadBps=[{"Path": "/dev/sda", "Rate": 5}], BlkioWeightDevice=[{"Path": "/dev/sda", "Weight": 7}],
        Ulimits=[{"Name": "nofile", "Soft": 1, "Hard": 2}], OomScoreAdj=5, ShmSize=7, Sysctls={"net.a": "1"},
        CapAdd=["NET_ADMIN"], CapDrop=["all"], SecurityOpt=["no-new-privileges", "seccomp=unconfined"],
        Devices=[{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}],
        ExtraHosts=["h:1.2.3.4", "host.docker.internal:host-gateway"], MaskedPaths=[], ReadonlyPaths=[],
        PidMode="host", IpcMode="container:x", RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 3},
        LogConfig={"Type": "json-file", "Config": {"max-size": "10m"}}, Init=True, AutoRemove=True,
    )  # fmt: skip
    limits = asked.resources
    assert (limits.cpus, limits.memory_bytes, limits.memory_swap_bytes, limits.pids_limit) == (0.5, 1 << 20, -1, -1)
    assert limits.device_read_bps == (DeviceRate(path="/dev/sda", rate=5),)
    assert limits.blkio_weight_devices == (DeviceRate(path="/dev/sda", rate=7),)
    assert asked.limits.ulimits == (Ulimit(name="nofile", soft=1, hard=2),)
    box = asked.sandbox
    assert (box.cap_add, box.cap_drop, box.seccomp) == (("CAP_NET_ADMIN",), ("ALL",), "unconfined")
    assert (box.no_new_privileges, box.shows_system_paths, box.shm_bytes) == (True, True, 7)
    assert box.devices == (Device(host_path="/dev/a", path="/dev/b", access="r"),)
    assert box.extra_hosts == (("h", "1.2.3.4"), ("host.docker.internal", "host-gateway"))
    assert asked.namespaces == Namespaces(pid="host", ipc="container:x")
    assert asked.restart == RestartPolicy(name="on-failure", limit=3)
    assert (asked.log.driver, asked.log.max_bytes, asked.init, asked.auto_remove) == ("json-file", 10 << 20, True, True)


def test_a_seccomp_profile_comes_as_a_text_or_as_a_file():
    text = '{"defaultAction":"SCMP_ACT_ALLOW"}'
    box = host(SecurityOpt=[f"seccomp={text}", "no-new-privileges", "label=disable"]).sandbox
    assert (box.seccomp, box.no_new_privileges, box.labels) == (text, True, ("disable",))
    assert host(SecurityOpt=["seccomp=/etc/profile.json"]).sandbox.seccomp == "/etc/profile.json"
    assert host(SecurityOpt=["seccomp=builtin"]).sandbox.seccomp == ""


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"Driver": "cdi", "DeviceIDs": ["a.b/c=d", "a.b/c=e"]}, ("a.b/c=d", "a.b/c=e")),
        ({"Driver": "", "Count": -1, "Capabilities": [["gpu"]], "Options": {}}, ("nvidia.com/gpu=all",)),
        ({"Driver": "nvidia", "Count": 1, "Capabilities": [["compute", "gpu"]]}, ("nvidia.com/gpu=0",)),
        ({"DeviceIDs": ["1"], "Capabilities": [["gpu"]]}, ("nvidia.com/gpu=1",)),
    ],
)  # fmt: skip
def test_requests_of_devices_are_names_of_cdi(asked, names):
    assert host(DeviceRequests=[asked]).sandbox.cdi_devices == names


@pytest.mark.parametrize(
    "fields",
    [
        {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["/dev/a"]}]}, {"DeviceRequests": [{"Driver": "amd"}]},
        {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]], "Options": {"a": "b"}}]},
        {"Links": ["a:b"]}, {"StorageOpt": {"size": "1G"}}, {"DeviceRequests": [{}]}, {"VolumeDriver": "nfs"},
        {"MaskedPaths": ["/x"]}, {"Isolation": "hyperv"}, {"SecurityOpt": ["colour={}"]}, {"Binds": ["./a:/b"]},
        {"Mounts": [{"Type": "npipe", "Target": "/a"}]}, {"Mounts": [{"Type": "bind", "Source": "a", "Target": "/a"}]},
        {"Mounts": [{"Type": "volume", "Target": "/a", "VolumeOptions": {"Subpath": "x"}}]},
        {"LogConfig": {"Type": "syslog"}}, {"RestartPolicy": {"Name": "sometimes"}}, {"CpuRealtimeRuntime": 5},
        {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}, {"Devices": [{"PathOnHost": "a"}]}, {"CapAdd": ["X"]},
    ],
)  # fmt: skip
def test_what_there_is_no_equivalent_of_is_refused(fields):
    with pytest.raises(UsageError):
        host(**fields)


def test_what_nothing_in_the_container_sees_is_a_warning():
    body = Create(Image="i", HostConfig=msgspec.convert({"CgroupParent": "/x", "Annotations": {"a": "b"}}, type=Host))
    assert len(read_create(body, name="").warnings) == 2


@pytest.mark.parametrize(("mode", "is_taken"), [("back", True), ("", False), ("bridge", False), ("host", False)])
def test_links_are_those_of_the_first_network_where_containers_find_each_other_by_name(mode, is_taken):
    body = Create(Image="i", HostConfig=Host(NetworkMode=mode, Links=["db:store"]))
    if is_taken:
        asked = read_create(body, name="")
        assert (asked.options.attachments, asked.warnings) == ((Attachment(network="back", links=("db:store",)),), ())
    else:
        with pytest.raises(UsageError):
            read_create(body, name="")


@pytest.mark.parametrize("fields", [{"Image": ""}, {"WorkingDir": "w"}, {"StopSignal": "SIGNONE"}, {"Hostname": "a b"}])
def test_bad_words_are_refused(fields):
    with pytest.raises(UsageError):
        read(**fields)


NOT_READ = {
    "ArgsEscaped", "CpuCount", "CpuPercent", "IOMaximumBandwidth", "IOMaximumIOps",  # of Windows
    "CheckDuplicate", "Consistency",  # of old versions, of Apple's machines
    "OnBuild", "Shell",  # of images that are built
}  # fmt: skip
"""Fields of requests in which there is nothing to do."""


def test_no_field_of_a_request_is_dropped_in_silence():
    source = Path(bodies.__path__[0]).parent
    nodes = [node for path in source.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    read_there = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    read_there |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    declared = {
        field.target.id
        for node in nodes
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "Struct" for base in node.bases)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id[0].isupper()
    }
    assert declared - read_there == NOT_READ
