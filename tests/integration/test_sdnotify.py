"""A service of type notify: what is told, by the command, by the monitor, and by the program while it is stopped."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, PYTHON

pytestmark = ONE_RUNTIME

PROGRAM = """
import os, signal, socket, sys, time
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.connect(os.environ["NOTIFY_SOCKET"])
        own.send(text)
def end(*_):
    tell(b"EXTEND_TIMEOUT_USEC=60000000")
    time.sleep(3)
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
tell(b"READY=1")
while True:
    signal.pause()
"""


def test_s05_a_program_tells_that_it_is_ready_and_asks_for_more_time(bento: BentoCli, tmp_path: Path) -> None:
    address = str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(60)
        env = {"NOTIFY_SOCKET": address}
        flags = ["--sdnotify", "container", "--network", "none", "-u", "65534"]
        bento("run", "-d", "--name", "w", *flags, "host", PYTHON, "-c", PROGRAM, env=env)
        monitor = (bento.roots.run_root / "containers" / bento.inspect("w")["Id"] / "conmon.pid").read_text().strip()
        assert {systemd.recv(1000) for _ in range(2)} == {f"MAINPID={monitor}".encode(), b"READY=1"}
        bento("stop", "-t", "2", "w", env=env | {"SERVICE_RESULT": "success"})  # as an ExecStop= has it
        report = json.loads(bento("report", "--format", "json", "w").stdout)
        assert (report["verdict"], report["exit_code"], report["asked_by"]) == ("graceful", 7, "systemd"), report
        assert [systemd.recv(1000) for _ in range(2)] == [b"STOPPING=1", b"EXTEND_TIMEOUT_USEC=30000000"]
        assert bento("diff", "w").stdout == ""
