"""Rule S13.2 on real containers: what only waits is held while the program that it waits for is signalled."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support import procs
from support.cli import BentoCli
from support.tracing import tracer_of
from support.workload import (
    ONE_RUNTIME,
    PYTHON,
    Share,
    assert_released,
    ended,
    occasions,
    run_shell,
    stop_report,
    told,
    wait_for_program,
    wait_for_status,
)

STEADY_S = 0.4
"""After so long what a shell waits for is no step of a loop any more."""
SERVER = f"{PYTHON} /s/writer.py a 0.3"
NESTED = {
    "sh in sh": (("/bin/sh",), f"/bin/sh -c '{SERVER}; touch /s/after'\ntouch /s/after\n"),
    "bash in dash": (("/bin/dash",), f"/bin/bash -c '{SERVER}; touch /s/after'\ntouch /s/after\n"),
    "busybox": (("/bin/busybox", "sh"), f"{SERVER}\ntouch /s/after\n"),
    "subshell": (("/bin/bash",), f"( {SERVER}; touch /s/after ); touch /s/after\n"),
    "su": (("/bin/sh",), f"su root -c '{SERVER}; touch /s/after'\ntouch /s/after\n"),
    "set -m": (("/bin/bash",), f"set -m\n{SERVER}\ntouch /s/after\n"),
    "bash -i": (("/bin/bash", "-i"), f"{SERVER}\ntouch /s/after\n"),
    "python": (
        (PYTHON, "-c", "import os; os.system(open('/s/start.sh').readline()); open('/s/after', 'w')"),
        f"{SERVER}; touch /s/after\n",
    ),
    "env over sh": (("env", "A=1", "/bin/sh"), f"{SERVER}\ntouch /s/after\n"),
}  # fmt: skip


@ONE_RUNTIME
@pytest.mark.parametrize(("argv", "text"), NESTED.values(), ids=NESTED)
def test_s13_program_below_any_wrapper_ends_and_nothing_goes_on(
    bento: BentoCli, share: Share, argv: tuple[str, ...], text: str
) -> None:
    run_shell(bento, share, text, "a.ready", argv=argv)
    time.sleep(STEADY_S)
    report = stop_report(bento, "w")
    assert (share.path / "a.done").exists()
    assert len(share.lines("a.told")) == 1
    assert not (share.path / "after").exists()
    assert report["exit_code"] in (0, 143)
    assert report["duration_s"] < 9


@ONE_RUNTIME
def test_s23_terminal_that_a_wrapper_takes_away_is_no_graceful_end(bento: BentoCli, share: Share) -> None:
    """script(1) passes the signal on to its shell alone; the program behind that one is told or loses its terminal."""
    text = f"script -qec '{SERVER}; touch /s/after' /dev/null </dev/null\ntouch /s/after\n"
    run_shell(bento, share, text, "a.ready")
    time.sleep(STEADY_S)
    report = stop_report(bento, "w")
    assert not (share.path / "after").exists()
    assert report["verdict"] == ("forwarded" if (share.path / "a.done").exists() else "cut-short")


def test_s13_wrapper_over_sleep_is_held_on_both_runtimes(bento: BentoCli, share: Share) -> None:
    identifier = run_shell(bento, share, "touch /s/up\n/bin/sleep 600\ntouch /s/after\n", "up")
    wait_for_program(bento, "sleep")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["exit_code"], told(report)) == ("forwarded", 143, ["sleep"])
    assert report["is_graceful"] is False  # it only died of the default action
    assert not (share.path / "after").exists()
    assert report["duration_s"] < 9
    assert_released(bento, identifier)


@ONE_RUNTIME
def test_s00_wrapper_over_a_job_is_left_alone(bento: BentoCli, share: Share) -> None:
    """``python3 copy.py; rm -rf src``: neither is the copy ended nor does the script go on before it is done."""
    job = "import time\nfor n in range(12):\n    time.sleep(0.1)\n    print(n, file=open('/s/copy', 'a'))\n"
    share.script("copy.py", job)
    run_shell(bento, share, f"touch /s/up\n{PYTHON} /s/copy.py\ncp /s/copy /s/after\n", "up")
    report = stop_report(bento, "-t", "8", "w")
    assert len(share.lines("copy")) == len(share.lines("after")) == 12
    assert (report["verdict"], report["exit_code"], told(report)) == ("graceful", 0, [])


@ONE_RUNTIME
@pytest.mark.parametrize("shell", ["/bin/dash", "/bin/bash"])
def test_s13_pipeline_into_while_read_is_never_held_as_a_whole(bento: BentoCli, share: Share, shell: str) -> None:
    """The last words of the producer pass through the shell, which runs a command for each of them."""
    share.script(
        "producer.py",
        """
import os, signal, sys, time
def told(number, frame):
    for n in range(20):
        print("last", n, flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, told)
print("first", flush=True)
while True:
    time.sleep(0.05)
    print("line", flush=True)
""",
    )
    loop = "while read -r line; do /bin/echo $line >> /s/out; done"
    run_shell(bento, share, f"{PYTHON} /s/producer.py | {loop}\n", "out", argv=(shell,))
    time.sleep(STEADY_S)
    report = stop_report(bento, "w")
    assert share.lines("out")[-1] == "last 19"
    assert [line for line in share.lines("out") if "last" in line] == [f"last {n}" for n in range(20)]
    assert report["duration_s"] < 9


@ONE_RUNTIME
def test_s13_other_commands_go_on_beside_held_wrappers(bento: BentoCli, share: Share) -> None:
    run_shell(bento, share, f"{PYTHON} /s/writer.py a 60\ntouch /s/after\n", "a.ready")
    with ended(bento.start("stop", "-t", "55", "w")) as stopper:
        share.wait_for("a.told")
        main = bento.state("w")["Pid"]
        assert tracer_of(main) > 1
        assert bento("exec", "w", "echo", "in").stdout == "in\n"
        for words in (("pause", "w"), ("unpause", "w"), ("logs", "w"), ("inspect", "w"), ("ps",), ("explain", "w")):
            finished = bento(*words, check=False, timeout_s=30)
            assert finished.seconds < 10, str(finished)
        assert tracer_of(main) > 1
        assert stopper.poll() is None
        bento("kill", "w")
        stopper.wait(20)
    assert wait_for_status(bento, "w", "stopped")["ExitCode"] == 137
    assert not (share.path / "after").exists()


@ONE_RUNTIME
def test_s13_after_the_death_of_the_tracer_wrappers_are_held_again(bento: BentoCli, share: Share) -> None:
    """It is no part of the driver: the stop goes on, and what was held goes on only for as long as nothing ends."""
    run_shell(bento, share, f"{PYTHON} /s/writer.py a 2\ntouch /s/after\n", "a.ready")
    with ended(bento.start("stop", "-v", "w")) as stopper:
        share.wait_for("a.told")
        main = bento.state("w")["Pid"]
        first = tracer_of(main)
        os.kill(first, signal.SIGKILL)
        procs.wait_until(lambda: tracer_of(main) not in (0, first), what="another tracer", timeout_s=10)
        assert stopper.wait(20) == 0
    report = bento.inspect("w")["Stop"]
    assert any("the tracer ended" in note and "went on" in note for note in report["notes"])
    assert share.lines("a.told") == ["15"]
    assert (share.path / "a.done").exists()
    assert not (share.path / "after").exists()
    assert (report["verdict"], occasions(report)) == ("forwarded", ["program"])


@ONE_RUNTIME
def test_s13a_after_the_death_of_the_tracer_pid_1_goes_on(bento: BentoCli, share: Share) -> None:
    """With what it had left; the report says so."""
    run_shell(bento, share, f"trap 'exit 3' TERM\n{PYTHON} /s/writer.py a 60 &\nwait\n", "a.ready")
    with ended(bento.start("stop", "-t", "50", "w")) as stopper:
        share.wait_for("a.told")
        os.kill(tracer_of(bento.state("w")["Pid"]), signal.SIGKILL)
        assert stopper.wait(20) == 0
    report = bento.inspect("w")["Stop"]
    assert any("PID 1 had been held at its exit and ended" in note for note in report["notes"])
    assert (report["exit_code"], report["verdict"]) == (3, "cut-short")


@ONE_RUNTIME
def test_s13_program_that_ends_without_the_signal_lets_its_wrapper_go_on(bento: BentoCli, share: Share) -> None:
    """The script was not asked to end after all: what it does about that is its own."""
    run_shell(bento, share, f"{PYTHON} /s/writer.py a 60\necho $? > /s/after\nsleep 0.2\nexit 4\n", "a.ready")
    procs.kill(wait_for_program(bento, "python3"))
    report = stop_report(bento, "w")
    assert share.lines("after") == ["137"]
    assert report["exit_code"] in (4, 137, 143)
