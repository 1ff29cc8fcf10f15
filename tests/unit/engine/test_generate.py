"""A unit for one container: by systemd or by Bento restarted, never by both."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bento.engine.facade import EngineFacade
from bento.errors import NotFound, UsageError
from bento.model.container import RestartPolicy
from bento.testing.drivers import FakeDrivers


def lines(drivers: FakeDrivers, **more: str) -> dict[str, str]:
    text = EngineFacade(drivers).generate_systemd("web", **more)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_its_stop_is_bentos_and_its_readiness_too(drivers: FakeDrivers) -> None:
    drivers.server("web")
    found = lines(drivers)
    assert (found["Type"], found["NotifyAccess"], found["Restart"]) == ("notify", "all", "on-failure")
    assert found["ExecStart"] == "/nonexistent start --sdnotify conmon web"
    assert found["ExecStop"] == found["ExecStopPost"] == "/nonexistent stop --ignore web"
    assert found["Description"] == "Container web (host)"
    assert lines(drivers, restart="always")["Restart"] == "always"


def test_what_the_container_says_of_its_readiness_stands(drivers: FakeDrivers) -> None:
    drivers.server("web", sdnotify="healthy")
    assert lines(drivers)["ExecStart"] == "/nonexistent start web"


def test_never_both(drivers: FakeDrivers) -> None:
    drivers.server("web", restart=RestartPolicy(name="always"))
    with pytest.raises(UsageError, match="never by both") as error:
        lines(drivers)
    assert "bento update --restart no web" in error.value.hint


def test_what_would_be_gone_has_no_unit(drivers: FakeDrivers) -> None:
    drivers.server("web", auto_remove=True)
    with pytest.raises(UsageError, match="made with --rm"):
        lines(drivers)
    with pytest.raises(NotFound):
        EngineFacade(drivers).generate_systemd("nothing")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_it(drivers: FakeDrivers, tmp_path: Path) -> None:
    drivers.server("web")
    text = EngineFacade(drivers).generate_systemd("web").replace("/nonexistent", "/bin/true")
    path = tmp_path / "web.service"
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert "web.service" not in done.stderr, done.stderr
