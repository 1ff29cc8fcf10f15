"""testcontainers, as it is, against ``bento serve``, and what its Ryuk does, by a program in its place.

Ryuk's own image is to be had from a registry alone. It is a container with a published port and the server's socket,
which removes by labels, once its client has left: the program does so in the same way.
"""

from __future__ import annotations

from pathlib import Path

from support.cli import BentoCli
from support.serving import run_client, serving
from support.workload import ONE_RUNTIME, busybox_rootfs

pytestmark = ONE_RUNTIME

ENVIRON = {
    "TESTCONTAINERS_RYUK_DISABLED": "true", "TC_HOST": "127.0.0.1", "TC_POOLING_INTERVAL": "0.1",
}  # fmt: skip

PROGRAM = """
import docker, pathlib, sys, urllib.request
from testcontainers.core.container import DockerContainer
from testcontainers.core.labels import SESSION_ID
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import (
    HealthcheckWaitStrategy, HttpWaitStrategy, LogMessageWaitStrategy,
)

context, work = sys.argv[1:]
SERVER = "echo ready; exec python3 -m http.server -d /srv 8000"
CHECK = {"test": ["CMD", "test", "-e", "/tmp/ok"], "interval": 200_000_000, "retries": 100}
with Network() as network:
    web = (
        DockerContainer("host").with_command(["sh", "-c", SERVER]).with_exposed_ports(8000).with_env("A", "b")
        .with_network(network).with_network_aliases("www").with_kwargs(init=True)
        .with_copy_into_container(b"text", "/srv/file").with_tmpfs_mount("/scratch", "size=1m")
        .waiting_for(HttpWaitStrategy(8000, "/file").for_status_code(200))
    )
    with web:
        assert web.status == "running"
        port = web.get_exposed_port(8000)
        assert urllib.request.urlopen(f"http://{web.get_container_host_ip()}:{port}/file").read() == b"text"
        assert web.exec(["sh", "-c", "echo $A; exit 3"]) == (3, b"b\\n")
        assert web.get_logs()[0] == b"ready\\n"
        target = pathlib.Path(work) / "back"
        web.copy_from_container("/srv/file", target)
        assert target.read_bytes() == b"text"
        asker = DockerContainer("host").with_network(network).with_command("getent hosts www")
        with asker:
            assert asker.wait() == 0
            assert asker.get_logs()[0].split()[-1] == b"www"
        info = web.get_container_info()
        assert info.Config.Labels["org.testcontainers.session-id"] == SESSION_ID
        assert info.State.Status == "running", info.State
        volume = DockerContainer("host").with_volume_mapping("kept", "/kept", "rw").with_kwargs(
            init=True, network_mode="none", healthcheck=CHECK,
        ).waiting_for(HealthcheckWaitStrategy())
        try:
            volume.with_command(["sh", "-c", "touch /tmp/ok; exec sleep 600"]).start()
        finally:
            volume.stop()
with DockerImage(path=context, tag="built:1", clean_up=True) as image:
    with DockerContainer(str(image)).with_kwargs(network_mode="none") as box:
        LogMessageWaitStrategy("from a build").wait_until_ready(box)
client = docker.from_env()
assert client.containers.list(all=True, filters={"label": "org.testcontainers=true"}) == []
assert client.networks.list(filters={"type": "custom"}) == []
client.volumes.get("kept").remove()
"""

REMOVAL = """
import socket
import docker
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

RYUK = '''
import http.client, json, socket
from urllib.parse import quote
class Client(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")
def ask(method, target):
    client = Client("docker")
    client.request(method, "/v1.29" + target)
    return client.getresponse().read()
with socket.create_server(("", 8080)) as listener:
    print("Started!", flush=True)
    client = listener.accept()[0]
    key, _, value = client.makefile().readline().strip().partition("=")
    client.sendall(b"ACK\\\\n")
    client.recv(1)
wanted = quote(json.dumps({key: [value]}))
for box in json.loads(ask("GET", "/containers/json?all=1&filters=" + wanted)):
    if not box["Id"].startswith(socket.gethostname()):
        ask("DELETE", "/containers/" + box["Id"] + "?force=1&v=1")
for kind in ("networks", "volumes", "images"):
    ask("POST", "/" + kind + "/prune?filters=" + wanted)
'''
client = docker.from_env()
ryuk = (
    DockerContainer("host").with_command(["python3", "-c", RYUK]).with_name("ryuk-" + SESSION_ID)
    .with_exposed_ports(8080)
    .with_volume_mapping(testcontainers_config.ryuk_docker_socket, "/var/run/docker.sock", "rw")
    .with_kwargs(auto_remove=True, init=True).waiting_for(LogMessageWaitStrategy(r".* ?Started!"))
)
ryuk.start()
connection = socket.create_connection((ryuk.get_container_host_ip(), ryuk.get_exposed_port(8080)))
connection.sendall(f"label={LABEL_SESSION_ID}={SESSION_ID}\\r\\n".encode())
assert connection.recv(4) == b"ACK\\n"
network = Network().create()
left = DockerContainer("host").with_command("sleep 600").with_network(network).with_kwargs(init=True).start()
client.volumes.create("left", labels={LABEL_SESSION_ID: SESSION_ID})
client.volumes.create("other")
connection.close()  # as at the end of a test run that was killed
wanted = {"event": "destroy", "container": ryuk.get_wrapped_container().id}
next(client.events(since=0, decode=True, filters=wanted))
assert client.containers.list(all=True) == []
assert client.networks.list(filters={"type": "custom"}) == []
assert [one.name for one in client.volumes.list()] == ["other"]
client.volumes.get("other").remove()
"""


def test_testcontainers_starts_waits_copies_builds_and_removes(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    context, work = tmp_path / "context", tmp_path / "work"
    context.mkdir()
    work.mkdir()
    (context / "Dockerfile").write_text('FROM bb\nCMD ["/bin/echo", "from a build"]\n')
    with serving(bento) as served:
        run_client(served, PROGRAM, str(context), str(work), env=ENVIRON)


def test_a_container_with_the_socket_removes_what_a_test_run_has_left(bento: BentoCli) -> None:
    with serving(bento) as served:
        run_client(served, REMOVAL, env=ENVIRON)
