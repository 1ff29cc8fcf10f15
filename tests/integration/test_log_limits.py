"""What becomes of a container's output: bounded, or not kept, and never shown torn."""

from __future__ import annotations

import re
import subprocess
import sys
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


def test_last_files_of_a_log_are_kept_in_order_and_followed_without_a_loss(bento: BentoCli, tmp_path: Path) -> None:
    script = f"while [ ! -e /t/go ]; do sleep 0.02; done; {SLOWLY}"
    words = ("--log-driver", "json-file", "--log-opt", "max-size=64k", "--log-opt", "max-file=3")
    bento.run("--name", "w", "-v", f"{tmp_path}:/t", *words, "host", *SH, script)
    config = bento.inspect("w")["HostConfig"]["LogConfig"]
    assert config == {"Type": "json-file", "Config": {"max-size": "65536", "max-file": "3"}}
    with ended(bento.start("logs", "-f", "w")) as following:
        procs.wait_until(lambda: b"logs" in Path(f"/proc/{following.pid}/cmdline").read_bytes(), what="the follower")
        (tmp_path / "go").touch()
        text, _ = following.communicate(timeout=60)
    bento("wait", "w")

    numbers = [int(line.split()[1]) for line in text.splitlines()[:-1]]
    assert numbers == list(range(1, COUNT + 1))
    lines = bento("logs", "w").stdout.splitlines()
    kept = [int(line.split()[1]) for line in lines[:-1]]
    assert kept == list(range(kept[0], COUNT + 1))
    assert kept[0] > 1  # the oldest are gone
    assert bento("logs", "-n", "2000", "w").stdout.splitlines() == lines[-2000:]
    directory = log_of(bento, "w").parent
    procs.wait_until(lambda: not (directory / "log.tmp").exists(), what="the end of the rotation")
    sizes = [path.stat().st_size for path in (directory / "log.d").iterdir()]
    assert len(sizes) == 3
    assert max(sizes) <= LIMIT

    bento("start", "w")  # a start goes on after them
    bento("wait", "w")
    assert bento("logs", "-n", "1", "w").stdout == "end\n"
    bento("rm", "w")
    procs.wait_until(lambda: procs.with_word(f"{bento.roots.run_root}/log-rotation") == [], what="its process's end")
    assert [path.name for path in (bento.roots.run_root / "log-rotation").iterdir()] == ["keeper"]


def test_disk_is_bounded_under_a_flood_even_without_the_process_that_rotates(bento: BentoCli, tmp_path: Path) -> None:
    script = "while [ ! -e /t/go ]; do sleep 0.02; done; seq 1 60000; echo end; exec sleep 1000"
    words = ("--log-opt", "max-size=64k", "--log-opt", "max-file=4")
    bento.run("--name", "w", "-v", f"{tmp_path}:/t", *words, "host", *SH, script)
    directory = log_of(bento, "w").parent
    word = f"{bento.roots.run_root}/log-rotation"
    procs.wait_until(lambda: len(procs.with_word(word)) == 1, what="the process that rotates")
    procs.wait_until(lambda: (directory / "log.tmp").exists(), what="its first look")
    procs.kill(procs.with_word(word)[0])
    (tmp_path / "go").touch()
    procs.wait_until(lambda: (directory / "log").read_bytes().endswith(b" end\n"), what="the end of the flood")
    sizes = {path.stat().st_ino: path.stat().st_size for path in (directory / "log", *(directory / "log.d").iterdir())}
    assert sum(sizes.values()) <= 6 * LIMIT

    assert bento("logs", "-n", "1", "w").stdout == "end\n"  # starts it again
    procs.wait_until(lambda: len(procs.with_word(word)) == 1, what="another one")
    assert bento("logs", "-n", "1", "w").stdout == "end\n"


JOURNAL = """
import os, socket, sys
os.makedirs("/run/systemd/journal")
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
if os.fork() == 0:
    os.execv(sys.argv[1], sys.argv[1:])
os.wait()
journal.settimeout(30)
for _ in range(2):
    print(journal.recv(4096).decode())
"""


def test_journal_gets_the_output(bento: BentoCli) -> None:
    """In a mount namespace of its own, with a socket in the place of systemd-journald's."""
    words = ["run", "--name", "j", "--log-driver", "journald", "--log-opt", "tag=t", "host", *SH, "echo a; echo b >&2"]
    mount = 'mount -t tmpfs none /run && exec "$@"'
    argv = ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-c", JOURNAL, *bento.prefix, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    identifier = bento.inspect("j")["Id"]
    assert done.stdout.count(f"CONTAINER_ID_FULL={identifier}\n") == 2
    assert {"PRIORITY=6", "PRIORITY=3", "CONTAINER_TAG=t", "CONTAINER_NAME=j"} <= set(done.stdout.splitlines())
    if not Path("/run/systemd/journal/socket").exists():
        assert "systemd-journald does not run" in bento.fails("start", "j")
