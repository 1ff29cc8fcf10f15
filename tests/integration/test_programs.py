"""The table of programs tells the truth: Debian's servers, with work under way, get the signals of their files.

CI tries some whose packages the tests install. ``make programs`` tries all, by
every signal, in a root filesystem of its own (BENTO_TEST_PROGRAMS=1).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from bento.programs.facts import Effect, SignalFact
from bento.programs.table import find, read

from support import procs, programs_rootfs, servers
from support.cli import BentoCli
from support.images import add_layer
from support.running import Backend, Observed, Running, rest
from support.servers import SERVERS
from support.workload import ONE_RUNTIME, Share, stop_report

pytestmark = ONE_RUNTIME

ALL = bool(os.environ.get("BENTO_TEST_PROGRAMS"))


def cases() -> list[tuple[str, str]]:
    """Servers and signals."""
    if not ALL:
        return [(name, word) for name, server in SERVERS.items() for word in server.in_ci]
    return [(name, word) for name, server in SERVERS.items() for word in read(server.program).signals]


@pytest.fixture
def image(bento: BentoCli) -> str:
    """The image that has the programs: this machine, or a root filesystem of Debian's packages."""
    if not ALL:
        return "host"
    add_layer(bento, "debian", programs_rootfs.made())
    return "debian"


@pytest.mark.parametrize(("name", "signal"), cases())
def test_s30_a_signal_does_what_the_table_says(
    bento: BentoCli, share: Share, image: str, name: str, signal: str
) -> None:
    server = SERVERS[name]
    known = read(server.program)
    fact = known.signals[signal]
    effect = Effect(server.otherwise.get(signal, fact.effect))
    share.path.chmod(0o777)
    with Backend() as backend:
        running = Running(bento, share, server, backend, image)
        pid = bento.state("s")["Pid"]
        assert find(os.readlink(f"/proc/{pid}/exe"), Path(f"/proc/{pid}/cmdline").read_text().split("\0")) == known
        seen = running.observe(signal, effect)
    print(f"{name} at SIG{signal}: {seen._replace(log='')}")
    check(seen, fact, effect, server)


def check(seen: Observed, fact: SignalFact, effect: Effect, server: servers.Server) -> None:
    """Hold what was seen against what the table says."""
    lives_on = effect in (Effect.RESTARTS, Effect.NOTHING)
    assert seen.lived_on == lives_on, seen
    if lives_on:
        return
    if effect is not Effect.ABORTS:
        assert seen.exit_code in fact.exit_codes, seen
        assert re.search(fact.log, seen.log), f"{fact.log!r} is not in {seen.log[-2000:]}"
    if server.work == "session":
        assert seen.waited == (effect is Effect.WAITS), seen
    elif server.work in ("http", "fastcgi"):
        assert seen.work == ("whole" if effect is Effect.FINISHES else "cut"), seen


# -- the program chooses (rule S30) -------------------------------------------------------------------


def test_s30_auto_lets_nginx_finish_what_sigterm_would_cut(bento: BentoCli, share: Share) -> None:
    share.path.chmod(0o777)
    with Backend() as backend:
        running = Running(bento, share, SERVERS["nginx"], backend, "host", "--stop-signal", "auto")
        connection = running.begin_work()
        assert connection is not None
        with bento.start("stop", "-t", "40", "--format", "json", "s") as stopping:
            procs.wait_until(running.is_refused, what="nginx to close its port", every_s=0.05)
            backend.released.set()
            with connection:
                assert b"done" in rest(connection)
            printed = json.loads(stopping.communicate(timeout=60)[0])
    report = printed[0]["report"]
    assert (report["signal"], report["verdict"], report["exit_code"]) == ("SIGQUIT", "graceful", 0)
    assert "nginx: SIGQUIT, at which it takes no new connection" in " ".join(report["notes"])


def test_s30_a_client_that_stays_is_cut_shortly_before_the_end(bento: BentoCli, share: Share) -> None:
    share.path.chmod(0o777)
    with Backend() as backend:
        running = Running(bento, share, SERVERS["nginx"], backend, "host")
        with running.begin_work() as connection:  # type: ignore[union-attr]
            report = stop_report(bento, "-s", "auto", "-t", "3", "s")
            assert b"done" not in rest(connection)
    assert [one["signal"] for one in report["signalled"]] == ["SIGQUIT", "SIGTERM"]
    assert (report["verdict"], report["exit_code"]) == ("last-call", 0)  # and not killed
