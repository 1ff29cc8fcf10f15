"""What can wake (S14), read from real programs: each in a shape that once was, or might be, taken for idle."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from bento.kernel.process import proc, threads
from bento.model.waits import Evidence
from bento.stop.process import Disposition, Process
from bento.stop.rules.wake import Wake, container_wake, is_at_rest

from support import procs

WITHIN_S = 10.0


class Tree:
    """A program with all that it starts: one container's worth."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.memory: threads.Memory = {}

    def pids(self) -> list[int]:
        return [self.popen.pid, *(process.pid for process in procs.descendants(self.popen.pid) if process.is_alive)]

    def look(self) -> list[tuple[Process, Evidence | None]]:
        pids = self.pids()
        evidence = threads.examine(pids, outsiders=[os.getpid()], memory=self.memory)
        statuses = [status for pid in pids if (status := proc.read(pid))]
        return [
            (
                Process(
                    pid=status.pid,
                    start_ticks=status.start_ticks,
                    ppid=status.ppid,
                    comm=status.comm,
                    argv=proc.cmdline(status.pid),
                    disposition=Disposition.DROPPED,
                ),
                evidence.get(status.pid),
            )
            for status in statuses
        ]

    def wake(self) -> Wake:
        return container_wake(self.look())

    def at_rest(self) -> tuple[bool, str]:
        process, evidence = self.look()[0]
        return is_at_rest(process, evidence, within_s=WITHIN_S) if evidence else (False, "nothing was read")

    def until(self, wanted: Callable[[], bool], what: str) -> None:
        """Wait until it has settled in the wait that the test is about."""
        try:
            procs.wait_until(wanted, timeout_s=20, every_s=0.05)
        except AssertionError:
            raise AssertionError(f"{what}: {self.wake()}, {self.at_rest()}\n{self.look()}") from None


@pytest.fixture
def run() -> Iterator[Callable[..., Tree]]:
    """Start programs; all that they have started is ended with the test."""
    trees: list[Tree] = []

    def start(*argv: str, stdin: int = subprocess.DEVNULL, **more) -> Tree:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **more}
        trees.append(Tree(subprocess.Popen(argv, stdin=stdin, start_new_session=True, **quiet)))
        return trees[-1]

    yield start
    for tree in trees:
        for process in [*procs.descendants(tree.popen.pid), procs.read(tree.popen.pid)]:
            if process is not None:
                procs.kill(process)
        tree.popen.wait(10)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


class Case(NamedTuple):
    name: str
    argv: tuple[str, ...]
    earliest_s: float
    latest_s: float = float("inf")
    tool: str = ""


FUTEX = (  # without FUTEX_PRIVATE_FLAG
    "import ctypes, mmap, os, tempfile\n"
    "file = tempfile.TemporaryFile(); file.truncate(4096); word = ctypes.c_int.from_buffer(%s)\n"
    "ctypes.CDLL(None).syscall(202 if os.uname().machine == 'x86_64' else 98, ctypes.byref(word), 0, 0, 0, 0, 0)"
)
SOON, FAR = (0.0, 3.0), (500.0, float("inf"))

CASES = [
    Case("sleep", ("sleep", "600"), *FAR),
    Case("sleep for ever", ("sleep", "infinity"), *FAR),
    Case("time.sleep", python("import time; time.sleep(600)"), *FAR),
    Case("select", python("import select; select.select([], [], [], 600)"), *FAR),
    Case("select without end", python("import select; select.select([], [], [])"), *FAR),
    Case("poll", python("import select; select.poll().poll(600000)"), *FAR),
    Case("epoll", python("import select; select.epoll().poll(600)"), *FAR),
    Case("epoll without end", python("import select; select.epoll().poll()"), *FAR),
    Case("own pipe", python("import os; os.read(os.pipe()[0], 1)"), *FAR),
    Case("sigwait", python("import signal; signal.sigwait({10})"), *FAR),
    Case("pause", python("import signal; signal.pause()"), *FAR),
    Case("shell", ("sh", "-c", "sleep 600; echo next"), *FAR),
    Case("pipeline", ("sh", "-c", "sleep 600 | cat; echo next"), *FAR),
    Case("busybox", ("busybox", "sleep", "600"), *FAR, "busybox"),
    Case("tail", ("tail", "-f", "/dev/null"), *FAR),
    Case("busybox tail", ("busybox", "tail", "-f", "/dev/null"), *FAR, "busybox"),
    Case("idle thread pool", python(
        "import concurrent.futures as f, threading\n"
        "p = f.ThreadPoolExecutor(3); [p.submit(int) for _ in range(9)]; threading.Event().wait()"
    ), *FAR),
    Case("timed queue", python("import queue; queue.Queue().get(timeout=600)"), *FAR),
    Case("timed futex", python(
        "import ctypes, threading\n"
        "t = (ctypes.c_long * 2)(600, 0); w = ctypes.c_int(0)\n"
        "ctypes.CDLL(None).syscall(202 if __import__('os').uname().machine == 'x86_64' else 98,"
        " ctypes.byref(w), 128, 0, t, 0, 0)"
    ), *FAR),
    Case("leader gone", python(
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).syscall(60 if __import__('os').uname().machine == 'x86_64' else 93, 0)"
    ), *FAR),
    Case("timer descriptor", python(
        "import ctypes, os\n"
        "c = ctypes.CDLL(None); d = c.timerfd_create(1, 0)\n"
        "c.timerfd_settime(d, 0, (ctypes.c_long * 4)(0, 0, 600, 0), None); os.read(d, 8)"
    ), *FAR),
    # These may wake at any moment, or soon.
    Case("batch", ("sh", "-c", "while :; do sleep 2; done"), *SOON),
    Case("python batch", python("import time\nwhile True: time.sleep(2)"), *SOON),
    Case("queue with a short timeout", python(
        "import queue\nwhile True:\n try: queue.Queue().get(timeout=2)\n except queue.Empty: pass"
    ), *SOON),
    Case("alarm", python("import signal; signal.alarm(200); signal.pause()"), 0.0, 200.0),
    Case("timeout", ("timeout", "200", "sleep", "600"), 0.0, 200.0),
    Case("busy", ("sh", "-c", "while :; do :; done"), *SOON),
    Case("signal of a descriptor", python(
        "import ctypes, fcntl, os, signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [29]); r, w = os.pipe()\n"
        "fcntl.fcntl(r, fcntl.F_SETOWN, os.getpid()); fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\n"
        "os.read(ctypes.CDLL(None).signalfd(-1, (ctypes.c_long * 16)(1 << 28), 0), 128)"
    ), *SOON),
    Case("handler for the signal of a descriptor", python(
        "import fcntl, os, signal\n"
        "signal.signal(signal.SIGIO, print); r, w = os.pipe()\n"
        "fcntl.fcntl(r, fcntl.F_SETOWN, os.getpid()); fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC); signal.pause()"
    ), *SOON),
    Case("tail that feeds a loop", ("sh", "-c", "tail -f /dev/null | while read -r line; do :; done"), *SOON),
    Case("word in a shared file", python(FUTEX % "mmap.mmap(file.fileno(), 4096)"), *SOON),
    Case("word in memory without a name", python(FUTEX % "mmap.mmap(-1, 4096)"), *FAR),
    Case("word in memory of its own", python(FUTEX % "bytearray(4096)"), *FAR),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_s14_programs_wake_when_they_would(run, case):
    if case.tool and shutil.which(case.tool) is None:
        pytest.skip(f"{case.tool} is not installed")
    tree = run(*case.argv)
    tree.until(lambda: case.earliest_s <= tree.wake().in_s <= case.latest_s, case.name)
    time.sleep(0.2)
    for _ in range(5):  # and it stays so, or sooner
        assert tree.wake().in_s <= case.latest_s
        time.sleep(0.02)


AWAITS = (
    "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [%(number)d]); signal.setitimer(signal.ITIMER_REAL, 200)\n"
    "signal.sigwait({%(number)d})"
)


@pytest.mark.parametrize(("number", "is_woken"), [(signal.SIGALRM, True), (signal.SIGUSR1, False)])
def test_s14_an_alarm_wakes_the_init_of_a_namespace_that_awaits_it(run, number, is_woken):
    """The kernel takes the awaited signals out of the mask while it sleeps, and drops those with the default action."""
    tree = run("unshare", "--pid", "--fork", *python(AWAITS % {"number": number}))

    def init() -> Evidence | None:
        below = [evidence for process, evidence in tree.look() if process.pid != tree.popen.pid and evidence]
        return next((one for one in below if one.threads[0].call == "rt_sigtimedwait"), None)

    tree.until(lambda: init() is not None, "waits for a signal")
    found = init()
    assert found is not None
    assert (found.alarm_s is not None) is is_woken
    assert found.alarm_s is None or found.alarm_s <= 200


def test_s13_of_a_timer_that_another_process_may_have_is_known_what_its_signal_would_do(run):
    other = run(*python("import signal; signal.setitimer(signal.ITIMER_REAL, 900); signal.pause()"))
    other.until(lambda: other.wake().in_s < 1000, "has a timer")
    for code, is_ended in ("signal.pause()", True), ("signal.signal(14, print); signal.pause()", False):
        tree = run(*python(f"import signal; {code}"))
        tree.until(lambda tree=tree: tree.look()[0][1].threads[0].call == "pause", "waits")
        evidence = tree.look()[0][1]
        assert evidence.alarm_s < 1000
        assert evidence.is_ended_by_alarm is is_ended


RESTARTED = {
    "clock_nanosleep": "import ctypes; ctypes.CDLL(None).sleep(600)",
    "poll": "import select; select.poll().poll(600000)",
    "futex": "import ctypes, os; ctypes.CDLL(None).syscall(202 if os.uname().machine == 'x86_64' else 98,"
    " ctypes.byref(ctypes.c_int(0)), 128, 0, (ctypes.c_long * 2)(600, 0), 0, 0)",
}


@pytest.mark.parametrize("call", RESTARTED)
def test_s14_a_sleep_after_stop_and_continue_has_its_old_end(run, call):
    tree = run(*python(RESTARTED[call]))
    tree.until(lambda: 500 < tree.wake().in_s < 600, "sleeps")
    tree.popen.send_signal(signal.SIGSTOP)
    tree.until(lambda: tree.wake().is_never, "is stopped")
    time.sleep(0.5)
    tree.popen.send_signal(signal.SIGCONT)
    tree.until(lambda: 500 < tree.wake().in_s <= 599.5, "sleeps on")
    assert proc.syscall_name(tree.popen.pid) in ("syscall 219", "syscall 128", "restart_syscall")
    (_, evidence), *_ = tree.look()
    assert evidence is not None
    assert evidence.threads[0].call == call


def test_s14_an_earlier_look_bounds_a_relative_sleep(run):
    # poll(2) is relative: without an earlier look it may have begun when the thread did.
    tree = run(*python("import select\np = select.poll()\nfor ms in (3000, 3001, 600000): p.poll(ms)"))
    tree.until(lambda: tree.wake().in_s > 599.0, "the last poll was seen to begin")
    fresh = Tree(tree.popen)
    assert fresh.wake().in_s < 595.0


def test_s14_a_pipe_from_outside_may_wake_at_any_time(run):
    reader, writer = os.pipe()
    tree = run("cat", stdin=reader)
    os.close(reader)
    try:
        tree.until(lambda: "reads from a pipe from outside" in tree.wake().reason, "named outsider")
        # The one that has the other end need not be named.
        evidence = threads.examine(tree.pids(), outsiders=[])
        assert not evidence[tree.popen.pid].threads[0].fds[0].is_inside
    finally:
        os.close(writer)


def test_s14_a_named_pipe_is_outside(run, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    keep = os.open(tmp_path / "fifo", os.O_RDWR)
    tree = run("cat", str(tmp_path / "fifo"))
    tree.until(lambda: "reads from a named pipe" in tree.wake().reason, "fifo")
    os.close(keep)


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_s14_waiting_for_a_lock_is_work(run, tmp_path, kind):
    code = f"import fcntl, time; f = open('{tmp_path}/lock', 'w'); fcntl.{kind}(f, fcntl.LOCK_EX); time.sleep(600)"
    holder = run(*python(code))
    holder.until(lambda: holder.wake().in_s > 500, "holds the lock")
    waiter = run(*python(code))
    waiter.until(lambda: waiter.wake().reason.endswith("waits for a lock"), kind)


def test_s14_a_vfork_waits_for_its_child(run):
    code = (
        "import _posixsubprocess, ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        "if libc.syscall(58 if __import__('os').uname().machine == 'x86_64' else 220, 0x4100, 0, 0, 0, 0) == 0:\n"
        " libc.pause()"
    )
    tree = run(*python(code))
    tree.until(lambda: len(tree.pids()) == 2 and tree.wake().is_never, "vfork")
    calls = [thread.call for _, evidence in tree.look() if evidence for thread in evidence.threads]
    assert calls[0] == "vfork"


def test_s14_a_traced_program_belongs_to_its_tracer(run):
    code = (
        "import ctypes, os, time\n"
        "libc = ctypes.CDLL(None)\n"
        "if os.fork() == 0:\n libc.ptrace(0, 0, 0, 0)\n os.kill(os.getpid(), 10)\n"
        "time.sleep(600)"
    )
    tree = run(*python(code))
    tree.until(lambda: tree.wake().reason.endswith("is stopped by its tracer"), "traced")
    held = threads.examine(tree.pids(), outsiders=[tree.popen.pid])
    assert [thread.is_held for evidence in held.values() for thread in evidence.threads] == [False, True]


def test_s14_children_are_named_as_the_host_numbers_them(run):
    tree = run("unshare", "--pid", "--fork", sys.executable, "-S", "-c",
               "import os, time\np = os.fork()\nif p: os.waitpid(p, 0)\ntime.sleep(600)")  # fmt: skip

    def awaited() -> list[int]:
        found = [thread.child for _, evidence in tree.look()[1:2] if evidence for thread in evidence.threads]
        return [child for child in found if child]

    tree.until(lambda: len(tree.pids()) == 3 and awaited() == tree.pids()[2:], "the child")


# Listeners ------------------------------------------------------------------------------------


def listening_port(tree: Tree) -> int:
    """Return the TCP port that a program listens on, by /proc alone; 0 while it has none."""
    inodes = set()
    for pid in tree.pids():
        with contextlib.suppress(OSError):
            inodes |= {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
        for row in rows:
            if row[3] == "0A" and f"socket:[{row[9]}]" in inodes:
                return int(row[1].rpartition(":")[2], 16)
    return 0


SERVERS = {
    "http.server": (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "0"),
    "node": ("node", "-e", "require('http').createServer((q, r) => r.end('x')).listen(0, '127.0.0.1')"),
    "selectors": python(
        "import socket, selectors as m\n"
        "s = socket.create_server(('127.0.0.1', 0)); e = m.DefaultSelector(); e.register(s, 1)\n"
        "kept = []\nwhile True: kept += [s.accept() for _ in e.select()]"
    ),
    "accept": python(
        "import socket; s = socket.create_server(('127.0.0.1', 0)); c = s.accept(); c[0].recv(9); s.accept()"
    ),
}


@pytest.mark.parametrize("name", SERVERS)
def test_s14_a_listener_is_at_rest_until_something_connects(run, name):
    if shutil.which(SERVERS[name][0]) is None:
        pytest.skip(f"{SERVERS[name][0]} is not installed")
    tree = run(*SERVERS[name])
    tree.until(lambda: tree.at_rest()[0], name)
    assert tree.wake().in_s == 0.0
    with socket.create_connection(("127.0.0.1", listening_port(tree))):
        tree.until(lambda: not tree.at_rest()[0] and "connected" in tree.at_rest()[1], f"{name}, connected")


@pytest.mark.parametrize("applet", ["httpd -f -p 127.0.0.1:0", "nc -l -p 0"])
def test_s14_busybox_servers_are_at_rest(run, applet):
    if shutil.which("busybox") is None:
        pytest.skip("busybox is not installed")
    tree = run("busybox", *applet.split())
    tree.until(lambda: tree.at_rest()[0], applet)


def test_s14_a_unix_socket_server_is_at_rest(run, tmp_path):
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind('{tmp_path}/s'); s.listen(); c = s.accept()[0]; "
    tree = run(*python(code + "c.recv(1)"))
    tree.until(lambda: tree.at_rest()[0], "unix")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        tree.until(lambda: "connected" in tree.at_rest()[1], "unix, connected")


METRICS = (
    "import http.server as h, threading, time, select\ns = h.HTTPServer(('127.0.0.1', 0), h.BaseHTTPRequestHandler)\n"
)


@pytest.mark.parametrize(
    "batch",
    [
        "threading.Thread(target=s.serve_forever).start()\nwhile True: time.sleep(2)",
        "threading.Thread(target=s.serve_forever).start()\nwhile True: threading.Event().wait(2)",
        "while True: select.select([s], [], [], 2)",  # one loop for both
    ],
)
def test_s14_a_metrics_port_beside_a_batch_is_never_at_rest(run, batch):
    tree = run(*python(METRICS + batch))
    tree.until(lambda: any(evidence and evidence.listening for _, evidence in tree.look()), "listens")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert not tree.at_rest()[0]
        assert tree.wake().in_s <= 2.0
        time.sleep(0.05)


def test_s14_sockets_without_a_peer_are_no_connection(run):
    code = (
        "import socket\n"
        "s = socket.create_server(('127.0.0.1', 0)); u = socket.socket(2, 2); u.bind(('127.0.0.1', 0))\n"
        "n = socket.socket(socket.AF_NETLINK, 2, 0); x = socket.socket(1, 2); s.accept()"
    )
    tree = run(*python(code))
    tree.until(lambda: tree.at_rest()[0], "datagrams and netlink")


@pytest.mark.parametrize("is_reaped", [False, True])
def test_s00_a_child_that_has_ended_and_was_not_waited_for_is_seen(run, is_reaped):
    code = "import os, time\nif not os.fork(): os._exit(0)\n" + "os.wait()\n" * is_reaped + "time.sleep(600)"
    tree = run(*python(code))
    tree.until(lambda: tree.wake().in_s > 500, "sleeps")
    (_, evidence), *_ = tree.look()
    assert evidence is not None
    if not is_reaped:  # the child may take a moment to end
        tree.until(lambda: any(one.unreaped for _, one in tree.look() if one), "has a zombie")
    else:
        assert not evidence.unreaped


def test_switches_show_what_has_run(run):
    tree = run("sleep", "600")
    tree.until(lambda: tree.wake().in_s > 500, "sleeps")
    before = threads.switches(tree.popen.pid)
    assert threads.switches(tree.popen.pid) == before > 0
    (_, evidence), *_ = tree.look()
    assert evidence is not None
    assert evidence.switches == before
    tree.popen.send_signal(signal.SIGSTOP)
    tree.popen.send_signal(signal.SIGCONT)
    procs.wait_until(lambda: threads.switches(tree.popen.pid) > before)


def test_s00_what_goes_on_between_the_readings_of_two_processes_is_no_waiting(run, monkeypatch):
    """The shell is seen to wait for its child, which then ends: the shell is about to run its next command, or does."""
    tree = run("sh", "-c", "sleep 500; sleep 600; true")
    tree.until(lambda: tree.wake().in_s > 400 and len(tree.pids()) == 2, "waits for its child")
    pids, read = tree.pids(), threads._ProcessReader.read

    def read_and_let_go_on(self, *args):
        found = read(self, *args)
        if self._pid == pids[0]:
            os.kill(pids[1], signal.SIGTERM)
            procs.wait_until(lambda: pids[1] not in tree.pids())
        return found

    monkeypatch.setattr(threads._ProcessReader, "read", read_and_let_go_on)
    found = threads.examine(pids, outsiders=[os.getpid()])
    assert [thread.state for thread in found[pids[0]].threads] == ["R"]


def test_s00_a_new_process_is_no_waiting(run):
    tree = run("sleep", "600")
    tree.until(lambda: tree.wake().in_s > 500, "sleeps")
    pid = tree.popen.pid
    (alone,) = threads.examine([pid], outsiders=[], list_again=lambda: [pid])[pid].threads
    (joined,) = threads.examine([pid], outsiders=[], list_again=lambda: [pid, 1])[pid].threads
    assert (alone.state, joined.state) == ("S", "R")


def test_a_container_that_ends_meanwhile_never_raises(run):
    tree = run("sh", "-c", "while :; do true; done")
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        assert tree.wake().in_s == 0.0
