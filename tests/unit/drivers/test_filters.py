"""Compiled filters: taken again for what they were made from, word for word, and for nothing else."""

from __future__ import annotations

import base64
import os

import pytest

from bento.drivers.runtime import filters
from bento.drivers.runtime.filters import ANNOTATION, COMPILED, Filters

SECCOMP = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
BPF = bytes(range(16))


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "crun"
    path.write_bytes(b"1")
    return path


@pytest.fixture
def state(tmp_path):
    path = tmp_path / "state"
    path.mkdir()
    (path / COMPILED).write_bytes(BPF)
    return path


@pytest.fixture
def kept(tmp_path, program, state):
    first = Filters(tmp_path / "filters", program)
    assert first.annotations("a", SECCOMP) == {}
    first.keep("a", state)
    return Filters(tmp_path / "filters", program)


def test_what_was_compiled_is_taken_again(kept):
    assert kept.annotations("b", SECCOMP) == {ANNOTATION: base64.b64encode(BPF).decode()}


def test_another_profile_is_another_filter(kept):
    assert kept.annotations("b", SECCOMP | {"defaultAction": "SCMP_ACT_ALLOW"}) == {}


def test_another_runtime_is_another_filter(kept, program):
    os.utime(program, (1, 1))
    assert kept.annotations("b", SECCOMP) == {}


def test_another_boot_and_another_list_of_libraries_are_another_filter(kept, monkeypatch, program):
    monkeypatch.setattr(filters, "boot_id", lambda: "another")
    assert kept.annotations("b", SECCOMP) == {}
    monkeypatch.undo()
    monkeypatch.setattr(filters, "_LIBRARIES", str(program))
    assert kept.annotations("b", SECCOMP) == {}


def test_a_file_of_another_source_with_the_same_name_is_not_taken(kept, monkeypatch, state):
    monkeypatch.setattr(filters, "crc32", lambda source: 7)
    other = SECCOMP | {"defaultAction": "SCMP_ACT_KILL"}
    assert kept.annotations("b", SECCOMP) == {}
    kept.keep("b", state)
    assert kept.annotations("c", other) == {}
    assert kept.annotations("d", SECCOMP)


@pytest.mark.parametrize("content", [b"", b"123"])
def test_what_is_no_filter_is_not_kept(tmp_path, program, state, content):
    (state / COMPILED).write_bytes(content)
    one = Filters(tmp_path / "filters", program)
    one.annotations("a", SECCOMP)
    one.keep("a", state)
    assert one.annotations("b", SECCOMP) == {}


def test_a_link_is_not_followed(kept, tmp_path, program):
    (path,) = (tmp_path / "filters").iterdir()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert kept.annotations("b", SECCOMP) == {}


def test_there_are_only_so_many(tmp_path, program, state, monkeypatch):
    monkeypatch.setattr(filters, "_MOST", 3)
    one = Filters(tmp_path / "filters", program)
    for number in range(8):
        one.annotations(str(number), SECCOMP | {"flags": [str(number)]})
        one.keep(str(number), state)
    assert len(list((tmp_path / "filters").iterdir())) <= 3


def test_where_nothing_can_be_kept_crun_compiles(tmp_path, program, state):
    (tmp_path / "file").write_bytes(b"")
    one = Filters(tmp_path / "file" / "filters", program)
    assert one.annotations("a", SECCOMP) == {}
    one.keep("a", state)
