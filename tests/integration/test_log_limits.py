"""What becomes of a container's output: bounded, or not kept, and never shown torn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME, ended

pytestmark = ONE_RUNTIME
SH = ("/bin/sh", "-c")
LIMIT = 64 * 1024
COUNT = 4000  # of lines of some 60 bytes in the log
SLOWLY = f"i=0; while [ $i -lt {COUNT} ]; do i=$((i+1)); echo line $i; [ $((i%50)) = 0 ] && sleep 0.01; done; echo end"


def log_of(bento: BentoCli, name: str) -> Path:
    return Path(bento.inspect(name)["LogPath"])


def test_log_stays_below_its_limit_and_is_followed_across_its_beginnings(bento: BentoCli, tmp_path: Path) -> None:
    script = f"while [ ! -e /t/go ]; do sleep 0.02; done; {SLOWLY}"
    bento.run("--name", "w", "-v", f"{tmp_path}:/t", "--log-opt", "max-size=64k", "host", *SH, script)
    log = log_of(bento, "w")
    first = log.stat().st_ino
    with ended(bento.start("logs", "-f", "w")) as following:
        procs.wait_until(lambda: b"logs" in Path(f"/proc/{following.pid}/cmdline").read_bytes(), what="the follower")
        (tmp_path / "go").touch()
        text, _ = following.communicate(timeout=60)

    lines = text.splitlines()
    assert lines[-1] == "end"
    assert all(re.fullmatch(r"line \d+|end", line) for line in lines)  # none is torn
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > COUNT // 2  # how many it misses is its speed, but not all that a first file held
    assert log.stat().st_size <= LIMIT
    assert log.stat().st_ino != first
    assert bento("logs", "-n", "2", "w").stdout == f"line {COUNT}\nend\n"


def test_log_stays_below_its_limit_over_many_starts(bento: BentoCli) -> None:
    script = "head -c 20000 /dev/zero | tr '\\0' x | fold -w 60; echo; echo last"
    bento("create", "--name", "w", "--log-opt", "max-size=64k", "host", *SH, script)
    for _ in range(5):
        bento("start", "w")
        bento("wait", "w")
        assert log_of(bento, "w").stat().st_size <= LIMIT
    lines = bento("logs", "w").stdout.split()
    assert set(lines) == {"x" * 60, "x" * 20, "last"}  # whole ones
    assert lines.count("last") > 1  # what the run before has said is still there


@pytest.mark.parametrize(
    ("words", "env", "config"),
    [
        ((), {}, {}),
        ((), {"BENTO_LOG_MAX_SIZE": "1m"}, {"max-size": "1048576"}),
        (("--log-opt", "max-size=20k"), {"BENTO_LOG_MAX_SIZE": "1m"}, {"max-size": "20480"}),
        (("--log-opt", "max-size=-1"), {"BENTO_LOG_MAX_SIZE": "1m"}, {}),
    ],
)
def test_limit_comes_from_the_option_then_the_configuration(
    bento: BentoCli, words: tuple[str, ...], env: dict[str, str], config: dict[str, str]
) -> None:
    bento("create", "--name", "w", *words, "host", "true", env=env)
    assert bento.inspect("w")["HostConfig"]["LogConfig"] == {"Type": "k8s-file", "Config": config}


def test_limit_of_the_configuration_that_makes_no_sense_is_told(bento: BentoCli) -> None:
    assert "16k is the least" in bento.fails("ps", code=2, env={"BENTO_LOG_MAX_SIZE": "1k"})


def test_output_that_is_not_kept_reaches_the_foreground_and_no_file(bento: BentoCli) -> None:
    assert bento("run", "--name", "w", "--log-driver", "none", "host", "echo", "hello").stdout == "hello\n"
    assert bento.inspect("w")["LogPath"] == ""
    assert not list(bento.roots.root.glob("containers/*/log"))
    assert "not kept" in bento.fails("logs", "w")
    assert "not kept" in bento.fails("logs", "-f", "w")
    refused = bento.fails("create", "--log-driver", "none", "--log-opt", "max-size=1m", "host", "true", code=2)
    assert "max-size" in refused
