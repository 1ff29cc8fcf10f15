"""Where the time of a verb goes: runs it again and again with ``--trace``, and prints the medians of its spans.

Needs root. The traces themselves are for ui.perfetto.dev; this is the same in figures. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from machine import PROGRAMS

Figures = dict[str, list[float]]
VERBS = ("run", "ps", "stop", "rm")


def self_times(events: Iterable[dict[str, Any]]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return ms by name of a span without those inside it, ms by category, and how often each name came.

    Programs that were started have tracks of their own: what waits for them is a span, too.
    """
    own: Counter[str] = Counter()
    by_category: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    labelled = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X" and (event["pid"], event["tid"]) not in labelled:
            tracks[event["pid"], event["tid"]].append(event)
    for spans in tracks.values():
        open_spans: list[dict[str, Any]] = []
        for span in sorted(spans, key=lambda e: (e["ts"], -e["dur"])):
            while open_spans and open_spans[-1]["ts"] + open_spans[-1]["dur"] <= span["ts"]:
                open_spans.pop()
            if open_spans:
                own[open_spans[-1]["name"]] -= span["dur"] / 1000
                by_category[open_spans[-1]["cat"]] -= span["dur"] / 1000
            own[span["name"]] += span["dur"] / 1000
            by_category[span["cat"]] += span["dur"] / 1000
            calls[span["name"]] += 1
            open_spans.append(span)
    return own, by_category, calls


def one_life(program: str, base: Path, name: str, flags: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Run, list, stop and remove one container; return the events of each verb."""
    found = {}
    shell = ["/bin/sh", "-c", PROGRAMS["responsive"]]
    for verb in VERBS:
        words = {"run": ["run", "-d", "--name", name, *flags, "host", *shell], "ps": ["ps"]}.get(verb, [verb, name])
        trace = base / "trace.json"
        roots = ["--root", str(base / "l"), "--run-root", str(base / "r")]
        subprocess.run([program, *roots, "--trace", str(trace), *words], check=True, stdout=subprocess.DEVNULL)
        found[verb] = json.loads(trace.read_text())
    return found


def table(title: str, figures: Figures, calls: Counter[str], rounds: int, least_ms: float) -> list[str]:
    """Return the lines of a table, the largest first; a span that some round did not have is nothing there."""
    rows = [(statistics.median(values + [0.0] * (rounds - len(values))), name) for name, values in figures.items()]
    lines = [title]
    for value, name in sorted(rows, reverse=True):
        if value >= least_ms:
            lines.append(
                f"  {value:8.2f}  {calls[name] / rounds:5.1f} x  {name}" if calls else f"  {value:8.2f}  {name}"
            )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bento", default=str(Path(sys.executable).with_name("bento")), help="the program to look at")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--least", type=float, default=0.3, help="leave out spans that take less, ms (default 0.3)")
    parser.add_argument("--verb", choices=VERBS, action="append", help="of these alone")
    parser.add_argument("--run", default="--network none", help="options of run (default --network none)")
    options = parser.parse_args()
    own: dict[str, Figures] = {verb: defaultdict(list) for verb in VERBS}
    categories: dict[str, Figures] = {verb: defaultdict(list) for verb in VERBS}
    calls: dict[str, Counter[str]] = {verb: Counter() for verb in VERBS}
    with tempfile.TemporaryDirectory(prefix="bento-where-") as base:
        for number in range(options.rounds):
            for verb, events in one_life(options.bento, Path(base), f"w{number}", options.run.split()).items():
                by_name, by_category, count = self_times(events)
                calls[verb].update(count)
                for figures, found in ((own[verb], by_name), (categories[verb], by_category)):
                    for name, value in found.items():
                        figures[name].append(value)
    for verb in options.verb or VERBS:
        lines = table(f"{verb}: by category (ms)", categories[verb], Counter(), options.rounds, 0.0)
        lines += table(f"{verb}: without what is inside (ms)", own[verb], calls[verb], options.rounds, options.least)
        print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
