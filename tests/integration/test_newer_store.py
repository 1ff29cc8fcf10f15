"""A root that a newer version has written is refused in one sentence, by every verb, and stays as it is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME

VERBS = (
    "ps -a", "run host true", "stop --all", "rm -f x", "doctor --fix", "import /etc/apt app", "load", "prune -f",
    "volume create v",
)  # fmt: skip


def tree(root: Path) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for directory, names, files in os.walk(root):
        found.update({os.path.join(directory, name): None for name in names})
        found.update({os.path.join(directory, name): Path(directory, name).read_bytes() for name in files})
    return found


def test_d22_newer_store_is_refused_by_every_verb_and_nothing_is_changed(bento: BentoCli, roots: Roots) -> None:
    bento("ps")
    store = sqlite3.connect(roots.root / "bento.db")
    store.execute("PRAGMA user_version = 99")
    store.close()
    before = tree(roots.root)
    for verb in VERBS:
        words = verb.split()
        line = bento.fails(*words, code=125 if words[0] in ("run", "exec") else 1, stdin="")
        assert "newer Bento" in line, verb
        assert tree(roots.root) == before, verb
