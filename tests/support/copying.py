"""The rules of Docker's cp as a table, and what is copied by them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bento.engine.files.copying import CopyOptions
from bento.errors import Conflict, NotFound


def tree(top: Path) -> dict[str, str]:
    """What is below a directory: the text of files, the targets of links."""
    found = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "dir" if path.is_dir() else path.read_text()
    return found


def make_source(top: Path) -> None:
    (top / "dir" / "sub").mkdir(parents=True)
    (top / "file").write_text("F")
    (top / "dir" / "a").write_text("A")
    (top / "dir" / "sub" / "b").write_text("B")
    (top / "link").symlink_to("file")
    (top / "dlink").symlink_to("dir")


def make_target(top: Path) -> None:
    (top / "tdir").mkdir(parents=True)
    (top / "tfile").write_text("T")
    (top / "tdir" / "old").write_text("O")
    (top / "tlink").symlink_to("tfile")
    (top / "tdlink").symlink_to("tdir")
    (top / "dangling").symlink_to("new")
    (top / "tdir" / "dir").write_text("in the way")


DIR = {"": "dir", "a": "A", "sub": "dir", "sub/b": "B"}


def under(name: str, entries: dict[str, str] = DIR) -> dict[str, str]:
    return {f"{name}/{path}".rstrip("/"): text for path, text in entries.items()}


RULES: list[tuple[str, str, bool, Any]] = [
    # source, target, follow; what is new or changed below the target's directory, or the error
    ("file", "new", False, {"new": "F"}),
    ("file", "new/", False, NotFound),
    ("file", "tfile", False, {"tfile": "F"}),
    ("file", "tfile/", False, Conflict),
    ("file", "tdir", False, {"tdir/file": "F"}),
    ("file", "tdir/", False, {"tdir/file": "F"}),
    ("file", "tdir/.", False, {"tdir/file": "F"}),
    ("file", "tdir/dir", False, {"tdir/dir": "F"}),
    ("file", "tlink", False, {"tfile": "F"}),
    ("file", "tdlink", False, {"tdir/file": "F"}),
    ("file", "dangling", False, {"new": "F"}),
    ("file", "no/new", False, NotFound),
    ("file", "tfile/new", False, NotFound),
    ("file/", "new", False, Conflict),
    ("file/.", "new", False, Conflict),
    ("nosuch", "new", False, NotFound),
    ("no/such", "new", False, NotFound),
    ("dir", "new", False, under("new")),
    ("dir/", "new", False, under("new")),
    ("dir/.", "new", False, under("new")),
    ("dir", "new/", False, under("new")),
    ("dir", ".", False, under("dir")),
    ("dir/", ".", False, under("dir")),
    ("dir/.", ".", False, under("", {k: v for k, v in DIR.items() if k})),
    ("dir/.", "tdir", False, under("tdir", {k: v for k, v in DIR.items() if k})),
    ("dir", "tfile", False, Conflict),
    ("dir", "tdir", False, Conflict),  # where tdir/dir is a file
    ("dir/../dir/./sub", "new", False, under("new", {"": "dir", "b": "B"})),
    ("dir", "dangling", False, under("new")),
    ("link", "new", False, {"new": "-> file"}),
    ("link", "new", True, {"new": "F"}),
    ("link", "tdir", True, {"tdir/link": "F"}),
    ("dlink", "new", False, {"new": "-> dir"}),
    ("dlink", "new", True, under("new")),
    ("dlink/", "new", False, under("new")),
    ("dlink/.", "new", False, under("new")),
]


def check_rules(copy: Callable[[str, str, CopyOptions], None], source: Path, target: Path) -> None:
    make_source(source)
    for words, to, follow, expected in RULES:
        shutil.rmtree(target / "t", ignore_errors=True)
        make_target(target / "t")
        before = tree(target / "t")
        case = f"cp {'-L ' if follow else ''}{words} {to}"
        if isinstance(expected, dict):
            copy(words, f"t/{to}", CopyOptions(follow=follow))
            assert tree(target / "t") == before | {k.lstrip("/"): v for k, v in expected.items()}, case
        else:
            try:
                copy(words, f"t/{to}", CopyOptions(follow=follow))
            except expected:
                pass
            else:
                pytest.fail(f"{case} did not fail")
            assert tree(target / "t") == before, case
