"""The births of processes, where the kernel does not tell them."""

from __future__ import annotations

from bento.kernel.process import births


def test_a_kernel_that_does_not_tell_them_is_asked_once(monkeypatch):
    asked: list[None] = []
    monkeypatch.setattr(births, "_listen", lambda: asked.append(None))
    following = births.Births()
    following.follow(7, [8])
    following.follow(9, [10])
    following.read()
    assert (len(asked), following.killed(7)) == (1, [])
    following.close()
