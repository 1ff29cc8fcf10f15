"""``--publish``: Docker's ways of saying it, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.engine.resources.networking import with_exposed
from bento.errors import UsageError
from bento.model.network import Port
from bento.parse.ports import is_ipv4, parse_expose, parse_publish


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("18999:80", [Port(container_port=80, host_port=18999)]),
        ("80", [Port(container_port=80)]),
        ("0:80", [Port(container_port=80)]),
        ("127.0.0.1:0:80", [Port(container_port=80, host_ip="127.0.0.1")]),
        ("0:90-91", [Port(container_port=90), Port(container_port=91)]),
        ("localhost:81:80", [Port(container_port=80, host_port=81, host_ip="127.0.0.1")]),
        (":80", [Port(container_port=80)]),
        ("127.0.0.1::80", [Port(container_port=80, host_ip="127.0.0.1")]),
        ("127.0.0.1:81:80/udp", [Port(container_port=80, host_port=81, host_ip="127.0.0.1", protocol="udp")]),
        ("81-82:90-91", [Port(container_port=90, host_port=81), Port(container_port=91, host_port=82)]),
        ("90-91", [Port(container_port=90), Port(container_port=91)]),
        ("132:80/sctp", [Port(container_port=80, host_port=132, protocol="sctp")]),
        ("[::]:81:80", [Port(container_port=80, host_port=81, host_ip="::")]),
        ("[FD00:0::1]::80/udp", [Port(container_port=80, host_ip="fd00::1", protocol="udp")]),
        ("[::1]:81:80", [Port(container_port=80, host_port=81, host_ip="::1")]),
    ],
)
def test_what_is_published(text: str, ports: list[Port]) -> None:
    assert parse_publish(text) == ports


@pytest.mark.parametrize(
    "text",
    ["", ":", "a", "0-1:80", "80:0", "65536", "80/", "80/dccp", "80/TCP", "1:2:3:4", "[::1]:80", "[]:80:80",
     "[::g]:1:2", "[1.2.3.4]:80:80", "[::1]80:80",
     "[::1:80:80", "::1:80:80", "[::1]:1:2:3", "[fe80::1%eth0]:80:80",
     "5-4", "-4", "4-",
     "8000-8002:80-81", "80 ", "+80", "\u0663", "9" * 5000],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="bad port"):
        parse_publish(text)


@pytest.mark.parametrize(
    ("text", "exposed"), [("80", ["80/tcp"]), ("53/udp", ["53/udp"]), ("80-82", ["80/tcp", "81/tcp", "82/tcp"])]
)
def test_what_is_exposed(text: str, exposed: list[str]) -> None:
    assert parse_expose(text) == exposed


def test_exposed_ports_are_published_on_free_ones_unless_they_are_already() -> None:
    given = (Port(container_port=80, host_port=8080),)

    ports = with_exposed(given, ("80/tcp", "53/udp", "90", "90/tcp"))

    assert ports == (*given, Port(container_port=53, protocol="udp"), Port(container_port=90))
    with pytest.raises(UsageError, match="exposed port 'http'"):
        with_exposed((), ("http",))


@given(st.text(alphabet="0189:-/udtcp.[] ", max_size=24))
def test_garbage_is_ports_or_a_usage_error(text: str) -> None:
    try:
        ports = parse_publish(text)
    except UsageError:
        return
    assert ports
    assert all(1 <= port.container_port <= 65535 and 0 <= port.host_port <= 65535 for port in ports)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("127.1", False), ("::1", False), ("a", False), ("1.2.3.4\0", False)],
)
def test_an_ipv4_address_has_four_numbers(text: str, expected: bool) -> None:
    assert is_ipv4(text) is expected
