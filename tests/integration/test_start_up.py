"""What a whole stop loads, beyond what its modules import: the promise of tests/unit/import_budget.txt, kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BUDGET = Path(__file__).parents[1] / "unit" / "import_budget.txt"

PROGRAM = """
import sys
before = set(sys.modules)
from bento.cli.lean import import_lean
import_lean()
import bento.cli.main, bento.cli.containers.stop
from bento import Engine, Settings
with Engine(Settings(root=sys.argv[1], run_root=sys.argv[2], runtime=sys.argv[3])) as engine:
    engine.stop("w")
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before if not name.startswith("_")} - {"bento"}))
"""


def test_a_whole_stop_loads_only_what_is_listed(bento, roots, runtime):
    bento("run", "-d", "--name", "w", "host", "/bin/sh", "-c", "/bin/sleep 60; true")
    argv = [sys.executable, "-c", PROGRAM, str(roots.root), str(roots.run_root), runtime]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    allowed = {line.partition("#")[0].strip() for line in BUDGET.read_text(encoding="utf-8").splitlines()}
    assert set(done.stdout.split()) <= allowed


def test_a_trace_shows_where_a_run_and_a_stop_spend_their_time(bento, tmp_path):
    run, stop = tmp_path / "run.json", tmp_path / "stop.json"
    bento("--trace", str(run), "run", "-d", "--name", "w", "host", "/bin/sh", "-c", "/bin/sleep 60; true")
    bento("--trace", str(stop), "stop", "w")
    spans = [event for event in json.loads(run.read_text()) if event["ph"] == "X"]
    wanted = "import configuration store lock image mount network monitor runtime process wait"
    assert set(wanted.split()) <= {span["cat"] for span in spans}
    assert any(span["name"].endswith(" start") for span in spans)  # the runtime's, on a track of its own
    spans = [event for event in json.loads(stop.read_text()) if event["ph"] == "X"]
    assert len({span["pid"] for span in spans}) == 2  # the command, and the worker that has stopped it
    assert "stop.machine.step" in {span["name"] for span in spans}
