"""How paths are written into mount options."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from bento.kernel import mount


def test_a_plain_path_is_written_as_it_is():
    with ExitStack() as stack:
        assert mount._as_option("/var/lib/bento/upper", stack) == "/var/lib/bento/upper"


@pytest.mark.parametrize("name", ["with:colon", "with,comma", "with\\backslash", "x" * 250])
def test_a_path_the_kernel_would_misread_goes_by_descriptor(tmp_path, name):
    directory = tmp_path / name
    directory.mkdir()
    with ExitStack() as stack:
        option = mount._as_option(str(directory), stack)
        assert option.startswith("/proc/self/fd/")
        assert os.path.samefile(option, directory)
    assert not os.path.exists(option)


def test_no_directory_is_in_nobodys_use(tmp_path):
    assert not mount.is_upper_in_use(tmp_path / "none")
    (tmp_path / "file").touch()
    assert not mount.is_upper_in_use(tmp_path / "file")
