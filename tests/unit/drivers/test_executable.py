"""What the kernel would execute is told from what it would not, by the files alone; in doubt nothing is refused."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from bento.drivers.runtime import executable
from bento.errors import BentoError, CommandNotExecutable, CommandNotFound
from bento.kernel import binfmt

MACHINE, *_, ALSO = (*executable._MACHINES[os.uname().machine],) * 2


def elf(machine: int = MACHINE, *, loader: bytes = b"/lib/ld.so\0", kind: int = 2, entry_size: int = 56) -> bytes:
    """A program with one program header, which names a loader 5000 bytes on, unless that is empty."""
    header = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHH", kind, machine, 1, 0, 64, 0, 0, 64, entry_size, 1)
    )
    headers = struct.pack("<IIQQQQQQ", 3 if loader else 1, 0, 5000, 0, 0, len(loader), 0, 0)
    return (header.ljust(64, b"\0") + headers).ljust(5000, b"\0") + loader


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(binfmt, "_open", lambda: None)
    put(tmp_path, "bin/sh", elf(loader=b""))
    return tmp_path


def put(root: Path, name: str, content: bytes, mode: int = 0o755) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def refusal(root: Path, name: str = "/x", *, path: str = "/bin", **more: object) -> BentoError | None:
    words: dict[str, object] = {"workdir": "/", "path": path, "root": root, "says_absent": False} | more
    try:
        executable.check(name, **words)  # type: ignore[arg-type]
    except BentoError as error:
        return error
    return None


@pytest.mark.parametrize(
    "content",
    [
        b"#!/bin/sh\n", b"#!/bin/sh", b"#! \t/bin/sh -e\n", b"#!/bin/sh\0more", b"#!bin/sh\n", b"#!/proc/self/exe\n",
        b"#!/bin/sh " + b"x" * 400, elf(loader=b""), elf(loader=b"", kind=3), elf(ALSO, loader=b""),
        elf(loader=b"/bin/sh\0"), elf(loader=b"no end"),
    ],
)  # fmt: skip
def test_what_the_kernel_executes_is_let_through(root: Path, content: bytes) -> None:
    put(root, "x", content)
    assert refusal(root) is None


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        (b"#!/nonexistent\n", CommandNotFound, "interpreter '/nonexistent' is not there"),
        (b"#!/bin/sh\r\n", CommandNotFound, "as on Windows"),
        (b"#!/bin\n", CommandNotExecutable, "no program"),
        (b"#!/plain\n", CommandNotExecutable, "no program"),
        (b"#!/text\n", CommandNotExecutable, "exec format error"),
        (b"#!/x\n", CommandNotExecutable, "one after the other"),
        (b"#!\n", CommandNotExecutable, "names no interpreter"),
        (b"#!/" + b"a" * 400, CommandNotExecutable, "names no interpreter"),
        (b"echo\n", CommandNotExecutable, "neither a program nor a script"),
        (b"", CommandNotExecutable, "empty"),
        (b"\x7fELF", CommandNotExecutable, "no whole program"),
        (elf()[:100], CommandNotExecutable, "no whole program"),
        (elf(kind=1), CommandNotExecutable, "no whole program"),
        (elf(entry_size=1), CommandNotExecutable, "no whole program"),
        (elf(2), CommandNotExecutable, "machine 2"),
        (elf(), CommandNotFound, "loader '/lib/ld.so' is not there"),
    ],
)
def test_what_the_kernel_refuses_is_told(root: Path, content: bytes, kind: type[BentoError], says: str) -> None:
    put(root, "x", content)
    put(root, "text", b"text")
    put(root, "plain", b"#!/bin/sh\n", 0o644)
    error = refusal(root)
    assert type(error) is kind
    assert says in str(error)


def test_the_first_in_path_that_has_the_x_bit_counts(root: Path) -> None:
    put(root, "a/x", b"text", 0o644)
    put(root, "b/x", b"#!/bin/sh\n")
    put(root, "c/x", b"text")
    assert refusal(root, "x", path="/none:/a:/b:/c") is None
    assert "exec format" in str(refusal(root, "x", path="/a:/c:/b"))
    assert refusal(root, "x", path="/a") is None
    assert type(refusal(root, "x", path="/a", says_absent=True)) is CommandNotExecutable
    assert type(refusal(root, "y", path="/a", says_absent=True)) is CommandNotFound


def test_of_what_cannot_be_seen_nothing_is_said(root: Path) -> None:
    (root / "x").symlink_to("/proc/self/exe")
    os.mkfifo(root / "pipe", 0o755)
    (root / "loop").symlink_to("loop")
    for name in ("x", "pipe", "loop", "/proc/1/exe"):
        assert refusal(root, name, path="/") is None
    assert refusal(root, "/v/x", says_absent=True, hidden=["/v"]) is None


@pytest.mark.parametrize(
    ("entry", "is_taken"),
    [
        ("enabled\ninterpreter /q\nflags: \noffset 0\nmagic 7f454c46\n", True),
        ("enabled\noffset 18\nmagic 0200\nmask ff00\n", True),
        ("enabled\noffset 18\nmagic 0300\n", False),
        ("enabled\nextension .bin\n", True),
        ("disabled\nextension .bin\n", False),
        ("garbage", False),
        ("enabled\nmagic zz\n", True),
    ],
)
def test_a_handler_may_take_what_is_foreign(
    root: Path, entry: str, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = root / "handlers"
    handlers.mkdir()
    (handlers / "status").write_text("enabled\n")
    (handlers / "one").write_text(entry)
    monkeypatch.setattr(binfmt, "_open", lambda: os.open(handlers, os.O_RDONLY))
    put(root, "x.bin", elf(2))
    assert (refusal(root, "/x.bin") is None) == is_taken
