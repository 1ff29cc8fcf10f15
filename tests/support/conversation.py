"""One conversation with a server of Docker's API: the requests that are compared."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from urllib.parse import quote

from support import conversation_lists, conversation_more
from support.comparing import Recorder, add_shape, frames
from support.conversation_words import IMAGE, create
from support.procs import wait_until

_SCRIPT = "echo out; echo err >&2; trap 'exit 7' TERM; while :; do sleep 0.05; done"


def image_archive() -> bytes:
    """A root filesystem with nothing but busybox."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in ("sh", "sleep", "cat", "echo", "true", "stty"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("proc", "dev", "sys", "etc", "tmp", "data"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
    return stream.getvalue()


def converse(ask: Recorder) -> None:
    """Have all of it, one after the other."""
    begun = time.time()
    system(ask)
    images_begin(ask)
    containers(ask)
    endings(ask)
    streams(ask)
    files(ask)
    networks(ask)
    volumes(ask)
    conversation_more.converse(ask)
    conversation_lists.converse(ask)
    images_end(ask)
    events(ask, begun)


def system(ask: Recorder) -> None:
    ask("GET /_ping", "GET", "/_ping")
    ask("HEAD /_ping", "HEAD", "/_ping")
    ask("GET /version", "GET", "/version")
    ask("GET /info", "GET", "/info")
    ask("GET /nothing", "GET", "/nothing")
    ask("GET /_ping too new", "GET", "/v1.99/_ping", words="is too new")
    ask("GET /_ping too old", "GET", "/v1.1/_ping", words="is too old")
    ask("GET /plugins", "GET", "/plugins")
    ask("GET /plugins/{}/json unknown", "GET", "/plugins/none/json", words="not found")


def images_begin(ask: Recorder) -> None:
    repo, tag = IMAGE.split(":")
    ask("POST /images/create import", "POST", f"/images/create?fromSrc=-&repo={repo}&tag={tag}", image_archive())
    ask("GET /images/json", "GET", "/images/json")
    ask("GET /images/{}/json", "GET", f"/images/{IMAGE}/json")
    ask("GET /images/{}/json unknown", "GET", "/images/none/json", words="[Nn]o such image: none")
    ask("GET /images/{}/history", "GET", f"/images/{IMAGE}/history")
    ask("POST /images/{}/tag", "POST", f"/images/{IMAGE}/tag?repo=other&tag=1")
    ask("POST /images/{}/tag unknown", "POST", "/images/none/tag?repo=other&tag=1", words="^No such image: none")


def containers(ask: Recorder) -> None:
    create(ask, "POST /containers/create", "web", "sh", "-c", _SCRIPT)
    ask("POST /containers/create taken", "POST", "/containers/create?name=web", {"Image": IMAGE, "Cmd": ["true"]},
        words='The container name "/web" is already in use')  # fmt: skip
    ask("POST /containers/create no image", "POST", "/containers/create", {"Image": "none:1", "Cmd": ["true"]},
        words="^No such image: none:1")  # fmt: skip
    ask("POST /containers/create no command", "POST", "/containers/create", {"Image": IMAGE}, words="No command")
    ask("POST /containers/create bad", "POST", "/containers/create", b'{"Image": 3}')
    ask("GET /containers/{}/json created", "GET", "/containers/web/json")
    ask("GET /containers/{}/json unknown", "GET", "/containers/none/json", words="^No such container: none$")
    for verb in ("start", "stop", "restart", "kill", "pause", "unpause", "rename?name=x", "wait", "resize?h=1&w=1"):
        label = f"POST /containers/{{}}/{verb.partition('?')[0]} unknown"
        ask(label, "POST", f"/containers/none/{verb}", words="No such container: none$")
    ask("POST /containers/{}/stop created", "POST", "/containers/web/stop")
    ask("POST /containers/{}/kill created", "POST", "/containers/web/kill", words="is not running")
    ask("POST /containers/{}/pause created", "POST", "/containers/web/pause", words="is not running")
    waiting = ask.open("POST /containers/{}/wait next-exit", "POST", "/containers/web/wait?condition=next-exit")
    ask("POST /containers/{}/start", "POST", "/containers/web/start")
    ask("POST /containers/{}/start again", "POST", "/containers/web/start")
    wait_for_output(ask, "web")
    ask("GET /containers/json", "GET", "/containers/json?size=1")
    ask("GET /containers/json none", "GET", "/containers/json?filters=" + quote('{"name":["nothing"]}'))
    ask("GET /containers/json bad filter", "GET", "/containers/json?filters=" + quote('{"nonsense":["x"]}'))
    ask("GET /containers/{}/json", "GET", "/containers/web/json?size=1")
    ask("GET /containers/{}/top", "GET", "/containers/web/top?ps_args=-o%20pid,args")
    ask("GET /containers/{}/stats once", "GET", "/containers/web/stats?stream=0")
    with ask.open("GET /containers/{}/stats", "GET", "/containers/web/stats") as stats:
        ask.keep("GET /containers/{}/stats", stats.readline(), "application/json")
    ask("POST /containers/{}/update", "POST", "/containers/web/update", {"PidsLimit": 50})
    ask("DELETE /containers/{} running", "DELETE", "/containers/web",
        words=r"(remove a|is) running.* force remove")  # fmt: skip
    ask("POST /containers/{}/kill bad", "POST", "/containers/web/kill?signal=NONE", words="nvalid signal: NONE")
    ask("POST /containers/{}/unpause running", "POST", "/containers/web/unpause", words="is not paused")
    ask("POST /containers/{}/pause", "POST", "/containers/web/pause")
    ask("POST /containers/{}/pause again", "POST", "/containers/web/pause", words="is already paused")
    ask("GET /containers/{}/json paused", "GET", "/containers/web/json")
    ask("POST /containers/{}/unpause", "POST", "/containers/web/unpause")
    ask("POST /containers/{}/rename", "POST", "/containers/web/rename?name=api")
    ask("POST /containers/{}/stop", "POST", "/containers/api/stop?t=30")
    with waiting:
        ask.keep("POST /containers/{}/wait next-exit", waiting.read(), "application/json")


def endings(ask: Recorder) -> None:
    ask("POST /containers/{}/stop again", "POST", "/containers/api/stop")
    ask("GET /containers/{}/json ended", "GET", "/containers/api/json")
    ask("GET /containers/json all", "GET", "/containers/json?all=1")
    ask("GET /containers/{}/stats ended", "GET", "/containers/api/stats?stream=0")
    ask("GET /containers/{}/top ended", "GET", "/containers/api/top", words="is not running")
    ask("POST /containers/{}/exec ended", "POST", "/containers/api/exec", {"Cmd": ["true"]}, words="is not running")
    ask("POST /containers/{}/wait ended", "POST", "/containers/api/wait")
    ask("POST /containers/{}/wait bad", "POST", "/containers/api/wait?condition=never")
    ask("POST /containers/{}/restart", "POST", "/containers/api/restart?t=0")
    ask("POST /containers/{}/kill", "POST", "/containers/api/kill?signal=KILL")
    ask("POST /containers/{}/wait", "POST", "/containers/api/wait")
    ask("DELETE /containers/{}", "DELETE", "/containers/api?v=1")
    ask("DELETE /containers/{} unknown", "DELETE", "/containers/api", words="^No such container: api$")
    create(ask, "POST /containers/create for nothing", "bad", "/no/such/program")
    ask("POST /containers/{}/start no program", "POST", "/containers/bad/start",
        words="no such file or directory|executable file not found")  # fmt: skip
    ask("GET /containers/{}/json not started", "GET", "/containers/bad/json")
    ask("POST /containers/prune", "POST", "/containers/prune")


def wait_for_output(ask: Recorder, name: str) -> None:
    """Wait until both streams have said their line."""
    said = b""
    with ask.served.open("GET", f"/containers/{name}/logs?follow=1&stdout=1&stderr=1") as logs:
        while b"out\n" not in said or b"err\n" not in said:
            piece = logs.read1(4096)
            assert piece, said
            said += piece


def streams(ask: Recorder) -> None:
    attached = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "OpenStdin": True, "StdinOnce": True}
    create(ask, "POST /containers/create cat", "cat", "sh", "-c", "echo err >&2; cat", **attached)
    head = "POST /v1.41/containers/cat/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: d\r\n"
    with ask.served.connect() as client:
        client.sendall(f"{head}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        first = client.recv(1, 2)  # MSG_PEEK: the head is there before the start
        assert first == b"H", first
        ask("POST /containers/{}/start attached", "POST", "/containers/cat/start")
        ask.take_over("POST /containers/{}/attach", client, b"said\n")
    ask("POST /containers/{}/wait attached", "POST", "/containers/cat/wait")
    for name, options in {"": "", " timestamps": "&timestamps=1", " tail": "&tail=1"}.items():
        logs(ask, f"GET /containers/{{}}/logs{name}", f"/containers/cat/logs?stdout=1&stderr=1{options}")
    ask("GET /containers/{}/logs no stream", "GET", "/containers/cat/logs", words="must choose at least one stream")
    ask("GET /containers/{}/logs unknown", "GET", "/containers/none/logs?stdout=1", words="^No such container: none$")
    ask("POST /containers/{}/attach unknown", "POST", "/containers/none/attach")
    ask("DELETE /containers/{} cat", "DELETE", "/containers/cat")
    execs(ask)


def logs(ask: Recorder, label: str, target: str) -> None:
    with ask.open(label, "GET", target) as response:
        content = response.read()
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
    found = {re.sub(moment, "TIME", each) for each in frames(content)}
    # Which of two streams has said the last line is left to the threads that read them.
    ask.fact(label)["frames"] = {str(len(found))} if "tail" in target else found


def execs(ask: Recorder) -> None:
    create(ask, "POST /containers/create tty", "term", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    ask("POST /containers/{}/start exec", "POST", "/containers/term/start")
    command = ["sh", "-c", "echo err >&2; cat; exit 3"]
    streams_ = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    made = ask.json("POST /containers/{}/exec", "POST", "/containers/term/exec", {"Cmd": command} | streams_)["Id"]
    ask("GET /exec/{}/json created", "GET", f"/exec/{made}/json")
    ask.hijack("POST /exec/{}/start", f"/exec/{made}/start", {"Detach": False, "Tty": False}, b"said\n")
    wait_until(lambda: not ask.served("GET", f"/exec/{made}/json").json["Running"], what="the end of the command")
    ask("GET /exec/{}/json", "GET", f"/exec/{made}/json")
    ask("POST /exec/{}/start again", "POST", f"/exec/{made}/start", {"Detach": True})
    again = ask.json("POST /containers/{}/exec tty", "POST", "/containers/term/exec",
                     {"Cmd": ["echo", "hello"], "AttachStdout": True, "Tty": True})["Id"]  # fmt: skip
    ask.hijack("POST /exec/{}/start tty", f"/exec/{again}/start", {"Detach": False, "Tty": True}, framed=False)
    silent = ask.json("POST /containers/{}/exec detached", "POST", "/containers/term/exec", {"Cmd": ["true"]})["Id"]
    ask("POST /exec/{}/start detached", "POST", f"/exec/{silent}/start", {"Detach": True})
    ask("POST /containers/{}/exec no command", "POST", "/containers/term/exec", {}, words="No exec command specified")
    ask("POST /containers/{}/exec unknown", "POST", "/containers/none/exec", {"Cmd": ["true"]},
        words="^No such container: none$")  # fmt: skip
    ask("GET /exec/{}/json unknown", "GET", "/exec/none/json", words="^No such exec instance: none")
    ask("POST /exec/{}/start unknown", "POST", "/exec/none/start", {}, words="^No such exec instance: none")
    ask("DELETE /containers/{} forced", "DELETE", "/containers/term?force=1")


def files(ask: Recorder) -> None:
    create(ask, "POST /containers/create files", "files", "true")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("there")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"text"))
    ask("PUT /containers/{}/archive", "PUT", "/containers/files/archive?path=/data", stream.getvalue())
    ask("PUT /containers/{}/archive no folder", "PUT", "/containers/files/archive?path=/none", stream.getvalue())
    ask("HEAD /containers/{}/archive", "HEAD", "/containers/files/archive?path=/data/there")
    ask("HEAD /containers/{}/archive no file", "HEAD", "/containers/files/archive?path=/none")
    ask("GET /containers/{}/archive no file", "GET", "/containers/files/archive?path=/none",
        words="Could not find the file /none in container files")  # fmt: skip
    ask("GET /containers/{}/archive no path", "GET", "/containers/files/archive")
    members(ask, "GET /containers/{}/archive", "/containers/files/archive?path=/data")
    ask("GET /containers/{}/changes", "GET", "/containers/files/changes")
    ask("GET /containers/{}/export", "GET", "/containers/files/export")
    ask("GET /containers/{}/export unknown", "GET", "/containers/none/export", words="^No such container: none$")
    ask("POST /commit", "POST", "/commit?container=files&repo=made&tag=1", {})
    ask("POST /commit unknown", "POST", "/commit?container=none", {}, words="^No such container: none$")
    ask("DELETE /containers/{} files", "DELETE", "/containers/files")


def members(ask: Recorder, label: str, target: str) -> None:
    with ask.open(label, "GET", target) as response, tarfile.open(fileobj=io.BytesIO(response.read())) as tar:
        ask.fact(label)["members"] = set(tar.getnames())


def networks(ask: Recorder) -> None:
    made = ask.json("POST /networks/create", "POST", "/networks/create",
                    {"Name": "back", "Internal": True, "Labels": {"a": "b"}, "CheckDuplicate": True})["Id"]  # fmt: skip
    ask("POST /networks/create taken", "POST", "/networks/create", {"Name": "back", "CheckDuplicate": True},
        words="network with name back already exists")  # fmt: skip
    ask("GET /networks", "GET", "/networks")
    ask("GET /networks/{} unknown", "GET", "/networks/nothing", words="^network nothing not found$")
    ports = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    host = {"NetworkMode": "bridge", "Init": True, "PortBindings": ports}
    create(ask, "POST /containers/create net", "net", "sleep", "600", HostConfig=host,
           ExposedPorts={"80/tcp": {}, "81/udp": {}})  # fmt: skip
    ask("POST /networks/{}/connect", "POST", "/networks/back/connect",
        {"Container": "net", "EndpointConfig": {"Aliases": ["store"]}})  # fmt: skip
    ask("POST /networks/{}/connect no container", "POST", "/networks/back/connect", {"Container": "none"},
        words="^No such container: none$")  # fmt: skip
    ask("GET /containers/{}/json net created", "GET", "/containers/net/json")
    ask("POST /containers/{}/start net", "POST", "/containers/net/start")
    ask("POST /networks/{}/connect unknown", "POST", "/networks/nothing/connect", {"Container": "net"},
        words="^network nothing not found$")  # fmt: skip
    ask("GET /containers/{}/json net", "GET", "/containers/net/json")
    ask("GET /containers/json net", "GET", "/containers/json")
    ask("GET /containers/{}/stats net", "GET", "/containers/net/stats?stream=0&one-shot=1")
    ask("GET /networks/{}", "GET", f"/networks/{made}")
    ask("GET /networks/{} bridge", "GET", "/networks/bridge")
    ask("DELETE /networks/{} used", "DELETE", "/networks/back", words="has active endpoints")
    ask("DELETE /networks/{} own", "DELETE", "/networks/bridge", words="is a pre-defined network")
    ask("POST /networks/{}/disconnect", "POST", "/networks/back/disconnect", {"Container": "net"})
    ask("POST /networks/{}/disconnect again", "POST", "/networks/back/disconnect", {"Container": "net"},
        words="is not connected to (the )?network back")  # fmt: skip
    ask("DELETE /containers/{} net", "DELETE", "/containers/net?force=1")
    ask("DELETE /networks/{}", "DELETE", "/networks/back")
    ask("DELETE /networks/{} unknown", "DELETE", "/networks/back", words="^network back not found$")
    ask("POST /networks/prune", "POST", "/networks/prune")


def volumes(ask: Recorder) -> None:
    ask("GET /volumes none", "GET", "/volumes")
    ask("POST /volumes/create", "POST", "/volumes/create", {"Name": "data", "Labels": {"a": "b"}})
    ask("POST /volumes/create again", "POST", "/volumes/create", {"Name": "data"})
    ask("POST /volumes/create bad", "POST", "/volumes/create", {"Name": "../x"})
    ask("GET /volumes", "GET", "/volumes")
    ask("GET /volumes/{}", "GET", "/volumes/data")
    ask("GET /volumes/{} unknown", "GET", "/volumes/none", words="no such volume")
    create(ask, "POST /containers/create volume", "vol", "true",
           HostConfig={"NetworkMode": "none", "Binds": ["data:/data"]})  # fmt: skip
    ask("GET /containers/{}/json volume", "GET", "/containers/vol/json")
    ask("DELETE /volumes/{} used", "DELETE", "/volumes/data", words="volume is in use")
    ask("DELETE /containers/{} volume", "DELETE", "/containers/vol")
    ask("DELETE /volumes/{}", "DELETE", "/volumes/data")
    ask("DELETE /volumes/{} unknown", "DELETE", "/volumes/data", words="no such volume")
    ask("DELETE /volumes/{} unknown, forced", "DELETE", "/volumes/data?force=1")
    ask("POST /volumes/prune", "POST", "/volumes/prune")


def images_end(ask: Recorder) -> None:
    with ask.open("GET /images/{}/get", "GET", "/images/made:1/get") as response:
        saved = response.read()
    ask("DELETE /images/{}", "DELETE", "/images/made:1")
    ask("POST /images/load", "POST", "/images/load", saved)
    ask("POST /images/load bad", "POST", "/images/load", b"no archive")
    ask("GET /images/{}/get unknown", "GET", "/images/none/get", words="[Nn]o such image: none")
    ask("DELETE /images/{} loaded", "DELETE", "/images/made:1")
    ask("DELETE /images/{} a name", "DELETE", "/images/other:1")
    ask("DELETE /images/{} unknown", "DELETE", "/images/none", words="^No such image: none")
    ask("POST /images/prune", "POST", "/images/prune")


def events(ask: Recorder, since: float) -> None:
    label = "GET /events"
    with ask.open(label, "GET", f"/events?since={int(since)}&until={time.time() + 0.02:.3f}") as response:
        lines = [json.loads(line) for line in response.read().splitlines() if line.strip()]
    facts = ask.fact(label)
    for event in lines:
        attributes = event["Actor"].pop("Attributes")
        add_shape(facts, "line", event)
        name = event["Action"].partition(":")[0]
        key = f"{event['Type']} {name}"
        facts[key].add("there")
        for attribute in attributes:
            facts[f"{key} {attribute}"].add("there")
