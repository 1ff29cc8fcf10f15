"""``bento check``: a fault is found in a real program, and none in one that shuts down well; nothing is left.

Each id has its program with the fault here, and the same without beside it. What does not depend on a real kernel is in
tests/unit/check.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bento import CreateOptions, Engine
from bento.engine.check.runs import Checked
from bento.model.check import Check, CheckOptions, Load, Readiness
from bento.model.container import Files, Mount, Ports
from bento.model.network import Port
from bento.model.stop import StopSettings

from support import procs
from support.workload import ONE_RUNTIME, PYTHON, ended

pytestmark = ONE_RUNTIME

UP = "print('up', flush=True)\ntime.sleep(100)"
HANDLES = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit({code}))\n{more}\n" + UP
SIGWAIT = "import signal, time\nsignal.pthread_sigmask(0, [15])\nprint('up', flush=True)\n"
SLOW = (
    "import signal, sys, time\ndef end(*_):\n    {again}\n    time.sleep(0.5)\n    sys.exit(0)\n"
    "signal.signal(15, end)\n" + UP
)
LONG_END = "import os, signal, sys, time\n{setsid}signal.signal(15, lambda *_: (time.sleep(5), sys.exit(0)))\n" + UP
SWALLOWS = (
    "import os, signal, time\nsignal.signal(15, lambda *_: (signal.signal(15, 0), os.kill(1, 15)))\nwhile 1:\n    "
)
SIGNALFD = (
    "import ctypes, os, signal, struct\nsignal.pthread_sigmask(0, [15])\n"
    "fd = ctypes.CDLL(None).signalfd(-1, struct.pack('Q', 1 << 14), 0)\nprint('up', flush=True)\nos.read(fd, 128)\n"
)
TAKES_LONG = "import signal, sys, time\nsignal.signal(15, lambda *_: (time.sleep(2.4), sys.exit(0)))\n" + UP
ABORTS = "import os, signal, time\nsignal.signal(15, lambda *_: os.abort())\n" + UP


def python(text: str) -> tuple[str, ...]:
    return (PYTHON, "-c", text)


def sh(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


def handles(more: str = "", code: int = 0) -> tuple[str, ...]:
    return python(HANDLES.format(more=more, code=code))


def check(engine: Engine, *command: str, create: dict[str, Any] | None = None, **options: Any) -> Check:
    """One check, as quick as it may be: ready by a line, a short grace, no other moments."""
    defaults: dict[str, Any] = {"grace_s": 1.5, "start_up": 0, "twice": False, "ready": Readiness(log="^up")}
    made = {"image": "host", "network": "none", "command": command} | (create or {})
    found = engine.check(CreateOptions(**made), CheckOptions(**(defaults | options)))
    assert found.error == ""
    assert engine.containers(all=True) == []
    return found


def ids(found: Check) -> list[str]:
    return [one.id for one in found.findings]


QUICK: dict[str, Any] = {"grace_s": 0.5}
IDLE = sh("echo up; exec sleep 100")
FORK = "import os\nif os.fork() == 0: os._exit(0)"
SESSION = LONG_END.format(setsid="os.setsid()\n")
GO = ("containerd", "--root", "/tmp/r", "--state", "/tmp/s", "--address", "/tmp/a")
FAULTS: dict[str, Any] = {
    "BG001": ((IDLE, QUICK), (("/usr/bin/tini", "--", *IDLE), {})),
    "BG002": ((sh(f'{PYTHON} -c "import time\n{UP}"; true'), QUICK), (handles(), {})),
    "BG003": ((sh("trap '' TERM; echo up; exec sleep 100"), QUICK), (("/usr/bin/dumb-init", *handles()), {})),
    "BG004": (
        (python(SWALLOWS + UP.replace("\n", "\n    ")), QUICK),
        (("/usr/bin/catatonit", "--", *IDLE), {}),
    ),
    "BG005": ((python(SIGWAIT + "time.sleep(100)"), {"grace_s": 0.8}), (python(SIGWAIT + "signal.sigwait([15])"), {})),
    "BG006": (
        (sh("trap 'exit 0' TERM; echo up; sleep 100"), QUICK),
        (sh("trap 'exit 0' TERM; sleep 100 & echo up; wait"), {}),
    ),
    "BG010": (
        (python(SLOW.format(again="time.sleep(100)")), QUICK),
        (python(SLOW.format(again="signal.signal(15, signal.SIG_IGN)")), {"grace_s": 8.0, "twice": True}),
    ),
    "BG011": ((python(TAKES_LONG), {"grace_s": 4.0}), (python(TAKES_LONG), {"grace_s": 10.0})),
    "BG020": (
        (sh(f"trap 'exit 0' TERM; {PYTHON} -c \"{LONG_END.format(setsid='')}\" & wait"), {}),
        (sh(f"trap 'kill $p; wait $p; exit 0' TERM; {PYTHON} -c \"{handles()[2]}\" & p=$!; wait $p"), {}),
    ),
    "BG021": (
        (("/usr/bin/tini", "-g", "--", *sh(f'{PYTHON} -c "{SESSION}" & exec sleep 100')), {}),
        (("/usr/bin/tini", "--", *handles()), {}),
    ),
    "BG022": ((handles(FORK), {}), (handles(f"{FORK}\nos.wait()"), {})),
    "BG030": ((handles(code=3), {}), (GO, {"ready": Readiness(log="successfully booted"), "grace_s": 8.0})),
    "BG031": ((python(ABORTS), {}), (python(SIGNALFD), {})),
}


SOUND = {
    "tini": ("/usr/bin/tini", "--", *IDLE),
    "dumb-init": ("/usr/bin/dumb-init", *IDLE),
    "catatonit": ("/usr/bin/catatonit", "--", *IDLE),
    "sigwait": python(SIGWAIT + "signal.sigwait([15])"),
    "node": (
        "/usr/bin/node",
        "-e",
        "process.on('SIGTERM', () => process.exit(0)); console.log('up'); setInterval(() => 0, 1e6)",
    ),
}
"""None of these has a finding, whatever the machine does."""
TURNS = int(os.environ.get("BENTO_TEST_ROUNDS", "1"))
UNDER_LOAD = tuple(FAULTS) if TURNS > 1 else ("BG020",)


@contextmanager
def busy() -> Iterator[None]:
    """Keep each processor busy twice."""
    spinners = [subprocess.Popen([PYTHON, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for one in spinners:
            one.kill()
            one.wait()


@pytest.mark.parametrize("turn", range(TURNS))
def test_verdicts_are_the_same_under_load(engine, turn):
    with busy():
        for kind in UNDER_LOAD:
            (faulty, with_fault), without = FAULTS[kind]
            assert ids(check(engine, *faulty, **with_fault)) == [kind]
            if without is not None:
                assert ids(check(engine, *without[0], **(without[1] | {"grace_s": 20.0}))) == [], kind
        for name, program in SOUND.items():
            if TURNS > 1 or name == "tini":
                assert ids(check(engine, *program, start_up=3, twice=True, grace_s=20.0)) == [], name


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_and_none_where_there_is_none(engine, kind):
    (faulty, with_fault), without = FAULTS[kind]
    found = check(engine, *faulty, **with_fault)
    assert ids(found) == [kind]
    if without is not None:  # else the one without the fault is that of another id
        assert ids(check(engine, *without[0], **without[1])) == []
    assert found.findings[0].remedy.text


def test_starts_and_second_signals(engine):
    late = python("import time\ntime.sleep(1.3)\n" + HANDLES.format(more="", code=0))
    found = check(engine, *late, start_up=1)
    assert ids(found) == ["BG012"]
    assert [run.kind.value for run in found.runs] == ["settled", "start-up"]
    broken_off = python(SLOW.format(again="signal.signal(15, lambda *_: sys.exit(4))"))
    assert ids(check(engine, *broken_off, twice=True, grace_s=8.0)) == ["BG014"]
    busy_at_first = python(
        "import signal, sys, time\nready = []\nsignal.signal(15, lambda *_: ready and sys.exit(0))\n"
        f"time.sleep(1.5)\nready = [1]\n{UP}"
    )
    assert ids(check(engine, *busy_at_first, start_up=1, grace_s=0.5)) == ["BG013"]


def test_the_state_that_is_left_for_the_next_start(engine):
    volume = Files(mounts=(Mount(kind="volume", source="data", destination="/data"),))
    clean = "rm -f /data/clean; trap 'touch /data/clean; exit 0' TERM; sleep 100 & echo up; wait"
    question = "test -e /data/clean || { echo not clean; false; }"

    def ids_of(text: str, **more: Any) -> list[str]:
        return ids(check(engine, *sh(text), create={"files": volume}, after=question, **more))

    assert ids_of(clean.replace("rm -f /data/clean; ", "")) == []
    assert ids_of(clean.replace("touch /data/clean; ", "")) == ["BG050"]
    once = f"[ -e /data/lock ] && exit 3; touch /data/lock; {clean}"
    assert ids_of(once) == ["BG051"]
    assert engine.volumes() == []


SERVER = """
import os, signal, socket, sys, threading, time
server = socket.socket()
server.bind(("", 8000))
server.listen(64)
threads = []
def answer(peer):
    peer.recv(4096)
    time.sleep(0.1 if "waits" in sys.argv else 60)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    peer.close()
def end(*_):
    if "waits" in sys.argv:
        server.close()
        for thread in list(threads):
            thread.join()
    else:
        time.sleep(1.0)
    os._exit(0)
signal.signal(15, end)
while True:
    peer, _ = server.accept()
    threads.append(threading.Thread(target=answer, args=(peer,)))
    threads[-1].start()
    if "waits" not in sys.argv:
        time.sleep(0.05)
"""


def test_requests_under_way(engine, share):
    program = share.script("server.py", SERVER)
    made = {
        "files": Files(mounts=(Mount(kind="bind", source=str(share.path), destination="/s"),)),
        "ports": Ports(published=(Port(container_port=8000),)),
        "network": "bridge",
    }

    def check_of(*how: str) -> Check:
        load = Load(port=8000, lead_s=0.1)
        return check(engine, PYTHON, program, *how, create=made, ready=Readiness(), load=load, grace_s=8.0)

    assert ids(check_of("waits")) == []
    found = check_of()
    assert [(one.id, one.runs) for one in found.findings] == [
        ("BG040", (2, 3)),
        ("BG041", (2,)),
    ]  # with --drain it is not
    requests = found.runs[1].requests
    assert requests is not None
    assert sum(one.how == "lost" for one in requests.seen) >= requests.unanswered + requests.unanswered_late > 0
    assert any(one.from_s < 0 <= one.until_s for one in requests.seen)


def test_a_command_puts_load_on_it(engine):
    one = handles()
    assert ids(check(engine, *one, load=Load(command='test -n "$BENTO_CONTAINER_ID"', lead_s=0.0))) == []
    assert ids(check(engine, *one, load=Load(command="echo lost two; exit 1", lead_s=0.0))) == ["BG042"]


def test_sigkill_as_stop_signal(engine):
    found = check(engine, *handles(), create={"stop": StopSettings(signal=signal.SIGKILL)}, repeat=2)
    assert (ids(found), found.findings[0].runs) == (["BG007"], (1, 2))


def test_what_ends_before_its_stop_is_not_judged(engine, monkeypatch):
    stop = Checked.stop

    def late(self, *words, **more):
        procs.wait_until(lambda: not os.path.exists(f"/proc/{self.container.run.init.pid}"), what="its end")
        return stop(self, *words, **more)

    monkeypatch.setattr(Checked, "stop", late)
    create = CreateOptions(
        image="host", network="none", command=handles("print('up', flush=True); time.sleep(0.4); sys.exit(0)")
    )
    found = engine.check(create, CheckOptions(ready=Readiness(log="up")))
    assert (found.verdict, found.findings) == ("unjudged", ())
    assert found.error.startswith("it ended by itself with exit code 0 before it was ")


def test_the_command_line(bento, tmp_path):
    quick = ("check", "--network", "none", "--grace", "0.5", "--start-up", "0", "--ready-quiet", "0.1")
    failed = bento(*quick, "--format", "json", "host", "--", "sleep", "100", check=False)
    found = json.loads(failed.stdout)
    assert (failed.returncode, found["verdict"], found["findings"][0]["id"]) == (1, "failed", "BG001")
    assert found["with_bento"]["verdict"] == "default-action"
    page = tmp_path / "page.html"
    passed = bento(*quick, "--html", str(page), "--ready-exec", "true", "host", "tini", "--", "sleep", "100")
    assert "passed: no findings" in passed.stdout
    assert "passed: no findings" in page.read_text(encoding="utf-8")
    assert "is no file" in bento.fails(*quick, "--html", str(tmp_path), "host", "true", code=2)
    ends = bento(*quick, "host", "sh", "-c", "echo oops; exit 3", check=False)
    assert (ends.returncode, "ended by itself with exit code 3 before" in ends.stdout) == (2, True)
    assert "it said: oops" in ends.stdout
    assert "neither --restart" in bento.fails("check", "--restart", "always", "host", code=2)
    assert "--load-port and --pid exclude" in bento.fails("check", "--pid", "1", "--load-port", "80", code=2)
    assert "a check needs a grace" in bento.fails("check", "--grace", "0", "host", code=2)
    late = bento("check", "host", *quick[1:], "-e", "A=b", "--", "sh", "-c", 'test "$A" = b && exec tini -- sleep 100')
    assert "passed: no findings" in late.stdout
    assert "sleep is no option" in bento.fails("check", "host", *quick[1:], "sleep", "--", "1", code=2)
    assert "--env and --pid exclude" in bento.fails("check", "--pid", "1", "-e", "A=b", code=2)
    assert "is no directory" in bento.fails(*quick, "--html", str(tmp_path / "no" / "x"), "host", "true", code=2)
    assert "bad port 0" in bento.fails(*quick, "--load-port", "0", "host", "true", code=2)
    assert "not valid UTF-8" in bento.fails("exec", "w", "\udcff", code=125)
    with open("/dev/full", "wb") as full:  # its 1 would say that something was found
        lost = subprocess.run([*bento.prefix, *quick, "host", "tini", "--", "sleep", "9"], stdout=full, check=False)
        listed = subprocess.run([*bento.prefix, "ps"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (lost.returncode, listed.returncode, listed.stderr.count(b"\n")) == (2, 1, 1)


def test_a_check_that_is_interrupted_or_killed_leaves_nothing(bento):
    for number in (signal.SIGINT, signal.SIGKILL):
        with ended(bento.start("check", "--network", "none", "--ready-log", "never", "host", "sleep", "100")) as one:
            procs.wait_until(lambda: bento("ps", "-q").stdout, timeout_s=40, what="its container", every_s=0.1)
            one.send_signal(number)
            one.wait(timeout=40)
        assert bento("ps", "-aq").stdout.count("\n") == (number == signal.SIGKILL)
    assert "check: killed before its end" in bento("doctor", check=False).stdout
    bento("check", "--network", "none", "host", "true", check=False)  # the next one removes it, as doctor --fix would
    assert bento("doctor").stdout == "nothing is left over\n"


def test_what_runs_is_looked_at_and_left_alone(bento):
    bento.run("--name", "w", "--network", "none", "host", "sh", "-c", "sleep 1000; true")
    pid = bento.state("w")["Pid"]
    for which in (("--container", "w"), ("--pid", str(pid))):
        found = json.loads(bento("check", *which, "--format", "json", check=False).stdout)
        assert [one["id"] for one in found["findings"]] == ["BG002"]
        assert found["with_bento"]["verdict"] == "forwarded"
    assert "SIGINT to PID 1" in bento("check", "--container", "w", "--stop-signal", "INT", check=False).stdout
    assert bento.state("w")["Pid"] == pid
    hook = next(change["text"] for change in found["findings"][0]["remedy"]["changes"] if change["place"] == "pod")
    bento("exec", "w", *json.loads(hook.partition("command: ")[2]), check=False)  # it may be killed along with PID 1
    assert bento("wait", "w").stdout == "0\n"
    assert "one image, or --container" in bento.fails("check", "--container", "w", "--pid", "1", code=2)
    assert "the init of this host" in bento.fails("check", "--pid", "1", code=2)
    assert "bad pid" in bento.fails("check", "--pid", "host", code=2)


COMPOSE = """
services:
  web:
    image: host
    command: ["/bin/sh", "-c", "getent hosts db && echo up; sleep 1000; true"]
    depends_on: [db]
    stop_grace_period: 600ms
  db:
    image: ${IMAGE:-host}
    command: ["/usr/bin/tini", "--", "sleep", "1000"]
    volumes: ["data:/data"]
    healthcheck: {test: "test -d /data", interval: 100ms}
"""


def test_the_services_of_a_compose_file(bento, share):
    path = share.path / "compose.yaml"
    path.write_text(COMPOSE)
    quick = ("--ready-quiet", "0.2", "--format", "json")
    page = share.path / "page.html"
    done = bento("check", "--compose", path, "--total", "5", "--html", page, *quick, check=False)
    db, web = json.loads(done.stdout)
    assert (db["subject"], db["verdict"], db["findings"]) == (f"{path}: db", "passed", [])
    assert db["runs"][0]["ready"] == "its health check"
    assert ([one["id"] for one in web["findings"]], web["grace_s"], done.returncode) == (["BG002"], 0.6, 1)
    assert "1 passed, 1 failed" in page.read_text(encoding="utf-8")
    # Dependants first.
    assert web["runs"][0]["report"]["started_unix_ns"] <= db["runs"][0]["report"]["started_unix_ns"]
    assert (bento("ps", "-aq").stdout, bento("volume", "ls", "-q").stdout) == ("", "")
    assert "check-" not in bento("network", "ls").stdout
    path.write_text(json.dumps({"services": {"a": {"image": "host", "command": ["false"]}, "b": {"image": "host"}}}))
    failed = bento("check", "--compose", path, *quick, check=False)
    assert [one["verdict"] for one in json.loads(failed.stdout)] == ["unjudged", "unjudged"]
    assert (failed.returncode, "service a: it ended by itself" in failed.stdout) == (2, True)
    for text in ("services: &a {web: *a}", "[" * 10_000):
        path.write_text(text)
        assert "nested too deeply" in bento.fails("check", "--compose", path, code=2)
    assert "is YAML" not in bento.fails("check", "--compose", share.path / "none.yaml", code=2)
