"""Does the stop signal reach the program? (The first question of a check.) Pure."""

from __future__ import annotations

from msgspec.structs import replace

from bento.check import remedies
from bento.check.finding import finding
from bento.check.observed import Observation
from bento.model.check import Finding, Remedy
from bento.model.stop import Verdict
from bento.stop.methods import SIGNAL
from bento.stop.process import Disposition, Process
from bento.stop.rules.tree import Tree, is_shell, named, program
from bento.stop.rules.wrapping import is_passive, waits_for, waits_for_jobs
from bento.units import signal_name


def judge_signal(seen: Observation) -> Finding | None:
    """Return what keeps the signal from the program; None where it gets it, as far as a look can show."""
    main, name = seen.main, signal_name(seen.request.signal)
    if seen.request.is_sigkill:
        remedy = Remedy(text="name a signal that it handles", changes=remedies.other_signal(15))
        detail = "SIGKILL ends it at once: nothing is written out, and no client gets its answer"
        return finding("BG007", seen, detail, remedy)
    if main is None or seen.request.method != SIGNAL:  # an init is asked by its method, not by the signal
        return None
    match main.disposition:
        case Disposition.DROPPED:
            child = _awaited(seen.tree, main)
            return _deaf(seen, main, name) if child is None else _wrapper(seen, main, child, name)
        case Disposition.IGNORED:
            detail = f"{named(main)} ignores {name} (SigIgn): the kernel drops it"
            return finding("BG003", seen, detail, _other_or(seen, main, name), about=[main.pid])
        case Disposition.HANDLED if is_shell(main):
            return _late_trap(seen, main, name)
        case _:
            return _by_reaction(seen, main, name)


def _awaited(tree: Tree, main: Process) -> Process | None:
    """Return what a PID 1 that does not receive the signal waits for, through all that only waits in turn."""
    below, found, met = waits_for(tree, main), None, {main.pid}
    while below and not (found is not None and found.disposition.receives):
        found = max(below, key=lambda child: child.key[1])
        met.add(found.pid)  # a look is not one moment: parents could seem to go round in a circle
        below = [child for child in waits_for(tree, found) if child.pid not in met]
    return found


def _deaf(seen: Observation, main: Process, name: str) -> Finding:
    does = f"{named(main)} has no handler for {name}, and to PID 1 the kernel delivers no signal without one"
    others = [signal_name(number) for number in seen.also_receives]
    facts = (f"it has a handler for {', '.join(others)}",) if others else ()
    return finding("BG001", seen, does, _other_or(seen, main, name), about=[main.pid], facts=facts)


def _wrapper(seen: Observation, main: Process, child: Process, name: str) -> Finding:
    does = f"{named(main)} waits for {named(child)} and has no handler for {name}: {program(child)} is never told"
    on_the_way = [main.pid, child.pid, *(one.pid for one in seen.tree.ancestors(child))]
    remedy = remedies.exec_in_place(main, child, seen.request.signal)
    return finding("BG002", seen, does, remedy, about=on_the_way)


def _late_trap(seen: Observation, main: Process, name: str) -> Finding | None:
    """A shell that has only noted the signal: it was still there at the end of the grace, or took over half of it."""
    report = seen.run.report
    busy = waits_for(seen.tree, main)
    if not busy or waits_for_jobs(seen.tree, main):
        return _by_reaction(seen, main, name)
    child = busy[-1]
    if report is not None and report.verdict is not Verdict.KILLED and not report.is_slow:
        return None
    if report is None and not _lasts(child, seen.request.grace_s):
        return None
    does = f"{named(main)} has a trap for {name}, and runs it when {named(child)} has ended, which is not told"
    return finding("BG006", seen, does, remedies.in_background(child), about=[main.pid, child.pid])


def _lasts(child: Process, grace_s: float) -> bool:
    """Whether a program in the foreground stays beyond the grace, as far as a look can tell: it sleeps, or serves."""
    return is_passive(child, grace_s) or (child.evidence is not None and child.evidence.listening > 0)


def _by_reaction(seen: Observation, main: Process, name: str) -> Finding | None:
    """Judge by what PID 1 did with the signal, where it received it and was killed at the end of the grace."""
    report, last = seen.run.report, seen.last
    if report is None or report.verdict is not Verdict.KILLED or last is None:
        return None
    if main.disposition is Disposition.BLOCKED and last.is_pending:
        does = f"{named(main)} blocks {name} (SigBlk), and it was still pending (ShdPnd) after {last.at_s:.1f} s"
        return finding("BG005", seen, does, remedies.in_program("read the signal, or unblock it"), about=[main.pid])
    if main.disposition is Disposition.HANDLED and last.main is Disposition.DROPPED:
        does = f"{named(main)} had a handler for {name} (SigCgt), took it away when the signal came, and lived on"
        return finding("BG004", seen, does, _own_handler(main, name), about=[main.pid])
    return None


def _own_handler(main: Process, name: str) -> Remedy:
    if program(main) in ("node", "nodejs"):
        text = "node's own handler only raises the signal again, which the kernel drops for PID 1: set one that ends it"
        own = remedies.in_program("", f"process.on('{name}', () => server.close(() => process.exit(0)))").changes
        return replace(remedies.use_init(main, more=own), text=f"{text}; with a small init in front it ends at once")
    return remedies.use_init(main)


def _other_or(seen: Observation, main: Process, name: str) -> Remedy:
    """Another signal, where it has a handler for one; else what makes it receive this one."""
    if seen.also_receives:
        return remedies.use_init(main, more=remedies.other_signal(seen.also_receives[0]))
    if main.disposition is Disposition.IGNORED:
        return remedies.in_program(f"install a handler for {name} that ends it", _HANDLERS.get(_language(main), ""))
    lines = _HANDLERS.get(_language(main), "")
    own = remedies.in_program("", lines.replace("SIGTERM", name)).changes if lines else ()
    return remedies.use_init(main, more=own)


def _language(main: Process) -> str:
    return program(main).rstrip("0123456789.")


_HANDLERS = {
    "python": "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))",
    "node": "process.on('SIGTERM', () => process.exit(0))",
    "nodejs": "process.on('SIGTERM', () => process.exit(0))",
    "perl": "$SIG{TERM} = sub { exit 0 };",
    "ruby": "Signal.trap('TERM') { exit }",
    "php": "pcntl_async_signals(true); pcntl_signal(SIGTERM, fn() => exit(0));",
}
