"""The drivers that make and end a sandbox, with the real conmon, crun and runc, over the machine's own ``/``."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bento.drivers.runtime import detect
from bento.errors import BentoError, CommandNotExecutable, CommandNotFound, KernelError, RuntimeFailed, UsageError
from bento.kernel import libc, mount, mountinfo, namespace
from bento.kernel.process import pidfd, proc
from bento.model.container import Files, Mount, ProcessLimits, Ulimit
from bento.oci import limits

from support.sandbox import LIMIT_S, Sandbox

Boxes = Callable[..., Sandbox]

NAMES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


@pytest.fixture
def box(leak_check, runtime: str) -> Boxes:
    """Makes sandboxes of this test's runtime, below its own directory."""
    return lambda *argv, **spec: Sandbox(leak_check.base, runtime, *argv, **spec)


def sh(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def test_a_container_lives_speaks_ends_and_leaves_nothing(box: Boxes) -> None:
    with box(*sh("echo out; echo err >&2; touch /made; exit 7")) as it:
        launched = it.create()
        assert proc.read(launched.init_pid) is not None
        assert it.is_held()
        assert it.cgroups.exists()
        assert not [entry for entry in mountinfo.mount_table() if it.id in entry.target]

        it.start()
        out, err = it.read_output()

        assert (out, err, it.wait().code) == ("out\n", "err\n", 7)
        assert it.is_released()
        assert it.delete() == ""
        assert not it.cgroups.exists()
        assert (it.bundle / "upper" / "made").exists()
        assert " stdout F out\n" in (it.bundle / "log").read_text()


def test_deleting_twice_and_the_unknown_is_fine(box: Boxes) -> None:
    with box("/bin/true") as it:
        assert it.delete() == ""
        it.run()
        assert it.delete() == ""
        assert it.delete() == ""
        it.runtime.discard(it.id)


def test_a_running_container_is_not_deleted(box: Boxes) -> None:
    with box("/bin/sleep", "600") as it:
        it.create()
        it.start()

        reason = it.delete()

        assert reason
        assert it.runtime.is_still_running(reason)
        assert pidfd.has_exited(it._fds[0]) is False


def test_the_sandbox_has_its_own_namespaces_and_loopback(box: Boxes) -> None:
    with box(*sh("cat /sys/class/net/*/flags; hostname; ls /sys/class/net")) as it:
        launched = it.create()
        for name in NAMES:
            assert os.readlink(f"/proc/{launched.init_pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
        it.start()

        out, _ = it.read_output()

        assert out == f"0x9\n{it.id[:12]}\nlo\n"  # IFF_UP | IFF_LOOPBACK


def test_the_hosts_network_is_the_hosts(box: Boxes) -> None:
    with box(*sh("hostname; cat /etc/hosts"), network="host") as it:
        launched = it.create()
        assert os.readlink(f"/proc/{launched.init_pid}/ns/net") == os.readlink("/proc/self/ns/net")
        it.start()

        out, _ = it.read_output()

        assert out == f"{socket.gethostname()}\n{Path('/etc/hosts').read_text()}"


def test_the_default_sandbox_is_closed(box: Boxes) -> None:
    script = (
        "grep -h ^Cap /proc/self/status; cat /proc/kcore | wc -c; echo x 2>&- > /proc/sys/kernel/hostname || echo ro;"
        " mkdir /sys/fs/cgroup/*/x 2>&- || echo ro; mknod /tmp/d b 8 0; cat /tmp/d 2>&- || echo no device;"
        " ls -d /proc/[0-9]* | wc -l; ls -A /run; keyctl show 2>&-; ulimit -n"
    )
    with box(*sh(script)) as it:
        out, err, _ = it.run()

    lines = out.split("\n")
    assert lines[:5] == [
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000a80425fb",
        "CapEff:\t00000000a80425fb",
        "CapBnd:\t00000000a80425fb",
        "CapAmb:\t0000000000000000",
    ]
    assert lines[5:9] == ["0", "ro", "ro", "no device"], err
    assert int(lines[9]) < 10
    assert lines[10:] == ["1024", ""]


def test_the_engines_directories_are_hidden_from_the_hosts_userland(box: Boxes, leak_check) -> None:
    masked = leak_check.base / "l"
    with box(*sh('ls -A "$0"; touch "$0/x" 2>&- || echo ro'), str(masked)) as it:
        it.masked = (str(masked),)
        assert os.listdir(masked)
        out, _, _ = it.run()

    assert out == "ro\n"


def test_another_user_has_no_capabilities(box: Boxes) -> None:
    with box(*sh("id; grep ^CapEff /proc/self/status; echo $HOME"), user="nobody") as it:
        out, _, _ = it.run()

    assert out.startswith("uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n")
    assert out.endswith("CapEff:\t0000000000000000\n/nonexistent\n")


def test_a_working_directory_is_made(box: Boxes) -> None:
    with box("/bin/pwd", workdir="/no/such/place") as it:
        assert it.run() == ("/no/such/place\n", "", 0)


def test_the_users_mounts_are_there(box: Boxes, leak_check) -> None:
    source = leak_check.base / "data"
    source.mkdir()
    (source / "file").write_text("content")
    mounts = (
        Mount(kind="bind", source=str(source), destination="/ro", read_only=True),
        Mount(kind="bind", source=str(source), destination="/rw"),
        Mount(kind="tmpfs", destination="/rw/deep", options=("size=1m",)),
    )
    script = "cat /ro/file; touch /ro/x 2>&- || echo ro; touch /rw/x; touch /rw/deep/y; stat -fc %T /rw/deep"
    with box(*sh(script), files=Files(mounts=mounts)) as it:
        out, _, _ = it.run()

    assert out == "contentro\ntmpfs\n"
    assert sorted(os.listdir(source)) == ["deep", "file", "x"]
    assert os.listdir(source / "deep") == []


def test_a_read_only_bind_mount_is_read_only_all_the_way_down(box: Boxes) -> None:
    mounts = (Mount(kind="bind", source="/dev", destination="/mnt", read_only=True),)
    with box(
        *sh("awk '$5 ~ /^\\/mnt/ {print substr($6, 1, 2)}' /proc/self/mountinfo | sort -u"), files=Files(mounts=mounts)
    ) as it:
        out, _, _ = it.run()

    assert out == "ro\n"


def test_a_read_only_root_is(box: Boxes) -> None:
    with box(*sh("touch /x 2>&- || echo ro; touch /dev/shm/y && echo rw"), files=Files(read_only=True)) as it:
        assert it.run()[0] == "ro\nrw\n"


def test_an_init_in_front_passes_signals_on(box: Boxes) -> None:
    with box(*sh("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"), init=True) as it:
        launched = it.create()
        it.start()
        assert os.read(it._attached, 100) == b"\x02ready\n"

        assert proc.exe(launched.init_pid).endswith("/catatonit")
        it.signal(signal.SIGTERM)

        assert it.wait().code == 3


def test_signals_can_go_through_the_runtime(box: Boxes) -> None:
    with box("/bin/sleep", "600") as it:
        it.create()
        it.start()
        it.runtime.signal(it.id, signal.SIGKILL)

        assert it.wait().code == 137
        with pytest.raises(RuntimeFailed):
            it.runtime.signal(it.id, signal.SIGTERM)


def test_limits_that_may_not_be_set_are_lowered_with_a_note(box: Boxes) -> None:
    with box(*sh("ulimit -n"), limits=ProcessLimits(ulimits=(Ulimit(name="nofile", soft=2**30, hard=2**30),))) as it:
        out, _, _ = it.run()

    assert int(out) < 2**30
    assert "nofile" in it.notes[0]


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/no/such/program", CommandNotFound),
        ("no-such-program", CommandNotFound),
        ("/etc/passwd", CommandNotExecutable),
        ("/etc", CommandNotExecutable),
    ],
)
def test_what_cannot_run_is_said_at_create_and_leaves_nothing(box: Boxes, command: str, kind: type[BentoError]) -> None:
    """By the runtime. What an init in front would hide is looked for before the start (test_not_executable)."""
    with box(command) as it:
        with pytest.raises(kind, match=command):
            it.create()

        assert it.is_released()
        assert [path for path in it.run_dir.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize(
    "spec",
    [
        {"user": "no-such-user"},
        {"workdir": "/etc/passwd"},
        {"files": Files(mounts=(Mount(kind="bind", source="/no/such/source", destination="/mnt"),))},
        {"files": Files(mounts=(Mount(kind="bind", source="/etc", destination="/etc/passwd"),))},
    ],
)
def test_bad_requests_are_usage_errors_and_leave_nothing(box: Boxes, spec: dict[str, object]) -> None:
    with box("/bin/true", **spec) as it:
        with pytest.raises(UsageError):
            it.create()

        assert it.is_released()


def test_an_attached_reader_misses_nothing(box: Boxes) -> None:
    for _ in range(5):
        with box(*sh("echo first; seq 1 20000")) as it:
            out, _, _ = it.run()

            assert out == "first\n" + "".join(f"{n}\n" for n in range(1, 20001))
            it.delete()


def test_paths_may_be_longer_than_a_socket_address(leak_check, runtime: str) -> None:
    base = leak_check.base / ("long" * 25)
    with Sandbox(base, runtime, *sh("echo out")) as it:
        assert len(str(it.run_dir)) > 200
        assert it.run() == ("out\n", "", 0)


def test_the_exit_command_runs_after_the_exit_file_is_there(box: Boxes, leak_check) -> None:
    seen = leak_check.base / "seen"
    with box("/bin/true") as it:
        it.exit_command = ("/bin/sh", "-c", f'cat "$0" > {seen}', str(it.run_dir / "exit" / it.id))
        it.run()

    assert seen.read_text() == "0"


def test_a_monitor_keeps_nothing_of_its_starters(box: Boxes) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        with box("/bin/sleep", "600") as it:
            launched = it.create()
            pipe = os.readlink(f"/proc/self/fd/{writer}")
            for pid in (launched.init_pid, launched.monitor_pid):
                held = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
                assert pipe not in held
                assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_dead_monitor_has_no_socket_to_attach_to(box: Boxes) -> None:
    with box("/bin/sleep", "600") as it:
        it.create()
        signal.pidfd_send_signal(it._fds[1], signal.SIGKILL)
        assert pidfd.wait(it._fds[1], LIMIT_S)

        with pytest.raises(KernelError):
            it.monitor.attach(it.run_dir, it.bundle)


def show_cgroup2_only() -> None:
    """Give the calling thread's private mount namespace the look of a host that has nothing but cgroup2."""
    for entry in reversed(mountinfo.mount_table()):
        if entry.target.startswith("/sys/fs/cgroup"):
            mount.unmount(Path(entry.target))
    libc.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0)


def test_pure_cgroup2_works_too(box: Boxes, runtime: str) -> None:
    def inside() -> tuple[str, str, int]:
        show_cgroup2_only()
        with box(*sh("stat -fc %T /sys/fs/cgroup; touch /sys/fs/cgroup/x 2>&- || echo ro; exit 3")) as it:
            it.create()
            home = Path("/sys/fs/cgroup", f"bento-{it.id}")
            assert home.is_dir()
            it.start()
            out, err = it.read_output()
            code = it.wait().code
            assert it.delete() == ""
            assert not home.exists()
            return out, err, code

    assert namespace.in_private_mounts(inside) == ("cgroup2fs\nro\n", "", 3)


def test_where_devices_cannot_be_filtered_no_device_node_works(box: Boxes, tmp_path: Path) -> None:
    """crun on cgroup2 without CAP_SYS_RESOURCE: what the filter would keep out is kept out by other means."""
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    volume = Mount(kind="bind", source=str(tmp_path), destination="/mnt")
    script = "mknod /x c 1 3 || echo no mknod; cat /mnt/null || echo no node; echo > /dev/null && echo null"

    with box(*sh(f"exec 2>&-; {script}"), files=Files(mounts=(volume,))) as it:
        it.runtime.filters_devices = False
        out, _, _ = it.run()
        assert it.delete() == ""
    assert out == "no mknod\nno node\nnull\n"
    assert any("no device filter" in note for note in it.notes)


def test_the_default_runtime_is_one_that_works_on_this_host(leak_check) -> None:
    def choose_on_cgroup2() -> str:
        show_cgroup2_only()
        return detect.choose("", leak_check.base / "r").name

    expected = "crun" if limits.may_lock_memory() else "runc"
    assert namespace.in_private_mounts(choose_on_cgroup2) == expected
    assert detect.choose("", leak_check.base / "r").name == "crun"


def test_creating_takes_no_longer_than_the_runtime(box: Boxes) -> None:
    """Not a benchmark: a guard against waiting where nothing is to be waited for."""
    begun = time.monotonic()
    with box("/bin/true") as it:
        it.run()
        it.delete()

    assert time.monotonic() - begun < 10.0
