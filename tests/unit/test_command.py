"""Starting programs: what a child gets, what comes back, and what is left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from bento import command
from bento.errors import DeadlineExceeded, KernelError, MissingTool
from bento.kernel.process import pidfd

LIMIT_S = 20.0


def _sh(script: str, **options) -> command.Completed:
    return command.run(["sh", "-c", script], timeout_s=LIMIT_S, **options)


def _python(program: str) -> command.Completed:
    env = command.clean_environment() | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return command.run([sys.executable, "-c", textwrap.dedent(program)], timeout_s=LIMIT_S, env=env)


def test_output_and_return_code_come_back():
    done = _sh("echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert done.argv[0].startswith("/")


def test_standard_output_may_go_where_the_caller_says_while_errors_are_kept(tmp_path):
    with open(tmp_path / "out", "wb") as out:
        child = command.spawn(["sh", "-c", "echo out; echo err >&2"], stdout_fd=out.fileno())
        done = child.finish(LIMIT_S)
    assert (done.stdout, done.stderr, (tmp_path / "out").read_text()) == ("", "err\n", "out\n")


def test_a_signal_is_a_negative_return_code():
    assert _sh("kill -TERM $$").returncode == -signal.SIGTERM


def test_a_child_that_takes_too_long_is_killed_and_named():
    child = command.spawn(["sleep", "600"])
    with pytest.raises(DeadlineExceeded) as caught:
        child.finish(0.02)
    assert "sleep" in str(caught.value)
    assert "/sleep 600" in caught.value.hint
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)


def test_finish_and_kill_may_be_repeated():
    child = command.spawn(["sh", "-c", "echo once; exit 4"])
    first = child.finish(LIMIT_S)
    child.kill()
    assert child.finish(0) is first
    assert (first.returncode, first.stdout) == (4, "once\n")


def test_kill_reaps_and_closes():
    child = command.spawn(["sleep", "600"])
    descriptors = [fd for fd in (child.pidfd, child.stdout_fd, child.stderr_fd) if fd is not None]
    child.kill()
    child.kill()
    for fd in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            fcntl.fcntl(fd, fcntl.F_GETFD)


def test_the_descriptor_to_wait_on_polls_ready_at_the_exit():
    child = command.spawn(["true"])
    assert pidfd.wait(child.fileno(), LIMIT_S)
    assert child.finish(0).returncode == 0


def test_only_the_end_of_a_long_output_is_kept():
    done = _sh("head -c 300000 /dev/zero | tr '\\0' a; echo THE END")
    assert len(done.stdout) == command.OUTPUT_LIMIT_BYTES
    assert done.stdout.endswith("aTHE END\n")


def test_output_that_is_not_utf8_is_readable_all_the_same():
    assert _sh(r"printf 'a\377b'").stdout == "a\ufffdb"


def test_a_daemon_left_behind_does_not_hold_its_starter():
    done = _sh("sleep 600 & echo $!")
    fd = os.pidfd_open(int(done.stdout))
    try:
        assert not pidfd.has_exited(fd)
    finally:
        pidfd.send(fd, signal.SIGKILL)
        pidfd.wait(fd, LIMIT_S)
        os.close(fd)


def test_a_missing_program_names_the_package_to_install():
    with pytest.raises(MissingTool) as caught:
        command.find_program("no-such-program", package="some-package")
    assert "some-package" in caught.value.hint
    with pytest.raises(MissingTool):
        command.spawn(["no-such-program"])
    with pytest.raises(MissingTool):
        command.spawn(["/no/such/program"])


def test_a_file_that_cannot_be_executed_is_no_program(tmp_path, monkeypatch):
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool):
        command.find_program("tool", package="x")
    with pytest.raises(MissingTool):
        command.find_program(str(tmp_path / "tool"), package="x")
    (tmp_path / "tool").chmod(0o755)
    assert command.find_program("tool", package="x") == tmp_path / "tool"


def test_a_file_the_kernel_cannot_run_is_an_error_of_the_kernels(tmp_path):
    tool = tmp_path / "tool"
    tool.write_bytes(b"\0not a program")
    tool.chmod(0o755)
    with pytest.raises(KernelError):
        command.spawn([str(tool)])


def test_relative_directories_on_the_path_are_not_searched(tmp_path, monkeypatch):
    (tmp_path / "own-tool").write_text("#!/bin/sh\n")
    (tmp_path / "own-tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".::/usr/bin")
    with pytest.raises(MissingTool):
        command.find_program("own-tool", package="x")


def test_system_programs_are_found_with_an_empty_path(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert command.find_program("sh", package="dash").name == "sh"


def test_the_environment_is_clean_unless_given(monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    names = {line.partition("=")[0] for line in command.run(["env"], timeout_s=LIMIT_S).stdout.splitlines()}
    assert names == {"PATH", "HOME", "LANG"}
    assert command.run(["env"], timeout_s=LIMIT_S, env={"A": "b"}).stdout == "A=b\n"


def test_standard_input_is_empty_unless_given():
    assert _sh("cat").stdout == ""
    reader, writer = os.pipe()
    os.write(writer, b"given")
    os.close(writer)
    try:
        assert _sh("cat", stdin_fd=reader).stdout == "given"
    finally:
        os.close(reader)


def test_only_the_passed_descriptors_arrive_and_ours_stay_private():
    given, other, left_open = (os.open("/dev/null", os.O_RDONLY) for _ in range(3))
    os.set_inheritable(left_open, True)  # as a careless parent of ours leaves one
    try:
        listed = command.run(["ls", "/proc/self/fd"], timeout_s=LIMIT_S, pass_fds=(given,)).stdout.split()
        assert str(given) in listed
        assert str(other) not in listed
        assert str(left_open) not in listed
        assert not os.get_inheritable(given)
        assert os.get_inheritable(left_open)
    finally:
        for fd in (given, other, left_open):
            os.close(fd)


def test_an_inheritable_descriptor_that_is_passed_arrives():
    given = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(given, True)
    try:
        listed = command.run(["ls", "/proc/self/fd"], timeout_s=LIMIT_S, pass_fds=(given,)).stdout.split()
        assert str(given) in listed
    finally:
        os.close(given)


def test_children_start_with_default_signals():
    done = _python(
        """
        import signal
        from bento import command
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        print(command.run(["cat", "/proc/self/status"], timeout_s=10).stdout)
        """
    )
    values = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    own = 1 << 31 | 1 << 32  # 32 and 33 belong to the C library
    assert int(values["SigBlk"], 16) == 0
    assert int(values["SigIgn"], 16) & ~own == 0


def test_without_capture_output_goes_nowhere():
    child = command.spawn(["sleep", "600"], capture=False)
    try:
        assert (child.stdout_fd, child.stderr_fd) == (None, None)
        assert {os.readlink(f"/proc/{child.pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    finally:
        child.kill()


def test_a_new_session_has_the_child_as_its_leader():
    child = command.spawn(["sleep", "600"], new_session=True)
    try:
        assert os.getsid(child.pid) == child.pid
    finally:
        child.kill()


def test_it_works_for_a_caller_without_standard_streams():
    done = _python(
        """
        import os
        keep = os.dup(1)
        for fd in (0, 1, 2):
            os.close(fd)
        from bento import command
        result = command.run(["sh", "-c", "echo out; echo err >&2"], timeout_s=10)
        os.write(keep, (result.stdout + result.stderr).encode())
        """
    )
    assert done.stdout == "out\nerr\n"


def test_a_status_that_another_process_took_is_an_error_or_known_from_the_kernel():
    done = _python(
        """
        import signal
        from bento import command, errors
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps at once
        try:
            print(command.run(["sh", "-c", "exit 9"], timeout_s=10).returncode)
        except errors.KernelError as error:
            print(error.hint)
        """
    )
    assert done.stdout.strip() == "9" or "SIGCHLD" in done.stdout


def test_a_replay_line_can_be_pasted():
    assert command.replay_line(["/bin/echo", "a b", "$HOME", "it's"]) == """/bin/echo 'a b' '$HOME' 'it'"'"'s'"""


def test_a_process_of_our_own_has_room_and_its_children_have_what_it_was_given():
    program = """
import os, resource, sys
soft, hard = 64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
left_open = os.dup(0)
os.set_inheritable(left_open, True)
from bento import command
command.own_process()
command.own_process()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
many = [os.open("/", os.O_RDONLY) for _ in range(200)]
go, say = os.pipe()
script = f"read line; ulimit -n; test -e /proc/self/fd/{left_open} && echo inherited; echo seen >&2"
child = command.spawn(["/bin/sh", "-c", script], stdin_fd=go)  # its limit is set once it runs
os.write(say, b"now\\n")
done = child.finish(60)
print(done.returncode, done.stdout.split(), done.stderr.strip())
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert (done.stdout.strip(), done.stderr) == ("0 ['64'] seen", "")
