"""Bodies of requests come from strangers: whatever they hold, they are read, or refused by a UsageError."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.api_docker.bodies.builds import read_build
from bento.api_docker.bodies.commit import CommitConfig, read_changes
from bento.api_docker.bodies.containers import Create, Endpoint, Host, Update
from bento.api_docker.bodies.create import read_create
from bento.api_docker.bodies.execs import ExecCreate, read_exec, read_keys, read_size
from bento.api_docker.bodies.limits import read_resources
from bento.api_docker.bodies.networks import read_endpoint
from bento.api_docker.bodies.registry import Auth, read_credentials, read_header
from bento.api_docker.bodies.resources import NetworkCreate, VolumeCreate, check_volume, read_network
from bento.api_docker.http.query import Query
from bento.api_docker.http.replies import Reply
from bento.api_docker.http.router import Router
from bento.api_docker.routes import LEFT_OUT, ROUTES
from bento.errors import UsageError
from bento.model.image import ImageConfig
from bento.oci.change import apply_changes

WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "/a", "a:b", "/a:/b:ro", "80/tcp", "0", "-1", "host", "none", "container:", "default", "::1"]),
)
TRANSLATED = {
    str: WORDS,
    int: st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)),
    bool: st.booleans(),
}


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a record's fields, as JSON may have them."""
    return st.builds(
        kind, **{each.name: st.one_of(st.none(), _field(each.type)) for each in msgspec.structs.fields(kind)}
    )


def _field(kind: Any) -> st.SearchStrategy[Any]:
    if kind in TRANSLATED:
        return TRANSLATED[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.deferred(lambda: of(kind))
    arguments: list[Any] = list(getattr(kind, "__args__", ()))
    origin = getattr(kind, "__origin__", None)
    if origin is list:
        return st.lists(_field(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(WORDS, _field(arguments[1]), max_size=2)
    return st.one_of(*map(_field, arguments)) if arguments else st.none()


def is_read_or_refused(read: Any, *arguments: Any, **options: Any) -> None:
    with suppress(UsageError):
        read(*arguments, **options)


@given(of(Create), of(Host), WORDS)
def test_a_create_is_read_or_refused(body, host, name):
    body.Image, body.HostConfig = "i", host
    is_read_or_refused(read_create, body, name=name)


@given(of(Update), of(Endpoint), WORDS)
def test_limits_and_endpoints_are_read_or_refused(body, endpoint, name):
    is_read_or_refused(read_resources, body)
    is_read_or_refused(read_endpoint, name, endpoint)


@given(of(NetworkCreate), of(VolumeCreate), of(Auth), st.text(max_size=40))
def test_networks_volumes_and_credentials_are_read_or_refused(network, volume, auth, header):
    is_read_or_refused(read_network, network)
    is_read_or_refused(check_volume, volume)
    is_read_or_refused(read_credentials, auth)
    is_read_or_refused(read_header, header)


@given(of(ExecCreate), of(CommitConfig))
def test_execs_and_commits_are_read_or_refused(asked, config):
    is_read_or_refused(read_exec, asked, "")
    is_read_or_refused(read_keys, asked.DetachKeys)
    is_read_or_refused(read_size, asked.ConsoleSize)
    is_read_or_refused(lambda: apply_changes(ImageConfig(), read_changes(config)))


@given(st.text(max_size=60))
def test_parameters_and_paths_are_read_or_refused(text):
    def read() -> None:
        query = Query(text)
        for name in ("t", "all", "filters"):
            query.flag(name), query.number(name), query.texts(name)
        query.filters()

    is_read_or_refused(read)
    is_read_or_refused(lambda: Query(f"filters={text}").filters())
    is_read_or_refused(lambda: read_build(Query(f"buildargs={text}&dockerfile={text}&labels={text}"), text))
    found = Router(ROUTES, LEFT_OUT).find("GET", text)
    assert not isinstance(found, Reply) or found.status in (404, 405, 501, 503)


@pytest.mark.parametrize("data", [b"[]", b"null", b'{"HostConfig": 3}', b"{", b'{"Env": [3]}', b"\xff"])
def test_what_is_no_document_is_refused(data):
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(data, type=Create)
