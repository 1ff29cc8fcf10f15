"""What ``bento serve`` refuses before it serves, and what it leaves behind then: nothing."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from bento.cli.context import Context
from bento.cli.system import serve
from bento.config import Settings
from bento.errors import NotPermitted, StorageUnusable, UsageError
from bento.serve.sockets import Listener


def begin(*words: str) -> None:
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    serve.run(parser.parse_args(words), Context(settings=Settings()))


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--docker-socket", ""), "--docker-socket is empty"), (("--cri-pin", "pause"), "--cri-pin is for a kubelet")],
)
def test_words_that_could_have_no_effect_are_refused(words: tuple[str, ...], says: str, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UsageError, match=says):
        begin(*words)


def test_another_user_than_root_is_told_so_at_once(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPermitted, match="needs root"):
        begin()


def test_a_socket_that_cannot_be_given_to_its_group_is_removed(tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(StorageUnusable, match="Operation not permitted"):
        Listener(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []
