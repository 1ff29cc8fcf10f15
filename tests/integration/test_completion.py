"""Completion of command lines: what Bento offers, and bash, zsh and fish asking for it as they do in earnest."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from support.cli import BentoCli, Roots
from support.images import make_image
from support.terminal import Terminal
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME


@pytest.fixture
def offered(bento: BentoCli, roots: Roots):
    """What may stand at the end of a line, in a root with a container, an image and a volume."""
    bento("create", "--name", "web", "host", "true")
    bento("create", "--name", "db", "host", "true")
    make_image(roots, "app:1", layers=[{"x": b"x"}])
    bento("volume", "create", "site")

    def offer(line: str) -> list[str]:
        words = shlex.split(line) + ([""] if line.endswith(" ") else [])
        return [each.partition("\t")[0] for each in bento("complete", *words).stdout.splitlines()]

    return offer


def test_verbs_options_and_names_are_offered(bento: BentoCli, offered) -> None:
    assert offered("bento sto") == ["stop"]
    assert {"run", "image", "system"} <= set(offered("bento "))
    assert offered("bento --roo") == ["--root"]
    assert offered("bento --root ") == []
    assert "--root" not in offered("bento --root /x ")
    assert offered("bento volume l") == ["ls", "list"]
    assert set(offered("bento run --net")) == {"--network", "--net", "--network-alias", "--net-alias"}
    assert offered("bento run --network=h") == ["--network=host"]
    assert offered("bento run --network n") == ["none"]
    assert offered("bento logs ") == ["db", "web"]
    assert offered("bento logs -f --tail 5 w") == ["web"]
    assert offered("bento stop web ") == ["db", "web"]
    assert offered("bento stop --scope=") == ["--scope=auto", "--scope=main"]
    assert offered("bento container stop d") == ["db"]
    assert offered("bento run ") == offered("bento check ") == ["host", "app:1"]
    assert offered("bento check --container w") == ["web"]
    assert offered("bento rmi app:") == ["app:1"]
    assert offered("bento inspect ") == ["db", "web", "app:1"]
    assert offered("bento cp w") == ["web:"]
    assert offered("bento volume rm s") == ["site"]
    assert offered("bento volume exists s") == ["site"]
    assert offered("bento create --requires d") == ["db"]
    assert offered("bento --root /nonexistent-root --run-root=/nonexistent-run logs ") == []
    roots = f"--root={bento.roots.root} --run-root {bento.roots.run_root}"
    done = bento("complete", *f"bento {roots} logs".split(), "", env={"BENTO_ROOT": "", "BENTO_RUN_ROOT": ""})
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["db", "web"]


def test_what_is_new_or_not_bentos_is_left_to_the_shell(offered) -> None:
    assert offered("bento rename web ") == []
    assert offered("bento volume create ") == []
    assert offered("bento exec web l") == []
    assert offered("bento run host --r") == []
    assert offered("bento nonsense ") == []
    assert offered("bento image nonsense ") == []


def program(bento: BentoCli, tmp_path: Path) -> dict[str, str]:
    """An environment in which the program is called bento, with the roots of this test."""
    script = tmp_path / "bin" / "bento"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, bento.prefix))} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return os.environ | {"PATH": f"{script.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}


def test_bash_completes(bento: BentoCli, offered, tmp_path: Path) -> None:
    environ = program(bento, tmp_path)

    def completed(line: str) -> list[str]:
        script = f"""
            source <(bento completion bash)
            COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}
            _bento 2>/dev/null
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert completed("bento sto") == ["stop"]
    assert completed("bento logs ") == ["db", "web"]
    assert completed("bento run --network=no") == ["none"], "bash completes what is behind the ="
    assert completed("bento rmi app:") == ["1"]


def test_fish_completes(bento: BentoCli, offered, tmp_path: Path) -> None:
    environ = program(bento, tmp_path)

    def completed(line: str) -> list[str]:
        script = f"bento completion fish | source; complete -C {shlex.quote(line)}"
        done = subprocess.run(["fish", "-N", "-c", script], env=environ, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert completed("bento sto") == ["stop\tstop containers gracefully and say what happened"]
    assert completed("bento logs ") == ["db\tcontainer", "web\tcontainer"]


def test_zsh_completes(bento: BentoCli, offered, tmp_path: Path) -> None:
    terminal = Terminal()

    def enter(text: str, until: str) -> None:
        terminal.text = ""
        os.write(terminal.master, text.encode())
        terminal.read_until(until)

    with subprocess.Popen(
        ["zsh", "-f", "-i"], env=program(bento, tmp_path), stdin=terminal.slave, stdout=terminal.slave,
        stderr=terminal.slave, start_new_session=True,
    ) as shell:  # fmt: skip
        try:
            enter("autoload -Uz compinit; compinit -u -D; source <(bento completion zsh); echo rea''dy\n", "ready")
            enter("bento rename d\t", "rename db ")
            enter("other; echo ren''amed\n", "renamed")
            enter("bento rmi app\t", "app:1")
        finally:
            shell.kill()
    terminal.close()
    assert bento.inspect("other")["Name"] == "other"
