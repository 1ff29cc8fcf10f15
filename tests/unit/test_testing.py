"""The fakes as a program that uses the library has them: the example of the package works."""

from __future__ import annotations

import textwrap
from pathlib import Path

from bento import testing


def test_the_example_works_without_root(tmp_path: Path) -> None:
    assert testing.__doc__ is not None
    lines = [line for line in testing.__doc__.splitlines() if not line or line.startswith("    ")]
    exec(textwrap.dedent("\n".join(lines)), {"tmp_path": tmp_path})  # it asserts the verdict
    assert not (tmp_path / "l" / "bento.db").exists()
