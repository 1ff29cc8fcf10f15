"""``doctor --fix`` beside everything else: it takes away nothing that is in use, and finds nothing where nothing is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME

RUNS = 12
EXAMINES = """
import sys
from bento import Engine, Settings
engine = Engine(Settings(root=sys.argv[1], run_root=sys.argv[2], runtime="crun"))
print("ready", flush=True)
looks = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    found = engine.doctor(fix=sys.argv[3] == "fix")
    assert not found, found
    looks += 1
print(looks)
"""


@pytest.mark.parametrize("how", ["fix", "look"])
def test_doctor_beside_runs_stops_and_removals(bento: BentoCli, roots: Roots, how: str) -> None:
    command = [sys.executable, "-c", "import select" + EXAMINES, *map(str, roots), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as doctor:
        assert doctor.stdin is not None
        assert doctor.stdout is not None
        assert doctor.stdout.readline() == "ready\n"
        for number in range(RUNS):
            bento.run("--name", f"w{number}", "host", "sleep", "1000")
            bento("run", "--rm", "host", "true")
            bento("create", "--name", f"c{number}", "host", "true")
            assert bento.state(f"w{number}")["Status"] == "running"
            if number % 2:
                bento("stop", "-t", "0", f"w{number}")
                bento("start", f"w{number}")
                bento("kill", f"w{number}")
            bento("rm", "-f", f"w{number}", f"c{number}")
        doctor.stdin.close()
        looks = doctor.stdout.read()
    assert doctor.returncode == 0
    assert int(looks) > 0
    assert_clean(bento)
