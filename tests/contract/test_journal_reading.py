"""Reading the journal by a journalctl, pretended by a script: what it has, what comes, and what came last."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bento.drivers.monitor import journal
from bento.errors import MissingTool, UsageError

JOURNALCTL = """\
#!/bin/sh
echo "$*" >>"$0.calls"
format='{"__CURSOR":"%s","__REALTIME_TIMESTAMP":"%s000000","PRIORITY":"6","MESSAGE":"%s"}\\n'
entry() { printf "$format" "$1" "$1" "$2"; }
case "$*" in
    *--sync*) ;;
    *--follow*--after-cursor=2*) entry 3 three; exec sleep 600 ;;
    *--after-cursor=3*) entry 4 last ;;
    *) entry 1 one; entry 2 two ;;
esac
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "journalctl"
    path.write_text(JOURNALCTL)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return path


def test_what_it_has_is_read_once(program: Path) -> None:
    found = [entry and (entry.unix_ns, entry.text) for entry in journal.read("c" * 64, None)]

    assert found == [(10**9, b"one\n"), (2 * 10**9, b"two\n"), None]
    assert f"CONTAINER_ID_FULL={'c' * 64}" in Path(f"{program}.calls").read_text()


def test_what_is_written_at_the_monitors_end_is_read_after_it(program: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as monitor:
        fd = os.pidfd_open(monitor.pid)
        texts = []
        for entry in journal.read("c" * 64, fd):
            texts.append(entry.text if entry else b"")
            if texts[-1] == b"three\n":
                monitor.kill()
        os.close(fd)

    assert texts == [b"one\n", b"two\n", b"", b"three\n", b"last\n"]
    assert "--sync" in Path(f"{program}.calls").read_text()


def test_failures_are_told_in_its_words(program: Path) -> None:
    program.write_text("#!/bin/sh\necho 'No journal files were opened' >&2\nexit 1\n")
    with pytest.raises(UsageError, match="No journal files"):
        list(journal.read("c" * 64, None))


def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bento.command._EXTRA_DIRECTORIES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool, match="journalctl"):
        list(journal.read("c" * 64, None))
