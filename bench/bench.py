"""Compare Bento with the engines found on this machine, interleaved in one run. See README.md beside this file.

Needs root. Uses the standard library and, to leave nothing behind and to prove it, the tests' reaper and leak check.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from machine import PROGRAMS, Failed, HiddenUnified, facts, make_rootfs, monitors_memory_kib, timed  # noqa: E402
from peers import Peer, find  # noqa: E402

from support.leaks import LeakWatch, remove_tree  # noqa: E402
from support.reaper import run_under_reaper  # noqa: E402

Samples = dict[str, dict[str, list[float]]]  # metric -> peer -> values

SHELL = "/bin/sh"
SETTLE_S = 0.3
"""After a start, before a stop: the program must have installed its trap, else every engine waits its whole grace."""

UNITS = {"memory": "KiB", "memory-pss": "KiB"}
TITLES = {
    "cli": "command line start",
    "run": "run -d",
    "ps": "ps",
    "exec": "exec true",
    "run-it": "run -it --rm true",
    "stop": "stop, exits at once",
    "rm": "rm",
    "stop-20": "stop of 20",
    "stop-20-1s": "stop of 20, 1 s each",
    "wrapper": "stop of a shell wrapper",
    "memory": "RSS outside, per container",
    "memory-pss": "PSS outside, per container",
}
# metric, peer prefix, at most this many times the peer's median (design budgets); same runtime
BUDGETS = (
    ("stop", "podman/", 0.5),
    ("run", "podman/", 0.6),
    ("ps", "podman/", 0.7),
    ("stop-20", "podman/", 0.25),
)
ZYGOTE_BUDGETS = (
    ("ps", "docker", 1.15),
    ("rm", "docker", 1.15),
    ("stop", "docker", 0.6),
    ("stop", "podman/", 0.25),
    ("run", "podman/", 0.7),
)
"""The same where a zygote carries the commands out."""


class Bench:
    """The scenarios; each peer goes through each in random order, round by round."""

    def __init__(self, peers: list[Peer], *, rounds: int, many: int, slow_rounds: int) -> None:
        self.peers = peers
        self.rounds = rounds
        self.slow_rounds = slow_rounds
        self.many = many
        self.samples: Samples = {metric: {} for metric in TITLES}
        self.failed: dict[str, str] = {}
        self._count = 0

    def run(self) -> None:
        self._repeat("life of one", self.rounds, self._life)
        self._repeat(f"stop of {self.many}", self.slow_rounds, self._stop_many)
        self._repeat(f"stop of {self.many}, 1 s each", self.slow_rounds, self._stop_many_slow)
        self._repeat("shell wrapper", max(1, self.slow_rounds // 2), self._wrapper)

    def _repeat(self, title: str, rounds: int, scenario: Callable[[Peer], None]) -> None:
        for number in range(rounds):
            note(f"{title}: round {number + 1} of {rounds}")
            for peer in random.sample(self.peers, len(self.peers)):
                if peer.name in self.failed:
                    continue
                try:
                    scenario(peer)
                except Failed as problem:
                    self.failed[peer.name] = f"{title}: {problem}"
                    note(f"{peer.name} is out: {problem}")

    def _add(self, metric: str, peer: Peer, value: float) -> None:
        self.samples[metric].setdefault(peer.name, []).append(round(value, 3))

    def _names(self, count: int) -> list[str]:
        self._count += count
        return [f"bench{os.getpid()}n{self._count - index}" for index in range(count)]

    def _start(self, peer: Peer, names: list[str], command: list[str]) -> list[float]:
        done = [peer.run(name, command) for name in names]
        time.sleep(SETTLE_S)
        return [one.ms for one in done]

    def _life(self, peer: Peer) -> None:
        self._add("cli", peer, peer.start_up())
        names = self._names(1)
        started = self._start(peer, names, [SHELL, "-c", PROGRAMS["responsive"]])
        self._add("run", peer, started[0])
        self._add("ps", peer, peer.list())
        if peer.has_monitor:
            self._add("exec", peer, peer.enter(names[0], ["true"]))
            self._add("run-it", peer, peer.run_at_terminal(self._names(1)[0], ["true"]))
        self._add("stop", peer, peer.stop(names))
        removed = peer.remove(names)
        if peer.has_monitor:
            self._add("rm", peer, removed)

    def _stop_many(self, peer: Peer) -> None:
        names = self._names(self.many)
        done = [peer.run(name, [SHELL, "-c", PROGRAMS["responsive"]]) for name in names]
        time.sleep(SETTLE_S)
        if peer.has_monitor:
            rss, pss = monitors_memory_kib([one.stdout.strip() for one in done])
            self._add("memory", peer, rss / len(names))
            self._add("memory-pss", peer, pss / len(names))
        self._add("stop-20", peer, peer.stop(names))
        peer.remove(names)

    def _stop_many_slow(self, peer: Peer) -> None:
        names = self._names(self.many)
        self._start(peer, names, [SHELL, "-c", PROGRAMS["one-second"]])
        self._add("stop-20-1s", peer, peer.stop(names))
        peer.remove(names)

    def _wrapper(self, peer: Peer) -> None:
        if not peer.has_monitor:
            return  # a bare runtime has no grace: its PID 1 would never end
        names = self._names(1)
        self._start(peer, names, [SHELL, "/start.sh"])
        self._add("wrapper", peer, peer.stop(names))
        peer.remove(names)


def medians(samples: Samples) -> dict[str, dict[str, float]]:
    return {
        metric: {peer: round(statistics.median(values), 2) for peer, values in by_peer.items()}
        for metric, by_peer in samples.items()
    }


def ratios(middle: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return Bento's medians as multiples of each peer's; same runtime where the peer has one."""
    found: dict[str, dict[str, float]] = {}
    for metric, by_peer in middle.items():
        for ours in (name for name in by_peer if name.startswith(("bento/", "bento+"))):
            runtime = ours.partition("/")[2]
            for peer, value in by_peer.items():
                if value and peer in (f"podman/{runtime}", f"raw {runtime}", "docker"):
                    found.setdefault(metric, {})[f"{ours} : {peer}"] = round(by_peer[ours] / value, 3)
    return found


def budgets(middle: dict[str, dict[str, float]], found: dict[str, dict[str, float]], many: int) -> list[str]:
    """Return one line per budget that could be judged in this run; those for 20 need 20."""
    lines = []
    for ours, budget in (("bento/", BUDGETS), ("bento+", ZYGOTE_BUDGETS)):
        for metric, prefix, limit in budget:
            if metric == "stop-20" and many != 20:
                continue
            for pair, ratio in found.get(metric, {}).items():
                if pair.startswith(ours) and f": {prefix}" in pair:
                    lines.append(
                        f"{'ok  ' if ratio <= limit else 'OVER'} {TITLES[metric]}: {pair} = {ratio} (at most {limit})"
                    )
    for peer, value in middle["stop-20-1s"].items():
        if peer.startswith("bento/") and many == 20:
            lines.append(
                f"{'ok  ' if value <= 1150 else 'OVER'} {TITLES['stop-20-1s']}: {peer} = {value} ms (at most 1150)"
            )
    return lines


def table(middle: dict[str, dict[str, float]], names: list[str], many: int) -> str:
    rows = [["median", *names]]
    for metric, title in TITLES.items():
        cells = [middle[metric].get(name) for name in names]
        title = title.replace("20", str(many))
        rows.append(
            [f"{title} ({UNITS.get(metric, 'ms')})", *("-" if cell is None else f"{cell:.1f}" for cell in cells)]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) if not index else cell.rjust(width) for index, (cell, width) in enumerate(pairs))
        for row in rows
        for pairs in [list(zip(row, widths, strict=True))]
    )


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def prepared(peers: list[Peer], rootfs: Path, left_out: dict[str, str]) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that can run a container here, and their versions; the others go into ``left_out``."""
    able, versions = [], {}
    for peer in peers:
        name = f"bench{os.getpid()}probe"
        try:
            peer.prepare(rootfs)
            peer.run(name, [SHELL, "-c", PROGRAMS["responsive"]])
            time.sleep(SETTLE_S)
            peer.stop([name])
            peer.remove([name])
            versions[peer.name] = peer.version()
            able.append(peer)
        except Failed as problem:
            left_out[peer.name] = str(problem)
            peer.close()
    return able, versions


def measure(options: argparse.Namespace, base: Path) -> dict[str, object]:
    hidden = HiddenUnified()
    peers: list[Peer] = []
    try:
        make_rootfs(base / "rootfs")
        candidates, left_out = find(options.bento, options.runtimes.split(","), base, hidden)
        peers, versions = prepared(candidates, base / "rootfs", left_out)
        for name, why in left_out.items():
            note(f"left out: {name}: {why}")
        rounds, slow = (3, 1) if options.quick else (options.rounds, 4)
        bench = Bench(peers, rounds=rounds, many=options.many, slow_rounds=slow)
        bench.run()
        bare = [timed([sys.executable, "-c", "pass"]).ms for _ in range(rounds)]
    finally:
        for peer in peers:
            peer.close()
        hidden.close()
    middle = medians(bench.samples)
    return {
        "machine": facts(versions),
        "many": bench.many,
        "left_out": left_out | bench.failed,
        "python_start_ms": round(statistics.median(bare), 2),
        "medians": middle,
        "ratios": ratios(middle),
        "budgets": budgets(middle, ratios(middle), bench.many),
        "samples": bench.samples,
    }


def show(result: dict[str, object]) -> None:
    middle = result["medians"]
    assert isinstance(middle, dict)
    names = sorted({name for by_peer in middle.values() for name in by_peer})
    many = result["many"]
    assert isinstance(many, int)
    print(table(middle, names, many))
    print(f"\na bare Python interpreter: {result['python_start_ms']} ms")
    print("\nBento as a multiple of")
    for metric, pairs in ratios(middle).items():
        print(f"  {TITLES[metric]}: " + ", ".join(f"{pair} {value}" for pair, value in pairs.items()))
    print("\nbudgets")
    for line in budgets(middle, ratios(middle), many):
        print(f"  {line}")
    left_out = result["left_out"]
    assert isinstance(left_out, dict)
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few rounds: minutes become half a minute")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of the life of one container (default 15)")
    parser.add_argument("--many", type=int, default=20, help="containers in the scenarios with many (default 20)")
    parser.add_argument("--runtimes", default="crun,runc", help="comma-separated (default crun,runc)")
    parser.add_argument("--bento", default=str(Path(sys.executable).with_name("bento")), help="the program to measure")
    parser.add_argument("--out", type=Path, help="write everything measured to this file, as JSON")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root, as the engines compared do")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bb-", dir=os.environ.get("BENTO_TEST_DIR", "/tmp")))
    watch = LeakWatch(base)
    try:
        result = measure(options, base)
    finally:
        leaks = watch.leaks()
        watch.sweep()
        remove_tree(base)
    show(result)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    for leak in leaks:
        note(f"left behind: {leak}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
