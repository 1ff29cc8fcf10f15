"""Draws what a worker does next: by its dice alone, so that a seed gives the same sequence again."""

from __future__ import annotations

import random
from typing import NamedTuple

from stress import programs
from stress.programs import Program

SHARED = 2
"""Containers that all workers act upon; nothing is known of these but that it is something whole."""
OWN = 3
"""Containers of each worker: what becomes of these is known."""

_WEIGHTS = {
    "create": 6, "run": 14, "start": 8, "stop": 10, "kill": 5, "tell": 3, "rm": 4, "rm-f": 5, "pause": 5, "unpause": 7,
    "exec": 6, "exec-d": 4, "rename": 3, "restart": 6, "cp-in": 3, "cp-out": 3, "commit": 2, "logs": 3, "ps": 4,
    "inspect": 3, "wait": 2, "foreground": 6, "prune": 1, "volume": 4, "doctor": 2, "doctor-fix": 1, "look": 3,
}  # fmt: skip
_GRACES = ("0", "0.2", "1", "2", "3")
_LOOKS = ("port", "report", "explain", "diff", "system df", "images", "volume ls", "info")
_VOLUME_VERBS = ("create", "create", "rm", "inspect", "ls", "prune -f")


class Op(NamedTuple):
    """One command. ``verb``: of the table above. ``slot``: which container. ``more``: what else it is given."""

    verb: str
    slot: int
    is_shared: bool
    more: tuple[str, ...] = ()
    program: Program | None = None


def draw(dice: random.Random) -> Op:
    verb = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    is_shared = dice.random() < 0.2 and verb not in ("foreground", "rename")
    slot = dice.randrange(SHARED if is_shared else OWN)
    program = None
    more: tuple[str, ...] = ()
    match verb:
        case "create" | "run":
            program, more = programs.draw(dice), _create_flags(dice, is_shared)
        case "foreground":
            program, more = programs.draw(dice, is_short=True), _create_flags(dice, is_shared)
        case "stop" | "restart":
            more = ("-t", dice.choice(_GRACES))
        case "exec":
            more = (str(dice.randrange(120)),)
        case "exec-d":
            more = (dice.choice(("0", "0.2", "1000")),)
        case "look":
            more = tuple(dice.choice(_LOOKS).split())
        case "volume":
            more = tuple(dice.choice(_VOLUME_VERBS).split())
        case _:
            pass
    return Op(verb, slot, is_shared, more, program)


def _create_flags(dice: random.Random, is_shared: bool) -> tuple[str, ...]:
    flags: list[str] = []
    if dice.random() < 0.25:
        flags += ["--network", "bridge", "-p", "0:80"]
    if dice.random() < 0.2:
        flags += ["--init"]
    if dice.random() < 0.3:
        flags += ["-v", "v:/v"]
    if is_shared and dice.random() < 0.3:
        flags += dice.choice((["--restart", "on-failure:2"], ["--restart", "always"], ["--rm"]))
    return tuple(flags)
