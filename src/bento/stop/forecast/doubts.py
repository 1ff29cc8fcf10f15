"""What a forecast is unsure of (rules S12 - S14): what shows only once a stop is under way, or never. Pure."""

from __future__ import annotations

from msgspec import Struct

from bento.model.stop import Occasion, OnDeaf, Scope, StopRequest
from bento.stop.forecast.cast import is_forwarder, is_supervisor
from bento.stop.forecast.rehearsal import Rehearsal
from bento.stop.process import Disposition, Process
from bento.stop.rules.tree import Tree, is_shell, named
from bento.stop.rules.wake import is_at_rest, process_wake
from bento.stop.rules.wrapping import is_passive, waits_for, waits_for_jobs
from bento.units import signal_name

_NAMED_MOST = 3


class Waits(Struct, frozen=True, kw_only=True):
    """The evidence of what can wake in a process (rule S14)."""

    words: str  # "polls a socket"
    wakes_in_s: float | None  # nothing of its own wakes it before; None: nothing ever does
    is_resting: bool  # nothing can wake before the deadline, or it is a listener at rest


def waits_of(process: Process, within_s: float) -> Waits | None:
    """Return the evidence for one process; None where it could not be read."""
    if process.evidence is None:
        return None
    wake = process_wake(process, process.evidence)
    is_listener, why = is_at_rest(process, process.evidence, within_s=within_s)
    is_still = is_passive(process, within_s)
    words = wake.reason if is_still or not is_listener else why
    return Waits(
        words=words.removeprefix(f"{process.comm} ({process.pid}) "),
        wakes_in_s=None if wake.is_never else wake.in_s,
        is_resting=is_still or is_listener,
    )


def doubts(request: StopRequest, processes: tuple[Process, ...], shown: Rehearsal, *, age_s: float) -> tuple[str, ...]:
    """Name what the forecast is unsure of, and what it means."""
    tree = Tree(processes)
    main = tree.main()
    got = {one.pid for one in shown.state.signalled}
    got |= {event.pids[1] for event in shown.events if event.kind == "passed-on"}
    found = [text for one in processes if one.pid in got for text in _of_signalled(tree, one, request)]
    if main is not None:
        found += _of_left_behind(request, tree, main, shown)
        if main.disposition is Disposition.DROPPED and request.scope is Scope.AUTO:
            found += _of_work(request, processes, shown, got)
            if age_s < request.start_window_s and main.pid not in got and _takes_a_while(shown):
                found.append(f"whether {named(main)}, which is {age_s:.1f} s old, still sets up a handler")
    return tuple(found)


def _of_signalled(tree: Tree, process: Process, request: StopRequest) -> list[str]:
    name = signal_name(request.signal)
    if process.disposition is Disposition.UNKNOWN:
        return [f"what {name} does to {named(process)}: it is traced, or may not be read"]
    if process.disposition is Disposition.BLOCKED and not is_forwarder(process):
        return [f"whether {named(process)} reads {name}, which it blocks"]
    busy = waits_for(tree, process) if process.evidence is not None else tree.children(process)
    if is_shell(process) and process.disposition is Disposition.HANDLED and busy and not waits_for_jobs(tree, process):
        return [
            f"whether {named(process)} runs its trap at once, in its wait builtin, or when {named(busy[-1])} has ended:"
            " that shows only when the signal comes"
        ]
    return []


def _of_left_behind(request: StopRequest, tree: Tree, main: Process, shown: Rehearsal) -> list[str]:
    """What PID 1 is assumed to end before it exits."""
    is_init = any(one.occasion is Occasion.INIT for one in shown.state.signalled)
    if not is_init or not is_supervisor(main):
        return []
    keys = tree.below([main.key])
    below = [one for one in tree.by_pid.values() if one.key in keys and one.disposition.receives]
    if not below:
        return []
    names = ", ".join(named(one) for one in below[:_NAMED_MOST])
    more = f" and {len(below) - _NAMED_MOST} more" if len(below) > _NAMED_MOST else ""
    is_held = request.scope is Scope.AUTO and request.exit_hold_s != 0 and main.is_namespace_init
    otherwise = "PID 1 is held at its exit until these have ended" if is_held else "the kernel ends these with it"
    return [f"whether {named(main)} ends {names}{more} before it exits: if not, {otherwise}"]


def _of_work(request: StopRequest, processes: tuple[Process, ...], shown: Rehearsal, got: set[int]) -> list[str]:
    """What may be at work in a container whose PID 1 does not receive the signal: that is waited for (rule S14)."""
    if request.on_deaf is not OnDeaf.IDLE or not request.may_kill:
        return []
    held = {one.pid for one in shown.state.held}
    found = []
    for process in processes:
        waits = waits_of(process, request.grace_s)
        if process.pid in got | held or (waits and waits.is_resting):
            continue
        words = "could not be read" if waits is None else waits.words
        found.append(f"whether {named(process)} is at work, which is waited for: it {words}")
    return found


def _takes_a_while(shown: Rehearsal) -> bool:
    return shown.state.exited_s is None or shown.state.exited_s > 0.1
