"""Logins at registries, and what is refused before anything is asked."""

from __future__ import annotations

import pytest

from bento.engine.facade import EngineFacade
from bento.errors import NotFound, NotPermitted, UsageError
from bento.model.transfer import Credentials
from bento.testing.drivers import FakeDrivers
from bento.testing.transport import FakeTransport

ANN = Credentials("ann", "secret")


@pytest.fixture
def engine(drivers: FakeDrivers) -> EngineFacade:
    return EngineFacade(drivers)


@pytest.fixture
def transport(drivers: FakeDrivers) -> FakeTransport:
    found = drivers.transport
    assert isinstance(found, FakeTransport)
    return found


def test_login_is_kept_checked_and_forgotten(engine: EngineFacade, transport: FakeTransport) -> None:
    with pytest.raises(NotFound):
        engine.login("quay.io")
    assert engine.login("quay.io", ANN) == "ann"
    assert engine.login("https://quay.io") == "ann"
    engine.login(credentials=ANN)
    assert set(transport.logins) == {"quay.io", "docker.io"}
    assert engine.logout("quay.io")
    assert not engine.logout("quay.io")
    assert engine.logout(all=True)
    assert transport.logins == {}


@pytest.mark.parametrize("credentials", [Credentials("", "x"), Credentials("ann", "")])
def test_login_needs_both(engine: EngineFacade, credentials: Credentials) -> None:
    with pytest.raises(UsageError):
        engine.login("quay.io", credentials)


def test_wrong_password_is_not_kept(engine: EngineFacade, transport: FakeTransport) -> None:
    with pytest.raises(NotPermitted):
        engine.login("quay.io", Credentials("ann", "wrong"))
    assert transport.logins == {}
