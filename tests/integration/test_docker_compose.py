"""docker-compose 1.29, as Debian has it, against ``bento serve``: dependencies, health, two networks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.serving import LIMIT_S, Served, serving
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME

PROJECT = """\
version: "2.4"
services:
  db:
    image: host
    command: sh -c 'touch /tmp/ok; trap "exit 0" TERM; while :; do sleep 0.1; done'
    healthcheck: {test: [CMD, test, -f, /tmp/ok], interval: 200ms, retries: 100}
    networks: {back: {aliases: [store]}}
    volumes: ["data:/data", "./made:/made"]  # there is no ./made
  web:
    image: host
    command: sh -c 'getent hosts store db ali; trap "exit 0" TERM; while :; do sleep 0.1; done'
    links: ["db:ali"]
    depends_on: {db: {condition: service_healthy}}
    networks: {back: {}, front: {aliases: [www]}}
    stop_grace_period: 30s
  probe:
    image: host
    command: sleep 600
    init: true
    network_mode: "service:web"
  side:
    image: host
    command: sleep 600
    init: true
    networks: {front: {}}
networks: {back: {internal: true}, front: {}}
volumes: {data: {}}
"""


@pytest.fixture
def served(bento: BentoCli) -> Iterator[Served]:
    with serving(bento) as found:
        yield found


def test_a_project_goes_up_is_scaled_and_goes_down(served, bento, tmp_path: Path):
    (tmp_path / "docker-compose.yml").write_text(PROJECT)

    def compose(*words: str) -> str:
        argv = ["docker-compose", "--no-ansi", "-p", "proj", *words]
        done = subprocess.run(
            argv, cwd=tmp_path, env=served.environ(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    compose("up", "-d")
    assert sorted(compose("ps", "-q").split()) == sorted(bento("ps", "-q", "--no-trunc").stdout.split())
    bento.wait_for_log("proj_web_1", "ali")
    assert [line.split()[-1] for line in bento("logs", "proj_web_1").stdout.splitlines()] == ["store", "db", "ali"]
    assert (tmp_path / "made").is_dir()
    assert bento.state("proj_db_1")["Health"]["Status"] == "healthy"
    compose("up", "-d", "--scale", "side=2")  # what is up to date is left alone
    assert len(set(compose("exec", "-T", "web", "getent", "ahostsv4", "side").split())) > 1
    assert compose("run", "--rm", "-T", "--no-deps", "side", "getent", "hosts", "www").split()[-1] == "www"
    before = set(bento("ps", "-q").stdout.split())
    compose("up", "-d", "--force-recreate", "web", "probe")  # also what shares a network with what is replaced
    assert len(set(bento("ps", "-q").stdout.split()) - before) == 3  # and what it depends on
    assert compose("exec", "-T", "probe", "getent", "hosts", "ali").split()[-1] == "ali"
    compose("stop", "web")
    assert bento.inspect("proj_web_1")["Stop"]["verdict"] == "graceful"
    compose("down", "-v")
    assert bento("ps", "-a", "-q").stdout == ""
    assert bento("volume", "ls", "-q").stdout == ""
    assert "proj_" not in bento("network", "ls").stdout
