"""In which order several containers are started, stopped and removed, and how one budget is shared (rule S27). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bento.units import NO_LIMIT


def dependants(requires: Mapping[str, tuple[str, ...]]) -> dict[str, set[str]]:
    """Return for each container those of this set that must have ended before it is stopped: they require it."""
    found: dict[str, set[str]] = {container_id: set() for container_id in requires}
    for container_id, needed in requires.items():
        for other in needed:
            if other in found and other != container_id:
                found[other].add(container_id)
    return found


def required_first(wanted: str, requires: Callable[[str], tuple[str, ...]]) -> list[str]:
    """Return all that ``wanted`` requires, also by way of others, each after those it requires itself.

    ``wanted`` is last. A circle, which create does not allow, is cut where it closes.
    """
    ordered: dict[str, None] = {}
    seen: set[str] = set()
    ahead = [(wanted, False)]  # not recursive: a chain may be longer than Python's stack
    while ahead:
        container_id, is_through = ahead.pop()
        if is_through:
            ordered[container_id] = None
        elif container_id not in seen:
            seen.add(container_id)
            ahead.append((container_id, True))
            ahead += [(other, False) for other in reversed(requires(container_id))]
    return list(ordered)


def rounds_after(requires: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Return for each container how many rounds of stopping must still follow its own: its longest way down."""
    depths: dict[str, int] = {}
    for wanted in requires:
        # One that is known already is not walked through again.
        for container_id in required_first(wanted, lambda one: () if one in depths else requires.get(one, ())):
            if container_id not in depths and container_id in requires:
                below = (depths[other] + 1 for other in requires[container_id] if other in depths)
                depths[container_id] = max(below, default=0)
    return depths


def dependants_first(requires: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the containers so that each comes before those it requires; else in the order given."""
    rounds = rounds_after(requires)
    return sorted(requires, key=lambda container_id: -rounds[container_id])


class Schedule:
    """Which containers may be stopped when, with how much of the budget. ``total_s`` None: each has its own grace."""

    def __init__(self, requires: Mapping[str, tuple[str, ...]], *, total_s: float | None, now_s: float) -> None:
        self._requires = requires
        self._awaited = dependants(requires)  # of each, the dependants that have not ended, or still await others
        self._over: set[str] = set()
        self._rounds_after = rounds_after(requires)
        self._rounds = max(self._rounds_after.values(), default=0) + 1
        self._total_s, self._began_s = total_s, now_s

    def first(self) -> list[str]:
        """Return those that no other of this set requires."""
        return [container_id for container_id, awaited in self._awaited.items() if not awaited]

    def after(self, container_id: str) -> list[str]:
        """Return those that waited for the end of this one last. Only for its first end; then none.

        One that was refused before its turn frees none while those that require it have not ended.
        """
        self._over.add(container_id)
        freed: list[str] = []
        through = [container_id]
        while through:
            one = through.pop()
            for other in self._requires.get(one, ()) if not self._awaited.get(one) else ():
                awaited = self._awaited.get(other, set())
                if one in awaited:
                    awaited.remove(one)
                    if not awaited:
                        (through if other in self._over else freed).append(other)
        return freed

    def grace_s(self, container_id: str, wanted_s: float, now_s: float) -> float:
        """Return the grace it gets when it is stopped now."""
        if self._total_s is None:
            return wanted_s
        return share_s(
            wanted_s,
            left_s=self._total_s - (now_s - self._began_s),
            total_s=self._total_s,
            rounds_after=self._rounds_after[container_id],
            rounds=self._rounds,
        )


def share_s(grace_s: float, *, left_s: float, total_s: float, rounds_after: int, rounds: int) -> float:
    """Return the grace a container gets of one budget: its own, but so that every later round keeps a fair share.

    ``left_s``: what is left of ``total_s``; ``rounds``: how many there are in all; ``rounds_after``: how many follow.
    The budget is one of graces: one that is late because others took long to die still gets its fair share.
    """
    fair_s = total_s / rounds
    most_s = max(fair_s, left_s - fair_s * rounds_after)
    return most_s if grace_s == NO_LIMIT else min(grace_s, most_s)
