"""Rule S10 with every real init: how PID 1 is asked, what a system container gets, and that the host is never asked."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bento.kernel import cgroup

from support import inits, procs
from support.cli import BentoCli
from support.images import add_layer
from support.workload import ONE_RUNTIME, POLITE, PYTHON, Share, assert_released, stop_report, wait_for_status

pytestmark = pytest.mark.timeout(500)  # the first test of a machine makes the root filesystems

INITTAB = "::shutdown:/bin/sleep 0\n"
REBOOTS_ONCE = "::once:/bin/sh -c '[ -e /booted ] || { touch /booted; sleep 0.3; reboot; }'\n"


class Kind(NamedTuple):
    """An init, and what shows that it has booted: a file of the container's, or a process."""

    image: str
    method: str
    signal: str
    file: str = ""
    process: str = ""
    command: tuple[str, ...] = ()


KINDS = {
    "systemd": Kind("systemd", "systemd", "SIGRTMIN+3", process="dbus-daemon"),
    "sysvinit": Kind("sysvinit", "sysvinit", "initctl 0", process="getty"),
    "openrc on sysvinit": Kind("openrc", "sysvinit", "initctl 0", process="getty"),
    "openrc-init": Kind("openrc", "openrc-init", "SIGPWR", file="/run/openrc/init.ctl", command=("/sbin/openrc-init",)),
    "runit": Kind("runit", "runit", "SIGPWR", process="runsvdir"),
    "finit": Kind("finit", "finit", "SIGUSR2", file="/run/finit/cond/hook/sys/up"),
    "busybox": Kind("busybox", "busybox", "SIGUSR2"),
}


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The root filesystem of each image."""
    inits.make_all()
    busybox = inits.make_busybox(tmp_path_factory.mktemp("busybox") / "rootfs", INITTAB)
    return {"busybox": busybox} | {name: inits.rootfs(name) for name in inits.PACKAGES}


def main_pid(bento: BentoCli, name: str = "w") -> int:
    pid: int = bento.state(name)["Pid"]
    return pid


def members(bento: BentoCli, name: str = "w") -> list[str]:
    """The names of the container's processes."""
    pids = cgroup.Cgroups(bento.inspect(name)["Cgroups"]).pids()
    return [found.comm for pid in pids if (found := procs.read(pid)) and found.is_alive]


def boot(bento: BentoCli, layers: dict[str, Path], kind: Kind, *flags: str) -> str:
    """Start it and return once it has booted."""
    add_layer(bento, kind.image, layers[kind.image])
    identifier = bento.run("--name", "w", *(flags or ("--system",)), kind.image, *kind.command)
    if kind.file:
        path = f"/proc/{main_pid(bento)}/root{kind.file}"  # maybe a link, which would lead out of the container
        procs.wait_until(lambda: os.path.lexists(path), timeout_s=20, what=f"{kind.file} of {kind.method}")
    if kind.process:
        procs.wait_until(
            lambda: kind.process in members(bento), timeout_s=20, what=f"{kind.process} of {kind.method}", every_s=0.1
        )
    return identifier


def notes(report: dict[str, Any]) -> str:
    return "\n".join(report["notes"])


# -- every init ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_s10_each_init_is_asked_by_the_trigger_it_obeys_and_halts(bento: BentoCli, layers, name) -> None:
    kind = KINDS[name]
    identifier = boot(bento, layers, kind)
    report = stop_report(bento, "--strict", "w")
    assert (report["verdict"], report["exit_code"], report["method"]) == ("graceful", 130, kind.method), report
    assert report["signal"] == kind.signal
    assert "PID 1 runs" in notes(report)
    assert report["duration_s"] < 9
    assert [told["why"] for told in report["signalled"]] == [f"PID 1, by method {kind.method}"]
    assert_released(bento, identifier)


@ONE_RUNTIME
@pytest.mark.parametrize("name", KINDS)
def test_s10_an_init_that_still_boots_halts_too(bento: BentoCli, layers, name) -> None:
    kind = KINDS[name]
    add_layer(bento, kind.image, layers[kind.image])
    bento.run("--name", "w", "--system", kind.image, *kind.command)
    report = stop_report(bento, "-t", "60", "w")
    assert (report["verdict"], report["exit_code"], report["method"]) == ("graceful", 130, kind.method), report


@ONE_RUNTIME
def test_s10_without_the_right_to_reboot_halted_is_seen(bento: BentoCli, layers) -> None:
    kind = KINDS["sysvinit"]._replace(command=("/sbin/init",))
    boot(bento, layers, kind, "--stop-method", "auto", "--tmpfs", "/run", "--tmpfs", "/tmp")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 137), report
    assert "left alone, idle" in report["cause"]
    assert 2 <= report["duration_s"] < 9


@ONE_RUNTIME
def test_s10_a_paused_init_is_asked_and_thawed(bento: BentoCli, layers) -> None:
    boot(bento, layers, KINDS["systemd"])
    bento("pause", "w")
    report = stop_report(bento, "--paused", "thaw", "w")
    assert (report["verdict"], report["exit_code"]) == ("graceful", 130), report


# -- reboot -------------------------------------------------------------------------------------------


def test_s07_s10_a_reboot_from_inside_starts_the_container_again_and_its_grace_is_90_s(
    bento: BentoCli, tmp_path
) -> None:
    add_layer(bento, "box", inits.make_busybox(tmp_path / "box", INITTAB + REBOOTS_ONCE))
    bento.run("--name", "w", "--system", "box")
    procs.wait_until(lambda: bento.inspect("w")["Run"] == 2, timeout_s=20, what="the second run", every_s=0.1)
    wait_for_status(bento, "w", "running")
    assert bento.inspect("w")["RestartCount"] == 1
    forecast = bento("explain", "w", env={"BENTO_STOP_TIMEOUT": "25"}).stdout
    assert "a grace of 25 s" in forecast  # what is configured holds for system containers, too
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"], report["grace_s"]) == ("graceful", 130, 90), report
    assert bento.state("w")["Status"] == "stopped"


@ONE_RUNTIME
def test_s10_a_reboot_during_a_stop_is_its_end(bento: BentoCli, layers) -> None:
    identifier = boot(bento, layers, KINDS["busybox"])
    report = stop_report(bento, "-s", "TERM", "w")  # busybox takes that for a reboot
    assert (report["method"], report["exit_code"], report["verdict"]) == ("signal", 129, "graceful"), report
    assert_released(bento, identifier)
    assert bento.inspect("w")["Run"] == 1
    assert bento.state("w")["Status"] == "stopped"


# -- what a system container gets ------------------------------------------------------------------------

PROBE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(246, 0, 0, 0, 0)  # kexec_load, x86_64
print("kexec", ctypes.get_errno())
caps = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapBnd")][0]
print("boot", int(caps, 16) >> 22 & 1, "admin", int(caps, 16) >> 21 & 1)
print("env", os.environ["container"])
print("tmpfs", *sorted(line.split()[4] for line in open("/proc/self/mountinfo") if " - tmpfs tmpfs" in line))
print("cgroup", open("/proc/self/cgroup").read().split("0::")[1].strip())
os.mkdir("/sys/fs/cgroup/mine")
print("members", open("/sys/fs/cgroup/cgroup.procs").read().split())
"""


def test_s10_a_system_container_has_what_inits_need_and_no_more(bento: BentoCli) -> None:
    if os.uname().machine != "x86_64" or cgroup.mode() == "v1":
        pytest.skip("kernel: the probe is for x86_64 with cgroup2")
    root = Path("/sys/fs/cgroup" if cgroup.mode() == "v2" else "/sys/fs/cgroup/unified")
    out = bento("run", "--name", "w", "--system", "host", PYTHON, "-c", PROBE).stdout
    assert "kexec 1\n" in out
    assert "boot 1 admin 0" in out
    assert "env bento" in out
    assert {"/run", "/run/lock", "/tmp"} <= set(out.split("tmpfs ")[1].splitlines()[0].split())
    assert "cgroup /\n" in out
    assert "members ['1']" in out  # no process of the host's
    assert not (root / "mine").exists()


def test_nothing_is_written_below_the_hosts_cgroup2_mount(bento: BentoCli) -> None:
    """A mount hides what crun once left there."""
    if cgroup.mode() != "hybrid":
        pytest.skip("kernel: this host has one kind of cgroups")
    identifier = bento.run("--name", "w", "host", "/bin/sleep", "1000")
    bento("stop", "w")
    script = "umount /sys/fs/cgroup/unified && ls /sys/fs/cgroup/unified"
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    below = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
    assert identifier not in below


# -- initctl, and the host ---------------------------------------------------------------------------------

READS_INITCTL = """
import os
os.mkfifo("/run/initctl")
fd = os.open("/run/initctl", os.O_RDWR)
print("ready", flush=True)
open("/s/request", "wb").write(os.read(fd, 1000))
"""

WITH_TRAP = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def host_fifo(share: Share) -> Iterator[tuple[Path, int]]:
    """A FIFO of the host's that another process reads, as the host's own init would."""
    path = share.path / "hosts"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    os.close(reader)


def read_all(reader: int) -> bytes:
    try:
        return os.read(reader, 4096)
    except BlockingIOError:
        return b""


def refused(bento: BentoCli, prepare: str, *flags: str) -> dict[str, Any]:
    """Run a shell that prepares something at /run/initctl and ends when told; ask it by initctl."""
    bento.run("--name", "w", *flags, "host", "/bin/sh", "-c", f"{prepare}; {WITH_TRAP}")
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "--stop-method", "sysvinit", "--start-window", "0", "w")
    assert (report["verdict"], report["exit_code"], report["method"]) == ("graceful", 0, "signal"), report
    return report


def test_s10_the_request_of_sysvinit(bento: BentoCli, share: Share) -> None:
    bento.run("--name", "w", *share.flags, "host", PYTHON, "-c", READS_INITCTL)
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "--stop-method", "sysvinit", "w")
    assert (report["verdict"], report["exit_code"], report["method"]) == ("graceful", 0, "sysvinit"), report
    request = (share.path / "request").read_bytes()
    assert len(request) == 384
    assert struct.unpack("<iiii", request[:16]) == (0x03091969, 1, ord("0"), 3)
    assert set(request[16:]) == {0}


@ONE_RUNTIME
@pytest.mark.parametrize("target", ["/s/hosts", "{host}"], ids=["reachable inside", "of the host alone"])
def test_s10_a_symbolic_link_to_a_fifo_of_the_host_is_refused(bento, share, host_fifo, target) -> None:
    path, reader = host_fifo
    report = refused(bento, f"ln -s {target.format(host=path)} /run/initctl", *share.flags)
    assert "/run/initctl is a symbolic link" in notes(report)
    assert read_all(reader) == b""


@ONE_RUNTIME
def test_s10_a_bind_mount_of_a_fifo_of_the_host_is_refused(bento, host_fifo) -> None:
    path, reader = host_fifo
    report = refused(bento, ":", "-v", f"{path}:/run/initctl")
    assert "/run/initctl is on a filesystem of the host" in notes(report)
    assert read_all(reader) == b""


@ONE_RUNTIME
def test_s10_a_directory_of_the_host_that_holds_a_fifo_is_refused(bento, share, host_fifo) -> None:
    path, reader = host_fifo
    path.rename(share.path / "initctl")
    report = refused(bento, ":", "-v", f"{share.path}:/run")
    assert "/run/initctl is on a filesystem of the host" in notes(report)
    assert read_all(reader) == b""


@ONE_RUNTIME
def test_s10_a_regular_file_is_refused_and_left_as_it_is(bento, share) -> None:
    report = refused(bento, "echo mine >/run/initctl; ln /run/initctl /run/same", *share.flags)
    assert "/run/initctl is not a FIFO" in notes(report)


@ONE_RUNTIME
def test_s10_a_fifo_without_a_reader_is_no_hang(bento) -> None:
    report = refused(bento, "mkfifo /run/initctl")
    assert "/run/initctl is read by no process" in notes(report)
    assert report["duration_s"] < 9


@ONE_RUNTIME
def test_s10_a_device_is_not_even_opened(bento) -> None:
    report = refused(bento, "mknod /run/initctl c 1 3")
    assert "/run/initctl is not a FIFO" in notes(report)
    assert stat.S_IMODE(os.stat("/dev/null").st_mode) == 0o666


@ONE_RUNTIME
def test_s10_without_any_fifo_the_program_is_signalled(bento) -> None:
    assert "there is no initctl FIFO" in notes(refused(bento, ":"))


# -- exec, and words ----------------------------------------------------------------------------------------

ON_USR1 = "trap 'echo told; exit 0' USR1; echo ready; while :; do sleep 0.05; done"


def test_s10_a_stop_command_is_run_inside(bento: BentoCli) -> None:
    bento.run("--name", "w", "--stop-command", "kill -USR1 1", "host", "/bin/sh", "-c", ON_USR1)
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"], report["method"]) == ("graceful", 0, "exec"), report
    assert "told" in bento("logs", "w").stdout


def test_s10_a_stop_command_that_fails_falls_back(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", PYTHON, "-c", POLITE)
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "--stop-command", "echo no such thing >&2; exit 3", "w")
    assert (report["verdict"], report["exit_code"], report["method"]) == ("graceful", 0, "signal"), report
    assert "method exec failed: the stop command ended with status 3: no such thing" in notes(report)
    assert "which is no init that is known" in notes(report)


@ONE_RUNTIME
def test_s10_a_stop_command_that_hangs_has_the_grace_and_no_more(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "/bin/sh", "-c", ON_USR1)
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "-t", "1", "--stop-command", "sleep 1000", "w")
    assert (report["verdict"], report["exit_code"]) == ("killed", 137)
    assert "method exec" in report["cause"]
    assert report["duration_s"] < 20


@ONE_RUNTIME
def test_s10_lxcs_word_for_a_signal_is_known(bento: BentoCli) -> None:
    bento.run("--name", "w", "--stop-method", "systemd", "host", PYTHON, "-c", POLITE)
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "--stop-method", "application", "w")
    assert (report["verdict"], report["method"], report["signal"]) == ("graceful", "signal", "SIGTERM")


@ONE_RUNTIME
def test_s10_a_trigger_that_pid_1_does_not_receive_is_not_sent(bento: BentoCli) -> None:
    bento.run("--name", "w", "--stop-method", "systemd", "host", PYTHON, "-c", POLITE)
    bento.wait_for_log("w", "ready")
    report = stop_report(bento, "--start-window", "0", "w")
    assert (report["verdict"], report["method"]) == ("graceful", "signal"), report
    assert "method systemd failed: PID 1 does not receive SIGRTMIN+3" in notes(report)


@ONE_RUNTIME
@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--stop-method", "upstart"), "unknown stop method 'upstart'"),
        (("--stop-method", ""), "unknown stop method ''"),
        (("--stop-method", "exec"), "needs a command"),
        (("--stop-command", " "), "is empty"),
    ],
)
def test_s10_nonsense_changes_nothing(bento: BentoCli, flags, word) -> None:
    bento.run("--name", "w", "host", PYTHON, "-c", POLITE)
    assert word in bento.fails("stop", *flags, "w", code=2)
    assert bento.state("w")["Status"] == "running"
    assert word in bento.fails("create", "--name", "x", *flags, "host", "true", code=2)
    bento.fails("inspect", "x")
    assert "exclude each other" in bento.fails("create", "--system", "--init", "host", "true", code=2)
