from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bento.errors import UsageError
from bento.model.container import Container, ContainerSpec, Files, Mount, Namespaces, NodeSettings, Run, Sandbox
from bento.model.network import Connection
from bento.model.resources import HostLimits
from bento.oci import config, defaults, etc, resources
from bento.oci.capabilities import NAMES
from bento.oci.limits import Limits
from bento.oci.user import ResolvedUser

ID = "ab" * 32
ROOT = ResolvedUser(uid=0, gid=0, groups=(0,), home="/root")
BUNDLE = Path("/var/lib/bento/containers/x")


def container(**fields: Any) -> Container:
    fields = {
        "image": "alpine",
        "image_id": "sha256:1",
        "layers": ("/layers/1",),
        "command": ("/bin/app", "-v"),
    } | fields
    return Container(id=ID, name="web", created_unix_ns=0, spec=ContainerSpec(**fields))


def build(subject: Container, **arguments: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "rootfs": BUNDLE / "rootfs",
        "bundle": BUNDLE,
        "user": ROOT,
        "namespaces": [{"type": "network"}],
        "seccomp": None,
        "limits": Limits([], ()),
        "init_path": None,
    }
    return config.build(subject, **(values | arguments))


def mount_at(document: dict[str, Any], destination: str) -> dict[str, Any] | None:
    found = [mount for mount in document["mounts"] if mount["destination"] == destination]
    assert len(found) <= 1
    return found[0] if found else None


def order(document: dict[str, Any]) -> list[str]:
    return [mount["destination"] for mount in document["mounts"]]


def test_the_sandbox_is_closed_by_default() -> None:
    document = build(container())

    linux = document["linux"]
    assert {entry["type"] for entry in linux["namespaces"]} == {"pid", "ipc", "mount", "cgroup", "uts", "network"}
    assert linux["cgroupsPath"] == f"/bento-{ID}"
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]
    assert "seccomp" not in linux
    assert len(document["process"]["capabilities"]["bounding"]) == 14
    assert mount_at(document, "/sys/fs/cgroup") == {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    }


def test_capabilities_are_for_root_only_and_never_inherited() -> None:
    root = build(container())["process"]["capabilities"]
    other = build(container(), user=ResolvedUser(uid=5, gid=5, groups=(5, 6), home="/"))["process"]

    assert root["effective"] == root["permitted"] == list(defaults.CAPABILITIES)
    assert other["capabilities"] == {"bounding": list(defaults.CAPABILITIES), "effective": [], "permitted": []}
    assert other["user"] == {"uid": 5, "gid": 5, "additionalGids": [5, 6]}
    assert not {"inheritable", "ambient"} & (root.keys() | other["capabilities"].keys())


def test_ambient_capabilities_are_held_and_handed_on_by_any_user() -> None:
    plain = ResolvedUser(uid=5, gid=5, groups=(5,), home="/")
    box = container(node=NodeSettings(ambient=("CAP_NET_RAW", "CAP_SYS_ADMIN")))  # the last is not among its own
    one = ["CAP_NET_RAW"]
    assert build(box, user=plain)["process"]["capabilities"] == {
        "bounding": list(defaults.CAPABILITIES),
        **dict.fromkeys(("effective", "permitted", "inheritable", "ambient"), one),
    }
    root = build(box)["process"]["capabilities"]
    assert (root["effective"], root["ambient"]) == (list(defaults.CAPABILITIES), one)
    every = build(container(node=NodeSettings(ambient=("ALL",))), user=plain)["process"]["capabilities"]
    assert every["ambient"] == every["bounding"]


def test_limits_of_huge_pages_are_those_that_the_host_can_keep() -> None:
    asked = {"2MB": 4 << 20, "1GB": 0}
    document = build(container(node=NodeSettings(hugepages=asked)))
    assert document["linux"]["resources"]["hugepageLimits"] == [
        {"pageSize": "2MB", "limit": 4 << 20},
        {"pageSize": "1GB", "limit": 0},
    ]
    assert "hugepageLimits" not in build(container())["linux"]["resources"]
    for file in ("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"):
        assert resources.kept_pages(asked, HostLimits(files=frozenset({file}))) == {"2MB": 4 << 20}
    with pytest.raises(UsageError, match="huge pages of 2MB"):
        resources.kept_pages(asked, HostLimits(files=frozenset({"hugetlb.1GB.max"})))
    assert resources.kept_pages({"2MB": 0}, HostLimits(files=frozenset())) == {}


def test_the_process_is_what_was_asked_for() -> None:
    process = build(container(entrypoint=("/entry",), workdir="/srv"))["process"]

    assert process["args"] == ["/entry", "/bin/app", "-v"]
    assert process["cwd"] == "/srv"
    assert process["terminal"] is False
    assert process["noNewPrivileges"] is False


def test_later_environment_wins_and_the_defaults_are_there() -> None:
    env = build(container(env=("A=1", "PATH=/p", "A=2=3", "EMPTY=")))["process"]["env"]

    assert sorted(env) == ["A=2=3", "EMPTY=", "HOME=/root", f"HOSTNAME={ID[:12]}", "PATH=/p"]


def test_init_goes_in_front_and_touches_no_image() -> None:
    document = build(container(init=True), init_path=Path("/usr/bin/catatonit"))

    assert document["process"]["args"] == ["/dev/catatonit", "--", "/bin/app", "-v"]
    assert mount_at(document, "/dev/catatonit") == {
        "destination": "/dev/catatonit",
        "type": "bind",
        "source": "/usr/bin/catatonit",
        "options": ["bind", "ro", "nosuid", "nodev", "rprivate"],
    }
    assert order(document).index("/dev") < order(document).index("/dev/catatonit")


def test_init_leaves_no_file_on_a_dev_of_the_hosts() -> None:
    mounts = (Mount(kind="bind", source="/dev", destination="/dev"),)

    document = build(container(init=True, files=Files(mounts=mounts)), init_path=Path("/usr/bin/catatonit"))

    assert document["process"]["args"][0] == "/.bento/catatonit"
    assert mount_at(document, "/dev/catatonit") is None


def test_propagation_is_as_wide_as_a_mount_asks() -> None:
    plain = Mount(kind="bind", source="/a", destination="/a", read_only=True)
    slave = Mount(kind="bind", source="/b", destination="/b", options=("rslave",))

    assert build(container(files=Files(mounts=(plain,))))["linux"]["rootfsPropagation"] == "rprivate"
    document = build(container(files=Files(mounts=(plain, slave))))
    assert document["linux"]["rootfsPropagation"] == "rslave"
    found = [mount_at(document, path) for path in ("/a", "/b")]
    assert [mount and "rprivate" in mount["options"] for mount in found] == [True, False]


def test_runtime_that_does_not_know_rro_is_not_given_it() -> None:
    subject = container(files=Files(mounts=(Mount(kind="bind", source="/a", destination="/a", read_only=True),)))
    for knows, expected in ((True, ["rbind", "rprivate", "ro", "rro"]), (False, ["rbind", "rprivate", "ro"])):
        bound = mount_at(build(subject, kernel=(6, 1), knows_rro=knows), "/a")
        assert bound is not None
        assert bound["options"] == expected


def test_the_hosts_network_has_the_hosts_name() -> None:
    document = build(container(network="host"), namespaces=[])

    assert {entry["type"] for entry in document["linux"]["namespaces"]} == {"pid", "ipc", "mount", "cgroup"}
    assert "hostname" not in document
    assert mount_at(document, "/etc/hostname") is None
    assert mount_at(document, "/etc/resolv.conf") is not None
    assert not [entry for entry in document["process"]["env"] if entry.startswith("HOSTNAME=")]


def test_a_name_asked_for_on_the_hosts_network_is_the_containers_own() -> None:
    document = build(container(network="host", hostname="web"), namespaces=[])

    assert {"type": "uts"} in document["linux"]["namespaces"]
    assert document["hostname"] == "web"


def test_etc_files_of_a_closed_network() -> None:
    files = etc.etc_files(container(hostname="web"), host_hosts="the host's", host_resolv_conf="the host's")

    assert files["hostname"] == "web\n"
    assert "127.0.0.1\tweb\n" in files["hosts"]
    assert "the host's" not in "".join(files.values())


def test_etc_files_of_the_hosts_network_are_copies() -> None:
    files = etc.etc_files(container(network="host"), host_hosts="h", host_resolv_conf="r")

    assert files == {"hosts": "h", "resolv.conf": "r"}


def on_networks(*connections: Connection, shows_processes: bool = True, **fields: Any) -> Container:
    run = Run(number=1, runtime="crun", connections=connections, shows_processes=shows_processes)
    return replace(container(network="front", **fields), run=run)


def resolv_conf(subject: Container) -> str:
    return etc.etc_files(
        subject, host_hosts="", host_resolv_conf="domain corp\nnameserver 192.0.2.1\noptions ndots:5 use-vc\n"
    )["resolv.conf"]


FRONT = Connection(
    network="front", names=True, bridge="b", address="10.0.0.2", prefix=24, gateway="10.0.0.1", mac="02:00:00:00:00:02"
)
BRIDGED = replace(FRONT, network="bridge", names=False, address="10.0.1.2")


def test_where_there_are_names_the_resolver_is_asked() -> None:
    asked = Sandbox(dns=("192.0.2.2",), dns_search=("example",), dns_options=("ndots:1", "timeout:1"))

    assert resolv_conf(on_networks(BRIDGED, FRONT)) == "nameserver 127.0.0.11\ndomain corp\noptions ndots:0\n"
    found = resolv_conf(on_networks(FRONT, sandbox=asked))
    assert found == "nameserver 127.0.0.11\nsearch example\noptions ndots:1 timeout:1\n"
    none = resolv_conf(on_networks(FRONT, sandbox=Sandbox(dns_search=(".",), dns_options=("timeout:1",))))
    assert none == "nameserver 127.0.0.11\noptions timeout:1 ndots:0\n"


def test_where_there_are_no_names_or_it_cannot_be_reached_the_hosts_servers_are_asked() -> None:
    for subject in (on_networks(BRIDGED), on_networks(FRONT, shows_processes=False)):
        assert resolv_conf(subject) == "domain corp\nnameserver 192.0.2.1\noptions ndots:5 use-vc\n"


def test_every_file_that_is_bound_is_written() -> None:
    for subject in (container(), container(network="host"), container(network="host", hostname="x")):
        bound = {m["source"] for m in build(subject)["mounts"] if m["source"].startswith(str(BUNDLE))}

        assert bound == {str(BUNDLE / name) for name in etc.etc_files(subject, host_hosts="", host_resolv_conf="")}


def test_bind_mounts_are_private_and_read_only_all_the_way_down() -> None:
    mounts = (Mount(kind="bind", source="/data", destination="/d", read_only=True),)

    assert mount_at(build(container(files=Files(mounts=mounts)), kernel=(6, 1)), "/d") == {
        "destination": "/d",
        "type": "bind",
        "source": "/data",
        "options": ["rbind", "rprivate", "ro", "rro"],
    }
    old = mount_at(build(container(files=Files(mounts=mounts)), kernel=(5, 10)), "/d")
    assert old is not None
    assert old["options"] == ["rbind", "rprivate", "ro"]


def test_a_propagation_asked_for_replaces_ours() -> None:
    mounts = (Mount(kind="bind", source="/data", destination="/d", options=("rslave",)),)

    mount = mount_at(build(container(files=Files(mounts=mounts))), "/d")

    assert mount is not None
    assert mount["options"] == ["rbind", "rslave"]


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (("size=1m",), ["noexec", "nosuid", "nodev", "mode=1777", "size=1m"]),
        (("exec", "size=1m"), ["nosuid", "nodev", "mode=1777", "exec", "size=1m"]),
        (("suid", "dev", "mode=700", "ro"), ["noexec", "suid", "dev", "mode=700", "ro"]),
        (("exec", "noexec", "size=1m", "size=2m"), ["noexec", "nosuid", "nodev", "mode=1777", "size=2m"]),
    ],
)
def test_tmpfs_options_replace_the_safe_ones(given: tuple[str, ...], options: list[str]) -> None:
    """crun takes noexec where it is given both; runc the last one."""
    mount = mount_at(
        build(container(files=Files(mounts=(Mount(kind="tmpfs", destination="/t", options=given),)))), "/t"
    )

    assert mount is not None
    assert mount["options"] == options


def test_shallow_mounts_come_first_and_the_users_replace_ours() -> None:
    mounts = (
        Mount(kind="tmpfs", destination="/data/cache"),
        Mount(kind="bind", source="/data", destination="/data"),
        Mount(kind="tmpfs", destination="/dev/shm"),
    )

    document = build(container(files=Files(mounts=mounts)))

    assert order(document).index("/data") < order(document).index("/data/cache")
    assert order(document).index("/dev") < order(document).index("/dev/shm")
    shm = mount_at(document, "/dev/shm")
    assert shm is not None
    assert shm["source"] == "tmpfs"


def test_the_machines_own_userland_hides_the_engine() -> None:
    masked = ("/var/lib/bento", "/run/bento", "/var/lib/bento/below")

    document = build(container(layers=("/",)), masked=masked)

    run, state = mount_at(document, "/run"), mount_at(document, "/var/lib/bento")
    assert run is not None
    assert run["type"] == "tmpfs"
    assert state is not None
    assert "ro" in state["options"]
    assert mount_at(document, "/run/bento") is None  # the tmpfs on /run hides it already
    assert mount_at(document, "/var/lib/bento/below") is None
    assert mount_at(build(container(), masked=masked), "/var/lib/bento") is None


def test_a_mask_does_not_write_into_what_the_user_mounts() -> None:
    mounts = (Mount(kind="bind", source="/srv/lib", destination="/var/lib"),)

    assert (
        mount_at(
            build(container(layers=("/",), files=Files(mounts=mounts)), masked=("/var/lib/bento",)), "/var/lib/bento"
        )
        is None
    )


def test_a_read_only_root() -> None:
    assert build(container(files=Files(read_only=True)))["root"] == {"path": str(BUNDLE / "rootfs"), "readonly": True}


def test_the_cgroup2_half_of_a_hybrid_host_is_read_only_too() -> None:
    assert "/sys/fs/cgroup/unified" in build(container(), cgroups_mode="hybrid")["linux"]["readonlyPaths"]
    assert "/sys/fs/cgroup/unified" not in build(container())["linux"]["readonlyPaths"]


@pytest.mark.parametrize(
    ("mode", "spec", "is_there"),
    [
        ("hybrid", {}, True),
        ("v1", {}, True),
        ("v2", {}, False),
        ("v1", {"system": True}, False),
        ("hybrid", {"files": Files(mounts=(Mount(kind="bind", source="/x", destination="/sys/fs/cgroup/x"),))}, False),
        ("hybrid", {"files": Files(mounts=(Mount(kind="bind", source="/x", destination="/sys/fs/cgroup"),))}, False),
    ],
)
def test_what_holds_the_hierarchies_of_version_1_is_read_only(mode: str, spec: dict[str, Any], is_there: bool) -> None:
    """Mounted by the runtime, remounted after that: never one before the other."""
    document = build(container(**spec), cgroups_mode=mode, has_cgroup2=mode != "v1")
    kinds = [mount["type"] for mount in document["mounts"] if mount["destination"] == "/sys/fs/cgroup"]
    again = [mount for mount in document["mounts"] if "remount" in mount.get("options", ())]
    assert bool(again) == is_there
    if is_there:
        assert kinds == ["cgroup", "tmpfs"]
        assert "ro" in again[0]["options"]


def test_limits_and_filter_are_passed_on() -> None:
    limits = Limits([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}], ())

    document = build(container(), limits=limits, seccomp={"defaultAction": "SCMP_ACT_ALLOW"})

    assert document["process"]["rlimits"] == limits.rlimits
    assert document["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_ALLOW"}


def test_bind_mount_of_a_file_is_not_recursive() -> None:
    mounts = (Mount(kind="bind", source="/data", destination="/d", read_only=True),)

    mount = mount_at(build(container(files=Files(mounts=mounts)), kernel=(6, 1), files=frozenset({"/data"})), "/d")

    assert mount is not None
    assert mount["options"] == ["rbind", "rprivate", "ro"]


def test_s10_a_system_container_has_what_its_init_needs() -> None:
    document = build(container(system=True), cgroups_mode="hybrid", seccomp={})

    cgroup = mount_at(document, "/sys/fs/cgroup")
    assert cgroup is not None
    assert cgroup["type"] == "cgroup2"
    assert "rw" in cgroup["options"]
    assert {"/run", "/run/lock", "/tmp"} <= set(order(document))
    assert order(document).index("/run") < order(document).index("/run/lock")
    assert not [path for path in document["linux"]["readonlyPaths"] if path.startswith("/sys/fs/cgroup")]
    assert "CAP_SYS_BOOT" in document["process"]["capabilities"]["bounding"]
    assert "CAP_SYS_ADMIN" not in document["process"]["capabilities"]["bounding"]
    assert "container=bento" in document["process"]["env"]


def test_s10_without_a_filter_a_system_container_may_not_reboot() -> None:
    """CAP_SYS_BOOT is kexec_load(2), too."""
    document = build(container(system=True), seccomp=None)
    assert "CAP_SYS_BOOT" not in document["process"]["capabilities"]["bounding"]
    assert "CAP_SYS_BOOT" not in build(container(), seccomp={})["process"]["capabilities"]["bounding"]


def test_s10_without_cgroup2_a_system_container_has_the_usual_view() -> None:
    document = build(container(system=True), cgroups_mode="v1", has_cgroup2=False)
    cgroup = mount_at(document, "/sys/fs/cgroup")
    assert cgroup is not None
    assert "ro" in cgroup["options"]


def test_s10_what_the_user_mounts_wins_in_a_system_container_too() -> None:
    mine = Mount(kind="bind", source="/srv/run", destination="/run")
    document = build(container(system=True, files=Files(mounts=(mine,)), layers=("/",)), masked=("/var/lib/bento",))
    run = mount_at(document, "/run")
    assert run is not None
    assert run["source"] == "/srv/run"
    assert mount_at(document, "/var/lib/bento") is not None


def kinds(document: dict[str, Any]) -> set[str]:
    return {entry["type"] for entry in document["linux"]["namespaces"]}


@pytest.mark.parametrize("ipc", ["", "private", "shareable"])
def test_shared_memory_is_the_containers_own(ipc: str) -> None:
    document = build(container(namespaces=Namespaces(ipc=ipc)))
    assert "ipc" in kinds(document)
    shm = mount_at(document, "/dev/shm")
    assert shm is not None
    assert shm["type"] == "tmpfs"


@pytest.mark.parametrize(
    ("ipc", "source"), [("host", "/dev/shm"), (f"container:{ID}", f"{BUNDLE}/shm"), ("none", None)], ids=str
)
def test_shared_memory_is_anothers_or_none(ipc: str, source: str | None) -> None:
    document = build(container(namespaces=Namespaces(ipc=ipc)))
    assert ("ipc" in kinds(document)) is (ipc == "none")
    shm = mount_at(document, "/dev/shm")
    assert (shm["source"] if shm else None) == source
    assert (shm is None) or {"nosuid", "noexec", "nodev"} <= set(shm["options"])


def test_namespaces_of_the_hosts_that_were_asked_for() -> None:
    assert "uts" not in kinds(build(container(namespaces=Namespaces(uts="host"))))
    assert "hostname" not in build(container(namespaces=Namespaces(uts="host")))
    assert "uts" in kinds(build(container(namespaces=Namespaces(uts="private"), network="host"), namespaces=[]))
    assert "cgroup" not in kinds(build(container(namespaces=Namespaces(cgroup="host"))))
    assert "cgroup" in kinds(build(container(namespaces=Namespaces(cgroup="private"))))


def test_a_privileged_container_is_held_back_by_nothing() -> None:
    document = build(container(sandbox=Sandbox(privileged=True, cap_drop=("CAP_NET_RAW",))), cgroups_mode="hybrid")
    linux, process = document["linux"], document["process"]
    assert set(process["capabilities"]["bounding"]) == set(NAMES) - {"CAP_NET_RAW"}
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert linux["maskedPaths"] == linux["readonlyPaths"] == []
    for place in ("/sys", "/sys/fs/cgroup"):
        mounts = [mount for mount in document["mounts"] if mount["destination"] == place]
        assert [("ro" in mount["options"]) for mount in mounts] == [False]
    closed = build(container(files=Files(read_only=True), sandbox=Sandbox(privileged=True)))
    sysfs = mount_at(closed, "/sys")
    assert sysfs is not None
    assert "ro" in sysfs["options"]


def test_nothing_keeps_a_privileged_container_from_devices_where_no_filter_can_be_loaded() -> None:
    document = build(container(sandbox=Sandbox(privileged=True)), filters_devices=False)
    assert "devices" not in document["linux"]["resources"]
    assert "CAP_MKNOD" in document["process"]["capabilities"]["bounding"]


def test_system_paths_are_shown_to_those_that_ask() -> None:
    linux = build(container(sandbox=Sandbox(shows_system_paths=True)), cgroups_mode="hybrid")["linux"]
    assert linux["maskedPaths"] == []
    assert linux["readonlyPaths"] == [defaults.HYBRID_READ_ONLY_PATH]  # which is no path of the kernel's own


def test_device_rules_come_after_the_usual_ones() -> None:
    rules = build(container(sandbox=Sandbox(device_rules=("c 10:* rwm", "a *:* m"))))["linux"]["resources"]["devices"]
    assert rules[-2:] == [
        {"allow": True, "access": "rwm", "type": "c", "major": 10},
        {"allow": True, "access": "m", "type": "a"},
    ]
    assert rules[0] == {"allow": False, "access": "rwm"}


def test_the_words_of_security_modules_are_the_processs() -> None:
    process = build(container(), confined={"apparmorProfile": "web"})["process"]
    assert process["apparmorProfile"] == "web"
    assert "selinuxLabel" not in process


def test_what_a_node_asks_of_proc_and_of_its_cgroups() -> None:
    asked = NodeSettings(masked_paths=("/proc/x",), read_only_paths=(), unified={"memory.oom.group": "1"})
    linux = build(container(node=asked))["linux"]
    assert (linux["maskedPaths"], linux["readonlyPaths"]) == (["/proc/x"], [])
    assert linux["resources"]["unified"] == {"memory.oom.group": "1"}
    with pytest.raises(UsageError, match="version 1"):
        build(container(node=asked), cgroups_mode="v1")
    opened = build(container(node=asked, sandbox=Sandbox(privileged=True)))["linux"]
    assert (opened["maskedPaths"], opened["readonlyPaths"]) == ([], [])


def test_mounts_as_a_node_has_them() -> None:
    flat = Mount(kind="bind", source="/s", destination="/d", read_only=True, read_only_flat=True)
    found = mount_at(build(container(files=Files(mounts=(flat,))), kernel=(6, 1)), "/d")
    assert found is not None
    assert "ro" in found["options"]
    assert "rro" not in found["options"]
    peer = Mount(kind="bind", source="/s", destination="/d", reaches_host=True)
    document = build(container(files=Files(mounts=(peer,))))
    found = mount_at(document, "/d")
    assert found is not None
    assert {"rbind", "rshared"} <= set(found["options"])
    assert document["linux"]["rootfsPropagation"] == "rshared"
