"""What `bento stop` loads: its start-up time is most of what a user waits for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bento.cli.verbs import VERBS

ALLOWED = Path(__file__).with_name("import_budget.txt")

# Each would cost as much again as Bento's own code does; typing_extensions, which msgspec loads when it is installed,
# brings inspect along: the linters that need it have an environment of their own (requirements/test.in).
NEVER = {
    "asyncio",
    "logging",
    "dataclasses",
    "inspect",
    "subprocess",
    "tempfile",
    "tarfile",
    "json",
    "click",
    "rich",
    "typing_extensions",
}


START = "from bento.cli.lean import import_lean; import_lean()"  # as bento.__main__ does

# The command line's own modules, and those that a stop loads when it first uses them.
STOP_PATH = [
    "bento.cli.main",
    "bento.cli.containers.stop",
    "bento.locks",
    "bento.engine.stop.stop",
    "bento.drivers.monitor.conmon",
    "bento.drivers.processes.linux",
    "bento.drivers.runtime.detect",
    "bento.drivers.state.sqlite",
    "bento.drivers.storage.overlay",
]


def _loaded_by(statement: str) -> set[str]:
    """Return the modules a fresh interpreter has loaded after a statement, and not before."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def _allowed() -> set[str]:
    lines = (line.partition("#")[0].strip() for line in ALLOWED.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line}


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return _loaded_by(f"{START}; import {', '.join(STOP_PATH)}")


def test_stop_loads_only_what_is_listed(loaded):
    tops = {name.partition(".")[0] for name in loaded if not name.startswith("_")} - {"bento"}
    surplus = tops - _allowed()
    assert not surplus, f"new in the start-up of bento stop: {sorted(surplus)}; avoid them, or list them with a reason"


def test_stop_never_loads_the_slow_ones(loaded):
    assert not NEVER & {name.partition(".")[0] for name in loaded}


def test_the_list_allows_none_of_the_slow_ones():
    assert not NEVER & _allowed()


def test_stop_loads_nothing_of_what_is_drawn(loaded):
    drawn = {"bento.cli.output.progress", "bento.cli.output.watch", "bento.stop.viewing"}
    assert not {name for name in loaded if name in drawn or name.startswith("bento.pages")}


def test_stop_loads_no_other_verb(loaded):
    modules = {f"bento.cli.{module}" for verb, (module, _) in VERBS.items() if verb != "stop"}
    assert not modules & loaded
