"""aiodocker, as it is, against ``bento serve``: events, streams and logs beside each other on one loop."""

from __future__ import annotations

from pathlib import Path

from support.cli import BentoCli
from support.serving import run_client, serving
from support.workload import ONE_RUNTIME, busybox_rootfs

pytestmark = ONE_RUNTIME

PROGRAM = """
import asyncio, io, sys, tarfile
import aiodocker, aiohttp
from aiodocker.exceptions import DockerContainerError, DockerError

HOST = {"NetworkMode": "none"}


async def main(archive):
    async with aiodocker.Docker() as docker:
        assert (await docker.version())["ApiVersion"] == "1.44"
        assert (await docker.system.info())["OSType"] == "linux"
        events = docker.events.subscribe()
        await containers(docker)
        await sockets(docker)
        await streams(docker)
        await resources(docker)
        await images(docker, archive)
        seen = []
        while not seen or seen[-1] != ("network", "destroy"):
            event = await events.get()
            seen.append((event["Type"], event["Action"].partition(":")[0]))
        wanted = [("container", "create"), ("container", "start"), ("container", "die"), ("container", "destroy"),
                  ("volume", "create"), ("network", "connect"), ("container", "exec_create")]
        assert set(wanted) <= set(seen), seen


async def containers(docker):
    config = {"Image": "host", "Cmd": ["sh", "-c", "echo $K; echo err >&2; read line; echo got $line; exit 3"],
              "Env": ["K=v"], "OpenStdin": True, "AttachStdin": True, "Labels": {"a": "b"}, "HostConfig": HOST}
    box = await docker.containers.create_or_replace("web", config)
    box = await docker.containers.create_or_replace("web", config)
    assert [one.id for one in await docker.containers.list(all=True, filters='{"label": ["a=b"]}')] == [box.id]
    async with box.attach(stdin=True, stdout=True, stderr=True) as stream:
        await box.start()
        said = [await stream.read_out(), await stream.read_out()]
        assert sorted((one.stream, one.data) for one in said) == [(1, b"v\\n"), (2, b"err\\n")]
        await stream.write_in(b"word\\n")
        assert (await stream.read_out()).data == b"got word\\n"
        assert await stream.read_out() is None
    assert (await box.wait())["StatusCode"] == 3
    assert sorted(await box.log(stdout=True, stderr=True)) == ["err\\n", "got word\\n", "v\\n"]
    assert (await box.show())["State"]["ExitCode"] == 3
    await box.delete()
    try:
        await docker.containers.get("web")
        raise SystemExit("not gone")
    except DockerError as error:
        assert (error.status, error.message) == (404, "No such container: web")
    try:
        await docker.containers.run({"Image": "nowhere.invalid/none:1", "Cmd": ["true"]}, name="none")
        raise SystemExit("not refused")
    except DockerError as error:
        assert error.status == 404 or "nowhere" in error.message, error
    try:
        await docker.containers.run({"Image": "host", "Cmd": ["/no/such"], "HostConfig": HOST}, name="bad")
        raise SystemExit("not refused")
    except DockerContainerError as error:
        assert error.status == 400
        await docker.containers.container(error.container_id).delete()


async def sockets(docker):
    box = await docker.containers.create({"Image": "host", "Cmd": ["cat"], "OpenStdin": True, "HostConfig": HOST})
    web = await box.websocket(stdin=True, stdout=True, stream=True)  # before the start, as the others
    await box.start()
    await web.send_bytes(b"typed")
    assert await web.receive_bytes() == b"typed"
    await web.close()
    web = await box.websocket(stdout=True, stream=True)
    await box.kill()
    assert (await web.receive()).type.name == "CLOSE"
    await box.delete()
    try:
        await box.websocket(stream=True)
        raise SystemExit("not refused")
    except aiohttp.WSServerHandshakeError as error:
        assert error.status == 404


async def streams(docker):
    program = "trap 'exit 0' TERM; n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"
    box = await docker.containers.run({"Image": "host", "Cmd": ["sh", "-c", program], "HostConfig": HOST}, name="box")
    lines = []
    async for line in box.log(stdout=True, follow=True):
        lines.append(line)
        if len(lines) == 3:
            break
    assert lines == ["1\\n", "2\\n", "3\\n"]
    async for sample in box.stats(stream=True):
        assert sample["pids_stats"]["current"] >= 1
        break
    made = await box.exec(["sh", "-c", "cat; echo err >&2; exit 4"], stdin=True)
    async with made.start(detach=False) as stream:
        await stream.write_in(b"in")
        assert (await stream.read_out()).data == b"in"
    made = await box.exec(["sh", "-c", "stty size; read x; echo $x"], stdin=True, tty=True)
    async with made.start(detach=False) as stream:
        await made.resize(h=24, w=80)
        await stream.write_in(b"typed\\r")
        seen = b""
        while one := await stream.read_out():
            seen += one.data
        assert seen.count(b"typed\\r\\n") == 2, seen
    while (await made.inspect())["Running"]:
        await asyncio.sleep(0.05)
    assert (await made.inspect())["ExitCode"] == 0
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))
    await box.put_archive("/tmp", stream.getvalue())
    with await box.get_archive("/tmp/file") as tar:
        assert tar.extractfile("file").read() == b"text"
    assert (await box.top(ps_args="-o pid,args"))["Titles"] == ["PID", "COMMAND"]
    await box.pause()
    await box.unpause()
    await box.rename("other")
    await box.restart(t=30)
    await box.stop(t=30)
    assert (await box.show())["State"]["ExitCode"] == 0
    await box.start()
    await box.kill(signal="KILL")
    assert (await box.wait())["StatusCode"] == 137
    await box.delete(v=True, force=True)


async def resources(docker):
    volume = await docker.volumes.create({"Name": "v", "Labels": {"a": "b"}})
    assert (await volume.show())["Labels"] == {"a": "b"}
    network = await docker.networks.create({"Name": "net", "Internal": True})
    host = {"NetworkMode": "net", "Binds": ["v:/v"], "Init": True}
    box = await docker.containers.run({"Image": "host", "Cmd": ["sleep", "600"], "HostConfig": host}, name="on")
    await network.disconnect({"Container": "on"})
    await network.connect({"Container": "on", "EndpointConfig": {"Aliases": ["www"]}})
    assert list((await network.show())["Containers"]) == [box.id]
    try:
        await volume.delete()
        raise SystemExit("not refused")
    except DockerError as error:
        assert error.status == 409
    await box.delete(force=True)
    await volume.delete()
    assert (await docker.volumes.list())["Volumes"] == []
    await docker.volumes.create({})
    assert len((await docker.volumes.prune())["VolumesDeleted"]) == 1
    assert not (await docker.networks.prune(filters={"label": ["none"]}))["NetworksDeleted"]
    await network.delete()


async def images(docker, archive):
    with open(archive, "rb") as file:
        loaded = [line async for line in docker.images.import_image(file, stream=True)]
    assert any("Loaded image: small:1" in line.get("stream", "") for line in loaded), loaded
    image = await docker.images.inspect("small:1")
    assert [one["Id"] for one in await docker.images.list()] == [image["Id"]]
    await docker.images.tag("small:1", "other", tag="2")
    async with docker.images.export_image("small:1") as content:
        assert len(await content.read()) > 1000
    box = await docker.containers.run({"Image": "other:2", "Cmd": ["/bin/echo", "hi"], "HostConfig": HOST}, name="of")
    await box.wait()
    assert await box.log(stdout=True) == ["hi\\n"]
    assert (await box.commit(repository="made", tag="1"))["Id"].startswith("sha256:")
    await box.delete()
    for name in ("made:1", "other:2", "small:1"):
        await docker.images.delete(name)
    try:
        await docker.images.inspect("small:1")
        raise SystemExit("not gone")
    except DockerError as error:
        assert (error.status, error.message) == (404, "No such image: small:1")
    try:
        [line async for line in docker.images.pull("127.0.0.1:9/none:1", stream=True)]
        raise SystemExit("not refused")
    except DockerError as error:
        assert "refused" in error.message, error
asyncio.run(main(sys.argv[1]))
"""


def test_aiodocker_does_what_its_pages_show(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "small:1")
    bento("save", "-o", tmp_path / "small.tar", "small:1")
    bento("rmi", "small:1")
    with serving(bento) as served:
        run_client(served, PROGRAM, str(tmp_path / "small.tar"))
