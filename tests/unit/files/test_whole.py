"""Output that takes less at a time than it is given."""

from __future__ import annotations

import os
import threading

import pytest

from bento.files.whole import write_all

_BYTES = 1 << 20  # more than a pipe takes


@pytest.mark.parametrize("is_blocking", [True, False])
def test_all_of_it_is_written(is_blocking: bool) -> None:
    data = os.urandom(_BYTES)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, is_blocking)

    def write() -> None:
        try:
            write_all(writer, data)
        finally:
            os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    with open(reader, "rb") as file:
        assert file.read() == data
    thread.join()


@pytest.mark.parametrize("is_blocking", [True, False])
def test_writing_without_a_reader_is_an_error(is_blocking: bool) -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, is_blocking)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        write_all(writer, b"x")
    os.close(writer)
