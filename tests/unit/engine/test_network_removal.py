"""The end of a network: what is interrupted, or fails, is done by the next try."""

from __future__ import annotations

import pytest

from bento.engine.resources import networks
from bento.errors import RuntimeFailed
from bento.model.network import Network, NetworkOptions
from bento.testing.drivers import FakeDrivers


def test_one_whose_end_failed_stays_and_is_removed_by_the_next_try(
    drivers: FakeDrivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = networks.create(drivers, NetworkOptions(name="web"))

    def fail(_network: Network) -> None:
        raise RuntimeFailed("the program nft is missing")

    with monkeypatch.context() as patched:
        patched.setattr(drivers.network, "lower_network", fail)
        with pytest.raises(RuntimeFailed):
            networks.remove(drivers, "web")
    assert list(drivers.store.list_networks()) == [web]
    assert networks.remove(drivers, "web") == web
    assert not drivers.network.raised
    assert not drivers.store.list_networks()
