"""What of the host a container's processes get hold of: nothing that was opened outside.

The runs that would spoil the host's /dev/null see a /dev of their own, in a mount namespace that ends with them.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import leaks
from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, PYTHON, Share, assert_clean, busybox_rootfs

LOOP = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"

PRIVATE_DEV = """
mount -t tmpfs -o mode=755 tmpfs /dev
mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/zero c 1 5; mknod -m 666 /dev/full c 1 7; mknod -m 666 /dev/tty c 5 0
mknod -m 666 /dev/random c 1 8; mknod -m 666 /dev/urandom c 1 9
mkdir /dev/pts /dev/shm; ln -s /proc/self/fd /dev/fd
look() { stat -c "$1 %U:%G %a" /dev/null; chown 0:0 /dev/null; chmod 666 /dev/null; }
spoil='chmod 600 /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; :'
"""

SPOILERS = """
"$@" run -d -u 555:555 --name w host /bin/sh -c "$spoil; $0" >/dev/null; look run
"$@" exec -d -u 555:555 w /bin/sh -c 'read -r line' >/dev/null; look exec-d-user
"$@" exec -u 555:555 w true; look exec-user
"$@" exec -d -u 0:0 w /bin/sh -c "$spoil" >/dev/null; "$@" exec -u 0:0 w /bin/sh -c "$spoil"; look exec
"$@" stop -t 1 --pre-stop "$spoil" --stop-command "$spoil; kill -TERM 1" w >/dev/null; look stop
"""

DESCRIPTORS = """
import os, sys
mine = {line.split()[0] for line in open("/proc/self/mountinfo")}
found = []
for name in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink(f"/proc/self/fd/{name}")
        info = dict(line.split(":", 1) for line in open(f"/proc/self/fdinfo/{name}") if ":" in line)
    except FileNotFoundError:  # the one that has listed them
        continue
    if not target.startswith(("pipe:", "anon_inode:")) and info["mnt_id"].strip() not in mine:
        found.append(f"{name} {target}")
with open(f"/s/{sys.argv[1]}", "w") as file:
    file.writelines(f"{line}\\n" for line in found or ["nothing"])
"""
"""Writes down which of its descriptors are on mounts that the container has not."""


@pytest.fixture(params=["crun", "runc", "runsc"])
def runtime(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    name: str = request.param
    return name


@pytest.fixture
def bento(roots: Roots, runtime: str) -> Iterator[BentoCli]:
    cli = BentoCli(roots, runtime)
    yield cli
    removed = cli.remove_all()
    assert removed is None or removed.returncode == 0, str(removed)


def test_no_process_of_a_container_changes_the_hosts_dev_null(bento: BentoCli) -> None:
    words = ["unshare", "-m", "--propagation", "private", "/bin/sh", "-c", PRIVATE_DEV + SPOILERS, LOOP, *bento.prefix]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120, stdin=subprocess.DEVNULL)

    steps = ("run", "exec-d-user", "exec-user", "exec", "stop")
    assert done.stdout.splitlines() == [f"{step} root:root 666" for step in steps], done.stderr
    assert leaks.device_damage() == []


@pytest.mark.parametrize("runtime", ["crun", "runc"], indirect=True)
def test_no_descriptor_of_a_container_was_opened_outside(bento: BentoCli, share: Share) -> None:
    look = f"{PYTHON} {share.script('look.py', DESCRIPTORS)}"
    bento.run("--name", "w", *share.flags, "host", "/bin/sh", "-c", f"{look} main; {LOOP}")
    bento.wait_for_log("w", "ready")

    bento("exec", "-d", "w", "/bin/sh", "-c", f"{look} detached.part; mv /s/detached.part /s/detached")
    bento("exec", "w", *look.split(), "attached")
    bento("exec", "-i", "w", *look.split(), "with-input", stdin="")
    share.wait_for("detached")
    bento("stop", "--pre-stop", f"{look} hook", "--stop-command", f"{look} command; kill -TERM 1", "w")

    names = ("main", "detached", "attached", "with-input", "hook", "command")
    assert {name: share.text(name) for name in names} == dict.fromkeys(names, "nothing\n")


def test_the_input_of_a_detached_exec_is_at_its_end(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", *share.flags, "host", "/bin/sh", "-c", LOOP)
    bento("exec", "-d", "w", "/bin/sh", "-c", "cat && echo over >/s/part && mv /s/part /s/over")

    share.wait_for("over")
    assert share.text("over") == "over\n"


@pytest.mark.parametrize("runtime", ["crun", "runc"], indirect=True)
@pytest.mark.parametrize("kind", ["c 240 130", "p"])
def test_a_node_in_the_place_of_passwd_is_not_opened(bento: BentoCli, kind: str) -> None:
    """A container may make one at any time; opened by root outside it would not be the device cgroup's to judge."""
    script = f"rm /etc/passwd /etc/group; mknod /etc/passwd {kind}; mknod /etc/group {kind}; {LOOP}"
    bento.run("--name", "w", "host", "/bin/sh", "-c", script)
    bento.wait_for_log("w", "ready")

    for words in (("exec", "w", "id"), ("exec", "-u", "nobody", "w", "id")):
        assert "/etc/passwd in the container is a device node, a FIFO" in bento.fails(*words, code=125, timeout_s=20)
    bento("stop", "w")
    assert "/etc/passwd in the container is a device node, a FIFO" in bento.fails("start", "w", code=2, timeout_s=20)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A root filesystem with links to what the kernel shows."""
    rootfs = busybox_rootfs(tmp_path / "fs")
    (rootfs / "x").symlink_to("/proc")
    (rootfs / "etc/resolv.conf").symlink_to("/dev/null")
    (rootfs / "etc/hosts").symlink_to("/proc/self/mounts")
    return rootfs


@ONE_RUNTIME
def test_mounts_do_not_go_through_links_of_the_image_into_proc(bento: BentoCli, linked: Path, tmp_path: Path) -> None:
    bento("import", "--change", "VOLUME /x", linked, "one")
    bento("import", "--change", "VOLUME /dev", linked, "two")
    bento("import", linked, "plain")
    for flags, place in (
        (("one",), "/proc"),
        (("two",), "/dev"),
        (("-v", f"{tmp_path}:/x/self", "plain"), "/proc/self"),
        (("-w", "/x/self/fd/3", "plain"), "/proc/self/fd/3"),
    ):
        assert place in bento.fails("run", "--rm", *flags, "/bin/true", code=125)
    assert_clean(bento)


@pytest.mark.parametrize("runtime", ["crun", "runc"], indirect=True)
def test_bentos_own_files_are_mounted_over_files_alone(bento: BentoCli, linked: Path) -> None:
    bento("import", linked, "plain")
    bento.run("--name", "w", "plain", "/bin/sh", "-c", "cat /proc/self/mountinfo; echo ready; sleep 600")
    bento.wait_for_log("w", "ready")
    places = [line.split()[3:5] for line in bento("logs", "w").stdout.splitlines() if len(line.split()) > 5]
    assert [place for source, place in places if str(bento.roots.root) in source] == ["/etc/hostname"]
    assert not {"/dev/null", "/proc/1/mounts"} & {place for _, place in places}
    assert sum("the image has something else" in note for note in bento.inspect("w")["Notes"]) == 2
    assert "bad working directory" in bento.fails("exec", "-w", "/x/1/fd/../fd/3", "w", "/bin/true", code=125)
