"""Running hooks (rule S9): real child processes of this test, in an engine of fakes and a real loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento import command
from bento.command import Child
from bento.drivers.processes.linux import LinuxProcesses
from bento.engine.base.loop import Loop
from bento.engine.stop.hooks import HookRunner, check_hooks
from bento.errors import MissingTool, UsageError
from bento.model.container import Container, ProcessIdentity, Run
from bento.model.stop import AskedBy, Hook, StopRequest
from bento.testing.drivers import FakeDrivers
from bento.testing.processes import FakeProcess, FakeProcesses

LIMIT_S = 20.0


class HostAndFake(FakeProcesses):
    """The container is a fake; what a hook is on this host is real."""

    def __init__(self) -> None:
        super().__init__()
        self.host = LinuxProcesses()

    def identify(self, pid: int, *, mark: str = "") -> ProcessIdentity | None:
        return self.host.identify(pid, mark=mark)

    def watch(self, pid: int, start_ticks: int) -> int | None:
        return self.host.watch(pid, start_ticks)

    def kill_session(self, pid: int, *, spared: int = 0) -> None:
        super().kill_session(pid)
        if any(one.identity.pid == pid for one in self._all):
            return  # no real process
        self.host.kill_session(pid)


class Bench:
    """One container, its runner, and a loop that waits for it."""

    def __init__(self, base: Path) -> None:
        self.drivers = FakeDrivers(base)
        self.processes = HostAndFake()
        self.drivers.processes = self.processes
        self.drivers.spawn = self.spawn  # type: ignore[method-assign]
        self.container, self.main = self.drivers.server()
        self.loop = Loop()
        self.runner = self.make()
        self.ends: list[str] = []

    def spawn(self, argv: list[str], env: dict[str, str]) -> Child:
        return command.spawn(argv, env=command.clean_environment() | env, new_session=True)

    def make(self, container: Container | None = None) -> HookRunner:
        request = StopRequest(asked_by=AskedBy.SHUTDOWN)
        return HookRunner(self.drivers, container or self.container, request, watcher=self.loop)

    @property
    def run_dir(self) -> Path:
        return self.drivers.run_dir(self.container.id)

    @property
    def pid_file(self) -> Path:
        return self.run_dir / "hook.pid"

    def begin(self, kind: str, text: str = "", *, seconds: float = 0.0) -> None:
        self.runner.begin(Hook(kind=kind, command=text, seconds=seconds), self.ends.append)

    def turn_until(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        alarm = self.loop.alarm(lambda: None)  # wakes the loop up for what nothing tells of
        while not condition():
            assert time.monotonic() < deadline_s, "waited in vain"
            alarm.set(time.monotonic() + 0.005)
            self.loop.turn()
        alarm.set(None)

    def run(self, kind: str, text: str = "", *, seconds: float = 0.0) -> str:
        """Run a hook to its end; return what is said of that."""
        self.begin(kind, text, seconds=seconds)
        self.turn_until(lambda: self.ends)
        return self.ends.pop()

    def close(self) -> None:
        self.runner.close()
        self.loop.close()
        self.drivers.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- how a hook ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("true", ""),
        ("exit 3", "exit status 3"),
        ("echo one; echo two >&2; exit 4", "exit status 4: two"),
        ("echo only; exit 4", "exit status 4: only"),
        ("printf '\\033[1m a \\n\\n b' >&2; exit 5", "exit status 5: ?[1m a b"),
        ("kill -9 $$", "signal 9"),
        ("echo dying; kill -15 $$", "signal 15: dying"),
    ],
)
def test_s09_what_is_said_of_a_hooks_end(bench: Bench, text: str, said: str) -> None:
    assert bench.run("host", text) == said
    assert not bench.pid_file.exists()


def test_s09_a_hook_on_the_host_knows_whose_it_is_and_is_at_the_root(bench: Bench, tmp_path: Path) -> None:
    words = "$BENTO_CONTAINER_ID $BENTO_CONTAINER_NAME $BENTO_STOP_REASON"
    assert bench.run("host", f'echo "{words} $(pwd)" > {tmp_path}/seen') == ""
    assert (tmp_path / "seen").read_text().split() == [bench.container.id, "web", "shutdown", "/"]


def test_s09_a_hook_inside_goes_through_the_runtime(bench: Bench, tmp_path: Path) -> None:
    assert bench.run("inside", f"echo $BENTO_CONTAINER_NAME $BENTO_STOP_REASON > {tmp_path}/seen; exit 6") == (
        "exit status 6"
    )
    assert bench.drivers.fake_runtime.calls == [("exec", bench.container.id)]
    assert (tmp_path / "seen").read_text() == "web shutdown\n"
    assert not bench.pid_file.exists()


def test_s09_a_sleep_only_waits(bench: Bench) -> None:
    begun = time.monotonic()
    assert bench.run("sleep", seconds=0.15) == ""
    assert time.monotonic() - begun >= 0.15


def test_s09_several_one_after_the_other(bench: Bench, tmp_path: Path) -> None:
    for number in range(3):
        assert bench.run("host", f"echo {number} >> {tmp_path}/order") == ""
    assert (tmp_path / "order").read_text() == "0\n1\n2\n"


def test_s09_more_than_a_pipe_holds_does_not_stand_in_its_way(bench: Bench) -> None:
    said = bench.run("host", "head -c 500000 /dev/zero | tr '\\0' x; head -c 500000 /dev/zero | tr '\\0' y >&2; exit 1")
    assert said.startswith("exit status 1: yyy")
    assert len(said) < 300


def test_s09_what_cannot_be_begun_is_reported_at_once(bench: Bench) -> None:
    def missing(argv: list[str], env: dict[str, str]) -> Child:
        raise MissingTool("no such program: /bin/sh")

    bench.drivers.spawn = missing  # type: ignore[method-assign]
    bench.begin("host", "true")
    assert bench.ends == ["no such program: /bin/sh"]


def test_s09_s11_nothing_is_begun_inside_a_paused_container(bench: Bench) -> None:
    bench.processes.frozen.add(bench.main.identity.pid)
    bench.begin("inside", "true")
    assert bench.ends.pop() == "left out: the container is paused"
    assert bench.drivers.fake_runtime.calls == []
    assert bench.run("host", "true") == ""


# -- ending a hook ------------------------------------------------------------------------------------


def begun(bench: Bench, kind: str, tmp_path: Path, text: str = "sleep 1000") -> tuple[int, int]:
    """Begin a hook that lasts; return its pid and that of the job that it has in the background."""
    bench.begin(kind, f"sleep 1000 & echo $$ $! > {tmp_path}/pids.new; mv {tmp_path}/pids.new {tmp_path}/pids; {text}")
    bench.turn_until((tmp_path / "pids").exists)
    first, second = map(int, (tmp_path / "pids").read_text().split())
    return first, second


def test_s09_a_hook_on_the_host_is_ended_with_its_session_and_not_reported_as_done(
    bench: Bench, tmp_path: Path
) -> None:
    pids = begun(bench, "host", tmp_path)
    bench.runner.kill()
    bench.turn_until(lambda: not any(map(is_alive, pids)))
    assert bench.ends == []
    bench.runner.kill()  # once more is no error
    assert bench.run("host", "exit 2") == "exit status 2"


def test_s09_closing_ends_it_too(bench: Bench, tmp_path: Path) -> None:
    pids = begun(bench, "host", tmp_path)
    bench.runner.close()
    bench.turn_until(lambda: not any(map(is_alive, pids)))
    bench.runner.close()
    assert bench.ends == []


def test_s06_the_next_driver_ends_the_hook_that_the_last_one_has_begun(bench: Bench, tmp_path: Path) -> None:
    pids = begun(bench, "host", tmp_path)
    bench.make().kill()
    bench.turn_until(lambda: bench.ends)
    assert bench.ends == ["signal 9"]
    bench.turn_until(lambda: not any(map(is_alive, pids)))
    assert not bench.pid_file.exists()


def test_s06_a_pid_that_belongs_to_another_process_by_now_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    pids = begun(bench, "host", tmp_path)
    pid, ticks = bench.pid_file.read_text().split()
    bench.pid_file.write_text(f"{pid} {int(ticks) + 1}")
    bench.make().kill()
    assert bench.processes.sessions_killed == []
    assert all(map(is_alive, pids))
    assert not bench.pid_file.exists()


@pytest.mark.parametrize("text", ["", "x", "1 2 3", "12 x", "-1", "0", "1"])
def test_s06_a_pid_file_that_makes_no_sense_ends_no_process(bench: Bench, text: str) -> None:
    bench.pid_file.write_text(text)
    bench.runner.kill()
    assert bench.processes.sessions_killed == []
    assert bench.drivers.fake_runtime.calls == []


@pytest.mark.parametrize(("which", "is_ended"), [("hook", True), ("main", False), ("stranger", False)])
def test_s06_inside_only_a_process_of_the_container_is_ended(bench: Bench, which: str, is_ended: bool) -> None:
    """The runtime writes a bare pid; no other process's, and not the program itself, may be meant by it."""
    hook = bench.processes.add("sh", under=bench.main)
    processes: dict[str, FakeProcess] = {"hook": hook, "main": bench.main, "stranger": bench.processes.add("other")}
    pid = processes[which].identity.pid
    bench.pid_file.write_text(str(pid))
    bench.runner.kill()
    assert bench.processes.sessions_killed == ([pid] if is_ended else [])
    assert not bench.pid_file.exists()


# -- where the host does not see the processes ----------------------------------------------------------


def unseen(bench: Bench) -> tuple[HookRunner, list[list[str]]]:
    """A runner for a container of such a runtime, and what is begun inside."""
    run: Run | None = bench.container.run
    assert run is not None
    commands: list[list[str]] = []

    def begin_exec(container_id: str, argv: list[str], *, env: list[str], pid_file: Path) -> Child:
        commands.append(argv)
        return command.spawn(["/bin/true"])

    bench.drivers.fake_runtime.begin_exec = begin_exec  # type: ignore[method-assign]
    return bench.make(replace(bench.container, run=replace(run, shows_processes=False))), commands


def test_s06_an_unseen_hook_is_ended_inside_by_the_containers_own_pid(bench: Bench) -> None:
    bench.processes.add("sh", under=bench.main)
    runner, commands = unseen(bench)
    bench.pid_file.write_text("1001")
    runner.kill()
    assert commands == [["/bin/sh", "-c", "kill -KILL -1001"]]
    assert bench.processes.sessions_killed == []  # what has this number on the host is another process
    assert not bench.pid_file.exists()
    runner.kill()
    assert len(commands) == 1
    runner.close()


@pytest.mark.parametrize("text", ["1", "0", "-5"])
def test_s06_a_pid_that_means_all_processes_is_refused(bench: Bench, text: str) -> None:
    runner, commands = unseen(bench)
    bench.pid_file.write_text(text)
    runner.kill()
    assert commands == []


# -- what can be run at all -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hook",
    [
        Hook(kind="outside", command="true"),
        Hook(kind="host", command=""),
        Hook(kind="inside", command=" \n"),
        Hook(kind="host", command="a\0b"),
    ],
)
def test_s09_what_could_not_be_run_is_refused(hook: Hook) -> None:
    with pytest.raises(UsageError):
        check_hooks([Hook(kind="sleep", seconds=1.0), hook])


def test_s09_what_can_be_run_is_not() -> None:
    check_hooks([Hook(kind="sleep"), Hook(kind="host", command="true"), Hook(kind="inside", command="x")])
