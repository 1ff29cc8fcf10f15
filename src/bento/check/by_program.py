"""Is the stop signal the one that ends a known program in order? Pure."""

from __future__ import annotations

from bento.check import remedies
from bento.check.finding import finding
from bento.check.observed import Observation
from bento.model.check import Finding, Remedy
from bento.programs.advice import advice
from bento.stop.process import Process
from bento.stop.rules.tree import entered, named
from bento.units import parse_signal


def judge_program(seen: Observation) -> Finding | None:
    """Return what is better for the program that gets the signal; None where it is not known, or nothing is better."""
    process = _program(seen)
    known = seen.programs.get(process.pid) if process is not None else None
    better = advice(known, seen.request.signal) if known is not None else None
    if process is None or better is None or not better.better:
        return None
    detail = f"{named(process)} is {better.program}: at {better.signal} it {better.does}"
    text = f"have it stopped by {better.better}: then it {better.better_does}"
    remedy = Remedy(
        text=f"{text}; {better.remedy}" if better.remedy else text,
        changes=remedies.other_signal(parse_signal(better.better)),
    )
    facts = (f"source: {better.source}",)
    return finding("BG008", seen, detail, remedy, about=[process.pid], facts=facts)


def _program(seen: Observation) -> Process | None:
    """Return the process that the signal is for: PID 1, or what an init of containers has as its only child."""
    main = seen.main
    if main is None or seen.request.is_sigkill or not main.disposition.receives:
        return None
    known = seen.programs.get(main.pid)
    if known is None or not known.forwards:
        return main
    children = [child for child in seen.tree.children(main) if child.key not in entered(seen.look)]
    return children[0] if len(children) == 1 else None
