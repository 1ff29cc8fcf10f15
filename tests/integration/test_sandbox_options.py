"""What widens and narrows the sandbox, looked at from inside."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from bento.oci.capabilities import NAMES

from support.cli import BentoCli

SH = ("/bin/sh", "-c")


def out(bento: BentoCli, *words: str | Path) -> str:
    return bento("run", "--rm", *words).stdout


def held(bento: BentoCli, *words: str) -> set[str]:
    """Return the bounding set of the program of such a container."""
    text = out(bento, *words, "host", "grep", "CapBnd", "/proc/self/status")
    return {name.removeprefix("CAP_") for number, name in enumerate(NAMES) if int(text.split()[1], 16) >> number & 1}


def test_capabilities_more_and_less(bento: BentoCli) -> None:
    usual = held(bento)
    assert held(bento, "--cap-add", "net_admin", "--cap-drop", "CAP_CHOWN") == usual - {"CHOWN"} | {"NET_ADMIN"}
    assert held(bento, "--cap-drop", "ALL", "--cap-add", "KILL,chown") == {"KILL", "CHOWN"}
    assert held(bento, "--cap-add", "ALL", "--cap-drop", "NET_RAW") > usual - {"NET_RAW"}


def test_capability_that_is_added_is_let_through_by_the_filter(bento: BentoCli) -> None:
    script = "mount -t tmpfs none /mnt && echo mounted"
    assert "mounted" in out(bento, "--cap-add", "SYS_ADMIN", "host", *SH, script)
    assert bento("run", "--rm", "host", *SH, script, check=False).stdout == ""


def test_exec_has_what_the_container_has(bento: BentoCli) -> None:
    bento.run("--name", "w", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "host", "sleep", "1000")
    said = bento("exec", "w", "grep", "-E", "CapBnd|NoNewPrivs", "/proc/self/status").stdout.split()
    assert said == ["CapBnd:", "0" * 16, "NoNewPrivs:", "1"]


def test_no_new_privileges(bento: BentoCli) -> None:
    def flag(*words: str) -> str:
        return out(bento, *words, "host", "grep", "NoNewPrivs", "/proc/self/status").split()[1]

    assert flag() == flag("--security-opt", "no-new-privileges:false") == "0"
    assert flag("--security-opt", "no-new-privileges") == flag("--security-opt", "no-new-privileges=true") == "1"


def test_seccomp_of_a_file_and_none(bento: BentoCli, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(profile))
    script = "grep Seccomp: /proc/self/status; mkdir /tmp/made-$$-$(date +%N) 2>&1"  # no machine has that
    assert (
        "not implemented"
        in bento("run", "--rm", "--security-opt", f"seccomp={file}", "host", *SH, script, check=False).stdout
    )
    assert out(bento, "--security-opt", "seccomp=unconfined", "host", *SH, script).split() == ["Seccomp:", "0"]
    assert out(bento, "host", *SH, script).split() == ["Seccomp:", "2"]


def test_groups_more_by_name_and_id(bento: BentoCli) -> None:
    words = ("--group-add", "tty", "--group-add", "4444")
    assert out(bento, *words, "-u", "nobody", "host", "id", "-G").split() == ["65534", "5", "4444"]
    assert "nosuch" in bento.fails("run", "--group-add", "nosuch", "host", "true", code=125)
    bento.run("--name", "w", *words, "host", "sleep", "1000")
    assert bento("exec", "-u", "nobody", "w", "id", "-G").stdout.split() == ["65534", "5", "4444"]


def test_names_of_hosts_and_of_name_servers(bento: BentoCli) -> None:
    words = (
        "--add-host",
        "one:192.0.2.1",
        "--add-host",
        "six=[2001:db8::1]",
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "a.b",
    )
    lines = out(bento, *words, "host", "cat", "/etc/hosts", "/etc/resolv.conf").splitlines()
    assert {"192.0.2.1\tone", "2001:db8::1\tsix", "nameserver 192.0.2.53", "search a.b"} <= set(lines)
    lines = out(bento, *words, "--network", "host", "host", "cat", "/etc/resolv.conf").splitlines()
    assert [line for line in lines if line.startswith("nameserver")] == ["nameserver 192.0.2.53"]


def test_size_of_shared_memory(bento: BentoCli) -> None:
    assert out(bento, "--shm-size", "1m", "host", *SH, "df -k --output=size /dev/shm | tail -1").strip() == "1024"


def test_sysctls_of_namespaces(bento: BentoCli) -> None:
    words = ("--sysctl", "net.core.somaxconn=77", "--sysctl", "kernel.msgmax=9000")
    assert out(bento, *words, "host", "cat", "/proc/sys/net/core/somaxconn", "/proc/sys/kernel/msgmax") == "77\n9000\n"
    assert "the host's" in bento.fails("run", "--network", "host", *words, "host", "true", code=125)


def test_device_is_there_for_what_was_asked(bento: BentoCli) -> None:
    if not Path("/dev/fuse").exists():
        pytest.skip("kernel: no /dev/fuse")
    script = "ls -l /dev/mine; : </dev/mine && echo read"
    said = out(bento, "--device", "/dev/fuse:/dev/mine:r", "host", *SH, script)
    assert "10, 229" in said
    assert "read" in said


def test_a_directory_stands_for_the_devices_below_it(bento: BentoCli, tmp_path: Path) -> None:
    (tmp_path / "board" / "port").mkdir(parents=True)
    for name, minor in (("a", 3), ("port/b", 5)):
        os.mknod(tmp_path / "board" / name, 0o600 | stat.S_IFCHR, os.makedev(1, minor))
    (tmp_path / "board" / "readme").touch()
    said = out(bento, "--device", f"{tmp_path}/board:/dev/mine:r", "host", "find", "/dev/mine", "-type", "c")
    assert sorted(said.split()) == ["/dev/mine/a", "/dev/mine/port/b"]


def test_device_of_cdi_comes_with_all_that_it_needs(bento: BentoCli, tmp_path: Path) -> None:
    """And a hook is run, by its runtime, before its program."""
    (tmp_path / "lib").write_text("library\n")
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\ncat >{tmp_path}/state; echo "$1$B" >{tmp_path}/ran\n')
    hook.chmod(0o755)
    edits = {
        "env": ["BOARD=1"],
        "deviceNodes": [{"path": "/dev/board", "hostPath": "/dev/zero"}],
        "mounts": [{"hostPath": f"{tmp_path}/lib", "containerPath": "/usr/lib/board.so", "options": ["ro", "bind"]}],
        "additionalGids": [4242],
        "hooks": [{"hookName": "createContainer", "path": str(hook), "args": ["hook", "1"], "env": ["B=2"]}],
    }
    file = {"cdiVersion": "0.7.0", "kind": "vendor.com/board", "devices": [{"name": "0", "containerEdits": edits}]}
    (tmp_path / "cdi.json").write_text(json.dumps(file))
    (tmp_path / "cdi.json").chmod(0o644)
    words = ("-u", "65534:65534", "--device", "vendor.com/board=0", "--name", "w")
    script = "echo $BOARD; stat -c '%t:%T %u' /dev/board; cat /usr/lib/board.so; id -G"
    bento("create", *words, "host", *SH, script, env={"BENTO_CDI_DIRECTORIES": str(tmp_path)})
    said = bento("start", "-a", "w", env={"BENTO_CDI_DIRECTORIES": str(tmp_path)}).stdout
    assert said.splitlines() == ["1", "1:5 65534", "library", "65534 4242"]
    assert (tmp_path / "ran").read_text() == "12\n"
    assert json.loads((tmp_path / "state").read_text())["id"] == bento.inspect("w")["Id"]
    assert bento.inspect("w")["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == ["vendor.com/board=0"]
    assert "no device vendor.com/board=0" in bento.fails("start", "w", code=2, env={"BENTO_CDI_DIRECTORIES": "/none"})


def test_labels_from_a_file(bento: BentoCli, tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("# of the team\none=1\nboth=file\nalone\n")
    bento("create", "--name", "w", "--label-file", file, "--label", "both=flag", "host", "true")
    assert bento.inspect("w")["Config"]["Labels"] == {"one": "1", "both": "flag", "alone": ""}


def test_inspect_says_what_was_asked_for(bento: BentoCli) -> None:
    words = (
        "--cap-add", "NET_ADMIN", "--cap-drop", "ALL", "--security-opt", "seccomp=unconfined", "--group-add", "tty",
        "--add-host", "a:192.0.2.1", "--dns", "192.0.2.53", "--dns-search", "a.b", "--shm-size", "1m",
        "--sysctl", "net.core.somaxconn=77", "--device", "/dev/null:/dev/x:rw",
    )  # fmt: skip
    bento("create", "--name", "w", *words, "host", "true")
    host = bento.inspect("w")["HostConfig"]
    assert host | {
        "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["ALL"], "SecurityOpt": ["seccomp=unconfined"], "GroupAdd": ["tty"],
        "ExtraHosts": ["a:192.0.2.1"], "Dns": ["192.0.2.53"], "DnsSearch": ["a.b"], "ShmSize": 1 << 20,
        "Sysctls": {"net.core.somaxconn": "77"},
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rw"}],
    } == host  # fmt: skip
    bento("create", "--name", "plain", "host", "true")
    host = bento.inspect("plain")["HostConfig"]
    assert host | {"CapAdd": None, "CapDrop": None, "SecurityOpt": None, "ShmSize": 64 << 20, "Devices": []} == host


def test_shared_memory_of_another_container(bento: BentoCli) -> None:
    said = bento("run", "-d", "--name", "w", "--ipc", "shareable", "host", *SH, "echo one >/dev/shm/x; sleep 1000")
    bento("exec", "w", *SH, "until test -s /dev/shm/x; do sleep 0.05; done")
    script = "cat /dev/shm/x; readlink /proc/self/ns/ipc; mount | grep -c ' /dev/shm .*nosuid,nodev,noexec'"
    shared = out(bento, "--ipc", "container:w", "host", *SH, script).splitlines()
    assert shared == ["one", bento("exec", "w", "readlink", "/proc/self/ns/ipc").stdout.strip(), "1"]
    bento("create", "--name", "guest", "--ipc", "container:w", "host", "true")
    host = bento.inspect("guest")["HostConfig"]
    assert (host["IpcMode"], host["Requires"]) == (f"container:{said.stdout.strip()}", [said.stdout.strip()])
    bento("create", "--name", "plain", "host", "true")
    assert bento.inspect("plain")["HostConfig"]["IpcMode"] == "private"
    bento("rm", "guest")


def test_namespaces_of_the_host(bento: BentoCli) -> None:
    script = "for n in ipc uts cgroup; do readlink /proc/self/ns/$n; done; hostname"
    ours = [os.readlink(f"/proc/self/ns/{name}") for name in ("ipc", "uts", "cgroup")]
    words = ("--ipc", "host", "--uts", "host", "--cgroupns", "host", "--userns", "host")
    assert out(bento, *words, "host", *SH, script).splitlines() == [*ours, os.uname().nodename]
    own = out(bento, "--uts", "private", "--network", "host", "host", *SH, script).splitlines()
    assert set(own).isdisjoint({*ours, os.uname().nodename})
    # Its own cgroups, and no others, are what it sees, and it cannot change them.
    assert (
        "Read-only"
        in bento(
            "run", "--rm", *words, "host", *SH, "for d in /sys/fs/cgroup/*; do mkdir $d/x; done 2>&1", check=False
        ).stdout
    )
    assert out(bento, "--ipc", "none", "host", *SH, "test -e /dev/shm || echo none") == "none\n"
    assert "use auto" in bento.fails("run", "--userns", "keep-id", "host", "true", code=125)


def test_privileged_has_all_that_bento_has(bento: BentoCli) -> None:
    devices = [path for path in ("/dev/fuse", "/dev/loop0", "/dev/kvm") if Path(path).exists()]
    script = """
grep -E 'CapBnd|Seccomp:' /proc/self/status; ls /proc/acpi; : >/proc/sys/kernel/domainname && echo written
mount -t tmpfs none /mnt && echo mounted
: </dev/fuse && echo opened
"""
    said = out(bento, "--privileged", "host", *SH, f"ls -d {' '.join(devices)}; {script}")
    assert set(devices) <= set(said.split())
    own = Path("/proc/self/status").read_text().partition("CapBnd:\t")[2].split()[0]
    assert {own, "written", "mounted"} <= set(said.split())
    assert "Seccomp:\t0" in said
    assert ("opened" in said) == Path("/dev/fuse").exists()
    rule = out(
        bento, "--device-cgroup-rule", "c 10:229 rwm", "host", *SH, "mknod /tmp/f c 10 229; : </tmp/f && echo opened"
    )
    assert ("opened" in rule) == Path("/dev/fuse").exists()


def test_what_this_machine_has_not_is_noted(bento: BentoCli) -> None:
    words = ("--security-opt", "apparmor=nosuch", "--security-opt", "label=type:x_t", "--security-opt", "label=disable")
    if Path("/sys/module/apparmor").exists() or Path("/sys/fs/selinux").exists():
        pytest.skip("kernel: it has AppArmor or SELinux")
    said = bento("create", "--name", "w", "--privileged", *words, "host", "true")
    assert "no AppArmor profile nosuch" in said.stderr
    assert "no SELinux label" in said.stderr
    host = bento.inspect("w")["HostConfig"]
    assert host["Privileged"] is True
    assert host["SecurityOpt"] == ["apparmor=nosuch", "label=type:x_t", "label=disable"]


def test_what_is_mounted_is_given_to_the_containers_user(bento: BentoCli, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    (directory / "below").mkdir(parents=True)
    (directory / "out").symlink_to("/etc/passwd")
    words = ("-u", "nobody", "-v", f"{directory}:/d:U", "-v", "vol:/v:U")
    assert out(bento, *words, "host", *SH, "touch /d/below/x /v/y && stat -c %u /d/below /v") == "65534\n65534\n"
    assert (directory / "out").lstat().st_uid == 65534
    assert Path("/etc/passwd").stat().st_uid == 0
    assert "machine's own" in bento.fails("run", "-v", "/etc:/e:U", "host", "true", code=125)


def test_a_read_only_root_has_places_to_write_to(bento: BentoCli) -> None:
    script = "for d in /run /tmp /var/tmp; do touch $d/x && echo $d; done; touch /x 2>&1 || true"
    said = out(bento, "--read-only", "--read-only-tmpfs", "host", *SH, script)
    assert said.splitlines()[:3] == ["/run", "/tmp", "/var/tmp"]
    assert "Read-only" in said
