"""What the kernel makes as it is read comes whole, also in pieces."""

from __future__ import annotations

import os

import pytest

from bento.kernel import pseudofile


def test_all_of_a_file_is_read_in_one_piece_or_in_many(tmp_path):
    text = pseudofile.read_whole("/proc/self/status")
    assert text.startswith(b"Name:\t")
    assert text.endswith(b"\n")
    long = tmp_path / "long"
    long.write_bytes(bytes(range(256)) * 1000)
    assert pseudofile.read_whole(str(long)) == long.read_bytes()


def test_what_is_not_there_is_an_error_and_nothing_stays_open():
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        pseudofile.read_whole("/proc/self/nothing-like-it")
    with pytest.raises(IsADirectoryError):
        pseudofile.read_whole("/proc/self")
    assert len(os.listdir("/proc/self/fd")) == len(before)
