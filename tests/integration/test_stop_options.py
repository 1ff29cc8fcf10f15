"""How far a stop goes, as a container, a call and the configuration say it (rules S0, S13, S14, S15)."""

from __future__ import annotations

import json

import pytest

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, POLITE, PYTHON, stop_report

pytestmark = ONE_RUNTIME

CREATED = (
    "--stop-scope", "main", "--stop-wrapper", "continue", "--stop-deaf", "wait", "--stop-exit-hold", "3",
    "--stop-last-call", "0", "--stop-last-call-all", "--stop-start-window", "2.5",
)  # fmt: skip


def run_wrapped(bento: BentoCli, *flags: str) -> None:
    """A program that receives the signal below a shell that does not, and a next command that tells of itself."""
    script = f"{PYTHON} -c '{POLITE}'; echo next"
    bento.run("--name", "w", *flags, "host", "/bin/sh", "-c", script)
    bento.wait_for_log("w", "ready")


def test_s00_inspect_shows_what_a_container_was_given(bento: BentoCli) -> None:
    bento("create", "--name", "w", *CREATED, "host", "true")
    config = bento.inspect("w")["Config"]
    assert {key: value for key, value in config.items() if key.startswith("Stop")} == {
        "StopSignal": "SIGTERM", "StopTimeout": None, "StopMethod": "signal", "StopCommand": "", "StopDrain": False,
        "StopScope": "main", "StopWrapper": "continue", "StopDeaf": "wait", "StopExitHold": 3.0, "StopLastCall": 0.0,
        "StopLastCallAll": True, "StopStartWindow": 2.5, "StopSignalFrom": None,
    }  # fmt: skip
    bento("create", "--name", "plain", "host", "true")
    assert bento.inspect("plain")["Config"]["StopScope"] is None


def test_s00_a_container_says_plain_and_a_call_says_otherwise(bento: BentoCli) -> None:
    run_wrapped(bento, "--stop-scope", "main", "--stop-timeout", "0.5")
    report = stop_report(bento, "w")
    assert (report["verdict"], [one["comm"] for one in report["signalled"]]) == ("killed", ["sh"])
    bento("rm", "w")
    run_wrapped(bento, "--stop-scope", "main", "--stop-timeout", "8")
    report = stop_report(bento, "--scope", "auto", "w")
    assert (report["verdict"], [one["comm"] for one in report["signalled"]]) == ("forwarded", ["python3"])
    assert "next" not in bento("logs", "w").stdout


def test_s13_a_wrapper_of_this_container_continues(bento: BentoCli) -> None:
    run_wrapped(bento, "--stop-wrapper", "continue")
    report = stop_report(bento, "w")
    assert (report["verdict"], report["held"]) == ("forwarded", [])
    assert "next" in bento("logs", "w").stdout


def test_s14_the_configuration_is_asked_last(bento: BentoCli) -> None:
    said = {"BENTO_STOP_DEAF": "wait", "BENTO_STOP_START_WINDOW": "0", "BENTO_STOP_TIMEOUT": "1"}
    bento.run("--name", "w", "host", "sleep", "1000")
    assert json.loads(bento("explain", "--format", "json", "w", env=said).stdout)["verdict"] == "killed"
    one = bento("explain", "--format", "json", "--deaf", "idle", "w", env=said).stdout
    assert json.loads(one)["verdict"] == "default-action"
    bento("restart", "w", env=said)
    assert bento.inspect("w")["Stop"]["verdict"] == "killed"
    bento("rm", "-f", "w")
    bento.run("--name", "w", "--stop-deaf", "idle", "host", "sleep", "1000")
    bento("shutdown", env=said)
    assert bento.inspect("w")["Stop"]["verdict"] == "default-action"


@pytest.mark.parametrize("key", ["SCOPE", "WRAPPER", "DEAF", "EXIT_HOLD", "LAST_CALL", "START_WINDOW"])
def test_nonsense_in_the_environment_is_one_line(bento: BentoCli, key: str) -> None:
    finished = bento("ps", env={f"BENTO_STOP_{key}": "nonsense"}, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"bento: bad stop_{key.lower()} 'nonsense' (")
    assert finished.stderr.count("\n") == 1
