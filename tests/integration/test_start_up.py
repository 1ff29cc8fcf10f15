"""What a whole stop loads, beyond what its modules import: the promise of tests/unit/import_budget.txt, kept."""

from __future__ import annotations

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
