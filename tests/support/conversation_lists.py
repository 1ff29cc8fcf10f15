"""The third part of the conversation: what lists find by filters, links, what cannot be had, what only one has."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from support.comparing import Recorder
from support.conversation_words import IMAGE, create

_NO_NETWORK = {"NetworkMode": "none"}
_CONTAINERS = (
    "publish=18080", "publish=18000-18100/tcp", "publish=18080/udp", "publish=80", "expose=80", "expose=81/tcp",
    "expose=70-90", "expose=7", "isolation=default", "is-task=true", "is-task=false", "health=none", "health=healthy",
    "status=created", "status=running", "status=exited", "status=dead", "exited=0", "exited=3", "name=list-o",
    "name=^/list-one$", "name=^list-one$", "label=kind", "label=kind=one", "label=kind=none", "before=list-two",
    "since=list-one", f"ancestor={IMAGE}", "ancestor=none", "network=back", "volume=/list", "volume=list",
    "volume=none", "id=none",
)  # fmt: skip
_BAD = ("publish=a", "expose=a", "is-task=a", "status=a", "health=a", "exited=a", "before=none")
_NETWORKS = ("driver=bridge", "driver=null", "name=bac", "label=a", "label=a=b", "scope=local", "scope=swarm",
             "type=custom", "type=builtin", "dangling=true", "dangling=false")  # fmt: skip
_VOLUMES = ("dangling=true", "dangling=false", "driver=local", "driver=none", "name=lis", "label=a", "label=a=c")
_IMAGES = ("dangling=true", "dangling=false", "label=a", f"reference={IMAGE}", "reference=b*", "reference=none",
           f"before={IMAGE}", f"since={IMAGE}")  # fmt: skip


def converse(ask: Recorder) -> None:
    begin(ask)
    lists(ask)
    names(ask)
    refused(ask)
    absent(ask)
    end(ask)


def begin(ask: Recorder) -> None:
    ask("POST /networks/create list", "POST", "/networks/create", {"Name": "back", "Labels": {"a": "b"}})
    ask("POST /volumes/create list", "POST", "/volumes/create", {"Name": "list", "Labels": {"a": "b"}})
    ports = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}
    create(ask, "POST /containers/create list", "list-one", "sleep", "600", Labels={"kind": "one"},
           HostConfig={"NetworkMode": "back", "PortBindings": ports, "Init": True},
           ExposedPorts={"80/tcp": {}, "81/tcp": {}},
           NetworkingConfig={"EndpointsConfig": {"back": {"Links": ["list-two:ali"], "Aliases": ["al"]}}})  # fmt: skip
    create(ask, "POST /containers/create list", "list-two", "sh", "-c", "exit 3", Labels={"kind": "two"},
           HostConfig=_NO_NETWORK | {"Binds": ["list:/list"]})  # fmt: skip
    create(ask, "POST /containers/create list", "list-three", "true")
    waiting = ask.served.open("POST", "/containers/list-two/wait?condition=next-exit")
    for name in ("list-one", "list-two"):
        ask("POST /containers/{}/start list", "POST", f"/containers/{name}/start")
    with waiting:
        waiting.read()


def lists(ask: Recorder) -> None:
    for text in _CONTAINERS:
        _found(ask, "/containers/json", text, lambda one: one["Names"][0], more="&all=1")
    for text in _BAD:
        ask(f"GET /containers/json bad {text}", "GET", f"/containers/json?filters={_filters(text)}")
    for limit in (-1, 0, 1, 2):
        label = f"GET /containers/json limit={limit}"
        shown = ask.json(label, "GET", f"/containers/json?limit={limit}")
        ask.fact(label).clear()  # what they look like is compared elsewhere
        ask.fact(label)["found"] = {str([one["Names"][0] for one in shown])}
    for text in _NETWORKS:
        _found(ask, "/networks", text, lambda one: one["Name"])
    for text in _VOLUMES:
        _found(ask, "/volumes", text, lambda one: one["Name"], key="Volumes")
    for text in _IMAGES:
        _found(ask, "/images/json", text, lambda one: one["RepoTags"][0], besides="tiny:latest")  # the world's own


def _filters(text: str) -> str:
    key, _, value = text.partition("=")
    return quote(json.dumps({key: [value]}))


def _found(ask: Recorder, path: str, text: str, name: Any, *, key: str = "", more: str = "", besides: str = "") -> None:
    """Keep which ones are found, in any order."""
    label = f"GET {path} {text}"
    shown = ask.json(label, "GET", f"{path}?filters={_filters(text)}{more}")
    for_all = shown[key] if key else shown
    facts = ask.fact(label)
    facts.clear()
    facts["found"] = {str(sorted({name(one) for one in for_all or ()} - {besides}))}


def names(ask: Recorder) -> None:
    ask("GET /containers/{}/json net linked", "GET", "/containers/list-one/json")
    ask("POST /networks/{}/disconnect list", "POST", "/networks/back/disconnect", {"Container": "list-one"})
    ask("POST /networks/{}/connect links", "POST", "/networks/back/connect",
        {"Container": "list-one", "EndpointConfig": {"Links": ["list-two", "/list-two:/list-one/other"]}})  # fmt: skip
    made = ask.json("POST /volumes/create no name", "POST", "/volumes/create", {})["Name"]
    ask("GET /volumes/{} no name", "GET", f"/volumes/{made}")
    gone = ask.json("POST /volumes/prune one", "POST", "/volumes/prune")["VolumesDeleted"]
    ask.fact("POST /volumes/prune one")["found"] = {str(gone == [made])}


def refused(ask: Recorder) -> None:
    """What is asked for cannot be made, or is not here."""
    body = {"Image": IMAGE, "Cmd": ["true"]}
    ask("POST /containers/create other platform", "POST", "/containers/create?platform=linux/s390x", body,
        words="does not match the specified platform")  # fmt: skip
    for name, host in {
        "network": {"NetworkMode": "nothing"}, "volumes": {"VolumesFrom": ["nothing"]},
        "namespace": {"PidMode": "container:nothing"}, "runtime": {"Runtime": "nothing"},
    }.items():  # fmt: skip
        ask(f"POST /containers/create no {name}", "POST", "/containers/create?name=no", body | {"HostConfig": host})
        ask.served("DELETE", "/containers/no")
    ask("DELETE /containers/{} a link", "DELETE", "/containers/list-one/ali?link=1")


def absent(ask: Recorder) -> None:
    """What a daemon has that is no member of a swarm, and has no network."""
    for method, path in (
        ("GET", "/swarm"), ("GET", "/nodes"), ("GET", "/services"), ("GET", "/tasks"), ("GET", "/secrets"),
        ("GET", "/configs"), ("GET", "/images/search?term=x"), ("POST", "/plugins/x/enable?timeout=1"),
        ("GET", "/containers/list-one/checkpoints"),
    ):  # fmt: skip
        ask(f"{method} {path.partition('?')[0]} absent", method, path)


def end(ask: Recorder) -> None:
    for name in ("list-one", "list-two", "list-three"):
        ask("DELETE /containers/{} list", "DELETE", f"/containers/{name}?force=1")
    ask("DELETE /networks/{} list", "DELETE", "/networks/back")
    ask("DELETE /volumes/{} list", "DELETE", "/volumes/list")
