"""The differential suite (rule S0): each workload is stopped plainly and by Bento, and what both saved is compared.

``PYTHONPATH=tests python -m differential.runner [--help]``; ``make differential`` runs all of it. The plain stop is
Docker's: the signal to PID 1 alone, the grace, SIGKILL. By default it is made from outside, without a line of the stop
under test; ``--plain bento`` asks ``bento stop --scope main`` for it instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from differential.workloads import (
    PROGRAMS,
    BadWorkloadError,
    Change,
    Piece,
    Workload,
    compare,
    judge_all,
    load_all,
    whole_text,
)

from support import leaks, procs, reaper, scratch
from support.cli import BentoCli, Roots

READY_S = 30.0
CLIENT_S = 6.0
"""How long a client outside may take to see the end of its connection."""
NEVER_S = 20.0
"""How long the plain stop waits with a grace of -1, before the runner tidies up."""
_PREPARED_STOP = """
import pathlib, sys
from bento.cli import main
main.load("stop")
pathlib.Path(sys.argv[1]).touch()
sys.stdin.readline()
main.main(sys.argv[2:])
"""
"""The command line with its modules loaded: on a busy machine that alone takes longer than a moment of a workload."""
RUNTIMES = ("crun", "runc")


class Case(NamedTuple):
    """One workload, to be stopped at one moment."""

    workload: Workload
    moment_s: float
    shell: str
    runtime: str
    number: int

    def __str__(self) -> str:
        shell = f", {self.shell}" if len(self.workload.shells) > 1 else ""
        return f"{self.workload.name} after {self.moment_s:g} s{shell}, {self.runtime}"


class Side(NamedTuple):
    """One stop of a case, and what it saved. ``error``: it could not be run, or the stop failed."""

    saved: dict[str, int]
    seconds: float
    verdict: str
    error: str = ""
    is_late: bool = False  # it had ended by itself when the stop came: on a busy machine moments slip


class Outcome(NamedTuple):
    """A case after both stops."""

    case: Case
    plain: Side
    bento: Side

    @property
    def error(self) -> str:
        return self.plain.error or self.bento.error

    @property
    def pieces(self) -> list[Piece]:
        return [] if self.error else compare(self.case.workload.saved, self.plain.saved, self.bento.saved)

    def changed(self, change: Change) -> list[Piece]:
        return [piece for piece in self.pieces if piece.change is change]

    @property
    def is_unexpected(self) -> bool:
        """Bento's verdict is none of those that the workload names."""
        expected = self.case.workload.verdicts
        return bool(expected) and not self.error and self.bento.verdict not in {verdict.value for verdict in expected}

    @property
    def is_late(self) -> bool:
        """One of the stops came when the work was over: this says nothing of how it was stopped."""
        return self.plain.is_late or self.bento.is_late

    @property
    def mark(self) -> str:
        """One word for the table."""
        if self.error:
            return "ERROR"
        if self.is_late and not self.changed(Change.LOST):
            return "late"
        if self.changed(Change.LOST):
            return "LOST"
        return "won" if self.changed(Change.WON) else "same"


# -- one stop -------------------------------------------------------------------------------------


class Suite:
    """Runs cases below a directory of its own."""

    def __init__(self, base: Path, *, plain: str = "outside", stop_flags: Sequence[str] = ()) -> None:
        self.base = base
        self.roots = Roots(base / "l", base / "r")
        self.plain = plain
        self.stop_flags = tuple(stop_flags)

    def run(self, cases: Sequence[Case], *, jobs: int, tell: bool = False) -> list[Outcome]:
        """Run both sides of all cases, so many at a time."""
        executor = ThreadPoolExecutor(jobs)
        try:
            sides = [
                [executor.submit(self.side, case, is_plain=is_plain) for is_plain in (True, False)] for case in cases
            ]
            outcomes = []
            for case, (plain, bento) in zip(cases, sides, strict=True):
                outcomes.append(Outcome(case, plain.result(), bento.result()))
                if tell and outcomes[-1].mark != "same":
                    print(f"{len(outcomes):4}/{len(cases)} {outcomes[-1].mark:5} {case}", file=sys.stderr, flush=True)
            return outcomes
        finally:
            # What runs ends its containers by itself; nothing new begins.
            executor.shutdown(cancel_futures=True)

    def side(self, case: Case, *, is_plain: bool) -> Side:
        """Run a workload, stop it one way, and look at what is left; nothing of it stays on the machine."""
        name = f"{'p' if is_plain else 'b'}{case.number}"
        place = self.base / name
        bento = BentoCli(self.roots, case.runtime)
        try:
            _lay_out(case, place)
            with contextlib.ExitStack() as stack:
                if case.workload.outside:
                    stack.enter_context(_client(case.workload.outside, place))
                    _wait_for(place / "outside-ready")
                pidfd = stack.enter_context(self._running(bento, case, name, place))
                return self._stop(bento, case, name, place, pidfd, is_plain=is_plain)
        except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as error:
            return Side({}, 0.0, "", f"{'plain' if is_plain else 'bento'}: {error}")
        finally:
            shutil.rmtree(place, ignore_errors=True)

    @contextlib.contextmanager
    def _running(self, bento: BentoCli, case: Case, name: str, place: Path) -> Iterator[int]:
        """Start the container; gives a descriptor of its PID 1, or -1 when that has ended already."""
        workload = case.workload
        try:
            bento(
                "run", "-d", "--name", name, "-w", "/s", "-v", f"{place}:/s", "-v", f"{PROGRAMS}:/p:ro",
                "-e", f"SH={case.shell}", *workload.run, "host", *workload.words(case.shell),
            )  # fmt: skip
            pidfd = _open_init(bento, name)
            try:
                yield pidfd
            finally:
                if pidfd >= 0:
                    os.close(pidfd)
        finally:
            removed = bento("rm", "-f", "-v", name, check=False)
            assert removed.returncode == 0 or "no such" in removed.stderr.lower(), str(removed)

    def _stop(
        self, bento: BentoCli, case: Case, name: str, place: Path, pidfd: int, *, is_plain: bool
    ) -> Side:  # fmt: skip
        workload = case.workload
        with contextlib.ExitStack() as clients:
            _wait_for(place / "ready")
            if workload.client:
                clients.enter_context(_client(workload.client, place))
                _wait_for(place / "client-ready")
            if workload.session:
                bento("exec", "-d", name, *workload.session)
                _wait_for(place / "session-ready")
            is_outside = is_plain and self.plain == "outside"
            stopper = None
            if not is_outside:
                stopper = clients.enter_context(self._stopper(bento, case, name, place, is_plain))
            # Now the work begins: what the runner itself had to do first takes no time from it.
            (place / "go").touch()
            time.sleep(case.moment_s)
            if workload.late_client:
                clients.enter_context(_client(workload.late_client, place))
            begun = time.monotonic()
            verdict = ""
            is_late = _has_ended(pidfd)
            if stopper is None:
                _stop_plainly(bento, workload, name, pidfd)
            else:
                verdict = _let_stop(stopper, workload)
            seconds = time.monotonic() - begun
        return Side(judge_all(workload, place), seconds, verdict, is_late=is_late or verdict == "already-exited")

    @contextlib.contextmanager
    def _stopper(
        self, bento: BentoCli, case: Case, name: str, place: Path, is_plain: bool
    ) -> Iterator[subprocess.Popen[str]]:  # fmt: skip
        """``bento stop``, started and about to stop: it waits for a line."""
        workload = case.workload
        # These containers are a second old, those of users hours: they are treated as such, but for start-ups.
        window = () if workload.is_young else ("--start-window", "0")
        flags = ("--scope", "main") if is_plain else (*window, *workload.stop, *self.stop_flags)
        said = place / "stop-ready"
        with subprocess.Popen(
            [
                sys.executable, "-c", _PREPARED_STOP, str(said), *bento.prefix[3:],
                "stop", "--format", "json", "-t", f"{workload.grace:g}", *flags, name,
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as stopper:  # fmt: skip
            try:
                _wait_for(said)
                yield stopper
            finally:
                stopper.kill()


def _lay_out(case: Case, place: Path) -> None:
    """Make the directory that the container sees as /s."""
    place.mkdir(parents=True)
    for name, text in {"program": case.workload.program, **case.workload.files}.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    for name in case.workload.before:
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(whole_text())


@contextlib.contextmanager
def _client(command: str, place: Path) -> Iterator[None]:
    """A program outside of the container, in its directory; awaited, and ended when it does not end by itself."""
    with subprocess.Popen(
        # A single command, so that the shell is the program when it has to be ended.
        ["/bin/sh", "-c", f"exec {command}"], cwd=place, env=os.environ | {"P": str(PROGRAMS)},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as client:  # fmt: skip
        try:
            yield
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(CLIENT_S)
        finally:
            client.kill()


def _wait_for(path: Path) -> None:
    procs.wait_until(path.exists, timeout_s=READY_S, what=f"the workload's file {path.name}")


def _open_init(bento: BentoCli, name: str) -> int:
    found = bento.inspect(name)
    pid = int(found["State"]["Pid"])
    if pid < 2:
        return -1
    try:
        pidfd = os.pidfd_open(pid)
        cgroup = Path(f"/proc/{pid}/cgroup").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return -1
    # Read after it was opened: so the descriptor is this container's, not that of a later process with the same pid.
    if found["Id"] in cgroup:
        return pidfd
    os.close(pidfd)
    return -1


def _let_stop(stopper: subprocess.Popen[str], workload: Workload) -> str:
    """Let a prepared ``bento stop`` go on; return its verdict."""
    out, err = stopper.communicate("\n", READY_S + (workload.grace if workload.grace >= 0 else NEVER_S))
    assert stopper.returncode == 0, f"stop: exit status {stopper.returncode}: {err}"
    return str(json.loads(out)[0]["report"]["verdict"])


def _has_ended(pidfd: int, within_s: float = 0.0) -> bool:
    return pidfd < 0 or bool(select.select([pidfd], [], [], within_s)[0])


def _stop_plainly(bento: BentoCli, workload: Workload, name: str, pidfd: int) -> None:
    """Docker's stop: the signal to PID 1, the grace, SIGKILL."""
    if pidfd < 0:
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    wait_s = workload.grace if workload.grace >= 0 else NEVER_S
    if not _has_ended(pidfd, wait_s):
        # It may end by itself at this very moment.
        bento("kill", name, check=False)
        assert _has_ended(pidfd, READY_S), f"{name} outlived SIGKILL"


# -- the whole suite ------------------------------------------------------------------------------


def plan(workloads: Sequence[Workload], *, moments: int = 3, is_full: bool = False) -> list[Case]:
    """Choose the cases: each workload at so many of its moments, shells and runtimes taking turns.

    ``is_full``: every shell and every runtime at each moment.
    """
    cases: list[Case] = []
    for place, workload in enumerate(workloads):
        # A single moment is the one in the middle.
        chosen = workload.moments if moments >= len(workload.moments) else workload.moments[1 : 1 + moments]
        for turn, moment_s in enumerate(chosen):
            shells = workload.shells if is_full else (workload.shells[(place + turn) % len(workload.shells)],)
            runtimes = RUNTIMES if is_full else (RUNTIMES[(place + turn) % 2],)
            cases += [
                Case(workload, moment_s, shell, runtime, len(cases) + number)
                for number, (shell, runtime) in enumerate((s, r) for s in shells for r in runtimes)
            ]
    return cases


def table(outcomes: Sequence[Outcome]) -> str:
    """One line for each workload, then what was lost and won, then the figures."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.case.workload.name, []).append(outcome)
    width = max(map(len, by_name))
    lines = [f"{'workload':{width}}  {'at each moment':23} {'plain':>6} {'Bento':>6}  verdicts"]
    for name, mine in by_name.items():
        marks = " ".join(f"{outcome.mark:5}" for outcome in mine)
        plain_s, bento_s = max(o.plain.seconds for o in mine), max(o.bento.seconds for o in mine)
        verdicts = ", ".join(dict.fromkeys(outcome.bento.verdict for outcome in mine if outcome.bento.verdict))
        lines.append(f"{name:{width}}  {marks:23} {plain_s:5.1f}s {bento_s:5.1f}s  {verdicts}")
    lines += _details(outcomes)
    return "\n".join([*lines, "", figures(outcomes)])


def _details(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for title, change in (("lost by Bento, saved plainly", Change.LOST), ("saved by Bento, lost plainly", Change.WON)):
        found = [(outcome, pieces) for outcome in outcomes if (pieces := outcome.changed(change))]
        lines += ["", f"{title}:"] if found else []
        lines += [f"  {o.case}, {o.bento.verdict}: {', '.join(map(str, pieces))}" for o, pieces in found]
    others = {
        "errors": [f"  {o.case}: {o.error}" for o in outcomes if o.error],
        "other verdicts than the workload names": [
            f"  {o.case}: {o.bento.verdict}" for o in outcomes if o.is_unexpected
        ],
        "nothing saved by either at any moment, or always too late: these prove nothing today": [
            f"  {name}" for name in idle(outcomes)
        ],
    }
    for title, found_lines in others.items():
        lines += ["", f"{title}:", *found_lines] if found_lines else []
    return lines


def idle(outcomes: Sequence[Outcome]) -> list[str]:
    """The workloads of which no stop that came in time has saved anything."""
    best: Counter[str] = Counter()
    for outcome in outcomes:
        kept = sum(outcome.plain.saved.values()) + sum(outcome.bento.saved.values())
        best[outcome.case.workload.name] += 0 if outcome.is_late else kept
    return [name for name, sum_ in best.items() if sum_ == 0]


def figures(outcomes: Sequence[Outcome]) -> str:
    """The figures of a run, in one line."""
    pieces = [piece for outcome in outcomes for piece in outcome.pieces]
    changes = Counter(piece.change for piece in pieces)
    names = {outcome.case.workload.name for outcome in outcomes}
    losing = {outcome.case.workload.name for outcome in outcomes if outcome.changed(Change.LOST)}
    winning = {outcome.case.workload.name for outcome in outcomes if outcome.changed(Change.WON)}
    errors = sum(bool(outcome.error) for outcome in outcomes)
    late = sum(outcome.is_late for outcome in outcomes)
    graceful = sum(outcome.bento.verdict in ("graceful", "forwarded", "already-exited") for outcome in outcomes)
    return (
        f"{len(names)} workloads, {len(outcomes)} comparisons, {len(pieces)} pieces of evidence: "
        f"{changes[Change.LOST]} lost by Bento and saved plainly (in {len(losing)} workloads), "
        f"{changes[Change.WON]} saved by Bento and lost plainly (in {len(winning)}), "
        f"{errors} errors, {late} came too late to mean anything; {graceful} stops of Bento were graceful"
    )


def record(outcome: Outcome) -> dict[str, Any]:
    """A comparison for ``--out``, so that two runs can be compared."""
    case = outcome.case
    return {
        "workload": case.workload.name,
        "moment_s": case.moment_s,
        "shell": case.shell,
        "runtime": case.runtime,
        "result": outcome.mark.lower(),
        "plain": outcome.plain._asdict(),
        "bento": outcome.bento._asdict(),
    }


def has_failed(outcomes: Sequence[Outcome]) -> bool:
    """Whether anything was lost, or could not be compared."""
    return any(outcome.error or outcome.changed(Change.LOST) for outcome in outcomes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="differential", description="stop workloads plainly and by Bento")
    parser.add_argument("names", nargs="*", metavar="WORKLOAD", help="some workloads (default: all)")
    parser.add_argument("--short", action="store_true", help="the short run of CI: some workloads at one moment")
    parser.add_argument("--full", action="store_true", help="every shell and runtime at each moment")
    parser.add_argument("--moments", type=int, default=3, metavar="N", help="at so many moments (default 3)")
    parser.add_argument("--jobs", type=int, default=8, metavar="N", help="so many stops at a time (default 8)")
    parser.add_argument("--plain", choices=["outside", "bento"], default="outside", help="what makes the plain stop")
    parser.add_argument("--stop-flag", action="append", default=[], metavar="FLAG", help="one more for Bento's stop")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what each stop saved, as JSON")
    parser.add_argument("--strict", action="store_true", help="a verdict that a workload does not name fails too")
    return parser


def _end_in_order(number: int, frame: object) -> None:
    """End as Ctrl-C does, so that the containers are removed; a second signal must not interrupt that."""
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def _has_scope() -> bool:
    helped = subprocess.run(
        [sys.executable, "-m", "bento", "stop", "--help"], capture_output=True, text=True, check=True
    )
    return "--scope" in helped.stdout


def main(words: Sequence[str] | None = None) -> int:
    """Run the suite as a program of its own; return its exit status."""
    chosen = _parser().parse_args(words)
    try:
        workloads = load_all()
    except BadWorkloadError as error:
        print(f"differential: {error}", file=sys.stderr)
        return 2
    unknown = set(chosen.names) - {workload.name for workload in workloads}
    if unknown:
        print(f"differential: no workload is named {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    workloads = [w for w in workloads if w.name in (chosen.names or [w.name]) and (w.is_short or not chosen.short)]
    if chosen.plain == "bento" and not _has_scope():
        print("differential: this bento stop has no --scope; use --plain outside", file=sys.stderr)
        return 2
    for workload in workloads:
        if workload.missing:
            print(f"left out: {workload.name} needs {', '.join(workload.missing)}", file=sys.stderr)
    workloads = [workload for workload in workloads if not workload.missing]
    reaper.run_under_reaper()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_in_order)
    session = Path(tempfile.mkdtemp(prefix="bt-", dir=scratch.writable_by_overlay()))
    base = session / "t0"
    base.mkdir()
    watch = leaks.LeakWatch(base)
    suite = Suite(base, plain=chosen.plain, stop_flags=chosen.stop_flag)
    watch.roots += suite.roots
    begun = time.monotonic()
    outcomes: list[Outcome] = []
    try:
        cases = plan(workloads, moments=1 if chosen.short else chosen.moments, is_full=chosen.full)
        outcomes = suite.run(cases, jobs=chosen.jobs, tell=True)
    except KeyboardInterrupt:
        print("differential: ended before it was done", file=sys.stderr)
        return 130
    finally:
        left = watch.leaks() + watch.files()
        if left:
            print("left behind:\n  " + "\n  ".join(left), file=sys.stderr)
            watch.sweep()
        leaks.remove_tree(session)
    if chosen.out:
        chosen.out.write_text(json.dumps([record(outcome) for outcome in outcomes], indent=1) + "\n")
    print(table(outcomes), f"in {time.monotonic() - begun:.0f} s")
    is_bad = has_failed(outcomes) or bool(left) or (chosen.strict and any(o.is_unexpected for o in outcomes))
    return 1 if is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
