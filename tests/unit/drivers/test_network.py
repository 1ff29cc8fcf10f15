from __future__ import annotations

import pytest

from bento.drivers.network.simple import SimpleNetwork
from bento.errors import UsageError


def test_none_is_a_namespace_of_its_own_and_host_is_not() -> None:
    assert SimpleNetwork().namespaces("none") == [{"type": "network"}]
    assert SimpleNetwork().namespaces("host") == []


@pytest.mark.parametrize("network", ["", "bridge", "None"])
def test_other_networks_are_refused(network: str) -> None:
    with pytest.raises(UsageError, match="none or host"):
        SimpleNetwork().namespaces(network)
