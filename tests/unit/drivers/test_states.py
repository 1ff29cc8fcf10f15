"""What runtimes keep of containers."""

from __future__ import annotations

from bento.drivers.runtime import states

A, B = "a" * 64, "b" * 64


def test_of_many_those_are_known_of_which_something_is_kept(tmp_path):
    (tmp_path / A).mkdir()  # crun, runc
    (tmp_path / f"{B}_sandbox:{B}.state").touch()  # runsc
    assert states.known(tmp_path, (B, "c" * 64, A)) == [B, A]
    assert states.known(tmp_path / "nothing", (A,)) == []
