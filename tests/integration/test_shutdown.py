"""``shutdown``, ``start --restart-policy`` and ``install-unit``: containers go down, and come up, with the machine."""

from __future__ import annotations

import json
import time

from support.cli import BentoCli
from support.workload import IGNORING, ONE_RUNTIME, PYTHON, Share, assert_clean, kill_pid

pytestmark = ONE_RUNTIME

WRITER = """
import signal, sys, time
def leave(number, frame):
    time.sleep(0.3)
    with open("/s/order", "a") as file:
        file.write(sys.argv[1] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
open("/s/ready-" + sys.argv[1], "w").close()
while True:
    signal.pause()
"""


def run_writer(bento: BentoCli, share: Share, name: str, *flags: str) -> None:
    """A program that writes its name when it has shut down."""
    path = share.script("writer.py", WRITER)
    bento.run("--name", name, *share.flags, *flags, "host", PYTHON, path, name)
    share.wait_for(f"ready-{name}")


def running(bento: BentoCli) -> set[str]:
    return {found["Names"] for found in bento.listing("ps")}


def test_s27_shutdown_stops_everything_in_order(bento, share: Share):
    run_writer(bento, share, "db")
    run_writer(bento, share, "api", "--requires", "db")
    run_writer(bento, share, "web", "--requires", "api")
    run_writer(bento, share, "odd")
    bento("create", "--name", "never", "host", "true")
    finished = bento("shutdown", "--format", "json")
    results = json.loads(finished.stdout)
    assert {result["name"] for result in results} == {"db", "api", "web", "odd"}
    assert {result["report"]["asked_by"] for result in results} == {"shutdown"}
    assert {result["report"]["verdict"] for result in results} == {"graceful"}
    order = share.lines("order")
    assert order.index("web") < order.index("api") < order.index("db")
    assert finished.seconds < 9
    assert running(bento) == set()


def test_s27_shutdown_has_one_budget(bento):
    bento.run("--name", "a", "host", *IGNORING)
    bento.run("--name", "b", "--requires", "a", "--stop-timeout", "-1", "host", *IGNORING)
    bento.wait_for_log("b", "ready")
    finished = bento("shutdown", "--total", "2", "-v")
    assert 2 <= finished.seconds < 20
    assert "b: stopped" in finished.stderr
    assert finished.stdout.split() == ["b", "a"]


def test_s11_shutdown_thaws_what_is_paused(bento, share: Share):
    run_writer(bento, share, "web")
    bento("pause", "web")
    bento("shutdown")
    assert share.lines("order") == ["web"]


def test_s04_shutdown_calls_off_a_restart_and_start_takes_it_up_again(bento):
    bento.run("--name", "w", "--restart", "always", "host", "false")
    time.sleep(3)  # the pauses have grown long enough to be met: this one takes more than a second
    assert bento("shutdown").stdout == "w\n"
    time.sleep(2)
    assert bento.state("w")["Status"] == "stopped"
    assert bento("start", "--restart-policy").stdout.split() == ["w"]


def test_shutdown_of_nothing_is_done_at_once(bento):
    assert bento("shutdown").stdout == ""
    assert_clean(bento)


def test_s04_what_comes_up_with_the_machine(bento):
    for name, policy in [("a", "always"), ("u", "unless-stopped"), ("n", "no"), ("f", "on-failure")]:
        for suffix in ("", "-stopped"):
            bento.run("--name", name + suffix, "--restart", policy, "host", *IGNORING)
    bento("create", "--name", "created", "--restart", "always", "host", "true")
    bento("stop", "-t", "0", "a-stopped", "u-stopped", "n-stopped", "f-stopped")
    bento("shutdown", "--total", "0")
    assert running(bento) == set()
    assert set(bento("start", "--restart-policy").stdout.split()) == {"a", "u", "a-stopped"}
    assert running(bento) == {"a", "u", "a-stopped"}
    assert bento("start", "--restart-policy").stdout == ""
    bento("stop", "-t", "0", "u")  # by the user, this time
    assert bento("start", "--restart-policy").stdout == ""


def test_s04_a_stop_of_what_the_shutdown_has_stopped_counts_as_the_users(bento):
    bento.run("--name", "u", "--restart", "unless-stopped", "host", *IGNORING)
    bento("shutdown", "--total", "0")
    assert "already stopped" in bento.fails("stop", "u")
    assert bento("start", "--restart-policy").stdout == ""


def test_s02_what_died_with_the_machine_comes_up(bento):
    """As after a power failure: the record says running, and nothing lives, nor a monitor that would restart it."""
    bento.run("--name", "u", "--restart", "unless-stopped", "host", *IGNORING)
    document = bento.inspect("u")
    kill_pid(document["Monitor"]["Pid"])
    kill_pid(document["State"]["Pid"])
    assert bento("start", "--restart-policy").stdout.split() == ["u"]


def test_s27_what_is_required_comes_up_first(bento):
    bento.run("--name", "db", "--restart", "always", "host", *IGNORING)
    bento.run("--name", "web", "--restart", "always", "--requires", "db", "host", *IGNORING)
    bento("shutdown", "--total", "0")
    assert bento("start", "--restart-policy").stdout.split() == ["db", "web"]


def test_s07_the_unit_is_computed_from_the_containers(bento, tmp_path):
    bento("create", "--name", "a", "--stop-timeout", "70", "host", "true")
    text = bento("install-unit", "--print").stdout
    assert "TimeoutStopSec=115\n" in text
    assert f"--root {bento.roots.root} --run-root {bento.roots.run_root} shutdown --total 70\n" in text
    path = tmp_path / "p/lib/systemd/system/bento.service"
    finished = bento("install-unit", "--prefix", tmp_path / "p")
    assert finished.stdout == f"{path}\n"
    assert path.read_text() == text
    bento("install-unit", "--prefix", tmp_path / "p")  # over the old one


def test_the_units_of_the_server_are_written(bento, tmp_path):
    paths = [tmp_path / f"lib/systemd/system/bento-serve.{kind}" for kind in ("socket", "service")]
    finished = bento("install-unit", "--serve", "--docker-group", "adm", "--prefix", tmp_path)
    assert finished.stdout == "".join(f"{path}\n" for path in paths)
    socket, service = (path.read_text() for path in paths)
    assert f"ListenStream={bento.roots.run_root}/docker.sock\nSocketMode=0660\nSocketGroup=adm\n" in socket
    assert f"--root {bento.roots.root} --run-root {bento.roots.run_root} serve\n" in service
    assert service in bento("install-unit", "--serve", "--print").stdout
    bento.fails("install-unit", "--serve", "--docker-group", "a b", code=2)
    bento.fails("install-unit", "--docker-group", "adm", code=2)


def test_s08_bad_requests_change_nothing(bento, tmp_path):
    bento.run("--name", "w", "host", *IGNORING)
    for words in (["shutdown", "--total", "x"], ["shutdown", "--total", "-1"], ["shutdown", "w"], ["start"],
                  ["start", "--restart-policy", "w"], ["install-unit", "--print", "--prefix", "/x"],
                  ["install-unit", "--prefix", ""]):  # fmt: skip
        bento.fails(*words, code=2)
    (tmp_path / "file").write_text("")
    assert "cannot write" in bento.fails("install-unit", "--prefix", tmp_path / "file")
    assert running(bento) == {"w"}
