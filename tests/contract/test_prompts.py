"""Shells at their prompts (rule S29), and elsewhere, on pseudo-terminals: what the kernel says, and how it is taken."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bento.drivers.processes.linux import LinuxProcesses
from bento.kernel.process import pidfd, terminals
from bento.model.container import Run
from bento.stop.process import Disposition, Process
from bento.stop.rules import prompt

from support import procs
from support.terminal import Terminal

BASH, ZSH, DASH, BUSYBOX = ("bash", "--norc"), ("zsh", "-f"), ("dash",), ("busybox", "sh")
PYTHON = ("/usr/bin/python3", "-q")
PS1 = "ready> "


class Shell(Terminal):
    """A program that has a terminal of its own, and leads a session."""

    def __init__(self, argv: tuple[str, ...], home: Path) -> None:
        super().__init__()
        env = os.environ | {"PS1": PS1, "TERM": "xterm", "HOME": str(home), "HISTFILE": "/dev/null"}
        self.popen = subprocess.Popen(
            ["setsid", "--ctty", "--", *argv],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, env=env, cwd=home,
        )  # fmt: skip

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def look(self) -> Process:
        fd, identity = pidfd.identify(self.popen.pid)
        os.close(fd)
        driver, run = LinuxProcesses(), Run(number=1, runtime="", init=identity)
        (process,) = driver.examine(run, driver.look(run, signal.SIGTERM))
        return process

    def is_at_prompt(self) -> bool:
        process = self.look()
        return prompt.may_be(process) and prompt.is_reading(process)

    def is_waiting_elsewhere(self) -> bool:
        """Whether it waits for what is typed, and not at its prompt."""
        process = self.look()
        assert process.evidence is not None
        fds = process.evidence.threads[0].fds
        return bool(fds) and all(fd.kind == "tty" for fd in fds) and not prompt.is_reading(process)


@contextmanager
def running(argv: tuple[str, ...], home: Path) -> Iterator[Shell]:
    shell = Shell(argv, home)
    try:
        yield shell
    finally:
        shell.popen.kill()
        shell.popen.wait()
        shell.close()


@pytest.mark.parametrize(("argv", "hangup"), [
    (BASH, Disposition.HANDLED), (ZSH, Disposition.HANDLED),
    (DASH, Disposition.DEFAULT), (BUSYBOX, Disposition.DEFAULT),
], ids=str)  # fmt: skip
def test_s29_shells_are_known_at_their_prompts_and_not_in_their_builtin_read(argv, hangup, tmp_path):
    with running(argv, tmp_path) as shell:
        shell.read_until(PS1)
        procs.wait_until(shell.is_at_prompt, what="the prompt")
        assert shell.look().hangup is hangup
        shell.type("read answer\n")
        procs.wait_until(shell.is_waiting_elsewhere, what="the builtin")
        shell.type("yes\n")
        procs.wait_until(shell.is_at_prompt, what="the prompt after it")


@pytest.mark.parametrize(("argv", "words"), [
    (BASH, "read -sn1 x"), (BASH, "select x in a b; do :; done"), (ZSH, "read -sk1 x"), (BUSYBOX, "read -sn1 x"),
    (DASH, "while read x; do :; done"),
], ids=str)  # fmt: skip
def test_s29_nor_where_they_read_key_by_key_or_in_a_loop(argv, words, tmp_path):
    with running(argv, tmp_path) as shell:
        shell.read_until(PS1)
        procs.wait_until(shell.is_at_prompt, what="the prompt")
        shell.type(f"{words}\n")
        procs.wait_until(shell.is_waiting_elsewhere, what=words)


@pytest.mark.parametrize("argv", [
    ("bash", "-c", "trap '' TERM; trap : HUP; read -e x"), ("dash", "-c", "trap '' TERM; read x"), PYTHON,
    ("less", "/etc/passwd"), ("vim", "-u", "NONE"), ("cat",), ("sh", "-c", "trap '' TERM; exec cat"),
], ids=str)  # fmt: skip
def test_s29_scripts_and_other_programs_are_never(argv, tmp_path):
    with running(argv, tmp_path) as shell:
        tty = os.ttyname(shell.slave)

        def is_waiting() -> bool:
            threads = evidence.threads if (evidence := shell.look().evidence) else ()
            return any(fd.kind == "tty" for thread in threads for fd in thread.fds)

        procs.wait_until(is_waiting, what=f"{argv} to wait for {tty}")
        assert not shell.is_at_prompt()


def test_s29_of_what_is_no_terminal_or_has_hung_up_no_mode_is_known(tmp_path):
    file = os.open(tmp_path, os.O_RDONLY)
    shell = Terminal()
    assert terminals.mode(os.getpid(), shell.slave) == "lines"
    assert [terminals.mode(os.getpid(), fd) for fd in (file, shell.master, 999)] == ["", "", ""]
    os.close(shell.master)
    assert terminals.mode(os.getpid(), shell.slave) == ""
    assert terminals.mode(2**22 + 1, 0) == ""
    os.close(shell.slave)
    os.close(file)
