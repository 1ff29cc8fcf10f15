"""The default sandbox, looked at from inside: what a container may do and see when nothing is asked for."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from bento.oci import defaults

from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, PYTHON, busybox_rootfs

SH = ("/bin/sh", "-c")
CAP_BITS = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
"""Docker's default set, with the numbers of linux/capability.h."""


def out(bento: BentoCli, *words: str, check: bool = True) -> str:
    return bento("run", "--rm", "host", *words, check=check).stdout


def status(bento: BentoCli) -> dict[str, str]:
    lines = out(bento, "cat", "/proc/self/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_capabilities_are_dockers_default_set(bento: BentoCli) -> None:
    expected = sum(1 << bit for bit in CAP_BITS.values())
    found = status(bento)
    assert int(found["CapEff"], 16) & ~expected == 0
    # This caller may hold fewer than these himself.
    with open("/proc/self/status", encoding="ascii") as file:
        own = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    missing = expected & own & ~int(found["CapEff"], 16)
    assert missing in (0, 1 << CAP_BITS["MKNOD"])  # withheld where the runtime cannot load device rules
    assert found["CapBnd"] == found["CapEff"] == found["CapPrm"]
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0


def test_seccomp_filters(bento: BentoCli) -> None:
    assert status(bento)["Seccomp"] == "2"


def test_seccomp_refuses_new_user_namespaces_and_keyrings(bento: BentoCli) -> None:
    text = out(bento, *SH, "unshare -U true 2>&1; unshare -m true 2>&1; grep -c . /proc/keys; true")
    assert text.count("not permitted") == 2
    assert text.endswith("\n0\n")  # masked


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "mnt", "cgroup", "net"])
def test_namespaces_are_the_containers_own(bento: BentoCli, kind: str) -> None:
    assert out(bento, "readlink", f"/proc/1/ns/{kind}").strip() != os.readlink(f"/proc/self/ns/{kind}")


def test_masked_paths_show_nothing(bento: BentoCli) -> None:
    script = f"for p in {' '.join(defaults.MASKED_PATHS)}; do [ -d $p ] && ls -A $p || cat $p 2>/dev/null; done; true"
    assert out(bento, *SH, script) == ""


def test_read_only_paths_cannot_be_written(bento: BentoCli) -> None:
    script = "echo 1 >/proc/sys/vm/drop_caches; for d in /sys/fs/cgroup/*/; do mkdir $d/x; done; touch /sys/x; true"
    finished = bento("run", "--rm", "host", *SH, script)
    assert finished.stderr.count("Read-only file system") >= 3, str(finished)
    assert finished.stderr.count("\n") == finished.stderr.count("Read-only file system"), str(finished)
    for path in ("/proc/sys", "/sys"):
        options = out(bento, *SH, f"""awk '$5 == "{path}" {{ print $6 }}' /proc/self/mountinfo""")
        assert options.startswith("ro"), (path, options)


def test_cgroup_is_seen_as_the_root_and_cannot_be_changed(bento: BentoCli) -> None:
    lines = out(bento, "cat", "/proc/self/cgroup").splitlines()
    assert all(line.endswith(":/") for line in lines), lines
    script = "awk '$5 ~ /^.sys.fs.cgroup/ && $6 ~ /^rw/ {print $5}' /proc/self/mountinfo"
    assert out(bento, *SH, script) == ""
    tries = (
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x && echo $d; touch $d/y && echo $d; done 2>/dev/null"
    )
    assert out(bento, *SH, f"{tries}; true") == ""


def test_devices_are_the_harmless_ones(bento: BentoCli) -> None:
    names = set(out(bento, "ls", "/dev").split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "shm", "mqueue", "fd"} <= names
    assert names <= {
        "null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "shm", "mqueue", "fd", "core", "console",
        "stdin", "stdout", "stderr",
    }  # fmt: skip


def test_block_device_of_the_host_cannot_be_reached(bento: BentoCli) -> None:
    disk = next((line.split() for line in Path("/proc/partitions").read_text().splitlines()[2:]), None)
    if disk is None:
        pytest.skip("kernel: no block device")
    script = f"mknod /tmp/d b {disk[0]} {disk[1]} && head -c 1 /tmp/d | wc -c"
    finished = bento("run", "--rm", "host", *SH, script, check=False)
    assert finished.stdout.strip() in ("", "0"), str(finished)
    assert "not permitted" in finished.stderr or "ermission denied" in finished.stderr


def test_no_process_of_the_host_is_seen(bento: BentoCli) -> None:
    assert out(bento, *SH, "ls -d /proc/[0-9]* | wc -l") in ("2\n", "3\n")


def test_host_image_hides_the_engines_roots_and_run(bento: BentoCli, roots: Roots) -> None:
    script = f"ls -A {roots.root} {roots.run_root}; touch {roots.root}/x 2>&1 | grep -c Read-only; ls -A /run"
    text = out(bento, *SH, script)
    assert "bento.db" not in text
    assert "containers" not in text
    assert text.splitlines()[-1] == "1"


def test_no_new_privileges_do_not_come_from_set_uid_of_the_host(bento: BentoCli) -> None:
    """Set-uid programs work as in Docker, within the bounding set."""
    text = bento("run", "--rm", "-u", "nobody", "host", "grep", "-E", "CapBnd|NoNewPrivs", "/proc/self/status").stdout
    assert "NoNewPrivs:\t0" in text


@ONE_RUNTIME
def test_limit_that_this_caller_may_not_set_is_lowered_with_a_note(bento: BentoCli) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    bento.run("--name", "w", "--ulimit", f"nofile=64:{2**30}", "host", *SH, "ulimit -Hn; ulimit -Sn")
    bento("wait", "w")
    got_hard, got_soft = map(int, bento("logs", "w").stdout.split())
    assert got_soft == 64
    assert got_hard < 2**30
    with open("/proc/self/status", encoding="ascii") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    assert got_hard == hard or effective >> 24 & 1
    notes = bento.inspect("w")["Notes"]
    assert any("nofile" in note and "lowered" in note for note in notes), notes


@ONE_RUNTIME
def test_container_sees_its_own_etc_files(bento: BentoCli, tmp_path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    finished = bento("run", "--rm", "--hostname", "hn", "bb", "/bin/cat", "/etc/hosts", "/etc/hostname")
    assert "127.0.0.1" in finished.stdout
    assert finished.stdout.endswith("hn\n")


@ONE_RUNTIME
def test_symlinks_of_an_image_do_not_lead_to_the_host(bento: BentoCli, tmp_path) -> None:
    rootfs = busybox_rootfs(tmp_path / "fs")
    (rootfs / "etc/hosts").symlink_to(tmp_path / "victim")
    (rootfs / "srv").symlink_to(tmp_path)
    (tmp_path / "victim").write_text("mine\n")
    (tmp_path / "bound").mkdir()
    bento("import", rootfs, "bb")
    bento("run", "--rm", "-v", f"{tmp_path}/bound:/srv/deep", "bb", "/bin/touch", "/srv/deep/x", check=False)
    assert (tmp_path / "victim").read_text() == "mine\n"
    assert not (tmp_path / "deep").exists()


@ONE_RUNTIME
def test_dev_null_of_the_host_stays_as_it_is(bento: BentoCli) -> None:
    bento("run", "--rm", "-u", "nobody", "host", PYTHON, "-c", "pass")
    info = os.stat("/dev/null")
    assert (info.st_uid, info.st_mode & 0o777) == (0, 0o666)
