"""Pages for newcomers: their sessions, typed as they stand there, print what stands there, and what is missing is."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from bento.cli import main
from bento.errors import UsageError

from support import sessions
from support.cli import Roots

REPOSITORY = Path(__file__).parents[2]
SESSIONS = {
    f"{name}-{number}": session
    for name in ("README.md", "docs/quickstart.md")
    for number, session in enumerate(sessions.sessions_of(REPOSITORY / name), 1)
}


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_prints_what_the_page_says(name: str, roots: Roots, tmp_path: Path) -> None:
    session = SESSIONS[name]
    shutil.copytree(REPOSITORY / "demo", tmp_path / "demo")
    played = sessions.play(session, roots, tmp_path)
    assert [(command.line, sessions.steady(command.output)) for command in played] == [
        (command.line, sessions.steady(command.output)) for command in session
    ]


def test_what_is_said_to_be_missing_is_refused(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there by now is to be taken from the table, and described."""
    page = (REPOSITORY / "docs/coming-from-docker.md").read_text(encoding="utf-8")
    table = re.findall(r"(?m)^\| (.*?) \| .* \|$", page[page.index("| missing |") :])
    missing = [words for cell in table for words in re.findall(r"`([^`]+)`", cell) if words[0].islower()]
    assert len(missing) > 10
    there = ("--root", str(roots.root), "--run-root", str(roots.run_root))
    for words in missing:
        verb, *options = shlex.split(words)
        if verb == "run":  # would need an end; both verbs have the same options
            assert main.run([*there, "create", *options, "host", "true"]) == 2, words
        else:
            with pytest.raises(UsageError, match=r"unknown verb|there is no search"):
                main.split([verb])
    assert "Traceback" not in capsys.readouterr().err
