"""The filter in force: what Docker denies fails in a real container, what programs need works."""

from __future__ import annotations

import errno
import platform
from pathlib import Path

import pytest

from support.sandbox import Sandbox

X86_ONLY = pytest.mark.skipif(platform.machine() != "x86_64", reason="kernel: system call numbers of x86_64")

NUMBERS = {
    "add_key": 248,
    "keyctl": 250,
    "setns": 308,
    "bpf": 321,
    "fsopen": 430,
    "unshare": 272,
    "io_uring_setup": 425,
}


def python(code: str) -> tuple[str, ...]:
    return ("/usr/bin/python3", "-c", code)


@pytest.fixture
def run(leak_check, runtime: str):
    def run(*argv: str) -> tuple[str, str, int]:
        with Sandbox(leak_check.base, runtime, *argv) as it:
            return it.run()

    return run


@X86_ONLY
def test_forbidden_calls_fail(run) -> None:
    code = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"for name, number in {NUMBERS!r}.items():\n"
        "    result = libc.syscall(number, 0, 0, 0, 0, 0)\n"
        "    print(name, result, ctypes.get_errno())\n"
    )
    out, err, status = run(*python(code))

    assert status == 0, err
    answers = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    for name in NUMBERS:
        assert answers[name][0] == "-1"
        assert int(answers[name][1]) in (errno.EPERM, errno.ENOSYS), name
    assert {int(answers[name][1]) for name in ("keyctl", "unshare", "setns", "fsopen")} == {errno.EPERM}


def test_a_filter_that_was_compiled_before_refuses_the_same(leak_check, runtime: str) -> None:
    """The filter itself is compared, as crun keeps it for an exec, and what the kernel makes of it."""
    argv = ("/bin/sh", "-c", "grep ^Seccomp: /proc/self/status; /usr/bin/unshare -U true || echo refused")
    said, compiled, given = [], [], []
    for _ in range(2):
        with Sandbox(leak_check.base, runtime, *argv) as it:
            it.create()
            given.append("seccomp_bpf_data" in (it.bundle / "config.json").read_text())
            state = leak_check.base / "r" / "runtime" / runtime / it.id / "seccomp.bpf"
            compiled.append(state.read_bytes() if state.exists() else b"")
            it.start()
            said.append(it.read_output()[0])
            it.wait()
    assert given == [False, runtime == "crun"]  # another runtime compiles each
    assert compiled[0] == compiled[1]
    assert said[0] == said[1]
    assert said[0].split() == ["Seccomp:", "2", "refused"]


def test_nothing_makes_namespaces_or_mounts(run) -> None:
    out, _, _ = run(
        "/bin/sh",
        "-c",
        "for n in U m n; do unshare -$n true 2>&- || echo no; done; mount -t tmpfs x /mnt 2>&- || echo no",
    )

    assert out == "no\n" * 4


def test_a_new_user_namespace_by_clone_fails_too(run) -> None:
    code = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) > -1)\n"  # CLONE_NEWUSER | SIGCHLD
    )
    if platform.machine() != "x86_64":
        pytest.skip("kernel: system call numbers of x86_64")
    assert run(*python(code))[0] == "False\n"


@X86_ONLY
def test_sockets_that_reach_past_the_network_namespace_are_denied(run) -> None:
    """Also with bits that the kernel does not look at. A kernel that lacks a family would say something else."""
    code = (
        "import ctypes, socket\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "for family in (38, 40, 38 | 1 << 32, 40 | 1 << 63):\n"
        "    print(libc.syscall(41, ctypes.c_ulong(family), 5, 0), ctypes.get_errno())\n"
        "for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):\n"
        "    socket.socket(family, socket.SOCK_RAW if family > 12 else socket.SOCK_STREAM).close()\n"
    )
    assert run(*python(code)) == (f"-1 {errno.EPERM}\n" * 4, "", 0)


def test_threads_and_processes_work(run) -> None:
    code = (
        "import os, subprocess, threading\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "print(subprocess.run(['/bin/echo', 'child'], capture_output=True, text=True).stdout, end='')\n"
        "print(os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)[1])\n"
    )
    assert run(*python(code)) == ("thread\nchild\n0\n", "", 0)


def test_the_filter_is_on(run) -> None:
    assert run("/bin/grep", "^Seccomp:", "/proc/self/status")[0] == "Seccomp:\t2\n"


def test_the_packaged_profile_is_there() -> None:
    assert Path("/usr/share/containers/seccomp.json").exists()
