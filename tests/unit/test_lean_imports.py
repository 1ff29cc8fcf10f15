"""What the command line leaves out of pathlib and msgspec: nothing else is to notice."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bento.cli.lean import _UNUSED

START = "from bento.cli.lean import import_lean; import_lean(); import bento.cli.main"  # as bento.__main__ does


def _run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def left_out() -> set[str]:
    """Those of the modules that a fresh interpreter has not loaded by the time the command line is imported."""
    return set(_run(f"{START}, sys; print(*(n for n in {_UNUSED!r} if n not in sys.modules))").split())


def test_none_of_them_is_loaded(left_out):
    assert left_out == set(_UNUSED)


@pytest.mark.parametrize("name", _UNUSED)
def test_what_imports_one_later_gets_the_real_one(name):
    assert _run(f"{START}, importlib; print(importlib.import_module({name!r}).__spec__.name)") == name


def test_what_needs_them_after_all_works():
    program = f"{START}, pathlib, msgspec; print(pathlib.Path('/a b').as_uri(), msgspec.json.schema(int))"
    assert _run(program) == "file:///a%20b {'type': 'integer'}"


def test_what_was_loaded_before_stays_as_it_is():
    program = f"import platform, textwrap; {START}, sys; print(sys.modules['platform'] is platform)"
    assert _run(program) == "True"


def test_the_library_leaves_nothing_out():
    assert _run("from bento import Engine; import sys; print('msgspec.inspect' in sys.modules)") == "True"


def test_the_program_leaves_them_out():
    argv = [sys.executable, "-X", "importtime", "-m", "bento", "--version"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stderr
    imported = {line.rpartition("|")[2].strip() for line in shown.splitlines()}
    assert "bento.cli.main" in imported
    assert not imported & set(_UNUSED)


@pytest.mark.parametrize(
    ("program", "is_enabled"),
    [
        ("import bento.cli.main, bento.__main__; print(gc.isenabled())", True),
        (
            "import bento.__main__, bento.cli.main as cli; cli.main = lambda: print(gc.isenabled());"
            " bento.__main__.main()",
            False,
        ),
        (
            "import bento.__main__, bento.cli.system.info as verb;"
            " verb.run = lambda args, context: print(gc.isenabled()) or 0; sys.argv[1:] = ['info'];"
            " bento.__main__.main()",
            True,
        ),
    ],
    ids=["an import", "the start of the program", "its verb"],
)
def test_garbage_is_collected_but_while_the_program_starts(program, is_enabled):
    assert _run(f"import gc, sys; {program}") == str(is_enabled)
