"""What the containers run: shell scripts that write down how they end, for the model to hold against the record."""

from __future__ import annotations

import random
from typing import NamedTuple

END_FILE = "end"
KILLED = 137
PIPE = 141
"""Of one that writes when its monitor was killed."""
TOLD = 143
"""Of a shell without a trap whose program in the foreground was told in its place."""

_BODIES = {
    "waits": 'trap "{end}" TERM; while :; do sleep 1000 & wait $!; done',
    "slow": 'trap "sleep 0.3; {end}" TERM; while :; do sleep 1000 & wait $!; done',
    "chatty": 'i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; trap "{end}" TERM; sleep 1000 & wait $!',
    "jobs": 'sleep 1000 & sleep 1000 & sleep 1000 & trap "{end}" TERM; wait; {end}',
    "ignores": 'trap "" TERM; while :; do sleep 1000; done',
    "short": "sleep 0.4; {end}",
    "once": "{end}",
    "plain": "exec sleep 1000",
}
_ENDS_BY_ITSELF = ("short", "once")
_SHORT = ("once", "once", "short")


class Program(NamedTuple):
    """``code``: what it exits with when it gets to its end, and writes into ``END_FILE`` before."""

    kind: str
    code: int

    @property
    def ends_by_itself(self) -> bool:
        return self.kind in _ENDS_BY_ITSELF

    @property
    def argv(self) -> tuple[str, ...]:
        end = f"echo {self.code} > /s/{END_FILE}; exit {self.code}"
        return ("/bin/sh", "-c", f": > /s/{END_FILE}; " + _BODIES[self.kind].replace("{end}", end))


def draw(dice: random.Random, *, is_short: bool = False) -> Program:
    return Program(dice.choice(_SHORT if is_short else list(_BODIES)), dice.randrange(1, 120))
