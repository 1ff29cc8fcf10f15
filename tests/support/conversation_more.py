"""The second half of the conversation: a container's options, terminals, builds, registries that do not answer."""

from __future__ import annotations

import io
import tarfile
from typing import Any
from urllib.parse import quote

from support.comparing import Recorder
from support.conversation_words import IMAGE, create

NOWHERE = "127.0.0.1:9"
"""Where nothing listens."""
FULL: dict[str, Any] = {
    "NetworkMode": "none", "Binds": ["/tmp:/data:ro"], "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"],
    "Dns": ["192.0.2.1"], "DnsOptions": ["ndots:1"], "DnsSearch": ["example.com"], "ExtraHosts": ["a:192.0.2.1"],
    "GroupAdd": ["5"], "OomScoreAdj": 100, "ReadonlyRootfs": True, "SecurityOpt": ["no-new-privileges"],
    "Tmpfs": {"/tmp": "size=65536"}, "UTSMode": "", "ShmSize": 65536, "Sysctls": {"net.ipv4.ip_forward": "0"},
    "CpuShares": 100, "Memory": 64 << 20, "CpuPeriod": 100000, "CpuQuota": 50000, "PidsLimit": 20,
    "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 100}], "Init": True, "IpcMode": "private",
    "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/other", "CgroupPermissions": "r"}],
    "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
    "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m"}},
    "Mounts": [{"Type": "tmpfs", "Target": "/run"}, {"Type": "volume", "Source": "more", "Target": "/more"}],
}  # fmt: skip
HEALTH = {"Test": ["CMD", "true"], "Interval": 3600 * 10**9, "Timeout": 10**9, "Retries": 3, "StartPeriod": 10**9}


def converse(ask: Recorder) -> None:
    options(ask)
    terminals(ask)
    rest(ask)
    filters(ask)
    ask("GET /system/df", "GET", "/system/df")
    registries(ask)
    build(ask)


def options(ask: Recorder) -> None:
    create(ask, "POST /containers/create full", "full", "600", HostConfig=FULL, Hostname="box",
           Domainname="example.com", User="1:2", Env=["A=b"], Entrypoint=["sleep"], WorkingDir="/tmp",
           StopSignal="SIGINT", StopTimeout=5, Healthcheck=HEALTH,
           Volumes={"/anonymous": {}}, ExposedPorts={"80/tcp": {}})  # fmt: skip
    ask("GET /containers/{}/json full", "GET", "/containers/full/json")
    ask("POST /containers/{}/start full", "POST", "/containers/full/start")
    ask("GET /containers/{}/json full running", "GET", "/containers/full/json")
    ask("GET /containers/json full", "GET", "/containers/json")
    ask("DELETE /containers/{} full", "DELETE", "/containers/full?force=1&v=1")
    ask("DELETE /volumes/{} more", "DELETE", "/volumes/more")
    for name, host in {
        "port": {"PortBindings": {"80/tcp": [{"HostPort": "a"}]}}, "bind": {"Binds": ["relative/x:/data"]},
        "memory": {"Memory": 1}, "policy": {"RestartPolicy": {"Name": "sometimes"}},
    }.items():  # fmt: skip
        label = f"POST /containers/create bad {name}"
        ask(label, "POST", "/containers/create?name=bad", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": host})
        ask.served("DELETE", "/containers/bad")


def terminals(ask: Recorder) -> None:
    create(ask, "POST /containers/create terminal", "tty", "sh", "-c", "read -r line; echo $line", Tty=True,
           OpenStdin=True, AttachStdin=True, AttachStdout=True, AttachStderr=True,
           HostConfig={"NetworkMode": "none", "AutoRemove": True})  # fmt: skip
    waiting = ask.open("POST /containers/{}/wait removed", "POST", "/containers/tty/wait?condition=removed")
    ask("POST /containers/{}/start terminal", "POST", "/containers/tty/start")
    ask("POST /containers/{}/resize", "POST", "/containers/tty/resize?h=24&w=80")
    ask("POST /containers/{}/resize bad", "POST", "/containers/tty/resize?h=a&w=80")
    attach = "/containers/tty/attach?stream=1&stdin=1&stdout=1"
    ask.hijack("POST /containers/{}/attach terminal", attach, sent=b"in\n", framed=False)
    with waiting:
        ask.keep("POST /containers/{}/wait removed", waiting.read(), "application/json")


def rest(ask: Recorder) -> None:
    create(ask, "POST /containers/create rest", "rest", "sh", "-c", "echo out; exec sleep 600")
    ask("GET /containers/{}/logs created", "GET", "/containers/rest/logs?stdout=1")
    ask("GET /containers/{}/top created", "GET", "/containers/rest/top", words="is not running")
    ask("POST /containers/{}/attach created, no upgrade", "POST", "/containers/rest/attach?logs=1&stdout=1")
    ask("POST /containers/{}/start rest", "POST", "/containers/rest/start")
    made = ask.json("POST /containers/{}/exec rest", "POST", "/containers/rest/exec",
                    {"Cmd": ["sleep", "600"], "Tty": True})["Id"]  # fmt: skip
    ask("POST /exec/{}/start rest", "POST", f"/exec/{made}/start", {"Detach": True, "Tty": True})
    ask("GET /exec/{}/json running", "GET", f"/exec/{made}/json")
    ask("POST /exec/{}/resize unknown", "POST", "/exec/none/resize?h=24&w=80")
    ask("GET /containers/{}/json execs", "GET", "/containers/rest/json")
    ask("HEAD /containers/{}/archive folder", "HEAD", "/containers/rest/archive?path=/bin/")
    ask("HEAD /containers/{}/archive link", "HEAD", "/containers/rest/archive?path=/bin/sh")
    ask("POST /containers/{}/update policy", "POST", "/containers/rest/update", {"RestartPolicy": {"Name": "always"}})
    ask("POST /containers/{}/update bad", "POST", "/containers/rest/update", {"Memory": 1})
    ask("POST /containers/{}/rename none", "POST", "/containers/rest/rename?name=")
    ask("POST /containers/{}/rename bad", "POST", "/containers/rest/rename?name=a/b")
    ask("POST /containers/{}/pause rest", "POST", "/containers/rest/pause")
    ask("POST /containers/{}/exec paused", "POST", "/containers/rest/exec", {"Cmd": ["true"]}, words="is paused")
    ask("POST /containers/{}/start paused", "POST", "/containers/rest/start", words="cannot start a paused container")
    ask("DELETE /containers/{} paused", "DELETE", "/containers/rest")
    ask("DELETE /containers/{} paused, forced", "DELETE", "/containers/rest?force=1")
    ask("GET /exec/{}/json of what is gone", "GET", f"/exec/{made}/json", words="^No such exec instance")
    ask("GET /images/get", "GET", f"/images/get?names={IMAGE}")
    ask("POST /build/prune", "POST", "/build/prune")


def filters(ask: Recorder) -> None:
    for path in ("containers/json", "images/json", "networks", "volumes", "events"):
        ask(f"GET /{path} bad json", "GET", f"/{path}?until=1&filters=nonsense")
        unknown = quote('{"nonsense":["x"]}')
        ask(f"GET /{path} unknown filter", "GET", f"/{path}?until=1&filters={unknown}")


def registries(ask: Recorder) -> None:
    ask("POST /images/create refused", "POST", f"/images/create?fromImage={NOWHERE}/x&tag=1",
        words="connection refused")  # fmt: skip
    ask("POST /images/{}/tag nowhere", "POST", f"/images/{IMAGE}/tag?repo={NOWHERE}/x&tag=1")
    ask("POST /images/{}/push unknown", "POST", f"/images/{NOWHERE}/none/push?tag=1")
    ask("GET /distribution/{}/json refused", "GET", f"/distribution/{NOWHERE}/x:1/json", words="connection refused")
    ask("POST /auth refused", "POST", "/auth",
        {"username": "a", "password": "b", "serveraddress": f"http://{NOWHERE}"})  # fmt: skip
    ask("DELETE /images/{} nowhere", "DELETE", f"/images/{NOWHERE}/x:1")


def build(ask: Recorder) -> None:
    for name, text in {"": "LABEL c=d", " that fails": "COPY none /none"}.items():
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            content = f"FROM {IMAGE}\n{text}\n".encode()
            info = tarfile.TarInfo("Dockerfile")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        ask(f"POST /build{name}", "POST", "/build?t=built:1", stream.getvalue())
    ask("DELETE /images/{} built", "DELETE", "/images/built:1")
