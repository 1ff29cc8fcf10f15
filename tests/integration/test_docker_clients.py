"""Docker's SDK for Python, as it is, against ``bento serve``: its own documented uses."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.registry import PASSWORD, USER, registry
from support.serving import Served, run_client, serving
from support.workload import ONE_RUNTIME, busybox_rootfs

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


IMAGES = """
import io, sys
import docker
from docker.errors import APIError, NotFound

client = docker.from_env()
archive, place, user, password = sys.argv[1:]
client.api.import_image(archive, repository="small", tag="1", changes=['CMD ["/bin/echo", "made"]'])
image = client.images.get("small:1")
assert image.tags == ["small:1"]
assert [one.id for one in client.images.list()] == [image.id]
assert client.containers.run("small:1", network_mode="none", remove=True) == b"made\\n"
assert client.images.get("small:1").history()[0]["Id"] == image.id
assert image.tag(place, tag="1")
saved = b"".join(image.save(named=True))
auth = {"username": user, "password": password}
assert client.login(user, password, registry=place.partition("/")[0])["Status"] == "Login Succeeded"
try:
    client.login(user, "wrong", registry=place.partition("/")[0], reauth=True)
    raise SystemExit("a wrong password was taken")
except APIError as error:
    assert error.status_code == 401
pushed = list(client.images.push(place, tag="1", auth_config=auth, stream=True, decode=True))
assert not [line for line in pushed if "error" in line], pushed
digest = pushed[-1]["aux"]["Digest"]
there = client.images.get_registry_data(place + ":1", auth_config=auth)
assert (there.id, there.attrs["Platforms"][0]["os"]) == (digest, "linux"), there.attrs
assert there.attrs["Descriptor"]["size"] == pushed[-1]["aux"]["Size"] > 0
client.images.remove(place + ":1")
client.images.remove("small:1")
assert client.images.list() == []
pulled = client.images.pull(place, tag="1", auth_config=auth)
assert pulled.attrs["RepoDigests"] == [place + "@" + digest]
try:
    client.images.pull(place, tag="none", auth_config=auth)
    raise SystemExit("not refused")
except (NotFound, APIError):
    pass
client.images.remove(pulled.id, force=True)
assert client.images.load(saved)[0].id == image.id

net = client.networks.create("n1", labels={"a": "b"}, internal=True,
                             ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet="10.199.8.0/24")]))
assert net.attrs["IPAM"]["Config"][0]["Gateway"] == "10.199.8.1"
assert [one.name for one in client.networks.list(names=["n1"])] == ["n1"]
box = client.containers.create("small:1", ["/bin/sleep", "600"], network="n1", name="box", init=True,
                               extra_hosts={"host.docker.internal": "host-gateway"})
net.disconnect(box)  # as compose does
net.connect(box, aliases=["service"])
box.start()
box.reload()
assert "service" in box.attrs["NetworkSettings"]["Networks"]["n1"]["Aliases"]
assert b"10.199.8.1\\thost.docker.internal" in box.exec_run("/bin/cat /etc/hosts").output
net.reload()
assert [one.name for one in net.containers] == ["box"]
try:
    net.remove()
    raise SystemExit("not refused")
except APIError as error:
    assert error.status_code == 403
volume = client.volumes.create("v1", labels={"a": "b"})
assert client.containers.run("small:1", ["/bin/sh", "-c", "echo kept > /v/f"], volumes=["v1:/v"], network_mode="none",
                             remove=True) == b""
assert client.containers.run("small:1", ["/bin/cat", "/v/f"], volumes={"v1": {"bind": "/v", "mode": "ro"}},
                             network_mode="none", remove=True) == b"kept\\n"
assert [one.name for one in client.volumes.list(filters={"label": "a=b"})] == ["v1"]
volume.remove()
box.remove(force=True)
assert client.networks.prune()["NetworksDeleted"] == ["n1"]
assert client.volumes.prune()["VolumesDeleted"] == []
assert client.images.prune(filters={"dangling": False})["ImagesDeleted"]
client.close()
"""


@pytest.fixture
def served(bento: BentoCli) -> Iterator[Served]:
    with serving(bento) as found:
        yield found


def test_dockers_sdk_for_python_does_what_its_pages_show(served):
    run_client(served, SDK)


EXAMPLES = """
import doctest, sys
failed, tried = doctest.testfile(sys.argv[1], module_relative=False)
raise SystemExit(bool(failed) or tried < 100)
"""


def test_the_calls_that_the_sdk_documents_return_what_they_say(bento, tmp_path):
    root = busybox_rootfs(tmp_path / "fs")
    for applet in ("pwd", "stty", "nslookup"):
        (root / "bin" / applet).symlink_to("busybox")
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text("FROM busybox\nARG WHO\nRUN echo $WHO > /who\n")
    bento("import", root, "busybox")
    bento("tag", "busybox", "alpine")
    page = Path(__file__).with_name("docker_sdk_examples.txt")
    with serving(bento) as served:
        run_client(served, EXAMPLES, str(page), env={"CONTEXT": str(tmp_path / "context")})


def test_images_networks_and_volumes_by_the_sdk(bento, tmp_path):
    with registry(tmp_path, has_password=True) as place:
        archive = tmp_path / "small.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(busybox_rootfs(tmp_path / "small"), ".")
        with serving(bento, env=os.environ | {"BENTO_INSECURE_REGISTRIES": place.host}) as served:
            run_client(served, IMAGES, str(archive), place.name("small"), USER, PASSWORD)
