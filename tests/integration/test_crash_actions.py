"""Rule S6 on real processes: what drives a stop is killed before and after every single action of the machine.

Each scenario is run once undisturbed, which tells its actions; then once for each point between them, all in roots of
their own. Afterwards another command meets the container, with ``ps``, ``stop`` or ``wait``, and the end is compared.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
from msgspec import Struct

from bento import CreateOptions, Engine, Settings, clock
from bento.errors import NotFound
from bento.model.container import Container, Files, Mount, Ports, RestartPolicy, Status
from bento.model.image import Image, ImageConfig
from bento.model.network import Port
from bento.model.reference import parse
from bento.stop.actions import Action
from bento.stop.states import Step

from support import inits, leaks, procs
from support.cli import BentoCli, Roots
from support.netns import Netns
from support.workload import PYTHON, Share, assert_nothing_held

CRASH_AT = Path(__file__).parents[1] / "support/crash_at.py"
GRACE_S = 12.0
LOST_GRACE_S = 1.5  # or with hooks, which have to fit into it
LOST_GRACE_HOOKED_S = 6.0
"""A telling that is recorded and not sent is never made good, as twice would be worse: the grace runs out."""
LIMIT_S = 60.0
AT_ONCE = 8
REPEATS = 2
"""Of an action that is repeated for as long as something lasts, so many are points of their own."""
OF_OTHER_ENGINES = {"AskEngine"}
"""In test_foreign_engines.py."""
CANNOT_BE_TWICE = ("SendSignal", "RequestInit", "RunHook")

COUNT = """
import os, signal, sys, time
def told(number, frame):
    fd = os.open("/s/told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"%d\\n" % number)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, told)
open("/s/ready", "w").close()
while not os.path.exists("/s/told"):
    time.sleep(0.01)
time.sleep(0.1)
os._exit(0)
"""
"""Counts what it is told, and ends 0.1 s after the first."""
IGNORE = "trap '' TERM; touch /s/ready; sleep 1000 & wait"
LAST_CALL = f"(setsid /bin/sh -c '/bin/sleep 1000; echo x >> /s/told' &)\n{PYTHON} /s/near.py\nexit $?\n"
NEAR = """
import os, signal, sys, time
def told(number, frame):
    with open("/s/near", "a") as file:
        file.write("told\\n")
    while not os.path.exists("/s/told"):
        time.sleep(0.01)
    os._exit(0)
signal.signal(signal.SIGTERM, told)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
WAIT = """
import os, signal, time
def told(number, frame):
    open("/s/told", "a").write("told\\n")
    time.sleep(0.1)
    os._exit(0)
signal.signal(signal.SIGTERM, told)
open("/s/ready", "w").close()
while True:
    signal.pause()
"""
LEAVER = f"trap 'exit 3' TERM; (trap - TERM; {PYTHON} /s/wait.py; true) & wait"
_COUNTS = (PYTHON, "/s/count.py")


class Scenario(Struct, frozen=True, kw_only=True):
    """A container, how it is stopped, and what is to be seen without a crash."""

    covers: frozenset[str]  # labels of the actions that it is here for
    verdict: str
    command: tuple[str, ...] = _COUNTS
    options: dict[str, object] = {}
    stop: tuple[str, ...] = ()
    verb: str = "stop"
    grace_s: float = GRACE_S
    markers: tuple[str, ...] = ()  # files that get one line each, and never a second
    code: int = 0  # of the container
    down_s: float = 0.0  # between the crash and the process that goes on
    may_also: tuple[str, ...] = ()  # verdicts of one that is gone on with too late for the undisturbed one
    prepare: Callable[[Engine, Container], contextlib.AbstractContextManager[None]] | None = None
    """Lasts until another command goes on with the stop."""


@contextlib.contextmanager
def paused(engine: Engine, container: Container) -> Iterator[None]:
    engine.pause(container.id)
    yield


@contextlib.contextmanager
def unreaped(engine: Engine, container: Container) -> Iterator[None]:
    """PID 1 cannot end while a process that was put into its PID namespace is not waited for by its parent."""
    assert container.run is not None
    assert container.run.init is not None
    words = ["nsenter", "-t", str(container.run.init.pid), "-p", "sleep", "1000"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as parent:
        try:
            procs.wait_until(lambda: procs.descendants(parent.pid) != [], what="a process put in from outside")
            os.kill(parent.pid, signal.SIGSTOP)
            yield
        finally:
            os.kill(parent.pid, signal.SIGCONT)
            parent.terminate()
            for process in procs.descendants(parent.pid):
                procs.kill(process)


def actions(*names: str) -> frozenset[str]:
    return frozenset(names)


_CLEAN = {f"RunStep({step.value})" for step in Step if step is not Step.HOOKS}  # whose actions are RunHook
SCENARIOS = {
    "graceful": Scenario(
        covers=actions("Persist", "Look", "SendSignal", *_CLEAN), verdict="graceful", markers=("told",)
    ),
    "forwarded": Scenario(
        covers=actions("Look", "SendSignal", "HoldBack", "LetGo", "KillInit"), verdict="forwarded", markers=("told",),
        command=("/bin/sh", "-c", f"{PYTHON} /s/count.py; exit $?"),
        may_also=("graceful", "cut-short"),
    ),
    "exit hold": Scenario(
        covers=actions("WatchInit", "SendSignal", "HoldBack", "LetGo"), verdict="graceful", may_also=("cut-short",),
        markers=("told",), command=("/bin/sh", "-c", LEAVER), code=3,
    ),
    "trap": Scenario(
        covers=actions("WatchInit", "SendSignal"), verdict="graceful", may_also=("killed",), markers=("told",),
        command=("/bin/sh", "-c", "trap 'echo x >> /s/told; exit 4' TERM; touch /s/ready; sleep 1000"), code=4,
        grace_s=3.0,
    ),
    "hooks": Scenario(
        covers=actions("RunHook"), verdict="graceful", markers=("inside", "host", "after", "told"),
        stop=(
            "--pre-stop", "echo x >> /s/inside", "--pre-stop-host", "echo x >> {share}/host",
            "--pre-stop-sleep", "0.05", "--post-stop-host", "echo x >> {share}/after",
        ),
    ),
    "hooks that take too long": Scenario(
        covers=actions("RunHook", "KillHook"), verdict="graceful", markers=("inside", "host", "told"),
        stop=(
            "--hook-timeout", "2", "--pre-stop", "echo x >> /s/inside; sleep 1000",
            "--pre-stop-host", "echo x >> {share}/host; sleep 1000",
        ),
    ),
    "grace over": Scenario(
        covers=actions("KillAll"), verdict="killed", command=("/bin/sh", "-c", IGNORE), grace_s=1.2, code=137,
        down_s=0.6,
    ),
    "dropped": Scenario(
        covers=actions("KillInit"), verdict="default-action", code=137,
        command=("/bin/sh", "-c", "touch /s/ready; exec sleep 1000"),
        stop=("--start-window", "0"),
    ),
    "paused": Scenario(
        covers=actions("Thaw"), verdict="graceful", markers=("told",), stop=("--paused", "thaw"), prepare=paused
    ),
    "last call": Scenario(
        covers=actions("SendSignal"), verdict="last-call", may_also=("killed",), markers=("near", "told"), grace_s=3.0,
        command=("/bin/sh", "-c", LAST_CALL), stop=("--last-call", "2"),
    ),
    "an init": Scenario(
        covers=actions("Identify", "RequestInit"), verdict="graceful", options={"system": True, "image": "box"},
        command=(), code=130,
    ),
    "a command inside": Scenario(
        covers=actions("RequestInit"), verdict="graceful", markers=("told",), stop=("--stop-command", "kill -USR1 1")
    ),
    "stuck": Scenario(
        covers=actions("ReportStuck"), verdict="killed", command=("/bin/sh", "-c", IGNORE), grace_s=0.0, code=137,
        stop=("--kill-timeout", "0.35"), prepare=unreaped,
    ),
    "deleted at its end": Scenario(
        covers=actions(*_CLEAN), verdict="", markers=("told",), options={"auto_remove": True}
    ),
    "restarted by a policy": Scenario(
        covers=actions(*_CLEAN), verdict="graceful", markers=("told",),
        options={"restart": RestartPolicy(name="always")},
    ),
    "restarted by hand": Scenario(covers=actions(*_CLEAN), verdict="graceful", markers=("told",), verb="restart"),
    "published ports": Scenario(
        covers=actions("Drain", f"RunStep({Step.NETWORK.value})"), verdict="graceful", markers=("told",),
        options={"network": "bridge", "ports": Ports(published=(Port(container_port=80),))}, stop=("--drain",),
    ),
}  # fmt: skip


class Point(NamedTuple):
    """Where the driver is killed."""

    when: str
    label: str
    nth: int
    lost: str = ""  # what must not happen twice, is recorded by then, and has not happened

    def __str__(self) -> str:
        return f"{self.when} {self.label} {self.nth}"


NOWHERE = Point("before", "-", 0)


def points_of(trace: Sequence[Sequence[str]]) -> list[Point]:
    """Every place between two actions, once: after one is before the next one of its batch."""
    seen: Counter[str] = Counter()
    found = []
    for batch in trace:
        for place, label in enumerate(batch):
            seen[label] += 1
            if seen[label] > REPEATS and label in ("Look", "KillAll"):
                continue
            if place == 0:
                found.append(Point("before", label, seen[label]))
            found.append(Point("after", label, seen[label], lost_after(batch[: place + 1], batch[place + 1 :])))
    return found


def lost_after(done: Sequence[str], rest: Sequence[str]) -> str:
    """What no process will do any more when a batch ends here: it is recorded as done, or maybe done."""
    return next((label for label in rest if label in CANNOT_BE_TWICE), "") if "Persist" in done else ""


def tracer_points_of(trace: Sequence[Sequence[str]]) -> list[Point]:
    """The same for the tracer's process, which is there from the first request for it on."""
    points = points_of(trace)
    first = next(n for n, point in enumerate(points) if point.label in ("WatchInit", "HoldBack"))
    found = [point._replace(when=f"tracer-{point.when}", lost="") for point in points[first:]]
    return [point for point in found if not point.label.startswith("RunStep")]


def is_told_apart(scenario: Scenario, point: Point) -> bool:
    """The steps of the clean-up are the same in most scenarios; only some are there for them."""
    return point.label in scenario.covers or not point.label.startswith("RunStep")


class Trial:
    """One container of a scenario, from its start to its removal."""

    def __init__(self, base: Path, scenario: Scenario, point: Point, number: int, box: Path) -> None:
        base.mkdir()
        self.scenario, self.point = scenario, point
        self.how = ("ps", "stop", "wait")[number % 3]
        self.bento = BentoCli(Roots(base / "l", base / "r"), ("crun", "runc")[number // 3 % 2])
        self.trace_file = base / "trace"
        self.share = Share(base / "s")
        self.share.script("count.py", COUNT)
        self.share.script("near.py", NEAR)
        self.share.script("wait.py", WAIT)
        self.box = box
        lost_s = LOST_GRACE_HOOKED_S if "RunHook" in scenario.covers else LOST_GRACE_S
        self.grace_s = lost_s if point.lost in ("SendSignal", "RequestInit") else scenario.grace_s
        self.identifier = ""
        self.begun_boot_s = 0.0
        self.was_killed = False

    def run(self) -> None:
        """Go through it; one with a network has a host of its own for that."""
        if "network" not in self.scenario.options:
            self._run_here()
            return
        host = Netns()
        try:
            before = host.state()
            host.inside(self._run_here)
            procs.wait_until(lambda: host.state() == before, what="links and rules to be gone", every_s=0.1)
        finally:
            host.close()

    def _run_here(self) -> None:
        root, run_root = self.bento.roots
        with Engine(Settings(root=root, run_root=run_root, runtime=self.bento.runtime)) as engine:
            try:
                self._run(engine)
            finally:
                with contextlib.suppress(NotFound):
                    engine.remove(self.identifier, force=True)

    def _run(self, engine: Engine) -> None:
        container = self._start(engine)
        prepare = self.scenario.prepare
        with prepare(engine, container) if prepare else contextlib.nullcontext():
            self.begun_boot_s = clock.boot_s()
            code, said = self._stop(sys.executable, str(CRASH_AT), str(self.trace_file), *map(str, self.point[:3]))
            self.was_killed = "did the work was killed" in said
            if self.point is NOWHERE:
                assert code == (1 if "ReportStuck" in self.scenario.covers else 0), said
            deadline_boot_s = self._check_intent(engine)
            time.sleep(self.scenario.down_s)  # part of the grace: what is left of it is what counts
        self._go_on(engine, deadline_boot_s)
        self._check_end(engine)

    def _start(self, engine: Engine) -> Container:
        fields: dict[str, object] = {"image": "host", "name": "w", "command": self.scenario.command}
        mount = Mount(kind="bind", source=str(self.share.path), destination="/s")
        if self.scenario.options.get("image") == "box":
            put_box(engine, self.box)
        made = engine.create(CreateOptions(**fields | {"files": Files(mounts=(mount,))} | self.scenario.options))  # type: ignore[arg-type]
        self.identifier = made.id
        started = engine.start(made.id)
        if self.scenario.command:
            self.share.wait_for("ready", timeout_s=LIMIT_S)
        return started

    def _stop(self, *program: str) -> tuple[int, str]:
        stop = (word.format(share=self.share.path) for word in self.scenario.stop)
        words = [*program, *self.bento.prefix[3:], self.scenario.verb, "-t", str(self.grace_s), *stop, "w"]
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        return done.returncode, done.stderr

    def _stop_again(self) -> tuple[int, str]:
        return self._stop(*self.bento.prefix[:3])

    def _check_intent(self, engine: Engine) -> float | None:
        """What stands in the journal at the moment of the crash."""
        try:
            found = engine.drivers.store.get(self.identifier)
        except NotFound:
            return None
        if found.status is Status.RUNNING and found.run is not None and found.run.number == 1:
            assert self.marks() == {}, "somebody was told before the intent was written"
        if found.intent is None or found.intent.deadline_boot_s is None:
            return None
        assert self.begun_boot_s + self.grace_s <= found.intent.deadline_boot_s <= clock.boot_s() + self.grace_s
        return found.intent.deadline_boot_s

    def _go_on(self, engine: Engine, deadline_boot_s: float | None) -> None:
        """Another command meets the container; the stop comes to its end, with the time that was left."""
        store = engine.drivers.store
        with contextlib.suppress(NotFound):
            now = store.get(self.identifier)
            if now.status is Status.RUNNING and now.run is not None and now.run.number == 1:
                code, said = self._stop_again()  # nothing was recorded: no process has asked for anything yet
                assert code == 0 or "ReportStuck" in self.scenario.covers, said
        words = {"ps": ("ps",), "stop": ("stop", "--ignore", "w"), "wait": ("wait", "w")}[self.how]
        is_restarted = self.scenario.verb == "restart"
        with contextlib.suppress(NotFound):
            if not (is_restarted and store.get(self.identifier).status is Status.RUNNING):
                done = self.bento(*words, check=False, timeout_s=LIMIT_S)
                assert done.returncode == 0 or "no such container" in done.stderr, str(done)

        def is_over() -> bool:
            try:
                now = store.get(self.identifier)
            except NotFound:
                return True
            if now.intent is not None and deadline_boot_s is not None:
                assert now.intent.deadline_boot_s is not None
                assert now.intent.deadline_boot_s <= deadline_boot_s + 0.3, "the deadline has moved"
            is_removed = self.scenario.options.get("auto_remove", False)
            return (now.status is Status.STOPPED and not is_removed) or (is_restarted and now.status is Status.RUNNING)

        procs.wait_until(is_over, timeout_s=LIMIT_S, what=f"the end, {self.point}, then {self.how}", every_s=0.02)
        is_at_work = engine.drivers.locks.is_held  # a helper, which lets go when all is done
        procs.wait_until(lambda: not is_at_work(self.identifier), timeout_s=LIMIT_S, what="the end of the helper")

    def marks(self) -> dict[str, int]:
        return {name: len(lines) for name in self.scenario.markers if (lines := self.share.lines(name))}

    def _is_lost(self) -> bool:
        """Whether, by the trace of this very run, something was recorded and not done."""
        seen: Counter[str] = Counter()
        for batch in self.trace():
            for place, label in enumerate(batch):
                seen[label] += 1
                if (label, seen[label]) != (self.point.label, self.point.nth):
                    continue
                end = place + (self.point.when == "after")
                return bool(lost_after(batch[:end], batch[end:]))
        return False

    def trace(self) -> list[list[str]]:
        if not self.trace_file.exists():
            return []
        return [line.split("\t") for line in self.trace_file.read_text().splitlines()]

    def _check_end(self, engine: Engine) -> None:
        expected = dict.fromkeys(self.scenario.markers, 1)
        is_lost = self._is_lost()
        marks = self.marks()
        assert all(count == 1 for count in marks.values()), marks
        try:
            ended = engine.drivers.store.get(self.identifier)
        except NotFound:
            assert self.scenario.options.get("auto_remove", False)
            assert marks == expected or is_lost
            assert_nothing_held(self.bento, self.identifier)
            assert engine.doctor() == []
            return
        assert ended.run is not None
        if self.scenario.verb == "restart" and ended.run.number == 2:
            return
        assert (ended.intent, ended.run.init, ended.run.monitor) == (None, None, None)
        assert ended.run.number == 1
        assert ended.exit is not None
        assert ended.report is not None
        verdicts = (self.scenario.verdict, *self.scenario.may_also)
        if not is_lost and ended.report.verdict.value not in self.scenario.may_also:
            assert marks == expected
            assert (ended.report.verdict.value, ended.exit.code) == (self.scenario.verdict, self.scenario.code)
        assert is_lost or ended.report.verdict.value in verdicts, ended.report
        assert ended.exit.is_released
        for phase in ended.report.phases:
            if phase.name == "kill" and ended.report.verdict.value == "killed":
                assert phase.start_s >= self.grace_s - 0.01, "killed before its time was over"
        assert_nothing_held(self.bento, self.identifier)
        assert engine.doctor() == []


def put_box(engine: Engine, layer: Path) -> None:
    """An image whose init is busybox's."""
    engine.drivers.store.put_image(
        Image(
            id="sha256:" + os.urandom(32).hex(), names=(str(parse("box")),), layers=(str(layer),), config=ImageConfig(),
            created_unix_ns=0, size_bytes=0,
        ),
        events=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inits.make_busybox(tmp_path_factory.mktemp("box") / "rootfs", "::shutdown:/bin/sleep 0\n")


class Trials:
    """Those of one scenario, each in roots of its own."""

    def __init__(self, leak_check: leaks.LeakWatch, name: str, box: Path) -> None:
        self._leak_check, self._name, self._box = leak_check, name, box
        self.scenario = SCENARIOS[name]

    def one(self, number: int, point: Point) -> Trial:
        one = Trial(self._leak_check.base / str(number), self.scenario, point, number, self._box)
        self._leak_check.roots += one.bento.roots
        try:
            one.run()
        except BaseException as error:
            error.add_note(f"{self._name}: killed {point}, then {one.how}, {one.bento.runtime}, {one.trace()}")
            raise
        return one

    def all(self, points: Sequence[Point]) -> list[Trial]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.one, range(1, len(points) + 1), points))


@pytest.mark.parametrize("name", ["forwarded", "exit hold", "trap"])
def test_s13a_the_tracer_is_killed_at_every_action(leak_check: leaks.LeakWatch, name: str, box: Path) -> None:
    """The driver goes on by itself: what was held goes on, and the end comes within the grace."""
    trials = Trials(leak_check, name, box)
    points = tracer_points_of(trials.one(0, NOWHERE).trace())
    assert {"WatchInit", "HoldBack"} & {point.label for point in points}
    assert not any(trial.was_killed for trial in trials.all(points))


@pytest.mark.parametrize("name", SCENARIOS)
def test_s06_the_driver_is_killed_at_every_action(leak_check: leaks.LeakWatch, name: str, box: Path) -> None:
    trials_of = Trials(leak_check, name, box)
    scenario = trials_of.scenario
    points = [point for point in points_of(trials_of.one(0, NOWHERE).trace()) if is_told_apart(scenario, point)]
    labels = {point.label for point in points}
    assert scenario.covers <= labels
    trials = trials_of.all(points)
    # How often an action is repeated may differ from run to run; each of them was there to be killed at. But whether a
    # look meets the container while its tracer has frozen it, at PID 1's exit, differs, too: it asks for a Thaw then.
    killed = {one.point.label for one in trials if one.was_killed}
    assert scenario.covers <= killed
    assert labels - killed <= {"Thaw"}


def test_s06_every_action_of_the_machine_is_among_them() -> None:
    kinds = {kind.__name__ for kind in get_args(Action)} - {"RunStep", *OF_OTHER_ENGINES}
    steps = {f"RunStep({step.value})" for step in Step if step is not Step.HOOKS}  # that one runs hooks
    assert frozenset().union(*(scenario.covers for scenario in SCENARIOS.values())) == kinds | steps
