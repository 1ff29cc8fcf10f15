"""Rules S26 to S28 with requirements: started first, stopped last, never removed under another one."""

from __future__ import annotations

import contextlib
import json
import time

from bento.drivers.state.sqlite import SqliteStore
from bento.model.container import Status

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, Share, run_ignoring

NOTING = """
import signal, sys, time
def leave(number, frame):
    with open("/s/order", "a") as file:
        file.write(f"{sys.argv[1]} {time.monotonic()}\\n")
    time.sleep(float(sys.argv[2]))
    with open("/s/order", "a") as file:
        file.write(f"{sys.argv[1]}-end {time.monotonic()}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
open(f"/s/{sys.argv[1]}-ready", "w").close()
while True:
    signal.pause()
"""


def create(bento: BentoCli, share: Share, name: str, *flags: str, lasts_s: float = 0.3) -> None:
    script = share.script("noting.py", NOTING)
    bento("create", "--name", name, *share.flags, *flags, "host", "/usr/bin/python3", script, name, str(lasts_s))


def order(share: Share) -> list[str]:
    return [line.split()[0] for line in share.lines("order")]


def three(bento: BentoCli, share: Share) -> None:
    """web requires app, app requires db; cache is independent."""
    create(bento, share, "db")
    create(bento, share, "app", "--requires", "db")
    create(bento, share, "web", "--requires", "app")
    create(bento, share, "cache")


def test_s27_required_containers_start_first_and_stop_last(bento: BentoCli, share: Share) -> None:
    three(bento, share)
    bento("start", "web", "cache")
    for name in ("db", "app", "web", "cache"):
        share.wait_for(f"{name}-ready")
    started = [bento.state(name)["StartedAt"] for name in ("db", "app", "web")]
    assert started == sorted(started)
    finished = bento("stop", "--all")
    told = order(share)
    chain = [word for word in told if not word.startswith("cache")]
    assert chain == ["web", "web-end", "app", "app-end", "db", "db-end"]
    assert told.index("cache") < told.index("web-end")  # independent ones together
    assert sorted(finished.stdout.split()) == ["app", "cache", "db", "web"]


@ONE_RUNTIME
def test_s26_all_together_take_as_long_as_the_slowest(bento: BentoCli, share: Share) -> None:
    for number in range(5):
        create(bento, share, f"c{number}", "--label", "kind=x", lasts_s=2.0)
        bento("start", f"c{number}")
        share.wait_for(f"c{number}-ready")
    create(bento, share, "other")
    bento("start", "other")
    finished = bento("stop", "--filter", "label=kind=x")
    assert finished.seconds < 5 * 2.0
    assert len(finished.stdout.split()) == 5
    assert bento.state("other")["Status"] == "running"


@ONE_RUNTIME
def test_s27_one_budget_for_all_of_them(bento: BentoCli) -> None:
    run_ignoring(bento, "db")
    for name, needed in (("app", "db"), ("web", "app")):
        bento.run(
            "--name", name, "--requires", needed, "host", "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 1000"
        )
        bento.wait_for_log(name, "ready")
    finished = bento("stop", "--total", "1.5", "--format", "json", "db", "app", "web", check=False)
    graces = {result["name"]: result["report"]["grace_s"] for result in json.loads(finished.stdout)}
    assert all(0.49 <= grace_s <= 0.51 for grace_s in graces.values()), graces
    assert 1.5 <= finished.seconds < 20


@ONE_RUNTIME
def test_s28_one_failure_does_not_stop_the_others(bento: BentoCli, share: Share) -> None:
    three(bento, share)
    bento("start", "web")
    share.wait_for("web-ready")
    bento("pause", "app")
    finished = bento("stop", "web", "nobody", "app", "db", check=False)
    assert finished.returncode == 1
    assert finished.stdout.split() == ["web", "db"]
    assert "app is paused" in finished.stderr
    assert "nobody" in finished.stderr
    bento("unpause", "app")


@ONE_RUNTIME
def test_a_required_container_is_not_removed_under_the_one_that_requires_it(bento: BentoCli, share: Share) -> None:
    three(bento, share)
    assert "required by app" in bento.fails("rm", "db")
    bento("start", "db")
    assert "required by app" in bento.fails("rm", "-f", "db")
    assert bento.state("db")["Status"] == "running"
    bento("rm", "-f", "db", "app", "web")
    assert bento("ps", "-a", "--format", "json").stdout.count('"db"') == 0


@ONE_RUNTIME
def test_a_requirement_that_cannot_start_is_named_and_nothing_else_starts(bento: BentoCli) -> None:
    bento("create", "--name", "db", "host", "/no/such/program")
    bento("create", "--name", "web", "--requires", "db", "host", "sleep", "1000")
    message = bento.fails("start", "web")
    assert "db, which web requires" in message
    assert bento.state("web")["Status"] == "created"


@ONE_RUNTIME
def test_bad_requirements_are_refused_at_create(bento: BentoCli) -> None:
    bento("create", "--rm", "--name", "brief", "host", "true")
    assert "--rm" in bento.fails("create", "--requires", "brief", "host", "true", code=2)
    assert "nobody" in bento.fails("create", "--requires", "nobody", "host", "true")
    bento.fails("create", "--name", "me", "--requires", "me", "host", "true")  # so no circle can be made
    assert len(bento("ps", "-a", "-q").stdout.split()) == 1


@ONE_RUNTIME
def test_nonsense_is_refused_by_stop(bento: BentoCli) -> None:
    for words in (["--total", "x", "--all"], ["--total", "-1", "--all"], ["--all", "w"], ["--filter", "x", "w"], []):
        bento.fails("stop", *words, code=2)
    begun = time.monotonic()
    assert bento("stop", "--all").stdout == ""
    assert time.monotonic() - begun < 20


@ONE_RUNTIME
def test_s04_no_wait_returns_when_all_are_asked_for_and_the_rounds_go_on(bento: BentoCli, share: Share) -> None:
    create(bento, share, "db")
    create(bento, share, "web", "--requires", "db", lasts_s=3.0)
    create(bento, share, "made")
    bento("start", "web")
    for name in ("db", "web"):
        share.wait_for(f"{name}-ready")
    finished = bento("stop", "--no-wait", "-t", "60", "web", "made", "db", check=False)
    assert (finished.returncode, sorted(finished.stdout.split())) == (1, ["db", "web"])
    assert "made was never started" in finished.stderr
    assert "web-end" not in order(share)
    with contextlib.closing(SqliteStore(bento.roots.root / "bento.db")) as store:
        assert [store.find(name).stop_asked for name in ("web", "db")] == [True, True]
        assert store.find("db").status is Status.RUNNING
    assert bento("wait", "db").stdout == "0\n"
    assert order(share) == ["web", "web-end", "db", "db-end"]
