"""The manual pages: one for each verb, which groff reads without a complaint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bento.cli import verbs

TOOL = Path(__file__).resolve().parents[2] / "tools" / "man-pages"


def test_each_verb_has_a_page_that_can_be_read(tmp_path):
    subprocess.run([sys.executable, TOOL, tmp_path], check=True)
    pages = sorted(tmp_path.glob("*.1"))
    assert {page.stem for page in pages} == {"bento", *(f"bento-{verb.replace(' ', '-')}" for verb in verbs.VERBS)}
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", *pages], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    shown = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", tmp_path / "bento-stop.1"], capture_output=True, text=True, check=True
    ).stdout
    for words in ("bento-stop - stop containers gracefully", "bento stop [OPTIONS] CONTAINER ...", "--exit-hold S"):
        assert words in shown
