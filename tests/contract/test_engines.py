"""EngineDriver: one suite for Podman, Docker, containerd, and the fake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bento.drivers.engines.base import EngineDriver, ForeignContainer
from bento.drivers.engines.containerd import ContainerdEngine
from bento.drivers.engines.docker import DockerEngine
from bento.drivers.engines.podman import PodmanEngine
from bento.errors import NotFound, UsageError
from bento.kernel.process import pidfd
from bento.testing.engines import FakeEngine
from bento.testing.processes import FakeProcesses

from support import leaks, procs
from support.engines import WORLDS

DRIVERS: dict[str, type[DockerEngine | ContainerdEngine]] = {
    "podman": PodmanEngine,
    "docker": DockerEngine,
    "containerd": ContainerdEngine,
}
SCRIPT = "trap 'exit 3' TERM; : > /w/ready; while :; do sleep 1000 & wait $!; done"


@pytest.fixture(params=["fake", *DRIVERS])
def driver(
    request: pytest.FixtureRequest, leak_check: leaks.LeakWatch, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EngineDriver]:
    """One with a container ``web`` that runs, and ends with 3 when it is signalled."""
    if request.param == "fake":
        processes, engine = FakeProcesses(), FakeEngine()
        engine.add(ForeignContainer(id="f" * 64, name="web", status="running"), processes.add("web", exits=3 << 8))
        yield engine
        processes.close()
        return
    with WORLDS[request.param](leak_check.base / "engine") as world:
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        world.run("web", SCRIPT).wait_until_ready()
        yield DRIVERS[request.param]()


def test_what_an_engine_says_and_does(driver: EngineDriver) -> None:
    """One test: an engine takes seconds to start."""
    web = driver.find("web")
    assert (web.name, web.signal, web.grace_s, web.restarts, web.is_paused) == ("web", 15, 10.0, "", False)
    assert web.pid > 1
    assert web.exit_code is None
    assert driver.find(web.id).id == web.id
    with pytest.raises(NotFound, match="knows no container nobody"):
        driver.find("nobody")
    if not isinstance(driver, FakeEngine):
        for bad in ("", "--help", "a\nb"):
            with pytest.raises(UsageError):
                driver.find(bad)
    looked = driver.begin_look(web)
    assert pidfd.wait(looked.fileno(), 20.0)
    seen = driver.end_look(web, looked)
    assert seen is not None
    assert seen.pid == web.pid

    asked = driver.begin_stop(web, 5.5, None)
    assert pidfd.wait(asked.fileno(), 20.0)
    assert driver.end_stop(asked) == ""
    procs.wait_until(lambda: driver.find("web").pid == 0, what="it has stopped")
    looked = driver.begin_look(web)
    assert pidfd.wait(looked.fileno(), 20.0)
    after = driver.end_look(web, looked)
    assert after is not None
    assert after.pid == 0
    assert after.exit_code in (3, None)


def test_a_stop_of_what_has_gone_is_no_failure(leak_check: leaks.LeakWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    with WORLDS["podman"](leak_check.base / "engine") as world:
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        world.run("web", SCRIPT, "--rm").wait_until_ready()
        driver = PodmanEngine()
        web = driver.find("web")
        world.remove("web")
        asked = driver.begin_stop(web, 1.0, None)
        assert pidfd.wait(asked.fileno(), 20.0)
        assert driver.end_stop(asked) == ""
        looked = driver.begin_look(web)
        assert pidfd.wait(looked.fileno(), 20.0)
        assert driver.end_look(web, looked) is None
