"""A compose file, read as far as the start and the stop of its services ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from bento.errors import UsageError
from bento.model.image import Healthcheck
from bento.parse.compose import Service, parse_compose

ENVIRON = {"TAG": "1.2", "EMPTY": ""}


def read(environ: dict[str, str] | None = None, **services: Any) -> tuple[Service, ...]:
    return parse_compose({"services": services}, ENVIRON if environ is None else environ, directory="/app")


def one(**body: Any) -> Service:
    (found,) = read(web={"image": "web", **body})
    return found


def test_what_a_service_says_becomes_its_container():
    made = one(
        command="serve --port '80 80'", entrypoint=["/init", 1], environment={"A": True, "B": None, "C": 3},
        user=1000, working_dir="/srv", init=True, stop_signal="SIGQUIT", stop_grace_period="1m30s",
    ).create  # fmt: skip
    assert (made.command, made.entrypoint) == (("serve", "--port", "80 80"), ("/init", "1"))
    assert made.env == ("A=true", "B", "C=3")
    assert (made.user, made.workdir, made.init) == ("1000", "/srv", True)
    assert (made.stop.signal, made.stop.timeout_s) == (3, 90.0)
    bare = one(environment=["A=1"], command=["a b"]).create
    assert (bare.env, bare.command, bare.entrypoint, bare.user, bare.workdir, bare.stop.timeout_s) == (
        ("A=1",), ("a b",), None, None, None, None,
    )  # fmt: skip


def test_volumes_in_both_forms():
    made = one(volumes=[
        "data:/data:ro", "./conf:/conf", {"type": "volume", "source": "data", "target": "/d"},
        {"type": "bind", "source": "./x", "target": "/x", "read_only": True}, {"type": "tmpfs", "target": "/t"},
        {"type": "volume", "target": "/anonymous"},
    ]).create.files.mounts  # fmt: skip
    assert [(mount.kind, mount.source, mount.destination, mount.read_only) for mount in made] == [
        ("volume", "data", "/data", True), ("bind", "/app/conf", "/conf", False), ("volume", "data", "/d", False),
        ("bind", "/app/x", "/x", True), ("tmpfs", "", "/t", False), ("volume", "", "/anonymous", False),
    ]  # fmt: skip


def test_ports_are_those_of_the_container_alone():
    ports = one(ports=["8080:80", 443, {"target": 53, "published": "53", "protocol": "udp"}]).create.ports.published
    assert [(port.inside, port.host_port, port.host_ip) for port in ports] == [
        ("80/tcp", 0, "127.0.0.1"), ("443/tcp", 0, "127.0.0.1"), ("53/udp", 0, "127.0.0.1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "check"),
    [
        ({"test": "true", "retries": 2}, Healthcheck(test=("CMD-SHELL", "true"), retries=2)),
        ({"test": ["CMD", "t"], "start_period": "1m"}, Healthcheck(test=("CMD", "t"), start_period_ns=60 * 10**9)),
        ({"disable": True}, Healthcheck(test=("NONE",))),
        ({"timeout": "2s"}, Healthcheck(timeout_ns=2 * 10**9)),
        (None, None),
    ],
)  # fmt: skip
def test_health_checks(said, check):
    assert one(healthcheck=said).create.health.check == check


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$TAG", "1.2"), ("${TAG}", "1.2"), ("$$TAG", "$TAG"), ("a${MISSING}b", "ab"), ("${MISSING:-x}", "x"),
        ("${MISSING-x}", "x"), ("${EMPTY:-x}", "x"), ("${EMPTY-x}", ""), ("${TAG:-x}", "1.2"), ("${TAG:+x}", "x"),
        ("${MISSING+x}", ""), ("${TAG:?no}", "1.2"), ("100%", "100%"),
    ],
)  # fmt: skip
def test_variables_are_put_in_their_places(text, value):
    assert one(command=["run", text]).create.command == ("run", value)


def test_each_service_comes_after_what_it_depends_on():
    found = read(
        web={"image": "w", "depends_on": {"db": {"condition": "service_healthy"}, "cache": {}}},
        cache={"image": "c", "depends_on": ["db"]},
        db={"image": "d"},
    )
    assert [service.name for service in found] == ["db", "cache", "web"]
    assert found[-1].depends_on == ("db", "cache")


def test_what_has_no_part_in_it_is_named():
    said = {"networks": ["x"], "deploy": {}, "container_name": "y", "restart": "always", "x-more": 1, "tmpfs": "/t"}
    assert one(**said).left_out == ("deploy", "tmpfs")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "no services"),
        ({"services": []}, "no services"),
        ({"services": {"web": None}}, "service web of the compose file says nothing"),
        ({"services": {"web": {"build": "."}}}, "service web of the compose file has no image"),
        ({"services": {"web": {"image": "w", "depends_on": ["db"]}}}, "web of the compose file depends on db"),
        ({"services": {name: {"image": "i", "depends_on": [of]} for name, of in ("ab", "ba")}}, "a -> b -> a"),
        ({"services": {"web": {"image": "w", "command": "'"}}}, "service web of the compose file: bad command"),
        ({"services": {"web": {"image": "w", "volumes": "x"}}}, "volumes is not a list"),
        ({"services": {"web": {"image": "w", "depends_on": "db"}}}, "depends_on is not a list"),
        ({"services": {"web": {"image": "w", "depends_on": 5}}}, "depends_on is not a list"),
        ({"services": {"web": {"image": "w", "healthcheck": "true"}}}, "healthcheck has no keys"),
        ({"services": {"web": {"image": "w", "volumes": [{"type": "npipe"}]}}}, "bad volume"),
        ({"services": {"web": {"image": "w", "ports": ["x"]}}}, "web of the compose file: "),
        ({"services": {"web": {"image": "w", "stop_signal": "NO"}}}, "web of the compose file: "),
        ({"services": {"web": {"image": "${NO:?set it}"}}}, "variable NO of the compose file is not set: set it"),
        ({"services": {"web": {"image": "${NO?}"}}}, "variable NO of the compose file is not set: it is needed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(document, words):
    with pytest.raises(UsageError, match=r"^[^\n]+$") as caught:
        parse_compose(document, {}, directory="/")
    assert words in caught.value.message
