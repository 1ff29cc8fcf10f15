"""The example of docs/library.md does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.cli import Roots

PAGE = Path(__file__).parents[2] / "docs/library.md"


def test_example_of_the_library_page_runs(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"(?ms)^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"))
    assert found is not None
    module: dict[str, Any] = {"__name__": "example"}
    exec(compile(found[1], PAGE.name, "exec"), module)

    verdict = module["main"](str(roots.root), str(roots.run_root))

    lines = capsys.readouterr().out.splitlines()
    assert verdict == "forwarded"
    assert lines[0] == "forwarded: sh does not pass signals on; tail was signalled instead, and sh went no further"
    assert [line.split()[0] for line in lines[1:3]] == ["sh", "tail"]
    assert lines[-1].endswith("is already stopped")
