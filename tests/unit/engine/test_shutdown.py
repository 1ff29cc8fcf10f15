"""With the machine: what is started, how long a shutdown may take, and the unit that says so to systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bento.engine.base.order import Schedule
from bento.engine.lifecycle.serve_units import (
    SERVICE,
    SOCKET,
    ZYGOTE_SERVICE,
    ZYGOTE_SOCKET,
    service_unit,
    socket_unit,
    zygote_service_unit,
    zygote_socket_unit,
)
from bento.engine.lifecycle.shutdown import Budget, budget, is_wanted, unit
from bento.model.container import Container, ContainerSpec, RestartPolicy, Run, Status
from bento.model.stop import StopSettings

RUN = Run(number=1, runtime="/usr/bin/crun")


def container(
    name: str = "web",
    *,
    policy: str = "no",
    status=Status.STOPPED,
    run=RUN,
    grace_s=None,
    requires=(),
    system=False,
    **more,
):
    spec = ContainerSpec(
        image="host",
        image_id="",
        layers=(),
        restart=RestartPolicy(name=policy),
        stop=StopSettings(timeout_s=grace_s),
        system=system,
        requires=requires,
    )
    return Container(id=name, name=name, created_unix_ns=0, spec=spec, status=status, run=run, **more)


@pytest.mark.parametrize(
    ("policy", "more", "wanted"),
    [
        ("always", {}, True),
        ("always", {"stop_asked": True}, True),
        ("unless-stopped", {}, True),
        ("unless-stopped", {"stop_asked": True}, False),
        ("unless-stopped", {"stop_asked": True, "shut_down": True}, True),
        ("unless-stopped", {"status": Status.RESTARTING}, True),
        ("on-failure", {}, False),
        ("no", {}, False),
        ("always", {"status": Status.CREATED, "run": None}, False),
        ("always", {"status": Status.RUNNING}, False),
        ("always", {"status": Status.STOPPING}, False),
    ],
)
def test_s04_what_is_started_with_the_machine(policy, more, wanted):
    assert is_wanted(container(policy=policy, **more)) is wanted


def test_s07_the_timeout_is_longer_than_the_longest_stop():
    assert budget([], 10.0, 30.0) == Budget(longest_s=10.0, rounds=1, total_s=10.0, timeout_s=55.0)
    found = budget([container("a", grace_s=60.0), container("b", grace_s=5.5)], 10.0, 30.0)
    assert (found.total_s, found.timeout_s) == (60.0, 105.0)
    assert budget([container(grace_s=1.5)], 0.5, 0.0).total_s == 2.0


def test_s07_a_system_container_has_its_own_grace_in_the_budget():
    chain = [container("db"), container("vm", requires=("db",), system=True)]
    assert budget(chain, None, 30.0).total_s == 180.0
    assert budget(chain, 20.0, 30.0).total_s == 40.0
    assert budget(chain[:1], None, 30.0).total_s == 10.0
    assert budget([], None, 30.0).total_s == 10.0


def test_s07_never_to_be_killed_is_no_reason_never_to_go_down():
    assert budget([container(grace_s=-1.0)], 10.0, 30.0).total_s == 90.0
    assert budget([], -1.0, 30.0).total_s == 90.0


def test_s27_every_round_has_room_for_the_longest_grace():
    chain = [container("db", grace_s=5.0), container("api", grace_s=40.0, requires=("db",))]
    chain.append(container("web", grace_s=10.0, requires=("api",)))
    found = budget(chain, 10.0, 30.0)
    assert (found.rounds, found.total_s, found.timeout_s) == (3, 120.0, 225.0)
    # The stop itself shares the budget so that each gets its whole grace, also when all use it up.
    schedule = Schedule({c.id: c.spec.requires for c in chain}, total_s=found.total_s, now_s=0.0)
    now_s = 0.0
    for one in reversed(chain):
        assert schedule.grace_s(one.id, one.spec.stop.timeout_s, now_s) == one.spec.stop.timeout_s
        now_s += one.spec.stop.timeout_s


ODD = ("/usr/bin/python3", "-m", "bento", "--root", '/srv/a "b" 100%/$HOME\\x', "--run-root", "/run/bento;")
NEEDED = Budget(longest_s=10.0, rounds=1, total_s=10.0, timeout_s=55.0)


def test_s07_the_unit_says_what_was_computed():
    text = unit(NEEDED, ("/usr/bin/bento",), (Path("/var/lib/bento"), Path("/run/bento")))
    fields = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z]\w+=", line))
    assert fields["ExecStart"] == "-/usr/bin/bento start --restart-policy"
    assert fields["ExecStop"] == "/usr/bin/bento shutdown --total 10"
    assert fields["TimeoutStopSec"] == "55"
    assert (fields["Type"], fields["RemainAfterExit"]) == ("oneshot", "yes")
    assert fields["RequiresMountsFor"] == "/var/lib/bento /run/bento"


@pytest.mark.parametrize("argv", [("/bin/true",), ("/bin/true", *ODD[1:])], ids=["plain", "odd"])
def test_systemd_takes_the_unit(tmp_path, argv):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / "bento.service"
    path.write_text(unit(NEEDED, argv, (Path(ODD[4]), tmp_path)))
    done = subprocess.run(
        [tool, "verify", "--man=no", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    mine = [line for line in done.stderr.splitlines() if "bento" in line]
    assert mine == [], done.stderr


@pytest.mark.parametrize("argv", [("/bin/true",), ("/bin/true", *ODD[1:])], ids=["plain", "odd"])
def test_systemd_takes_the_units_of_the_server(tmp_path, argv):
    service = service_unit(argv, (Path(ODD[4]), tmp_path))
    assert "\nType=notify\n" in service
    assert "\nKillMode=process\n" in service  # monitors and running stops are not systemd's to end
    assert "\nLimitNOFILE=1024:524288\n" in service
    assert "ExecStop" not in service
    assert "\nSocketGroup=" not in socket_unit(Path("/run/bento/docker.sock"))
    verify(tmp_path, {SERVICE: service, SOCKET: socket_unit(Path(ODD[4]) / "docker.sock", "root")})


@pytest.mark.parametrize("argv", [("/bin/true",), ("/bin/true", *ODD[1:])], ids=["plain", "odd"])
def test_systemd_takes_the_units_of_a_zygote(tmp_path, argv):
    service = zygote_service_unit(argv, (Path(ODD[4]), tmp_path))
    assert "\nKillMode=process\n" in service  # what it has forked goes on
    text = zygote_socket_unit(Path("/run/bento/zygote/1-0"))
    assert "\nListenSequentialPacket=/run/bento/zygote/1-0\nSocketMode=0600\n" in text
    verify(tmp_path, {ZYGOTE_SERVICE: service, ZYGOTE_SOCKET: zygote_socket_unit(Path(ODD[4]) / "zygote" / "1-0")})


def verify(directory: Path, units: dict[str, str]) -> None:
    for name, text in units.items():
        (directory / name).write_text(text)
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    words = [tool, "verify", "--man=no", *(str(directory / name) for name in units)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in done.stderr.splitlines() if "bento" in line] == [], done.stderr
