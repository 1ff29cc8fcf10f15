"""Stops at other moments: during the start, twice, and what is there at rest (zombies). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from bento.check import remedies
from bento.check.by_end import was_killed
from bento.check.finding import finding
from bento.check.observed import Observation
from bento.check.seeing import seen_zombie
from bento.model.check import Evidence, Finding
from bento.model.stop import StopReport
from bento.stop.rules.tree import named, program
from bento.units import signal_name

WINDOW_S: Final = 1.0
"""So long a start may lose the signal: every program needs some time before its first instruction is run."""
TWICE_MIN_S: Final = 0.2
"""A stop that is over sooner has no room for a second signal."""
_CUT_SHORT: Final = 0.5
_LONG_S: Final = 1.0


def judge_start(settled: Observation, others: Sequence[Observation]) -> Iterator[Finding]:
    """Yield what stops during the start have shown. ``settled``: the run that was stopped once it was ready."""
    main, received_s = settled.main, settled.run.received_s
    if main is None or not main.disposition.receives:
        return  # it never does, and that has been said
    name = signal_name(settled.request.signal)
    if received_s is not None and received_s > WINDOW_S:
        lost = [seen for seen in others if seen.run.report is None and seen.main is not None]
        detail = f"PID 1 received {name} only {received_s:.1f} s after its start: a stop before that ends in SIGKILL"
        facts = tuple(
            f"run {seen.run.number}: {seen.run.stopped_s or 0.0:.2f} s after the start: {seen.main.disposition.value}"
            for seen in lost
            if seen.main is not None
        )
        remedy = replace(
            remedies.use_init(main),
            text="install the handler first of all, before anything is loaded or connected to; or run an init",
        )
        yield finding("BG012", settled, detail, remedy, about=[main.pid], facts=facts)
    stuck = [seen for seen in others if _is_stuck(seen)]
    if stuck and settled.run.report is not None and not was_killed(settled.run.report):
        at = ", ".join(f"{seen.run.stopped_s or 0.0:.2f} s" for seen in stuck)
        first = stuck[0]
        detail = f"stopped {at} after its start, it received {name} and ran on for the whole grace"
        text = "act on the signal at any moment: one that comes during the start must not be forgotten"
        found = finding("BG013", first, detail, remedies.in_program(text), about=[p.pid for p in first.look[:4]])
        yield replace(found, runs=tuple(seen.run.number for seen in stuck))


def _is_stuck(seen: Observation) -> bool:
    """Whether a stop during the start was killed though PID 1 received the signal, in each look since."""
    report = seen.run.report
    received = all(sample.main is None or sample.main.receives for sample in seen.samples)
    return report is not None and was_killed(report) and received


def judge_twice(settled: StopReport, seen: Observation) -> Finding | None:
    """Say whether a second signal has broken off a shutdown that is complete with one."""
    report, main = seen.run.report, seen.main
    if report is None or main is None or was_killed(report):
        return None
    name = signal_name(seen.request.signal)
    long_s, short_s = settled.duration_s, report.duration_s
    is_other_code = report.exit_code != settled.exit_code
    is_cut = long_s >= _LONG_S and short_s < _CUT_SHORT * long_s
    if not is_other_code and not is_cut:
        return None
    detail = (
        f"with one {name} it took {long_s:.1f} s and ended with exit code {settled.exit_code}; "
        f"with a second one it was gone after {short_s:.1f} s with exit code {report.exit_code}"
    )
    text = "once the shutdown has begun, ignore the signal: stops are asked for twice by people and by programs"
    line = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if program(main).startswith("python") else ""
    return finding("BG014", seen, detail, remedies.in_program(text, line.replace("SIGTERM", name)), about=[main.pid])


def judge_rest(seen: Observation) -> Finding | None:
    """Say whether processes that have ended are left as zombies."""
    if not seen.zombies:
        return None
    parents = {one.ppid for one in seen.zombies}
    by_pid = seen.tree.by_pid
    names = ", ".join(named(by_pid[pid]) if pid in by_pid else f"process {pid}" for pid in sorted(parents))
    first = ", ".join(f"{one.comm} ({one.pid})" for one in seen.zombies[:3])
    more = f" and {len(seen.zombies) - 3} more" if len(seen.zombies) > 3 else ""
    detail = f"{first}{more} ended, and {names} has not waited for them in a second and more"
    found = finding("BG022", seen, detail, remedies.reap(names), about=[])
    processes = tuple(map(seen_zombie, seen.zombies[:8]))
    return replace(found, evidence=Evidence(processes=processes))
