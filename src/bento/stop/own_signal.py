"""Let the program choose its stop signal: the one that ends it in order, where it is known (rule S30). Pure.

Only in the place of SIGTERM, and only where that cannot be worse than the plain stop: nothing else is in the container
that would get the signal, and shortly before the deadline the program gets the one that ends it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.model.stop import Scope, SignalFrom, StopRequest
from bento.stop.methods import SIGNAL
from bento.stop.process import Disposition, Process
from bento.stop.rules.tree import Tree, entered, named
from bento.units import SIGTERM, parse_signal, signal_name

if TYPE_CHECKING:
    from bento.programs.facts import Program

_RECEIVES: Final = (Disposition.HANDLED, Disposition.BLOCKED, Disposition.WAITING)
_DROPS: Final = (Disposition.DROPPED, Disposition.DEFAULT, Disposition.IGNORED)


def choose(
    request: StopRequest,
    processes: tuple[Process, ...],
    programs: Mapping[int, Program],
    look: Callable[[int], tuple[Process, ...]],
) -> StopRequest:
    """Choose, by what a look for SIGTERM has shown."""
    way = _way(processes, programs)
    if not way:
        return as_it_is(request, "the program is not known")
    target, known = way[-1], programs[way[-1].pid]
    if not known.auto:
        return as_it_is(request, f"{named(target)} is {known.name}, and that is its own")
    rest = {one.key for one in processes} - entered(processes) - {one.key for one in way}
    if rest - Tree(processes).below([target.key]):
        return as_it_is(request, f"{named(target)} is {known.name}, but other programs are beside it")
    first, last = (parse_signal(word) for word in known.auto)
    if first != SIGTERM and not _is_taken(way, look(first)):
        return as_it_is(request, f"{named(target)} is {known.name}, but has no handler for {signal_name(first)} yet")
    does, later = (known.signals[word].does for word in known.auto)
    names = f"{signal_name(first)}, at which it {does}; and {signal_name(last)} when the grace is nearly over"
    why = f"stop signal auto: {named(target)} is {known.name}: {names}, at which it {later}"
    return replace(request, signal=first, last_signal=last, choice=why)


def is_wanted(request: StopRequest) -> bool:
    """Whether the program may choose at all."""
    return request.signal_from is SignalFrom.AUTO and request.method == SIGNAL and not request.is_kill


def refusal(request: StopRequest) -> str:
    """Say why the signal stays as it is, whatever the program; "" where nothing is in the way."""
    if request.signal != SIGTERM:
        return "the container, or its image, names it for its program"
    if request.scope is Scope.MAIN:
        return "scope main is the plain stop"
    if request.last_call_s == 0:
        return "there is no last call, at which the program could be hurried"
    return ""


def as_it_is(request: StopRequest, why: str) -> StopRequest:
    """Return the request with its own signal, and the reason."""
    return replace(request, choice=f"stop signal auto: {signal_name(request.signal)}: {why}")


def _way(processes: tuple[Process, ...], programs: Mapping[int, Program]) -> list[Process]:
    """Return PID 1 and what follows down to the known program; nothing where it is not certain which that is.

    On the way are those that pass every signal on to their only child, and those that get none and wait for it.
    """
    tree = Tree(processes)
    sessions = entered(processes)
    node, way = tree.main(), []
    while node is not None:
        way.append(node)
        known = programs.get(node.pid)
        if known is not None and not known.forwards:
            return way
        is_passed_on = known is not None and not node.kills_group and node.disposition in _RECEIVES
        is_waiting = known is None and node.is_waiting and node.disposition in _DROPS
        children = [child for child in tree.children(node) if child.key not in sessions]
        node = children[0] if len(children) == 1 and (is_passed_on or is_waiting) else None
    return []


def _is_taken(way: list[Process], shown: tuple[Process, ...]) -> bool:
    """Whether each process on the way does with the other signal what it does with SIGTERM."""
    now = {one.key: one.disposition for one in shown}
    wanted = {one.key: _RECEIVES if one.disposition in _RECEIVES or one is way[-1] else _DROPS for one in way}
    return all(now.get(key) in dispositions for key, dispositions in wanted.items())
