"""What ``doctor`` finds of the proxies of [::1]: none where one is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento import log
from bento.engine.base.place import elsewhere
from bento.engine.resources import proxies
from bento.errors import BentoError, NotFound

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container


def look(drivers: Drivers) -> list[Container]:
    """Return the containers that need a proxy and have none, or one that was told another address."""
    return [
        one
        for one in drivers.store.list(on_unreadable=lambda _: None)
        if elsewhere(drivers, one) is None and proxies.misses_proxy(drivers, one)
    ]


def mend(drivers: Drivers, container_id: str) -> bool:
    """Start the proxy of a container; return whether that was done."""
    try:
        proxies.publish(drivers, drivers.store.get(container_id))
    except NotFound:
        return True
    except (BentoError, OSError) as error:
        log.warning(str(error))
        return False
    return True
