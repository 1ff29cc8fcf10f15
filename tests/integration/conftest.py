"""What every integration test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bento import Engine, Settings

from support import leaks
from support.cli import BentoCli, Roots
from support.netns import NetCli, Netns
from support.workload import Share
from support.zygote import Zygote


@pytest.fixture
def share(leak_check: leaks.LeakWatch) -> Share:
    """A directory that the container sees as /s."""
    return Share(leak_check.base / "s")


@pytest.fixture
def engine(bento: BentoCli) -> Iterator[Engine]:
    """An engine in this process, on the roots of the command line."""
    with Engine(Settings(root=bento.roots.root, run_root=bento.roots.run_root, runtime=bento.runtime)) as opened:
        yield opened


@pytest.fixture
def host() -> Iterator[Netns]:
    """A network namespace for an engine to have as its host's."""
    made = Netns()
    yield made
    made.close()


@pytest.fixture
def net_bento(roots: Roots, runtime: str, host: Netns) -> Iterator[NetCli]:
    """The command line in ``host``. When everything is removed, the namespace is as it was before."""
    before = host.state()
    cli = NetCli(roots, runtime, host)
    yield cli
    removed = cli.remove_all()
    assert removed is None or removed.returncode == 0, str(removed)
    assert host.state() == before


@pytest.fixture
def zygote(bento: BentoCli, tmp_path: Path) -> Iterator[Zygote]:
    """One of the roots of the command line, which has to end by itself."""
    made = Zygote(bento, tmp_path)
    yield made
    if made.process.returncode is None:
        made.end()
    made.wait_until_gone()
