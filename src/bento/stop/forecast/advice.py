"""What to change in a container, as a forecast of its stop advises. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from bento.model.stop import Occasion, StopRequest
from bento.programs.advice import advice as advice_of
from bento.programs.facts import Program
from bento.stop.forecast.rehearsal import Rehearsal
from bento.stop.process import Disposition, Process
from bento.stop.rules.tree import Tree, entered, is_shell, named, program
from bento.stop.rules.wrapping import waits_for, waits_for_jobs
from bento.stop.verdict import Judgement
from bento.units import signal_name


def advice(
    request: StopRequest,
    processes: tuple[Process, ...],
    shown: Rehearsal,
    judgement: Judgement | None,
    also_receives: tuple[int, ...],
    programs: Mapping[int, Program],
) -> tuple[str, ...]:
    """Return what to change. ``also_receives``: other signals that PID 1 has a handler for; ``programs``: by pid."""
    found: list[str] = []
    signalled = {sent.pid for sent in shown.state.signalled}
    signalled |= {event.pids[1] for event in shown.events if event.kind == "passed-on"}
    main = next((process for process in processes if process.is_main), None)
    of_sessions = entered(processes)
    for process in processes:
        if process.key in of_sessions:  # their signal is SIGTERM, whatever the stop signal is
            continue
        if process.pid in signalled and (better := _better(process, request, programs)):
            found.append(better)
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


def _better(process: Process, request: StopRequest, programs: Mapping[int, Program]) -> str:
    """Say which signal is better for this program; "" where none is, or the stop sends two that it has chosen."""
    if (known := programs.get(process.pid)) is None or request.last_signal:
        return ""
    found = advice_of(known, request.signal)
    return found.text if found is not None else ""


def _short(number: int) -> str:
    return signal_name(number).removeprefix("SIG")
