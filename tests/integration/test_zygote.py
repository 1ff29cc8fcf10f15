"""Commands that a zygote's child carries out are what they are on the plain way: in what they say, make and leave."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from bento.kernel import cgroup

from support import procs
from support.cli import BentoCli
from support.serving import serving
from support.terminal import Terminal
from support.workload import ONE_RUNTIME, assert_clean
from support.zygote import PLAIN, Zygote, clean_env

pytestmark = ONE_RUNTIME

SLEEP = ("--network", "none", "host", "sleep", "1000")
TALK = ("--network", "none", "host", "sh", "-c", "echo begun; exec sleep 1000")

ODD = """
umask 027; ulimit -n 300; ulimit -c 0; trap '' HUP USR2 PIPE; echo 300 > /proc/self/oom_score_adj
echo 60000 > /proc/self/timerslack_ns; echo 0x13 > /proc/self/coredump_filter
cd /var; exec nice -n 5 ionice -c 2 -n 6 taskset -c PROCESSOR "$@"
""".replace("PROCESSOR", str(min(os.sched_getaffinity(0))))
SURROUNDINGS = (
    "cat /proc/self/status /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj; nice; ionice; umask; pwd; env"
)


def test_commands_say_and_do_the_same(bento: BentoCli, zygote: Zygote) -> None:
    started = zygote.by("run", "-d", "--name", "w", *SLEEP)
    assert re.fullmatch("[0-9a-f]{64}\n", started.stdout), started
    assert zygote.by("ps", "-q", "--no-trunc").stdout == started.stdout
    assert zygote.by("inspect", "w").stdout == bento("inspect", "w").stdout
    assert zygote.by("exec", "-i", "w", "sh", "-c", "tr a-z A-Z; exit 7", input="words").stdout == "WORDS"
    assert zygote.by("exec", "w", "sh", "-c", "exit 7").returncode == 7
    assert (
        zygote.by("run", "--rm", "-i", "--network", "none", "host", "cat", input="by a pipe\n").stdout == "by a pipe\n"
    )
    missing = zygote.by("rm", "nothing")
    assert (missing.returncode, missing.stderr) == (1, bento("rm", "nothing", check=False).stderr)
    assert zygote.by("stop", "w").stdout == "w\n"
    assert zygote.by("rm", "w").stdout == "w\n"
    procs.wait_until(lambda: not zygote.children(), what="the children to be gone")
    assert_clean(bento)


def facts_of(pid: int) -> dict[str, str]:
    """What a process has from the one that started it, as far as both ways are to be the same in it."""
    facts = {name: Path(f"/proc/{pid}/{name}").read_text() for name in (
        "limits", "cgroup", "oom_score_adj", "timerslack_ns", "coredump_filter", "loginuid", "comm",
    )}  # fmt: skip
    facts["cwd"] = os.readlink(f"/proc/{pid}/cwd")
    facts["root"] = os.readlink(f"/proc/{pid}/root")
    facts["nice"] = str(os.getpriority(os.PRIO_PROCESS, pid))
    facts["processors"] = str(os.sched_getaffinity(pid))
    facts["io"] = subprocess.check_output(["ionice", "-p", str(pid)], text=True)
    return facts | status_of(Path(f"/proc/{pid}/status").read_text())


def status_of(text: str) -> dict[str, str]:
    kept = r"(Umask|Uid|Gid|Groups|Sig(?:Ign|Blk)|Cap\w+|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed_list):\t(.*)"
    return dict(re.findall(kept, text))


def is_leader(pid: int) -> bool:
    """Whether it leads its session, and group, and has no terminal."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[2] == fields[3] == str(pid) and fields[4] == "0"


def test_what_is_made_is_as_on_the_plain_way(bento: BentoCli, zygote: Zygote, tmp_path: Path) -> None:
    found = []
    for name, prefix in (("plain", [str(plain_program(tmp_path)), *zygote.prefix[1:]]), ("child", zygote.prefix)):

        def run(*words: str, prefix: list[str] = prefix) -> None:
            done = subprocess.run(
                ["sh", "-c", ODD, "sh", *prefix, *words],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, env=clean_env(), check=False,
            )  # fmt: skip
            assert done.returncode == 0, done

        hook = tmp_path / f"{name}.hook"
        run("run", "-d", "--name", name, "--pre-stop-host", f"{{ {SURROUNDINGS}; }} > {hook}", *TALK)
        monitor = int((bento.roots.run_root / "containers" / bento.inspect(name)["Id"] / "conmon.pid").read_text())
        logs = subprocess.Popen(
            ["sh", "-c", ODD, "sh", *prefix, "logs", "-f", name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=clean_env(),
        )  # fmt: skip
        assert logs.stdout is not None
        assert logs.stdout.readline() == b"begun\n"
        command = zygote.child().pid if name == "child" else logs.pid
        main = bento.state(name)["Pid"]
        facts = {what: facts_of(pid) for what, pid in (("command", command), ("monitor", monitor), ("main", main))}
        facts["leads"] = {"monitor": str(is_leader(monitor)), "main": str(is_leader(main))}
        run("stop", name)
        assert logs.wait(60) == 0
        logs.stdout.close()
        said = hook.read_text()
        facts["hook"] = status_of(said) | {"rest": re.sub(r".*?\nLimit", "Limit", said, count=1, flags=re.DOTALL)}
        identifier = bento.inspect(name)["Id"]
        found.append({
            f"{what} {key}": value.replace(identifier, "ID").replace(name, "NAME")
            for what, values in facts.items()
            for key, value in values.items()
        })  # fmt: skip
    assert found[0]["command Umask"] == found[0]["hook Umask"] == "0027"
    assert found[1] == found[0]


def plain_program(directory: Path) -> Path:
    """A program of the same name that takes the plain way, as the one of the zygote does where there is none."""
    program = directory / "plain" / "bento"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable} -I\nfrom bento.__main__ import main\nmain()\n")
    program.chmod(0o755)
    return program


def test_the_plain_way_is_taken_where_something_differs(bento: BentoCli, zygote: Zygote, tmp_path: Path) -> None:
    bento("ps")  # the roots are there
    assert not zygote.is_refused("ps")
    assert zygote.is_refused("ps", env=clean_env(PYTHONPATH="/nowhere"))
    assert zygote.is_refused("ps", env=clean_env(LD_LIBRARY_PATH="/nowhere"))
    assert zygote.is_refused("--root", str(tmp_path / "other"), "ps")
    for flag in ("--mount", "--uts", "--ipc", "--net", "--cgroup", "--fork"):
        assert zygote.is_refused("ps", launcher=["unshare", *(("--pid", flag) if flag == "--fork" else (flag,))]), flag
    assert zygote.is_refused("ps", launcher=["prlimit", f"--as={1 << 40}"])
    assert zygote.is_refused("ps", launcher=["setpriv", "--bounding-set", "-sys_time"])
    assert zygote.is_refused("ps", launcher=["setarch", "--addr-no-randomize"])
    assert zygote.is_refused("--trace", str(tmp_path / "trace"), "ps")
    assert zygote.is_refused("ps", "--no-such-option")
    assert zygote.is_refused("ps", "--help")
    assert not zygote.is_refused("ps")


def test_a_caller_that_does_not_wait_for_an_answer_is_told_nothing(bento: BentoCli, zygote: Zygote) -> None:
    bento("ps")
    # It has asked, and is gone before it looks for the answer.
    impatient = "def gone(*_): raise OSError\nhandover._socket.CMSG_SPACE = gone"
    zygote.program.write_text(zygote.program.read_text().replace("handover.PATIENCE_S = 30.0", impatient))
    for _ in range(5):
        done = zygote.by("run", "-d", *SLEEP)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{PLAIN}\n")
    assert bento("ps", "-aq").stdout == ""


def test_a_signal_that_comes_before_the_word_to_begin_is_no_killed_process(bento: BentoCli, zygote: Zygote) -> None:
    bento("ps")
    early = (
        "handover.PATIENCE_S = 30.0\nimport signal\nclass Early(handover._Relay):\n"
        "    def __init__(self, pidfd):\n        signal.pidfd_send_signal(pidfd, signal.SIGINT)\n"
        "        super().__init__(pidfd)\nhandover._Relay = Early"
    )
    plain = zygote.program.read_text()
    zygote.program.write_text(plain.replace("handover.PATIENCE_S = 30.0", early))
    for _ in range(3):
        done = zygote.by("run", "-d", *SLEEP)
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    zygote.program.write_text(plain)
    assert zygote.by("ps", "-aq").stdout == ""


def test_a_signal_ends_the_command_as_on_the_plain_way(bento: BentoCli, zygote: Zygote) -> None:
    bento.run("--name", "w", *TALK)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        ends = []
        ways: list[Any] = [bento.start, zygote.start]
        for way in ways:
            with way("logs", "-f", "w", preexec_fn=no_core) as command:
                assert command.stdout.readline() == "begun\n"
                command.send_signal(number)
                ends.append((command.wait(60), command.stderr.read()))
        assert ends[0][0] == ends[1][0], number
        assert ends[1][1] == ""
    procs.wait_until(lambda: not zygote.children(), what="the children to be gone")


def no_core() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def test_whatever_is_killed_the_caller_is_told(bento: BentoCli, zygote: Zygote) -> None:
    bento.run("--name", "w", *TALK)
    with zygote.start("logs", "-f", "w") as command:
        assert command.stdout.readline() == "begun\n"
        child = zygote.child()
        procs.kill(child)
        assert command.wait(60) == -signal.SIGKILL
    with zygote.start("logs", "-f", "w") as command:
        assert command.stdout.readline() == "begun\n"
        child = zygote.child()
        command.kill()
        procs.wait_until(lambda: procs.read(child.pid) is None, what="the child to end with its caller")
    with zygote.start("logs", "-f", "w") as command, zygote.start("exec", "w", "sh", "-c", "sleep 1; exit 9") as other:
        assert command.stdout.readline() == "begun\n"
        procs.wait_until(lambda: len(zygote.children()) == 2, what="both children")
        zygote.process.kill()
        zygote.process.wait()
        assert PLAIN in zygote.by("ps").stderr  # nothing listens
        zygote.begin()  # what is at work is in no other one's way
        procs.wait_until(lambda: not zygote.is_refused("ps"), what="the next zygote")
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 130
        assert other.wait(60) == 9


class Shell:
    """An interactive shell at a terminal of its own."""

    def __init__(self, zygote: Zygote) -> None:
        self.terminal = Terminal(rows=50, columns=300)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "-i"],
            stdin=self.terminal.slave, stdout=self.terminal.slave, stderr=self.terminal.slave,
            env=clean_env(PS1="@ ", TERM="dumb", BENTO=" ".join(zygote.prefix)),
        )  # fmt: skip
        self.terminal.read_until("@ ")

    def type(self, text: str, until: str) -> None:
        begin = len(self.terminal.text)
        os.write(self.terminal.master, text.encode())
        # Behind what the terminal shows of what is typed.
        self.terminal.read_until_after(begin + len(text), until)


def test_the_directory_of_a_caller_that_has_its_answer_is_held_no_longer(zygote: Zygote, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    for _ in range(20):
        subprocess.run(["mount", "-t", "tmpfs", "bento-test", place], check=True)
        try:
            assert zygote.by("ps", cwd=place).returncode == 0
        finally:
            subprocess.run(["umount", place], check=True)


def test_a_terminal_stops_interrupts_and_leaves_the_command_as_on_the_plain_way(
    bento: BentoCli, zygote: Zygote
) -> None:
    bento.run("--name", "w", *TALK)
    shell = Shell(zygote)
    shell.type("$BENTO logs -f w\n", "begun")
    child = zygote.child()
    shell.type("\x1a", "Stopped")
    procs.wait_until(lambda: state_of(child.pid) == "T", what="the child to be stopped")
    shell.type("fg\n", "logs -f w")
    procs.wait_until(lambda: state_of(child.pid) == "S", what="the child to go on")
    shell.type("\x03", "@ ")
    shell.type("echo $?\n", "130")
    shell.type("$BENTO run -d --name x --network none host sleep 1000; echo ended:$?\n", "ended:0")
    shell.type("$BENTO exec -it x true; echo $?\n", PLAIN)
    shell.type("$BENTO rm -f x; echo ended:$?\n", "ended:0")
    shell.type("$BENTO logs -f w\n", "begun")
    child = zygote.child()
    os.close(shell.terminal.slave)
    os.close(shell.terminal.master)
    procs.wait_until(lambda: procs.read(child.pid) is None, what="the child to end with its terminal")
    shell.process.wait(60)


def state_of(pid: int) -> str:
    process = procs.read(pid)
    return process.state if process else ""


def test_it_goes_to_the_cgroup_that_its_callers_come_from(bento: BentoCli, zygote: Zygote) -> None:
    bento.run("--name", "w", *TALK)
    hierarchy = next(each for each in cgroup.hierarchies() if not each.endswith("cpuset"))
    made = Path(f"{hierarchy}/bento-zygote-{os.getpid()}")
    made.mkdir()
    try:
        inside = ["sh", "-c", f'echo $$ > {made}/cgroup.procs && exec "$@"', "sh"]
        assert zygote.is_refused("ps", launcher=inside)
        assert not zygote.is_refused("ps", launcher=inside)
        with subprocess.Popen(
            [*inside, *zygote.prefix, "logs", "-f", "w"], stdout=subprocess.PIPE, env=clean_env()
        ) as command:  # fmt: skip
            assert command.stdout is not None
            assert command.stdout.readline() == b"begun\n"
            child = zygote.child()
            assert Path(f"/proc/{child.pid}/cgroup").read_text() == Path(f"/proc/{command.pid}/cgroup").read_text()
            command.terminate()
        assert zygote.is_refused("ps")
        assert not zygote.is_refused("ps")
    finally:
        zygote.end()
        procs.wait_until(lambda: removed(made), what="the cgroup to be empty")


def removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def test_the_first_command_starts_one_where_the_setting_asks_for_it(bento: BentoCli, tmp_path: Path) -> None:
    words = [str(plain_program(tmp_path)), *bento.prefix[3:], "ps"]
    subprocess.run(words, env=clean_env(), check=True, capture_output=True)
    zygote = Zygote(bento, tmp_path, is_started=False)
    assert not zygote.socket.exists()
    for _ in range(2):  # one at the most is there
        subprocess.run(words, env=clean_env(BENTO_ZYGOTE="on"), check=True, capture_output=True)
    procs.wait_until(zygote.socket.exists, what="the zygote's socket")
    try:
        assert not zygote.is_refused("ps")
    finally:
        for process in zygote.left():
            procs.kill(process)
        zygote.wait_until_gone()


def test_it_leaves_when_it_has_had_no_work_for_a_while(bento: BentoCli, tmp_path: Path) -> None:
    zygote = Zygote(bento, tmp_path, idle_s=0.5)
    assert not zygote.is_refused("ps")
    assert zygote.process.wait(60) == 0
    assert not zygote.socket.exists()
    zygote.wait_until_gone()


def test_systemd_may_hand_the_socket_over(bento: BentoCli, tmp_path: Path) -> None:
    bento("ps")  # the run root is there
    zygote = Zygote(bento, tmp_path, is_started=False)
    zygote.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(zygote.socket))
        listener.listen()
        zygote.begin(["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 < /dev/null', "sh"], stdin=listener)
        assert not zygote.is_refused("ps")
        zygote.process.terminate()
        assert zygote.process.wait(60) == 0
        assert zygote.socket.exists()  # which is systemd's
        zygote.wait_until_gone()


def test_a_server_keeps_one(bento: BentoCli, tmp_path: Path) -> None:
    with serving(bento, "--zygote"):
        zygote = Zygote(bento, tmp_path, is_started=False, isolation="-P")
        procs.wait_until(zygote.socket.exists, what="the zygote's socket")
        assert not zygote.is_refused("ps")
    zygote.wait_until_gone()
