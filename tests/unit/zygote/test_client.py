"""What the program does before it is known which way is taken: it finds the socket without any module of Bento's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bento import config
from bento.cli import zygote as start
from bento.zygote import client


@pytest.fixture
def run_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One in which there is a socket, or what stands for it."""
    monkeypatch.setattr(client, "RUN_ROOT", str(tmp_path / "default"))
    monkeypatch.setattr(client, "CONFIG_FILE", str(tmp_path / "config.toml"))
    place = tmp_path / "r" / client.DIRECTORY / client.name()
    place.parent.mkdir(parents=True)
    place.touch()
    return str(tmp_path / "r")


def found(run_root: str, *argv: str, environ: dict[bytes, bytes] | None = None) -> bool:
    path = client.socket_path(list(argv), environ or {})
    assert path in ("", f"{run_root}/zygote/{client.name()}")
    return bool(path)


def test_the_run_root_is_the_last_one_that_is_said_before_the_verb(run_root):
    assert found(run_root, "--run-root", run_root, "ps")
    assert found(run_root, f"--run-root={run_root}", "ps")
    assert found(run_root, "--run-root", "/other", "--root", "/x", "--run-root", run_root, "ps")
    assert found(run_root, "--log-level=debug", "--run-root", run_root)
    assert not found(run_root, "ps", "--run-root", run_root)
    assert not found(run_root, "--root", "--run-root", run_root, "ps")
    assert not found(run_root, "--run-root")
    assert not found(run_root, "--run-root", "a\0b", "ps")


def test_else_that_of_the_environment_and_else_that_of_the_configuration(run_root):
    assert found(run_root, "ps", environ={b"BENTO_RUN_ROOT": run_root.encode()})
    assert not found(run_root, "ps")
    Path(client.CONFIG_FILE).write_text(f'# mine\nroot = "/x"\nrun_root = "{run_root}"\n')
    assert found(run_root, "ps")
    assert not found(run_root, "ps", environ={b"BENTO_RUN_ROOT": b"/other"})


def test_a_path_that_no_address_can_hold_is_none(run_root, tmp_path):
    deep = tmp_path / ("d" * 100)
    place = deep / client.DIRECTORY / client.name()
    place.parent.mkdir(parents=True)
    place.touch()
    assert not found(run_root, "--run-root", str(deep), "ps")


def test_what_is_written_twice_is_the_same():
    settings = config.Settings()
    assert Path(client.RUN_ROOT) == config.DEFAULT_RUN_ROOT
    assert Path(client.CONFIG_FILE) == config.CONFIG_FILE
    assert start.socket_path(settings) == f"{client.RUN_ROOT}/{client.DIRECTORY}/{client.name()}"


@pytest.mark.parametrize("module", ["client", "handover"])
def test_nothing_is_loaded_that_takes_time(module):
    program = f"""
import sys
sys.path.insert(0, {str(Path(client.__file__).parents[2])!r})
before = set(sys.modules)
import bento.zygote.{module}
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - {"bento", "bento.zygote", f"bento.zygote.{module}"} <= {"_socket", "__future__"}
