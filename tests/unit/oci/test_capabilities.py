from __future__ import annotations

import pytest

from bento.oci import capabilities, defaults

MINE = frozenset(capabilities.NAMES) - {"CAP_SYS_RESOURCE"}
DEFAULT = ("CAP_CHOWN", "CAP_KILL")


@pytest.mark.parametrize(
    ("add", "drop", "held"),
    [
        ((), (), ["CAP_CHOWN", "CAP_KILL"]),
        (("CAP_CHOWN", "CAP_BPF"), (), ["CAP_CHOWN", "CAP_KILL", "CAP_BPF"]),
        ((), ("CAP_KILL", "CAP_BPF"), ["CAP_CHOWN"]),
        (("CAP_BPF",), ("ALL",), ["CAP_BPF"]),
        (("CAP_KILL",), ("CAP_KILL",), ["CAP_CHOWN", "CAP_KILL"]),
        ((), ("ALL",), []),
    ],
)
def test_what_is_held(add: tuple[str, ...], drop: tuple[str, ...], held: list[str]) -> None:
    assert capabilities.choose(DEFAULT, add, drop, MINE) == held


def test_all_are_those_that_there_are_to_give() -> None:
    assert set(capabilities.choose(DEFAULT, ("ALL",), ("CAP_KILL", "ALL"), MINE)) == MINE - {"CAP_KILL"}


def test_names_stand_by_their_numbers() -> None:
    assert [capabilities.NAMES.index(f"CAP_{name}") for name in ("CHOWN", "SYS_ADMIN", "MKNOD", "BPF")] == [
        0,
        21,
        27,
        39,
    ]
    assert set(defaults.CAPABILITIES) <= set(capabilities.NAMES)
