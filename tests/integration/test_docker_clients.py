"""Docker's SDK for Python, as it is, against ``bento serve``: its own documented uses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.serving import LIMIT_S, Served, serving
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME

SDK = """
import io, tarfile
import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

client = docker.from_env()
assert client.ping()
assert client.version()["ApiVersion"] == "1.44"
run = dict(network_mode="none")
assert client.containers.run("host", ["echo", "hello"], remove=True, **run) == b"hello\\n"
try:
    client.containers.run("host", ["sh", "-c", "echo no >&2; exit 9"], remove=True, **run)
except ContainerError as error:
    assert (error.exit_status, error.stderr) == (9, b"no\\n")
try:
    client.containers.create("nowhere/none:1", "true")
    raise SystemExit("not refused")
except ImageNotFound:
    pass

program = "echo one; echo two >&2; trap 'exit 0' TERM; while :; do sleep 0.1; done"
web = client.containers.run(
    "host", ["sh", "-c", program], name="web", detach=True, labels={"a": "b"}, environment={"K": "V"},
    tmpfs={"/t": "size=1m"}, mem_limit="64m", ulimits=[docker.types.Ulimit(name="nofile", soft=64, hard=64)], **run,
)
assert web.status == "created"
web.reload()
assert (web.status, web.name, web.labels["a"]) == ("running", "web", "b")
assert [one.id for one in client.containers.list(filters={"label": "a=b"})] == [web.id]
assert client.containers.list(all=True, limit=-1)
stream = web.logs(stream=True, follow=True)
assert next(stream) in (b"one\\n", b"two\\n")
stream.close()
result = web.exec_run(["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True)
assert (result.exit_code, result.output) == (3, (b"out\\n", b"err\\n"))
assert web.exec_run("/no/such").exit_code == 127
assert b"K=V" in b"".join(web.exec_run("env", stream=True).output)
sock = web.exec_run("cat", socket=True, stdin=True).output
sock._sock.sendall(b"typed")
sock._sock.shutdown(1)
assert sock.read() == b"\\x01\\0\\0\\0\\0\\0\\0\\x05typed"
sock.close()

buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as archive:
    member = tarfile.TarInfo("file")
    member.size = 4
    archive.addfile(member, io.BytesIO(b"text"))
assert web.put_archive("/t", buffer.getvalue())
chunks, stat = web.get_archive("/t/file")
assert (stat["name"], stat["size"], stat["mode"]) == ("file", 4, 0o644)
with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
    assert archive.extractfile("file").read() == b"text"
try:
    web.get_archive("/t/none")
except NotFound:
    pass
assert web.stats(stream=False)["pids_stats"]["current"] >= 1
assert web.top(ps_args="-o pid,args")["Titles"] == ["PID", "COMMAND"]
assert {"Path": "/t", "Kind": 1} not in web.diff()
assert web.update(cpu_shares=512)["Warnings"] == []
web.rename("api")
web.pause()
web.unpause()
since = client.info()["SystemTime"]
web.stop(timeout=30)
assert web.wait()["StatusCode"] == 0
death = next(client.events(since=since, filters={"event": "die"}, decode=True))
assert death["Actor"]["Attributes"]["verdict"] == "graceful", death
web.reload()
assert web.status == "exited"
web.start()
web.kill()
web.remove(v=True, force=True)
try:
    client.containers.get("api")
    raise SystemExit("not gone")
except NotFound as error:
    assert error.explanation == "No such container: api", error.explanation
box = client.containers.create("host", "cat", stdin_open=True, tty=True, **run)
sock = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
box.start()
box.resize(40, 120)
sock._sock.sendall(b"hi\\r")
assert sock._sock.recv(2) == b"hi"
sock.close()
box.remove(force=True)
assert client.containers.prune()["ContainersDeleted"] is None
try:
    docker.from_env(version="1.99").ping()
except APIError as error:
    assert "is too new" in error.explanation
client.close()
"""


@pytest.fixture
def served(bento: BentoCli) -> Iterator[Served]:
    with serving(bento) as found:
        yield found


def test_dockers_sdk_for_python_does_what_its_pages_show(served):
    python = Path(sys.prefix) / "clients/bin/python"
    words = [str(python), "-W", "ignore::ResourceWarning", "-c", SDK]
    done = subprocess.run(words, env=served.environ(), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
