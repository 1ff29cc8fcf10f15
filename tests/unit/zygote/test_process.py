"""The zygote's socket, and how it notices that its code is another."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bento import packets
from bento.zygote import client
from bento.zygote.child import TAKEN, WARM_UP
from bento.zygote.code import CodeWatch
from bento.zygote.process import Listener, last_words


def test_the_socket_is_for_its_user_alone_and_goes_with_it(tmp_path):
    listener = Listener(tmp_path / "r")
    path = tmp_path / "r" / client.DIRECTORY / client.name()
    assert stat.filemode(path.stat().st_mode) == "srw-------"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(BlockingIOError):
        Listener(tmp_path / "r")
    listener.close()
    assert not path.exists()


def test_what_a_killed_one_has_left_is_replaced(tmp_path):
    directory = tmp_path / client.DIRECTORY
    directory.mkdir(mode=0o700)
    (directory / client.name()).touch()
    (directory / f"{client.name()}.lock").touch()
    listener = Listener(tmp_path)
    assert (directory / client.name()).is_socket()
    listener.close()


def test_what_a_child_says_is_not_lost_where_a_word_to_it_was_unread():
    ours, theirs = packets.pair()
    packets.send(ours, WARM_UP)
    packets.send(theirs, TAKEN, (theirs,))
    os.close(theirs)  # with a packet unread
    said, fds = last_words(ours)
    os.close(fds[0])
    assert (said, len(fds)) == (TAKEN, 1)
    assert last_words(ours) == (b"", [])
    os.close(ours)


def test_a_directory_is_closed_to_others_and_a_link_is_refused(tmp_path):
    (tmp_path / client.DIRECTORY).mkdir(mode=0o755)
    listener = Listener(tmp_path)
    assert stat.S_IMODE((tmp_path / client.DIRECTORY).stat().st_mode) == 0o700
    listener.close()
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / client.DIRECTORY).rename(elsewhere)
    (tmp_path / client.DIRECTORY).symlink_to(elsewhere)
    with pytest.raises(PermissionError):
        Listener(tmp_path)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the only module that is loaded."""
    module = ModuleType("only")
    module.__file__ = str(tmp_path / "only.py")
    (tmp_path / "only.py").write_text("a = 1\n")
    monkeypatch.setattr(sys, "modules", {"only": module})
    return tmp_path


def test_an_edit_an_upgrade_and_a_removal_are_noticed(package):
    def write() -> None:
        (package / "only.py").write_text("a = 2\n")

    def replace() -> None:
        (package / "new.py").write_text("a = 3\n")
        os.rename(package / "new.py", package / "only.py")

    for change in (write, replace, (package / "only.py").unlink):
        watch = CodeWatch()
        assert not watch.may_have_changed()
        assert not watch.has_changed()
        change()
        assert watch.may_have_changed()
        assert watch.has_changed()
        watch.close()


def test_byte_code_is_no_other_code(package):
    watch = CodeWatch()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "only.pyc").write_text("")
    assert not watch.has_changed()
    watch.close()


def test_the_interpreter_is_another_when_its_content_is_and_not_when_it_is_linked(package, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(package / "bin/python"))
    (package / "bin").mkdir()
    (package / "bin/python").write_text("1")
    watch = CodeWatch()
    os.link(package / "bin/python", package / "bin/link")
    assert watch.may_have_changed()
    assert not watch.has_changed()
    assert not watch.may_have_changed()
    (package / "bin/other").write_text("1")
    (package / "bin/other").rename(package / "bin/python")
    assert watch.has_changed()
    watch.close()
    watch = CodeWatch()
    (package / "bin/python").write_text("2")
    assert watch.has_changed()
    watch.close()
