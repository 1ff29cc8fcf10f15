"""Which init a PID 1 is, from what /proc shows of it."""

from __future__ import annotations

import os

import pytest

from bento.drivers.processes import initctl, inits
from bento.kernel.process import proc

RTMIN_3 = 1 << 36
QUIT = 1 << 2


class Shown:
    """What /proc shows of one process."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, exe: str, *words: str, blocked: int = 0, caught: int = 0
    ) -> None:
        stat = b"7 (init) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0" + b" 0" * 30
        status = f"SigBlk:\t{blocked:016x}\nSigCgt:\t{caught:016x}\n".encode()
        monkeypatch.setattr(proc, "read", lambda pid: proc.parse(stat, status))
        monkeypatch.setattr(proc, "exe", lambda pid: exe)
        monkeypatch.setattr(proc, "cmdline", lambda pid: words)


@pytest.mark.parametrize(
    ("exe", "words", "method"),
    [
        ("/usr/lib/systemd/systemd", ("/sbin/init",), "systemd"),
        ("/usr/sbin/init", ("init [2]",), "sysvinit"),
        ("/usr/sbin/openrc-init", ("/sbin/openrc-init",), "openrc-init"),
        ("/usr/sbin/runit", ("runit",), "runit"),
        ("/usr/sbin/finit", ("/sbin/init",), "finit"),
        ("/bin/busybox", ("init", "", ""), "busybox"),
        ("/bin/busybox", ("/bin/busybox", "init"), "busybox"),
        ("/bin/busybox", ("sh",), "signal"),
        ("/bin/busybox", ("busybox", "httpd"), "signal"),
        ("/usr/bin/python3.11", ("python3",), "signal"),
        ("", ("x",), "sysvinit"),  # the name in comm is what is left
    ],
)
def test_s10_the_executable_says_which_init_it_is(monkeypatch, exe, words, method):
    Shown(monkeypatch, exe, *words)
    found, reason = inits.find_method(2**22 + 1)
    assert found == method
    assert reason.startswith("PID 1 runs")


@pytest.mark.parametrize(
    ("blocked", "caught", "method"),
    [
        (RTMIN_3, 0, "systemd"),
        (0, RTMIN_3, "systemd"),
        (RTMIN_3 | QUIT, 0, "signal"),  # blocks everything: an init of containers
        (QUIT, 0, "signal"),
    ],
)
def test_s10_an_unknown_program_is_known_by_the_signals_it_waits_for(monkeypatch, blocked, caught, method):
    Shown(monkeypatch, "/opt/manager", blocked=blocked, caught=caught)
    assert inits.find_method(2**22 + 1)[0] == method


def test_s10_or_by_the_fifo_it_reads(monkeypatch):
    Shown(monkeypatch, "/opt/my-init")
    monkeypatch.setattr(inits, "_open_files", lambda pid: ["/dev/null", "/run/initctl"])
    assert inits.find_method(2**22 + 1) == ("sysvinit", "PID 1 runs /opt/my-init and reads /run/initctl")


def test_s10_what_has_ended_is_no_init():
    assert inits.find_method(2**22 + 1)[0] == "signal"
    assert inits._open_files(os.getpid())


def test_s10_the_hosts_own_fifo_is_refused_wherever_it_is_found(monkeypatch, tmp_path):
    """Even if it were on no filesystem of the host's."""
    fifo = tmp_path / "initctl"
    os.mkfifo(fifo)
    monkeypatch.setattr(initctl, "CANDIDATES", (str(fifo),))
    ((path, fd),) = initctl._find()
    try:
        assert initctl._fault(fd, os.getpid(), initctl._identities()) == "is the host's own"
        assert initctl._fault(fd, os.getpid(), set()) == "is on a filesystem of the host"
        assert initctl._fault(fd, 2**22 + 1, set()) == "is on a mount that cannot be found"
        assert initctl._write(fd) == "is read by no process"
    finally:
        os.close(fd)
    assert path == str(fifo)


def test_s10_a_full_fifo_is_not_waited_for(monkeypatch, tmp_path):
    fifo = tmp_path / "initctl"
    os.mkfifo(fifo)
    monkeypatch.setattr(initctl, "CANDIDATES", (str(fifo),))
    both = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    ((_, fd),) = initctl._find()
    try:
        assert initctl._write(fd) == ""
        assert os.read(both, 4096) == initctl.REQUEST
        while True:
            try:
                os.write(both, bytes(4096))
            except BlockingIOError:
                break
        assert initctl._write(fd) == "is read by no process"
    finally:
        os.close(fd)
        os.close(both)
