"""What to change in a container, as a forecast of its stop advises. Pure."""

from __future__ import annotations

from typing import Final

from bento.model.stop import Occasion, StopRequest
from bento.stop.forecast.rehearsal import Rehearsal
from bento.stop.process import Disposition, Process
from bento.stop.rules.tree import Tree, entered, is_shell, named, program
from bento.stop.rules.wrapping import waits_for, waits_for_jobs
from bento.stop.verdict import Judgement
from bento.units import signal_name

_BETTER: Final[dict[str, tuple[int, str]]] = {
    "systemd": (37, "halts the container, at SIGTERM it executes itself anew"),
    "runit": (30, "shuts down"),
    "nginx": (3, "finishes the requests under way"),
    "httpd": (28, "finishes the requests under way"),
    "apache2": (28, "finishes the requests under way"),
    "php-fpm": (3, "finishes the requests under way"),
    "haproxy": (10, "finishes the connections under way"),
    "postgres": (2, "disconnects its clients, at SIGTERM it waits for them"),
    "uwsgi": (2, "ends, at SIGTERM it starts anew unless set to die-on-term"),
}
"""Programs for which another signal is the orderly shutdown, by their own documentation."""


def advice(
    request: StopRequest,
    processes: tuple[Process, ...],
    shown: Rehearsal,
    judgement: Judgement | None,
    also_receives: tuple[int, ...],
) -> tuple[str, ...]:
    """Return what to change. ``also_receives``: other signals that PID 1 has a handler for."""
    found: list[str] = []
    signalled = {sent.pid for sent in shown.state.signalled}
    signalled |= {event.pids[1] for event in shown.events if event.kind == "passed-on"}
    main = next((process for process in processes if process.is_main), None)
    of_sessions = entered(processes)
    for process in processes:
        if process.key in of_sessions:  # their signal is SIGTERM, whatever the stop signal is
            continue
        name = program(process) if program(process) in _BETTER else process.comm
        number, does = _BETTER.get(name, (request.signal, ""))
        if number != request.signal and process.pid in signalled:
            found.append(f"use --stop-signal {_short(number)}: at {signal_name(number)} {name} {does}")
    if main is not None and not main.disposition.receives and not is_shell(main):
        for number in also_receives:
            better = f"{program(main)} has a handler for {signal_name(number)}: if that ends it in order"
            found.append(f"{better}, use --stop-signal {_short(number)}")
    tree = Tree(processes)
    is_said = any(one.occasion is Occasion.FOREGROUND for one in shown.state.signalled)  # by the judgement
    for process in processes if not is_said else ():
        busy = waits_for(tree, process) if process.evidence is not None else []
        if (
            is_shell(process)
            and process.disposition is Disposition.HANDLED
            and busy
            and not waits_for_jobs(tree, process)
        ):
            child = program(busy[-1])
            found.append(f"in the script of {named(process)}: start {child} with & and wait for it, unless it does so")
    if judgement is not None and judgement.remedy:
        found.append(judgement.remedy)
    return tuple(dict.fromkeys(found))


def _short(number: int) -> str:
    return signal_name(number).removeprefix("SIG")
