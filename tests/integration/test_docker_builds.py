"""Docker's clients against ``bento serve``: builds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import procs
from support.cli import BentoCli
from support.serving import Served, serving
from support.workload import ONE_RUNTIME, assert_clean, busybox_rootfs

pytestmark = ONE_RUNTIME

DOCKERFILE = """\
ARG BASE=bb
FROM $BASE AS tools
RUN mkdir /made && echo tool > /made/tool
FROM bb
ARG WHO=nobody
COPY --from=tools /made/tool /tool
COPY . /src
RUN echo "$WHO" > /who
CMD ["/bin/cat", "/who", "/tool"]
"""


@pytest.fixture
def served(bento: BentoCli, tmp_path: Path, monkeypatch) -> Iterator[Served]:
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    with serving(bento) as found:
        yield found


def test_the_classic_builder_builds(served, tmp_path):
    docker, context = served.docker, tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / ".dockerignore").write_text("secret\n")
    for name in ("secret", "plain"):
        (context / name).write_text(name)
    words = ("build", "-t", "web:1", "-t", "web:2", "--build-arg", "WHO=ann", "--label", "a=b", str(context))
    said = docker(*words).stdout
    assert "COPY . /src" in said
    assert "Successfully tagged web:2" in said
    assert docker("run", "--rm", "--network", "none", "web:1").stdout == "ann\ntool\n"
    assert docker("inspect", "web:2", "--format", "{{.Config.Labels.a}}").stdout == "b\n"
    image_id = docker("inspect", "web:2", "--format", "{{.Id}}").stdout
    assert docker("build", "-q", *words[1:]).stdout == image_id, "all steps are known"
    failed = docker("build", "-", input="FROM bb\nRUN exit 3\n", stdin=None, check=False)
    assert failed.returncode == 1
    assert "exit status 3" in failed.stdout
    assert served("POST", "/build?dockerfile=../x", b"").status == 400
    assert served("POST", "/build?version=2", b"").status == 400
    assert served("POST", "/build?memory=4000000", b"").status == 400
    assert served("POST", "/build/prune").json["SpaceReclaimed"] > 0


def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing(served, bento):
    head = b" HTTP/1.1\r\nHost: bento\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n"
    for target in (b"/build", b"/images/load", b"/images/create?fromSrc=-"):
        with served.connect() as client:
            client.sendall(b"POST " + target + head + b"x" * 600)
        with served.connect() as client:
            client.sendall(b"POST " + target + head + b"x" * 0x1000 + b"\r\nno size\r\n")
            assert client.recv(12) == b"HTTP/1.1 400"
    assert served.docker("images", "-q", "--filter", "dangling=true").stdout == ""
    procs.wait_until(lambda: not list((bento.roots.root / "build").glob("run-*")), what="the build to be gone")


def test_a_client_that_leaves_ends_its_build(served, bento):
    mark = f"6{os.getpid()}"

    def is_sleeping() -> bool:
        return any(procs.cmdline(found.pid).startswith("sleep") for found in procs.with_word(mark))

    words = ["docker", "build", "-q", "-"]
    with subprocess.Popen(words, stdin=-1, stdout=-1, stderr=-1, text=True, env=served.environ()) as client:
        assert client.stdin is not None
        client.stdin.write(f"FROM bb\nRUN trap '' TERM INT; sleep {mark}\n")
        client.stdin.close()
        procs.wait_until(is_sleeping, what="the step to begin")
        client.kill()
    procs.wait_until(lambda: not is_sleeping(), what="the step to be gone")
    home = bento.roots.root / "build"
    procs.wait_until(lambda: not list(home.glob("run-*")), what="the rest to be gone")
    assert str(home) not in Path("/proc/self/mountinfo").read_text()
    assert served.docker("images", "-q", "--filter", "dangling=true").stdout == ""
    assert_clean(bento)
