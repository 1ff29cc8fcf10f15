"""What a request for a build says."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from urllib.parse import urlencode

import pytest

from bento.api_docker.bodies.builds import read_build
from bento.api_docker.http.query import Query
from bento.errors import UsageError


def header(document: object) -> str:
    return urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def test_what_docker_sends_is_taken():
    words = {
        "buildargs": '{"A":"1","B":null}', "cachefrom": "[]", "cgroupparent": "", "cpuperiod": "0", "cpuquota": "0",
        "cpusetcpus": "", "cpusetmems": "", "cpushares": "0", "dockerfile": "sub/Dockerfile", "labels": '{"a":"b"}',
        "memory": "0", "memswap": "0", "networkmode": "default", "rm": "1", "shmsize": "0", "target": "", "ulimits":
        "null", "version": "1", "nocache": "1", "pull": "1", "q": "1",
    }  # fmt: skip
    text = urlencode([*words.items(), ("t", "web:1"), ("t", "web:2")])
    asked = read_build(Query(text), header({"https://index.docker.io/v1/": {"username": "ann", "password": "secret"}}))
    options = asked.options
    assert (options.containerfile, options.tags) == ("sub/Dockerfile", ("web:1", "web:2"))
    assert options.build_args == (("A", "1"),)
    assert (options.labels, options.network, options.uses_cache, options.pull) == ((("a", "b"),), "host", False, True)
    assert (asked.quiet, asked.auths) == (True, {"docker.io": ("ann", "secret")})
    assert read_build(Query(""), "").auths == read_build(Query(""), header({})).auths == {}


@pytest.mark.parametrize(
    "text",
    [
        "version=2",
        "remote=https://example.invalid/x.git",
        "memory=1000000",
        "extrahosts=a:1.2.3.4",
        "networkmode=container:x",
        "dockerfile=../Dockerfile",
        "dockerfile=/etc/passwd",
        "dockerfile=-",
        "dockerfile=a%00b",
        "buildargs=[1]",
        "labels=x",
    ],
)
def test_what_bento_has_no_equivalent_of_is_refused(text):
    with pytest.raises(UsageError):
        read_build(Query(text), "")


@pytest.mark.parametrize(
    "given", ["bm8", header([1]), header({"h": {"username": 3}}), header({"h": {"identitytoken": "x"}})]
)
def test_credentials_that_make_no_sense_are_refused(given):
    with pytest.raises(UsageError):
        read_build(Query(""), given)
