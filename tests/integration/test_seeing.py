"""What runs in containers, and what it takes of the machine."""

from __future__ import annotations

import json
import signal
import time

from support.cli import BentoCli
from support.terminal import Terminal
from support.workload import ONE_RUNTIME, PYTHON, ended

pytestmark = ONE_RUNTIME


def test_top_lists_the_containers_processes_by_the_hosts_pids(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "/bin/sh", "-c", "sleep 1001 & echo ready; wait")
    bento.wait_for_log("w", "ready")
    bento("exec", "-d", "w", "sleep", "1002")

    heading, *lines = bento("top", "w").stdout.splitlines()

    assert heading.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert len(lines) == 3  # that of exec, too
    assert lines[0].split()[7:9] == ["/bin/sh", "-c"]
    assert int(lines[0].split()[1]) == bento.inspect("w")["State"]["Pid"]
    assert bento("top", "w", "-o", "pid,comm").stdout.splitlines()[0].split() == ["PID", "COMMAND"]
    assert "unknown gnu long option" in bento.fails("top", "w", "--bogus", code=2)
    bento("stop", "-t", "0", "w")
    assert "not running" in bento.fails("top", "w")


BUSY = """
import os, signal, socket, sys
block = bytearray(32 << 20)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for _ in range(20):
        sender.sendto(bytes(1000), (sys.argv[1], 9))
if os.fork() == 0:
    signal.pause()
print("ready", flush=True)
while True:
    pass
"""
GATEWAY = "$(ip route | sed -n 's/default via //p' | cut -d' ' -f1)"


def test_stats_of_what_a_container_takes(bento: BentoCli) -> None:
    script = f"exec {PYTHON} -c '{BUSY}' {GATEWAY}"
    bento.run("--name", "busy", "--network", "bridge", "-m", "200m", "host", "/bin/sh", "-c", script)
    bento.run("--name", "idle", "--network", "host", "host", "sleep", "1000")
    bento("create", "--name", "made", "host", "true")
    bento.wait_for_log("busy", "ready")

    lines = bento("stats", "--no-stream", "--format", "json", "-a").stdout.splitlines()

    found = {record["Name"]: record for record in map(json.loads, lines)}
    assert list(found) == ["made", "idle", "busy"]
    busy = found["busy"]
    assert float(busy["CPUPerc"].rstrip("%")) > 5  # of a CPU that others want, too
    memory, limit = busy["MemUsage"].split(" / ")
    assert limit == "200MiB"
    assert 32 <= float(memory.removesuffix("MiB")) < 100
    assert busy["NetIO"].endswith("kB")
    assert float(busy["NetIO"].split(" / ")[1].removesuffix("kB")) >= 20
    assert busy["PIDs"] == "2"
    assert (found["idle"]["NetIO"], found["idle"]["PIDs"]) == ("0B / 0B", "1")  # the host's network is not its own
    assert (found["made"]["CPUPerc"], found["made"]["MemUsage"], found["made"]["PIDs"]) == ("0.00%", "0B / 0B", "0")
    table = bento("stats", "--no-stream", "idle").stdout.splitlines()
    assert table[0].split("   ")[0] == "CONTAINER ID"
    assert [line.split()[1] for line in table[1:]] == ["idle"]
    assert "no such container" in bento.fails("stats", "--no-stream", "nosuch")


def test_stats_on_a_terminal_are_drawn_anew_and_containers_come_and_go(bento: BentoCli) -> None:
    terminal = Terminal(rows=4, columns=30)
    bento.run("--name", "first", "host", "sleep", "1000")
    with ended(bento.start("stats", stdout=terminal.slave, stderr=terminal.slave)) as process:
        terminal.read_until("first")
        bento.run("--name", "second", "host", "sleep", "1000")
        terminal.read_until("second")
        bento("stop", "-t", "0", "first", "second")
        deadline = time.monotonic() + 40
        while "first" in (screen := terminal.text.rpartition("\x1b[H")[2]) or "CONTAINER" not in screen:
            assert time.monotonic() < deadline, screen
            terminal.read_more(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    drawn = terminal.text.split("\x1b[H")[1:]
    lines = [screen.replace("\x1b[2J", "").replace("\x1b[J", "").split("\x1b[K\r\n") for screen in drawn]
    assert max(len(line) for screen in lines for line in screen[:-1]) == 30
    assert max(len(screen) for screen in lines) == 4  # and the empty one
    terminal.close()
