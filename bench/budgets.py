"""The budgets of the engine's speed, each measured beside what it is set against, all in one interleaved run.

The command lines of Bento, Podman, Docker and containerd; `bento serve` beside Docker's daemon; the library beside a
bare runtime. Wall and CPU time, medians. Needs root. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from arms import (  # noqa: E402
    ApiArm,
    Arm,
    BentoApi,
    BentoLine,
    CtrLine,
    DockerApi,
    DockerLine,
    InsideArm,
    Line,
    PodmanLine,
    ZygoteLine,
)
from machine import PROGRAMS, Failed, facts, make_rootfs  # noqa: E402

from support.leaks import LeakWatch, remove_tree  # noqa: E402
from support.reaper import run_under_reaper  # noqa: E402

SHELL = ["/bin/sh", "-c", PROGRAMS["responsive"]]
# row, ours, theirs, at most this many times the other's median
BUDGETS = (
    ("ps", "bento zygote", "docker", 1.15),
    ("rm", "bento zygote", "docker", 1.15),
    ("stop", "bento zygote", "docker", 0.6),
    ("stop", "bento zygote", "podman", 0.25),
    ("run -d", "bento zygote", "podman", 0.7),
    ("stop", "bento serve", "dockerd", 0.5),
    ("create+start", "bento serve", "dockerd", 0.4),
    ("list of many", "bento serve", "dockerd", 1.0),
    ("stop", "bento library", "bare runtime", 2.0),
)

ZYGOTE_MIB = 10.0

Samples = dict[str, dict[str, list[tuple[float, float | None]]]]


class Budgets:
    """What was measured, by row and arm: pairs of wall and CPU time in ms."""

    def __init__(self, arms: list[Arm], rounds: int) -> None:
        self.arms, self.rounds = arms, rounds
        self.samples: Samples = defaultdict(lambda: defaultdict(list))
        self.failed: dict[str, str] = {}
        self.zygote_mib: float | None = None

    def run(self, many: int, lists: int) -> None:
        """Go through the rows; each arm in random order before the next round begins."""
        for number in range(self.rounds):
            title, name = f"life: round {number + 1} of {self.rounds}", f"b{number}"
            self._each(title, partial(self._life, name=name))
        for arm in self.arms:
            if isinstance(arm, ZygoteLine) and arm.name not in self.failed:
                self.zygote_mib = arm.memory_mib()
        for arm in self.arms:
            if isinstance(arm, ApiArm) and arm.name not in self.failed:
                note(f"{arm.name}: {many} containers")
                for number in range(many):
                    arm.create(f"l{number}", SHELL)
        for number in range(lists):
            self._each(f"lists: round {number + 1} of {lists}", self._list)

    def _each(self, title: str, act: Callable[[Arm], None]) -> None:
        note(title)
        for arm in random.sample(self.arms, len(self.arms)):
            if arm.name in self.failed:
                continue
            try:
                act(arm)
            except (Failed, OSError) as problem:
                self.failed[arm.name] = f"{title}: {problem}"
                note(f"{arm.name} is out: {problem}")

    def _add(self, row: str, arm: Arm, work: Callable[[], float]) -> None:
        self.samples[row][arm.name].append(arm.enclosure.measure(work, arm.settle_s))

    def _life(self, arm: Arm, *, name: str) -> None:
        self._add(arm.start_row, arm, lambda: arm.start(name, SHELL))
        arm.settle()
        if isinstance(arm, Line | DockerLine):
            self._add("ps", arm, arm.ps)
        self._add("stop", arm, lambda: arm.stop(name))
        self._add("rm", arm, lambda: arm.remove(name))

    def _list(self, arm: Arm) -> None:
        if isinstance(arm, ApiArm):
            self._add("list of many", arm, arm.list_all)


def medians(samples: Samples) -> dict[str, dict[str, tuple[float, float | None]]]:
    """Return medians of wall and CPU time by row and arm."""
    found: dict[str, dict[str, tuple[float, float | None]]] = {}
    for row, arms in samples.items():
        for arm, pairs in arms.items():
            cpu = [used for _, used in pairs if used is not None]
            middle = statistics.median(cpu) if cpu else None
            found.setdefault(row, {})[arm] = (statistics.median(wall for wall, _ in pairs), middle)
    return found


def judged(middle: dict[str, dict[str, tuple[float, float | None]]]) -> list[str]:
    """Return a line for each budget that could be judged."""
    lines = []
    for row, ours, theirs, limit in BUDGETS:
        if ours not in middle.get(row, {}) or theirs not in middle.get(row, {}):
            continue
        (wall, cpu), (their_wall, their_cpu) = middle[row][ours], middle[row][theirs]
        ratio = wall / their_wall
        used = f", CPU time {cpu / their_cpu:.2f}" if cpu is not None and their_cpu else ""
        lines.append(
            f"{'ok  ' if ratio <= limit else 'OVER'} {row}: {ours} : {theirs} = {ratio:.2f} (at most {limit}){used}"
        )
    return lines


def show(middle: dict[str, dict[str, tuple[float, float | None]]]) -> None:
    """Print the medians."""
    for row, arms in middle.items():
        print(row)
        for arm, (wall, cpu) in sorted(arms.items(), key=lambda item: item[1][0]):
            print(f"  {arm:<16} {wall:8.1f} ms" + ("" if cpu is None else f"   CPU {cpu:8.1f} ms"))
    print("\nbudgets (wall time)")
    for line in judged(middle):
        print(f"  {line}")


def note(text: str) -> None:
    """Say it on stderr."""
    print(text, file=sys.stderr, flush=True)


def opened(base: Path, options: argparse.Namespace) -> tuple[list[Arm], dict[str, str]]:
    """Return the arms that this machine has, ready; and why the others are left out."""
    program, runtime = options.bento, options.runtime
    python = str(Path(program).resolve().with_name("python"))
    kinds: list[tuple[str, tuple[str, ...], Callable[[], Arm]]] = [
        ("bento", (runtime,), lambda: BentoLine(base / "b", program, runtime)),
        ("bento zygote", (runtime,), lambda: ZygoteLine(base / "z", program, runtime)),
        ("podman", ("podman", runtime), lambda: PodmanLine(base / "p", runtime)),
        ("docker", ("docker", "dockerd"), lambda: DockerLine(base / "d")),
        ("ctr", ("dockerd", "ctr"), lambda: CtrLine(base / "c")),
        ("bento serve", (runtime,), lambda: BentoApi(base / "s", program, runtime)),
        ("dockerd", ("docker", "dockerd"), lambda: DockerApi(base / "a")),
        ("bento library", (runtime,), lambda: InsideArm.library(base / "i", program, python, runtime)),
        ("bare runtime", (runtime,), lambda: InsideArm.bare(base / "x", sys.executable, runtime)),
    ]
    arms: list[Arm] = []
    left_out: dict[str, str] = {}
    wanted = options.only.split(",") if options.only else [name for name, _, _ in kinds]
    for name, programs, make in kinds:
        missing = [each for each in programs if shutil.which(each) is None]
        if name not in wanted or missing:
            left_out[name] = f"not installed: {', '.join(missing)}" if missing else "not asked for"
            continue
        note(f"opening {name}")
        arm = make()
        try:
            arm.open(base / "rootfs")
            arms.append(arm)
        except (Failed, OSError, AssertionError) as problem:
            left_out[name] = str(problem)
            arm.close()
    return arms, left_out


def measure(base: Path, options: argparse.Namespace) -> dict[str, object]:
    """Return all that was measured."""
    make_rootfs(base / "rootfs")
    arms, left_out = opened(base, options)
    budgets = Budgets(arms, options.rounds)
    try:
        budgets.run(options.many, options.lists)
    finally:
        for arm in arms:
            arm.close()
    middle = medians(budgets.samples)
    show(middle)
    if budgets.zygote_mib is not None:
        verdict = "ok  " if budgets.zygote_mib <= ZYGOTE_MIB else "OVER"
        print(f"  {verdict} memory of the zygote (PSS): {budgets.zygote_mib:.1f} MiB (at most {ZYGOTE_MIB:g})")
    for name, why in (left_out | budgets.failed).items():
        print(f"left out: {name}: {why}")
    return {
        "machine": facts({}), "medians": middle, "zygote_mib": budgets.zygote_mib, "budgets": judged(middle),
        "samples": budgets.samples,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bento", default=str(Path(sys.executable).with_name("bento")), help="the program to measure")
    parser.add_argument("--runtime", default="crun", help="of Bento and Podman (default crun); Docker's is its own")
    parser.add_argument("--rounds", type=int, default=15, help="lives of a container (default 15)")
    parser.add_argument("--many", type=int, default=500, help="containers in the lists (default 500)")
    parser.add_argument("--lists", type=int, default=15, help="lists (default 15)")
    parser.add_argument("--only", default="", help="comma-separated arms, such as 'bento,podman'")
    parser.add_argument("--out", type=Path, help="write everything measured to this file, as JSON")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root, as the engines compared do")
    run_under_reaper()
    base = Path(tempfile.mkdtemp(prefix="bu-", dir=os.environ.get("BENTO_TEST_DIR", "/tmp")))
    watch = LeakWatch(base)
    try:
        result = measure(base, options)
    finally:
        leaks = watch.leaks()
        watch.sweep()
        remove_tree(base)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    for leak in leaks:
        note(f"left behind: {leak}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
