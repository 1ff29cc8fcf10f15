"""Resource limits of the container's process, clamped to what this caller may set at all (setrlimit(2)).

Without CAP_SYS_RESOURCE no process may raise its own hard limit: nested machines and CI runners are like that.
A limit that cannot be had is lowered with a note, never an error.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from bento.errors import UsageError
from bento.model.container import Ulimit

DEFAULTS: Final = (Ulimit(name="nofile", soft=1024, hard=524288),)

NOFILE_MIN: Final = 32
"""The limit holds for the runtime, too, while it sets up the container: crun 1.8 has up to 29 files open then."""

UNLIMITED: Final = -1
"""How ``Ulimit`` writes RLIM_INFINITY."""

_CAP_SYS_RESOURCE: Final = 24  # linux/capability.h
_OCI_UNLIMITED: Final = 2**64 - 1  # rlim_t's RLIM_INFINITY, which config.json holds as an unsigned number

NAMES: Final = tuple(
    name.removeprefix("RLIMIT_").lower()
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"  # BSD's name of nofile
)


class Allowance(Struct, frozen=True):
    """What this process may give to a child: its own hard limits, unless it may raise them.

    ``nr_open`` is the ceiling of nofile that binds even root (/proc/sys/fs/nr_open).
    """

    hard: dict[str, int]
    may_raise: bool
    nr_open: int


class Limits(Struct, frozen=True):
    """``rlimits`` is ``process.rlimits`` of config.json; ``notes`` say what was clamped."""

    rlimits: list[dict[str, str | int]]
    notes: tuple[str, ...]


def allowance(names: Iterable[str]) -> Allowance:
    """Read what this process may set for these limits. Not pure, but cheap: two small files of /proc.

    Raises UsageError for a name Linux does not have.
    """
    hard = {name: resource.getrlimit(_number(name))[1] for name in names}
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        effective = next((line.split()[1] for line in status if line.startswith("CapEff:")), "0")
    with open("/proc/sys/fs/nr_open", encoding="utf-8") as file:
        nr_open = int(file.read())
    return Allowance(hard, bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1), nr_open)


def may_lock_memory() -> bool:
    """Whether this process may lift the limit on locked memory: before Linux 5.11 BPF programs counted as such."""
    allowed = allowance(["memlock"])
    return allowed.may_raise or allowed.hard["memlock"] == UNLIMITED


def _number(name: str) -> int:
    number = getattr(resource, f"RLIMIT_{name.upper()}", None)
    if not isinstance(number, int) or name not in NAMES:
        raise UsageError(f"unknown limit {name!r}", hint=f"one of {', '.join(NAMES)}")
    return number


def check(asked: Iterable[Ulimit]) -> None:
    """Raise UsageError for a limit there is not, that nothing starts with, or whose soft part is above its hard."""
    for limit in asked:
        _number(limit.name)
        if limit.hard != UNLIMITED and (limit.soft == UNLIMITED or limit.soft > limit.hard):
            raise UsageError(
                f"limit {limit.name}: {limit.soft} is above {limit.hard}", hint="use SOFT:HARD, SOFT not larger"
            )
        if limit.name == "nofile" and UNLIMITED != limit.soft < NOFILE_MIN:
            raise UsageError(
                f"limit nofile: {limit.soft} open files are too few for the runtime to set up the container",
                hint=f"{NOFILE_MIN} is the least",
            )


def merge(asked: Iterable[Ulimit]) -> tuple[Ulimit, ...]:
    """Return the defaults with what was asked for on top."""
    return tuple(({u.name: u for u in DEFAULTS} | {u.name: u for u in asked}).values())


def clamp(wanted: Iterable[Ulimit], allowed: Allowance) -> Limits:
    """Return what can be had of the wanted limits. Pure."""
    rlimits: list[dict[str, str | int]] = []
    notes: list[str] = []
    for limit in wanted:
        ceiling = _ceiling(limit.name, allowed)
        hard = _least(limit.hard, ceiling)
        soft = _least(limit.soft, hard)
        rlimits.append({"type": f"RLIMIT_{limit.name.upper()}", "hard": _oci(hard), "soft": _oci(soft)})
        if (soft, hard) != (limit.soft, limit.hard):
            why = "the kernel's ceiling" if allowed.may_raise else "this caller's own, without CAP_SYS_RESOURCE"
            notes.append(f"limit {limit.name} {_text(limit.soft, limit.hard)} lowered to {_text(soft, hard)}: {why}")
    return Limits(rlimits, tuple(notes))


def _ceiling(name: str, allowed: Allowance) -> int:
    ceilings: Mapping[str, int] = {} if allowed.may_raise else allowed.hard
    ceiling = ceilings.get(name, UNLIMITED)
    return _least(ceiling, allowed.nr_open) if name == "nofile" else ceiling


def _least(a: int, b: int) -> int:
    if UNLIMITED in (a, b):
        return max(a, b)
    return min(a, b)


def _oci(value: int) -> int:
    return _OCI_UNLIMITED if value == UNLIMITED else value


def _text(soft: int, hard: int) -> str:
    return ":".join("unlimited" if value == UNLIMITED else str(value) for value in (soft, hard))
