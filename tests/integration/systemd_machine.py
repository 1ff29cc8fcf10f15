"""Containers as units of systemd: on a machine of its own, a system container with systemd in which Bento runs.

Only by ``make systemd``, which names this file: its root filesystem takes a minute to make. What the engine asks of
systemd is tested in tests/unit, with stand-ins.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import inits, procs
from support.cli import BentoCli, Finished
from support.images import add_layer
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME

_SOURCES = Path(__file__).parents[2]
POLITE = 'trap "sleep 1; echo bye; exit 0" TERM; while :; do sleep 0.1; done'
"""It needs a second to end."""


class Machine:
    """A container whose PID 1 is systemd, and an engine in it."""

    def __init__(self, bento: BentoCli, base: Path, manager: str) -> None:
        self.bento, self.manager = bento, manager
        self.root = base / "machine"  # of the engine inside: it outlives the machine
        self.root.mkdir(mode=0o711)

    def boot(self) -> None:
        if self.bento("container", "exists", "m", check=False).returncode == 0:
            self.bento("start", "m")
        else:
            flags = ["--system", "--cap-add", "ALL", "--security-opt", "seccomp=unconfined", "--network", "none"]
            flags += ["-v", f"{_SOURCES}:{_SOURCES}:ro", "-v", f"{self.root}:/var/lib/bento"]
            self.bento.run("--name", "m", *flags, inits.MACHINE, "/sbin/init")
        # With a process in the root of its cgroups no runtime inside gives controllers to those below, and crun goes on
        # to bring commands in there (cgroup-v2.rst, "No Internal Process Constraint").
        self.bento("exec", "-d", "m", "sleep", "infinity")
        procs.wait_until(
            lambda: self("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
            timeout_s=60, what="systemd", every_s=0.2,
        )  # fmt: skip

    def __call__(self, *words: str, check: bool = True) -> Finished:
        return self.bento("exec", "-e", "PYTHONDONTWRITEBYTECODE=1", "m", *words, check=check)

    def engine(self, *words: str, check: bool = True) -> Finished:
        return self(f"{_SOURCES}/.venv/bin/bento", "--cgroup-manager", self.manager, *words, check=check)

    def run(self, name: str, *flags: str, command: str = POLITE) -> str:
        options = ["-d", "--name", name, "--security-opt", "seccomp=unconfined", "--network", "none", *flags]
        return self.engine("run", *options, "host", "/bin/sh", "-c", command).stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.engine("inspect", name).stdout)[0]
        return document

    def report(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.engine("report", "--format", "json", name).stdout)
        return document

    def units(self) -> list[str]:
        """What systemd has of containers, in any state: nothing that has failed may stay."""
        lines = self("systemctl", "list-units", "--plain", "--no-legend", "bento-*").stdout.splitlines()
        return [line.split()[0] for line in lines]

    def show(self, unit: str, *names: str) -> dict[str, str]:
        lines = self("systemctl", "show", f"--property={','.join(names)}", unit).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def power_off(self) -> None:
        self("systemctl", "poweroff", check=False)
        self.bento("wait", "m")


@pytest.fixture(params=["systemd", "cgroupfs"])
def machine(bento: BentoCli, request: pytest.FixtureRequest) -> Iterator[Machine]:
    add_layer(bento, inits.MACHINE, inits.make(inits.MACHINE))
    base = Path("/dev/shm") / f"bento-systemd-{os.getpid()}"  # overlayfs needs it: an upper layer on no overlay
    base.mkdir(mode=0o711)
    made = Machine(bento, base, request.param)
    made.boot()
    yield made
    bento("rm", "-f", "m")
    subprocess.run(["rm", "-rf", base], check=True)


units_only = pytest.mark.parametrize("machine", ["systemd"], indirect=True)


def finished(machine: Machine, name: str) -> str:
    text: str = machine.inspect(name)["State"]["FinishedAt"]
    return text


@units_only
def test_a_container_is_a_scope_and_its_monitor_another(machine: Machine) -> None:
    one = machine.run("w", "--cgroup-parent", "web.slice")
    assert "CgroupDriver: systemd" in machine.engine("info").stdout
    assert set(machine.units()) == {f"bento-conmon-{one}.scope", f"bento-{one}.scope", f"bento-stop-{one}.service"}
    shown = machine.show(f"bento-{one}.scope", "Description", "Slice", "Delegate")
    assert shown == {"Description": "container w (host)", "Slice": "web.slice", "Delegate": "yes"}
    below = machine("cat", f"/sys/fs/cgroup/web.slice/bento-{one}.scope/bento-{one}/cgroup.procs").stdout.split()
    assert str(machine.inspect("w")["State"]["Pid"]) in below
    monitor = machine("cat", f"/sys/fs/cgroup/web.slice/bento-conmon-{one}.scope/cgroup.procs").stdout.split()
    assert len(monitor) == 1
    assert machine.engine("exec", "w", "cat", "/proc/self/cgroup").stdout.splitlines()[-1] == "0::/"
    assert "active (running)" in machine("systemctl", "status", f"bento-{one}.scope").stdout
    machine.engine("stop", "w")
    assert machine.report("w")["verdict"] == "graceful"
    assert machine.units() == []


def test_life_and_stop(machine: Machine) -> None:
    machine.run("w")
    machine.engine("restart", "w")
    machine.engine("stop", "w")
    assert (machine.report("w")["verdict"], machine.report("w")["asked_by"]) == ("graceful", "user")
    machine.engine("start", "w")
    machine.engine("kill", "w")
    machine.engine("wait", "w")
    machine.engine("rm", "w")
    machine.engine("run", "--rm", "--security-opt", "seccomp=unconfined", "--network", "none", "host", "true")
    assert machine.units() == []


@units_only
def test_a_stop_of_the_scope_is_bentos_stop(machine: Machine) -> None:
    one = machine.run("w", "--restart", "always")
    machine("systemctl", "stop", f"bento-{one}.scope", f"bento-stop-{one}.service")
    report = machine.report("w")
    assert (report["asked_by"], report["verdict"], report["exit_code"]) == ("systemd", "graceful", 0)
    assert [told["comm"] for told in report["signalled"]] == ["sh"]  # PID 1 alone, not its sleep
    assert machine.inspect("w")["State"]["Status"] == "stopped"  # no policy starts it again
    assert machine.units() == []


@units_only
def test_a_stop_of_the_scope_ends_what_does_not_listen_and_no_failed_unit_stays(machine: Machine) -> None:
    one = machine.run("w", "--stop-timeout", "1", command='trap "" TERM; while :; do sleep 0.1; done')
    machine("systemctl", "stop", f"bento-{one}.scope", f"bento-stop-{one}.service")
    assert machine.report("w")["verdict"] == "killed"
    machine.engine("start", "w")
    machine("systemctl", "kill", "--signal=SIGKILL", f"bento-{one}.scope")
    machine.engine("wait", "w")
    machine.engine("ps", "-a")
    assert machine.units() == []


@units_only
def test_a_stop_of_the_slice_is_in_order(machine: Machine) -> None:
    for name, flags in (("a", ()), ("b", ("--requires", "a")), ("c", ("--requires", "b"))):
        machine.run(name, *flags)
    machine("systemctl", "stop", "bento.slice", "bento-stop-*.service")
    assert [machine.report(name)["verdict"] for name in "abc"] == ["graceful"] * 3
    assert finished(machine, "c") < finished(machine, "b") < finished(machine, "a")
    assert machine.units() == []
    machine.engine("start", "c")  # what it requires, too: nothing of the last run is in the way
    assert machine.inspect("a")["State"]["Status"] == "running"


@pytest.mark.parametrize("has_unit", [True, False])
def test_the_machine_goes_down_in_order(machine: Machine, has_unit: bool) -> None:
    if not has_unit and machine.manager == "cgroupfs":
        return  # nothing stops them then: cgroups alone are nothing to systemd
    if has_unit:
        machine.engine("install-unit", "--prefix", "/usr/local")
        machine("systemctl", "daemon-reload")
        machine("systemctl", "start", "bento")
    for name, flags in (("a", ()), ("b", ("--requires", "a")), ("c", ("--requires", "b"))):
        machine.run(name, *flags)
    machine.power_off()
    machine.boot()
    assert [machine.report(name)["verdict"] for name in "abc"] == ["graceful"] * 3
    assert [machine.report(name)["asked_by"] for name in "abc"] == ["shutdown"] * 3
    assert finished(machine, "c") < finished(machine, "b") < finished(machine, "a")


@units_only
def test_a_bus_that_goes_and_comes_back_changes_nothing(machine: Machine) -> None:
    machine.run("w")
    machine("systemctl", "stop", "dbus.socket", "dbus.service")
    machine.engine("stop", "w")  # systemctl and systemd-run of this version have a way of their own to systemd
    assert machine.report("w")["verdict"] == "graceful"
    machine.run("v")
    machine("systemctl", "start", "dbus.socket", "dbus.service")
    machine("systemctl", "stop", "bento.slice", "bento-stop-*.service")
    assert machine.report("v")["asked_by"] == "systemd"
    assert machine.units() == []


@units_only
def test_a_systemd_that_is_refused_is_one_error(machine: Machine) -> None:
    machine(
        "sh",
        "-c",
        "mv /bin/systemd-run /bin/away; printf '#!/bin/sh\necho Access denied >&2; exit 1' > /bin/systemd-run",
    )
    machine("chmod", "755", "/bin/systemd-run")
    refused = machine.engine(
        "run", "--name", "w", "--security-opt", "seccomp=unconfined", "--network", "none", "host", "true", check=False
    )
    assert (refused.returncode, len(refused.stderr.strip().splitlines())) == (125, 1)
    assert "systemd has made no scope: Access denied" in refused.stderr
    assert machine.engine("ps", "-aq").stdout == ""
    assert machine.units() == []


def test_a_generated_unit_starts_restarts_and_stops(machine: Machine) -> None:
    """The service's exit status is the container's, and a restart is systemd's."""
    fails = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; if [ -e /fail ]; then rm /fail; exit 7; fi; done"
    options = ["--name", "w", "--security-opt", "seccomp=unconfined", "--network", "none"]
    machine.engine("create", *options, "host", "/bin/sh", "-c", fails)
    text = machine.engine("generate", "systemd", "w").stdout
    machine("sh", "-c", 'echo "$1" > /etc/systemd/system/w.service; systemctl daemon-reload', "sh", text)
    machine("systemctl", "start", "w")
    first = machine.show("w.service", "ActiveState", "NRestarts", "MainPID")
    assert (first["ActiveState"], first["NRestarts"]) == ("active", "0")
    assert machine("cat", f"/proc/{first['MainPID']}/comm").stdout.strip() == "conmon"
    machine.engine("exec", "w", "touch", "/fail")
    again = {"NRestarts": "1", "ActiveState": "active"}
    procs.wait_until(
        lambda: machine.show("w.service", "NRestarts", "ActiveState") == again, timeout_s=30, what="a restart"
    )
    machine("systemctl", "stop", "w")
    assert (machine.report("w")["asked_by"], machine.report("w")["verdict"]) == ("systemd", "graceful")
    shown = machine.show("w.service", "ActiveState", "Result")
    assert shown == {"ActiveState": "inactive", "Result": "success"}
    words = ["journalctl", "-o", "json", "CONTAINER_NAME=w", "BENTO_VERDICT=graceful"]
    (line,) = machine(*words).stdout.splitlines()
    assert json.loads(line)["BENTO_ASKED_BY"] == "systemd"
    assert [unit for unit in machine.units() if unit != "bento.slice"] == []


@units_only
def test_limits_are_properties(machine: Machine) -> None:
    """Of a scope that the driver makes: cgroups may have no controllers here, and then create refuses limits."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from bento.drivers.units.systemd import SystemdUnits; from bento.drivers.units.base import ScopeWanted\n"
        "from bento.model.resources import Resources; from bento.oci.unit_properties import build\n"
        "limits = build(Resources(memory_bytes=10 << 20, cpus=0.5, pids_limit=9, cpu_shares=1024))\n"
        "wanted = ScopeWanted(container_id='x', slice='bento.slice', description='x', properties=limits)\n"
        "units = SystemdUnits(); scope = units.make_scope(wanted)\n"
        "units.set_properties('x', ('TasksMax=infinity',)); input(); scope.close()\n"
    )
    python = f"{_SOURCES}/.venv/bin/python"
    command = ["exec", "-i", "m", python, "-c", script, f"{_SOURCES}/src"]
    with machine.bento.start(*command, stdin=subprocess.PIPE) as held:
        names = ("MemoryMax", "CPUQuotaPerSecUSec", "CPUWeight", "TasksMax")
        wanted = dict(zip(names, ("10485760", "500ms", "39", "infinity"), strict=True))
        procs.wait_until(lambda: machine.show("bento-x.scope", *names) == wanted, timeout_s=20, what="the properties")
        held.communicate("\n", timeout=20)
