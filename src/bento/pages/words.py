"""The words of a report in plain English."""

from __future__ import annotations

from typing import Final

from bento.model.stop import UNSEEN, Occasion, ProcessEnd, Signalled, StopReport, Verdict

GOOD, FAIR, BAD = "good", "fair", "bad"
"""Classes of the style for a result. A sign and a word always stand beside the colour."""
SIGNS: Final = {GOOD: "✓", FAIR: "!", BAD: "✕"}

_VERDICTS: Final = {
    Verdict.GRACEFUL: "it ended by itself",
    Verdict.FORWARDED: "its program ended by itself, once Bento had signalled that in PID 1's place",
    Verdict.ALREADY_EXITED: "it had ended before the stop began",
    Verdict.LAST_CALL: "it ended only after the last call",
    Verdict.CUT_SHORT: "PID 1 left, and a program was cut short with it",
    Verdict.DEFAULT_ACTION: "it could not receive the signal, and was ended",
    Verdict.KILLED: "it was killed",
    Verdict.STUCK: "the stop did not come to its end",
}

_RECEIVES: Final = {
    "handled": "has a handler for it",
    "blocked": "blocks it, to read it from a signalfd or by sigwait",
    "waiting": "waits for it in sigwait",
    "ignored": "ignores it",
    "default": "has no handler: the default action ends it",
    "dropped": "has no handler, and the kernel keeps the default action from a PID 1: the signal is dropped",
    "unknown": "could not be read",
    "gone": "had ended already",
    UNSEEN: "began, and was killed, between two looks",
}


_PHASES: Final = {
    "drain": "new connections are refused",
    "hooks": "commands before the signal",
    "signal": "from the first signal, or the request to PID 1, on",
    "reaction": "from the first sign on that the signal was noticed",
    "exit hold": "PID 1 would leave; it is held while others still end",
    "last call": "shortly before the end of the grace: what has got no signal yet gets it",
    "last call made": "from the last call on",
    "kill": "SIGKILL to all that is left",
    "stuck": "SIGKILL has not helped",
    "exit": "PID 1 was seen gone",
    "log drain": "the last output is written to the log",
    "runtime": "the runtime deletes the container",
    "cgroup": "the cgroups are removed",
    "network": "the network is taken down",
    "unmount": "the root filesystem is released",
    "post-stop": "commands after the clean-up",
    "record": "the end is written down",
}


def phase(name: str) -> str:
    """Return what a phase is; "" for one that is not known here."""
    return _PHASES.get(name, "")


def verdict(report: StopReport) -> str:
    """Return what a verdict means, in half a sentence."""
    return _VERDICTS[report.verdict]


def level(report: StopReport) -> str:
    """Return how good an end it was: GOOD, FAIR or BAD."""
    if report.verdict in (Verdict.KILLED, Verdict.STUCK, Verdict.CUT_SHORT) or report.errors:
        return BAD
    return GOOD if report.is_graceful and not report.is_slow else FAIR


def receives(disposition: str) -> str:
    """Return what the stop signal would do to a process: what its masks say."""
    return _RECEIVES.get(disposition, disposition or "not known")


def ending(process: ProcessEnd) -> str:
    """Return how a process has ended."""
    match process.how:
        case "exited":
            return f"exited {process.code}"
        case "signalled":
            return f"ended by signal {process.code}"
        case "killed-by-us":
            return "killed by Bento"
        case "killed-with-pid-1":
            return "killed by the kernel when PID 1 left"
        case "alive":
            return "still alive"
        case _:
            return "ended, exit status not known"


def short_ending(process: ProcessEnd) -> str:
    """The same where there is little room."""
    match process.how:
        case "signalled":
            return f"signal {process.code}"
        case "killed-with-pid-1":
            return "killed with PID 1"
        case "exited" | "killed-by-us" | "alive":
            return ending(process)
        case _:
            return "ended"


def at_exit_s(signalled: Signalled | None, report: StopReport) -> float | None:
    """Return when PID 1 was held at its exit; None for every other process, and where it was not."""
    is_main = signalled is not None and signalled.occasion is Occasion.INIT
    return next((phase.start_s for phase in report.phases if is_main and phase.name == "exit hold"), None)


def grace(report: StopReport) -> str:
    """Return how long the container had."""
    return "no limit: it is never killed" if report.grace_s < 0 else f"{report.grace_s:g} s"


def exit_code(report: StopReport) -> str:
    """Return the exit code."""
    return "not known" if report.exit_code is None else str(report.exit_code)
