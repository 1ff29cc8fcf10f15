"""How tests are run: one that hangs fails alone, and what fails beside a test is a failure."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

TOP = Path(__file__).parents[2]

TESTS = """
import os, time
from pathlib import Path
import pytest

def test_that_hangs():
    time.sleep(600)

@pytest.fixture
def hanging():
    yield
    time.sleep(600)

def test_whose_clean_up_hangs(hanging):
    pass

@pytest.fixture
def failing():
    yield
    assert False

def test_whose_clean_up_fails(failing):
    pass

def test_that_ends_its_process():
    os._exit(1)

@pytest.mark.parametrize("number", range(20))
def test_good(number):
    with open(Path(__file__).with_name("good"), "a") as file:
        file.write(f"{number} ")
"""


def tools_test(workers: int, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [f"{TOP}/tools/test", "-c", f"{TOP}/pyproject.toml", "-q", *words]
    env = os.environ | {"BENTO_TEST_WORKERS": str(workers)}
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False, env=env)


def test_a_test_that_hangs_or_ends_its_process_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    done = tools_test(2, "-o", "timeout=1", str(tmp_path))
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert sorted(map(int, (tmp_path / "good").read_text().split())) == list(range(20)), said
    assert said.count("Timeout (>1.0s)") >= 2, said
    for failed in ("that_hangs", "whose_clean_up_hangs", "whose_clean_up_fails"):
        assert re.search(rf"(FAILED|ERROR) \S*::test_{failed}\b", said), said
    assert "(exit status 1) in " in said, said
    assert "::test_that_ends_its_process\n" in said, said


def test_what_fails_after_a_test_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    done = tools_test(1, str(tmp_path), "-k", "clean_up_fails")
    assert done.returncode == 1, done.stdout
    assert "1 passed" in done.stdout, done.stdout
    assert "1 error" in done.stdout, done.stdout
