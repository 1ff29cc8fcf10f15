"""The monitor's protocol, played by scripts in conmon's place."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.drivers.monitor import conmon
from bento.drivers.monitor.base import ExecLaunch, Launch
from bento.drivers.monitor.conmon import ConmonMonitor
from bento.errors import DeadlineExceeded, KernelError, MissingTool, RuntimeFailed
from bento.testing.runtime import FakeRuntime

# "$P" is the file after -P, "$F" after -p.
PREAMBLE = """#!/bin/sh
printf '%s\\n' "$@" > "$0.args"
env > "$0.env"
while [ $# -gt 0 ]; do case "$1" in -P) P=$2;; -p) F=$2;; esac; shift; done
report() { printf '%s\\n' "$1" > /proc/self/fd/$_OCI_SYNCPIPE; }
"""


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "config.json").write_text("{}")
    return Launch(
        container_id="c" * 64,
        name="web",
        runtime=FakeRuntime(),
        bundle=bundle,
        run_dir=tmp_path / "run" / "c",
        log_path=bundle / "log",
        command="/bin/app",
        timeout_s=5.0,
    )


def scripted(tmp_path: Path, body: str) -> ConmonMonitor:
    path = tmp_path / "conmon"
    path.write_text(PREAMBLE + body)
    path.chmod(0o755)
    return ConmonMonitor(path)


def leftovers(launch: Launch) -> list[str]:
    return [str(path) for path in launch.run_dir.rglob("*") if not path.is_dir()]


def runtime_calls(launch: Launch) -> list[str]:
    assert isinstance(launch.runtime, FakeRuntime)
    return [verb for verb, _ in launch.runtime.calls]


def test_a_created_container_is_reported(tmp_path: Path, launch: Launch) -> None:
    monitor = scripted(tmp_path, 'echo 22 > "$P"; echo 11 > "$F"; report \'{"data": 11}\'\n')

    launched = monitor.launch(launch)

    assert (launched.init_pid, launched.monitor_pid) == (11, 22)
    assert monitor.pids(launch.run_dir) == (11, 22)
    assert (launch.run_dir / "config.json").resolve() == launch.bundle / "config.json"


def test_conmon_is_told_everything_and_inherits_nothing(
    tmp_path: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("LISTEN_FDS", "3")
    monitor = scripted(tmp_path, 'echo 22 > "$P"; report \'{"data": 11}\'\n')

    monitor.launch(launch)

    words = (tmp_path / "conmon.args").read_text().splitlines()
    pairs = dict(itertools.pairwise(words))
    assert pairs["-c"] == pairs["-u"] == launch.container_id
    assert pairs["-b"] == str(launch.run_dir)
    assert pairs["-l"] == f"k8s-file:{launch.log_path}"
    assert pairs["-r"] == str(launch.runtime.path)
    assert "-i" not in words
    environment = (tmp_path / "conmon.env").read_text()
    assert "_OCI_SYNCPIPE=" in environment
    assert "SECRET" not in environment
    assert "LISTEN_FDS" not in environment


def test_a_runtime_that_hides_its_processes_gets_a_pipe_for_stdin(tmp_path: Path, launch: Launch) -> None:
    assert isinstance(launch.runtime, FakeRuntime)
    launch.runtime.shows_processes = False

    assert "-i" in scripted(tmp_path, "")._argv(launch)


def test_a_log_has_its_limit_or_is_none(tmp_path: Path, launch: Launch) -> None:
    monitor = scripted(tmp_path, "")
    limited = monitor._argv(replace(launch, log_max_bytes=20_000))

    assert limited[limited.index("--log-size-max") + 1] == "20000"
    assert "--log-size-max" not in monitor._argv(launch)
    journal = monitor._argv(replace(launch, log_path=None, is_logged_to_journal=True, log_tag="web"))
    assert journal[journal.index("-l") + 1] == "journald"
    assert journal[journal.index("--log-tag") + 1] == "web"
    assert "none" in monitor._argv(replace(launch, log_path=None))


def test_an_exec_session_may_be_over_before_its_monitor_was_looked_for(tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir()
    asked = ExecLaunch(
        container_id="c" * 64,
        exec_id="e" * 64,
        name="web",
        runtime=FakeRuntime(),
        directory=session,
        ended=tmp_path / "ended",
        wakes=tmp_path / "wakes",
        process_spec=session / "process.json",
    )

    launched = scripted(tmp_path, 'rm -r "$(dirname "$P")"; report \'{"data": 11}\'\n').launch_exec(asked)

    os.close(launched.status_fd)
    assert (launched.pid, launched.monitor_pid) == (11, None)


def test_an_old_runs_files_are_not_taken_for_this_ones(tmp_path: Path, launch: Launch) -> None:
    (launch.run_dir / "exit").mkdir(parents=True)
    (launch.run_dir / "exit" / launch.container_id).write_text("0")
    (launch.run_dir / "pidfile").write_text("1")
    monitor = scripted(tmp_path, 'echo 22 > "$P"; report \'{"data": 11}\'\n')

    launched = monitor.launch(launch)

    assert launched.init_pid == 11
    assert monitor.exit_status(launch.run_dir, launch.container_id) is None


def test_the_runtimes_words_become_its_error_and_nothing_is_left(tmp_path: Path, launch: Launch) -> None:
    monitor = scripted(tmp_path, 'echo 22 > "$P"; report \'{"data": -1, "message": "no such thing"}\'\n')

    with pytest.raises(RuntimeFailed, match="/bin/app: no such thing"):
        monitor.launch(launch)

    assert leftovers(launch) == []
    assert "discard" in runtime_calls(launch)


def test_a_monitor_that_dies_early_is_quoted(tmp_path: Path, launch: Launch) -> None:
    monitor = scripted(tmp_path, "echo 'bad option' >&2; exit 1\n")

    with pytest.raises(RuntimeFailed, match="bad option"):
        monitor.launch(launch)

    assert leftovers(launch) == []


def test_a_monitor_that_talks_nonsense_is_an_error(tmp_path: Path, launch: Launch) -> None:
    with pytest.raises(RuntimeFailed, match="gave no reason"):
        scripted(tmp_path, "report nonsense\n").launch(launch)


def test_a_report_without_a_pid_file_is_an_error_and_the_container_is_discarded(tmp_path: Path, launch: Launch) -> None:
    with pytest.raises(RuntimeFailed, match="pid file"):
        scripted(tmp_path, "report '{\"data\": 11}'\n").launch(launch)

    assert "discard" in runtime_calls(launch)


def test_a_runtime_that_hangs_is_ended(tmp_path: Path, launch: Launch) -> None:
    monitor = scripted(tmp_path, 'echo $$ > "$0.pid"; exec sleep 60\n')
    begun = time.monotonic()

    with pytest.raises(DeadlineExceeded, match="to see why, run: "):
        monitor.launch(
            Launch(**{name: getattr(launch, name) for name in launch.__struct_fields__} | {"timeout_s": 0.2})
        )

    assert time.monotonic() - begun < 4
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "conmon.pid").read_text()), 0)
    assert runtime_calls(launch) == ["discard"]
    assert leftovers(launch) == []


def test_a_missing_conmon_is_a_missing_tool(tmp_path: Path, launch: Launch) -> None:
    with pytest.raises(MissingTool):
        ConmonMonitor(tmp_path / "nowhere").launch(launch)
    with pytest.raises(MissingTool, match="apt install conmon"):
        conmon.find(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(("text", "code"), [("0", 0), ("137\n", 137), ("", None), ("x", None), ("-1", None)])
def test_the_exit_file_is_read(tmp_path: Path, text: str, code: int | None) -> None:
    (tmp_path / "exit").mkdir()
    (tmp_path / "exit" / "id").write_text(text)

    seen = ConmonMonitor(Path("/x")).exit_status(tmp_path, "id")
    assert (None if seen is None else seen.code) == code


def test_an_end_is_not_dated_before_what_came_before_it(tmp_path: Path) -> None:
    before_ns = time.time_ns()
    (tmp_path / "exit").mkdir()
    (tmp_path / "exit" / "id").write_text("0")  # dated by the last tick of the clock
    seen = ConmonMonitor(Path("/x")).exit_status(tmp_path, "id")
    assert seen is not None
    assert before_ns <= seen.at_unix_ns < before_ns + 60 * 10**9


def test_a_run_directory_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    monitor = ConmonMonitor(Path("/x"))

    assert monitor.pids(tmp_path / "none") == (None, None)
    assert monitor.exit_status(tmp_path / "none", "id") is None


def test_attach_without_a_monitor_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="attach"):
        ConmonMonitor(Path("/x")).attach(tmp_path, tmp_path)


def test_an_exec_that_is_over_at_once_takes_its_monitors_pid_file_along(tmp_path: Path, launch: Launch) -> None:
    directory = tmp_path / "session"
    directory.mkdir()
    monitor = scripted(tmp_path, """report '{"data": 77}'; rm -rf "${P%/*}"\n""")
    wanted = ExecLaunch(
        container_id=launch.container_id,
        exec_id="e",
        name="web",
        runtime=launch.runtime,
        directory=directory,
        ended=tmp_path / "ended",
        wakes=tmp_path / "wakes",
        process_spec=directory / "process.json",
    )
    launched = monitor.launch_exec(wanted)
    os.close(launched.status_fd)
    assert (launched.pid, launched.monitor_pid) == (77, None)
