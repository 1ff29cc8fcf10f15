"""exec on fakes: what is let in, and what is left when that comes to nothing. Rule S16: sessions in a stop."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from bento.engine.base import exec_sessions
from bento.engine.lifecycle import exec_
from bento.engine.stop.request import StopOptions
from bento.engine.stop.snapshot import helpers_of, look_at
from bento.engine.stop.stop import stop_containers
from bento.engine.views.inspect import inspect
from bento.errors import RuntimeFailed, StuckProcess, UsageError, WrongState
from bento.model.container import Container, Status
from bento.model.exec import ExecOptions
from bento.stop.process import Disposition, Process
from bento.stop.states import Phase
from bento.testing.drivers import FakeDrivers

from support.looks import HANDLED, proc

CAT = ExecOptions(command=("cat",), has_input=True)


def _sleeping(drivers: FakeDrivers) -> Container:
    """A container that runs, and a process that the next exec brings in."""
    container, main = drivers.server(command=("server",))
    drivers.storage.prepare(container.id)
    drivers.monitor.exec_pid = drivers.processes.add("cat", under=main).identity.pid
    return container


def test_an_attached_command_is_read_written_and_waited_for(drivers):
    container = _sleeping(drivers)
    running = exec_.attached(drivers, "web", CAT)
    assert [session.id for session in exec_sessions.live(drivers, container.id)] == [running.session.id]
    assert inspect(drivers, container)["ExecIDs"] == [running.session.id]
    assert running.stdin_fd is not None
    os.write(running.stdin_fd, b"hello")
    assert os.read(running.stdout_fd, 10) == b"hello"
    os.write(drivers.monitor.exec_status_fd, b"3")
    os.close(drivers.monitor.exec_status_fd)
    assert exec_.wait(drivers, running) == 3
    running.close()


def test_without_input_stdin_is_at_its_end(drivers):
    _sleeping(drivers)
    running = exec_.attached(drivers, "web", replace(CAT, has_input=False))
    assert running.stdin_fd is None
    assert os.read(running.stdout_fd, 10) == b""
    os.close(drivers.monitor.exec_status_fd)
    running.close()


def test_a_monitor_that_was_ended_leaves_the_answer_to_the_kernel(drivers):
    container = _sleeping(drivers)
    running = exec_.attached(drivers, "web", CAT)
    os.close(drivers.monitor.exec_status_fd)
    process = next(one for one in drivers.processes._all if one.identity.pid == drivers.monitor.exec_pid)
    process.end(4 << 8)
    assert exec_.wait(drivers, running) == 4
    assert exec_sessions.left_over(drivers, container.id) == []


def test_an_end_that_nothing_saw_is_an_error(drivers):
    _sleeping(drivers)
    running = exec_.attached(drivers, "web", CAT)
    os.close(drivers.monitor.exec_status_fd)
    drivers.processes.can_read_status = False
    next(one for one in drivers.processes._all if one.identity.pid == drivers.monitor.exec_pid).end(0)
    with pytest.raises(RuntimeFailed, match="exit status is not known"):
        exec_.wait(drivers, running)


def test_a_signal_goes_to_the_commands_process_and_to_nothing_when_it_has_ended(drivers):
    _sleeping(drivers)
    session = exec_.detached(drivers, "web", CAT)
    os.close(drivers.monitor.exec_status_fd)
    process = next(one for one in drivers.processes._all if one.identity.pid == drivers.monitor.exec_pid)
    exec_.signal(drivers, session, 2)
    process.end(0)
    exec_.signal(drivers, session, 15)
    assert process.signals == [2]


@pytest.mark.parametrize("status", [Status.CREATED, Status.STOPPED, Status.RESTARTING])
def test_what_does_not_run_takes_nothing_in(drivers, status):
    container = _sleeping(drivers)
    drivers.store.modify(container.id, lambda c: replace(c, status=status, restart_boot_s=1e12))
    with pytest.raises(WrongState, match=status.value):
        exec_.detached(drivers, "web", CAT)
    assert not drivers.monitor.exec_launches


def test_nor_does_what_is_paused(drivers):
    container = _sleeping(drivers)
    assert container.run is not None
    assert container.run.init is not None
    drivers.processes.frozen.add(container.run.init.pid)
    with pytest.raises(WrongState, match="paused"):
        exec_.detached(drivers, "web", CAT)


def test_nor_does_what_is_in_its_exit(drivers):
    container = _sleeping(drivers)
    assert container.run is not None
    assert container.run.init is not None
    drivers.processes.exiting.add(container.run.init.pid)
    with pytest.raises(WrongState, match="has just ended"):
        exec_.detached(drivers, "web", CAT)
    assert not drivers.monitor.exec_launches


@pytest.mark.parametrize(
    "options",
    [
        ExecOptions(command=()),
        ExecOptions(command=("",)),
        ExecOptions(command=("a\0b",)),
        ExecOptions(command=("a",), workdir="tmp"),
        ExecOptions(command=("a",), env=("=A",)),
    ],
)
def test_bad_options_are_refused_before_anything_is_made(drivers, options):
    container = _sleeping(drivers)
    with pytest.raises(UsageError):
        exec_.detached(drivers, "web", options)
    assert not exec_sessions.all_in(drivers, container.id).exists()


def test_a_launch_that_fails_leaves_nothing(drivers):
    container = _sleeping(drivers)
    drivers.monitor.exec_error = RuntimeFailed("no")
    with pytest.raises(RuntimeFailed, match="no"):
        exec_.detached(drivers, "web", CAT)
    assert os.listdir(exec_sessions.all_in(drivers, container.id)) == []


def test_a_launch_that_fails_is_logged_as_begun_and_never_as_ended(drivers):
    container = _sleeping(drivers)
    drivers.monitor.exec_error = RuntimeFailed("no")
    launch = drivers.monitor.launch_exec

    def renamed_by_its_monitor(wanted: Any) -> Any:
        wanted.directory.rename(wanted.ended)
        return launch(wanted)

    drivers.monitor.launch_exec = renamed_by_its_monitor
    with pytest.raises(RuntimeFailed, match="no"):
        exec_.detached(drivers, "web", CAT)
    assert os.listdir(exec_sessions.all_in(drivers, container.id)) == []
    assert _logged(drivers) == ["exec_create: cat", "exec_start: cat"]


def test_an_end_is_logged_once_by_whichever_takes_it(drivers):
    container = _sleeping(drivers)
    running = exec_.attached(drivers, "web", CAT)
    drivers.monitor.end_exec(3)
    assert [deed.attributes["exitCode"] for deed in exec_sessions.take_ended(drivers, container.id)] == ["3"]
    assert exec_.wait(drivers, running) == 3
    assert "exec_die" not in _logged(drivers)

    other = exec_.attached(drivers, "web", CAT)
    drivers.monitor.end_exec(4)
    assert exec_.wait(drivers, other) == 4
    assert exec_sessions.take_ended(drivers, container.id) == []
    assert _logged(drivers)[-1] == "exec_die"
    assert os.listdir(exec_sessions.all_in(drivers, container.id)) == []


def test_one_that_is_left_is_logged_and_goes_on(drivers):
    container = _sleeping(drivers)
    running = exec_.attached(drivers, "web", CAT)
    exec_.leave(drivers, running)
    assert [session.id for session in exec_sessions.live(drivers, container.id)] == [running.session.id]
    (left,) = [event for event in drivers.store.events() if event.action == "exec_detach"]
    assert left.attributes == {"image": "host", "name": "web", "execID": running.session.id}


def test_the_end_of_a_detached_one_is_logged_when_the_next_begins(drivers):
    container = _sleeping(drivers)
    session = exec_.detached(drivers, "web", CAT)
    drivers.monitor.end_exec(3)
    assert exec_sessions.live(drivers, container.id) == []
    assert exec_sessions.left_over(drivers, container.id) == []
    exec_.detached(drivers, "web", CAT)
    os.close(drivers.monitor.exec_status_fd)
    (end,) = [event for event in drivers.store.events() if event.action == "exec_die"]
    assert end.attributes == {"image": "host", "name": "web", "execID": session.id, "exitCode": "3"}


def test_what_has_ended_without_a_word_is_logged_at_the_end_of_its_container(drivers):
    _sleeping(drivers)
    sessions = [exec_.detached(drivers, "web", CAT) for _ in range(2)]
    drivers.monitor.end_exec(3)  # the other one's monitor was killed
    stop_containers(drivers, ["web"], StopOptions(grace_s=0.0))
    ends = {event.attributes["execID"]: event for event in drivers.store.events() if event.action == "exec_die"}
    assert [ends[session.id].attributes["exitCode"] for session in sessions] == ["-1", "3"]


def _logged(drivers: FakeDrivers) -> list[str]:
    return [event.action for event in drivers.store.events() if event.action.startswith("exec")]


def test_when_the_container_ended_meanwhile_that_is_what_is_said(drivers):
    container = _sleeping(drivers)
    launch = drivers.monitor.launch_exec

    def too_late(wanted: Any) -> Any:
        drivers.store.modify(container.id, lambda c: replace(c, status=Status.STOPPED))
        return launch(wanted)

    drivers.monitor.exec_error = RuntimeFailed("cannot exec in a stopped container")
    drivers.monitor.launch_exec = too_late
    with pytest.raises(WrongState, match="is stopped"):
        exec_.detached(drivers, "web", CAT)


def test_a_session_is_known_by_its_pid_files_too(drivers):
    container = _sleeping(drivers)
    session = exec_.detached(drivers, "web", CAT)
    os.close(drivers.monitor.exec_status_fd)
    exec_sessions.complete(drivers, replace(session, process=None, monitor=None))
    assert [one.process for one in exec_sessions.live(drivers, container.id)] == [session.process]


def _phase(container: Container) -> Phase | None:
    if container.intent is None:
        return None
    return Phase(msgspec.json.decode(container.intent.journal)["phase"])


def test_s16_the_kill_is_recorded_under_the_lock_that_an_exec_holds(drivers):
    drivers.stubborn()
    written: list[tuple[Phase | None, bool]] = []
    modify = drivers.store.modify

    def watched(container_id: str, change: Any, **more: Any) -> Container:
        is_locked = (drivers.run_root / "locks" / f"{container_id}.op").exists()
        after: Container = modify(container_id, change, **more)
        written.append((_phase(after), is_locked))
        return after

    drivers.store.modify = watched
    stop_containers(drivers, ["web"], StopOptions(grace_s=0.0))
    assert (Phase.REQUESTED, False) in written
    assert (Phase.KILLING, True) in written
    assert (Phase.KILLING, False) not in written


def test_s16_while_a_container_is_killed_no_process_is_let_in(drivers):
    container, main = drivers.stubborn()
    main.is_immortal = True
    outcome = stop_containers(drivers, ["web"], StopOptions(grace_s=0.0, kill_timeout_s=0.05))[0]
    assert isinstance(outcome.error, StuckProcess)
    assert _phase(drivers.store.get(container.id)) is Phase.STUCK
    with pytest.raises(WrongState, match="is ending"):
        exec_.detached(drivers, container.id, CAT)


@pytest.mark.parametrize("phase", [Phase.REQUESTED, Phase.DRAINING, Phase.HOOKING, Phase.GRACE])
def test_s16_within_the_grace_an_exec_is_let_in(drivers, phase):
    container, main = drivers.stubborn()
    drivers.storage.prepare(container.id)
    main.is_immortal = True
    stop_containers(drivers, ["web"], StopOptions(grace_s=0.0, kill_timeout_s=0.05))
    drivers.monitor.exec_pid = drivers.processes.add("ps", under=main).identity.pid

    def back(c: Container) -> Container:
        assert c.intent is not None
        journal = msgspec.json.decode(c.intent.journal) | {"phase": phase.value}
        return replace(c, intent=replace(c.intent, journal=msgspec.json.encode(journal)))

    drivers.store.modify(container.id, back)
    assert exec_.detached(drivers, "web", CAT).process is not None
    os.close(drivers.monitor.exec_status_fd)


def test_s16_sessions_are_looked_at_with_their_own_signal():
    def look(number: int) -> tuple[Process, ...]:
        disposition = HANDLED if number == 15 else Disposition.DEFAULT
        return (proc(1, disposition), proc(2, disposition, under=99, is_entered=True), proc(3, disposition, under=2))

    shown = look_at(look, 3)
    assert [one.disposition for one in shown] == [Disposition.DEFAULT, HANDLED, HANDLED]
    assert [one.disposition for one in look_at(look, 15)] == [HANDLED] * 3


def test_s16_what_a_stop_runs_inside_is_no_session(tmp_path):
    (tmp_path / "asked.pid").write_text("2")
    (tmp_path / "hook.pid").write_text("nonsense")
    look = lambda number: (proc(1, HANDLED), proc(2, HANDLED, under=99, is_entered=True))  # noqa: E731
    assert helpers_of(tmp_path) == {2}
    assert [one.is_entered for one in look_at(look, 3, run_dir=tmp_path)] == [False, False]


def test_a_session_whose_directory_is_being_removed_gets_nothing_new_there(drivers):
    container = _sleeping(drivers)
    session = exec_.detached(drivers, "web", CAT)
    os.close(drivers.monitor.exec_status_fd)
    directory = exec_sessions.directory(drivers, session)
    for path in directory.iterdir():
        path.unlink()
    exec_sessions.complete(drivers, session)
    assert os.listdir(directory) == []
    assert exec_sessions.live(drivers, container.id) == []
