"""The bodies of requests about networks."""

from __future__ import annotations

import msgspec
import pytest

from bento.api_docker.bodies.resources import NetworkCreate, read_network
from bento.errors import UsageError
from bento.model.network import NetworkOptions, Subnet


def read(**fields: object) -> NetworkOptions:
    return read_network(msgspec.convert({"Name": "n"} | fields, NetworkCreate))


def test_what_clients_send_with_every_network_is_taken():
    of_cli = {
        "CheckDuplicate": True, "Driver": "bridge", "Scope": "", "EnableIPv6": False, "Internal": False,
        "IPAM": {"Driver": "default", "Options": {}, "Config": []}, "Attachable": False, "Ingress": False,
        "ConfigOnly": False, "ConfigFrom": None, "Options": {}, "Labels": {},
    }  # fmt: skip
    assert read(**of_cli) == NetworkOptions(name="n")
    assert read(IPAM=None, Options=None, Labels=None, Driver=None) == NetworkOptions(name="n")


def test_addresses_of_both_families_belong_together():
    pools = [{"Subnet": "10.9.0.0/24", "IPRange": "10.9.0.0/28", "Gateway": "10.9.0.5"}, {"Subnet": "fd00::/64"}]
    asked = read(IPAM={"Config": pools}, EnableIPv6=True, Labels={"a": "b"}, Internal=True)
    assert asked.subnets == (
        Subnet(subnet="10.9.0.0/24", gateway="10.9.0.5", ip_range="10.9.0.0/28"),
        Subnet(subnet="fd00::/64", gateway=""),
    )
    assert (asked.ipv6, asked.internal, asked.labels) == (True, True, {"a": "b"})


def test_options_that_say_what_is_so_anyway_are_left_out():
    words = {"com.docker.network.bridge.enable_icc": "true", "com.docker.network.bridge.name": "br7"}
    assert read(Options=words).options == {"com.docker.network.bridge.name": "br7"}
    assert read(Options={"com.docker.network.bridge.enable_icc": "false"}).options  # and the engine refuses it


@pytest.mark.parametrize(
    "fields",
    [
        {"Name": ""},
        {"Driver": "overlay"},
        {"Scope": "swarm"},
        {"Ingress": True},
        {"ConfigFrom": {"Network": "x"}},
        {"IPAM": {"Driver": "mine"}},
        {"IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "AuxiliaryAddresses": {"a": "10.9.0.9"}}]}},
    ],
)
def test_what_bento_has_no_equivalent_of_is_refused(fields):
    with pytest.raises(UsageError):
        read(**fields)
