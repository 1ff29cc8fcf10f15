"""``bento report``: rule S23 for people, and for programs."""

from __future__ import annotations

import json
from pathlib import Path

from support.cli import BentoCli
from support.workload import MARKER, ONE_RUNTIME, POLITE, PYTHON, Share, run_script


def test_s23_the_last_stop_is_drawn(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER)
    bento("stop", "--pre-stop-sleep", "0.2", "--post-stop-host", "exit 3", "w")
    lines = bento("report", "w", env={"PYTHONIOENCODING": "utf-8"}).stdout.splitlines()
    text = "\n".join(lines)
    assert lines[0].startswith("w: graceful, exit code 0, in ")
    for part in (
        "why",
        "by user: SIGTERM",
        "phases",
        "hooks",
        "signal",
        "processes",
        "python3",
        "signalled at",
        "exit status 3",
    ):
        assert part in text
    drawn = [line for line in lines if "█" in line]
    assert len(drawn) >= 5
    assert len({len(line.split("█")[0]) >= 18 for line in drawn}) == 1  # on one axis
    hooks = next(line for line in drawn if line.strip().startswith("hooks"))
    assert hooks.count("█") > 3


@ONE_RUNTIME
def test_s13_what_was_held_is_drawn(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "/bin/sh", "-c", f"{PYTHON} -c '{POLITE}'; true")
    bento.wait_for_log("w", "ready")
    bento("stop", "w")
    lines = bento("report", "w", env={"PYTHONIOENCODING": "utf-8"}).stdout.splitlines()
    drawn = next(line for line in lines if " sh " in line and "▒" in line)
    assert "killed by Bento; not signalled, held from " in drawn
    held = lines[lines.index("held") + 1 :]
    assert held[0].endswith(" sh: it only waits for what is signalled")


@ONE_RUNTIME
def test_s13a_the_exit_hold_is_drawn(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "/bin/sh", "-c", f"trap 'exit 0' TERM; {PYTHON} -c '{POLITE}' & wait")
    bento.wait_for_log("w", "ready")
    bento("stop", "w")
    text = bento("report", "w", env={"PYTHONIOENCODING": "ascii"}).stdout
    lines = text.splitlines()
    assert any(line.strip().startswith("exit hold") for line in lines)
    drawn = next(line for line in lines if " sh " in line and "=" in line)
    assert ", held at its exit from " in drawn
    assert "held" not in lines


@ONE_RUNTIME
def test_s23_json_is_what_inspect_keeps(bento: BentoCli, share: Share) -> None:
    run_script(bento, share, MARKER)
    bento("stop", "w")
    report = json.loads(bento("report", "--format", "json", "w").stdout)
    assert report == bento.inspect("w")["Stop"]


@ONE_RUNTIME
def test_s23_a_page_has_the_tree_and_what_each_process_waited_for(bento: BentoCli, tmp_path: Path) -> None:
    bento.run("--name", "w", "host", "/bin/sh", "-c", f"{PYTHON} -c '{POLITE}'; true")
    bento.wait_for_log("w", "ready")
    bento("stop", "w")
    report = bento.inspect("w")["Stop"]
    shell, program = report["processes"]
    assert program["ppid"] == shell["pid"]
    assert shell["waited"] == "waits for a child"
    page = tmp_path / "page.html"
    bento("report", "--html", str(page), "w")
    text = page.read_text(encoding="utf-8")
    assert "waits for a child" in text
    assert text == bento("report", "--html", "-", "w").stdout
    assert "is no file" in bento.fails("report", "--html", str(tmp_path), "w", code=2)
    assert "exclude each other" in bento.fails("report", "--html", "-", "--format", "json", "w", code=2)
    bento("create", "--name", "never", "host", "true")
    assert "never stopped" in bento.fails("report", "--html", str(tmp_path / "other"), "never")
    assert list(tmp_path.iterdir()) == [page]


@ONE_RUNTIME
def test_s23_without_a_stop_there_is_none(bento: BentoCli) -> None:
    bento("create", "--name", "w", "host", "true")
    assert "never stopped" in bento.fails("report", "w")
    bento.fails("report", "nobody")
    bento.fails("report", code=2)


@ONE_RUNTIME
def test_s23_names_of_the_containers_making_do_nothing_to_the_terminal(bento: BentoCli, share: Share) -> None:
    run_script(
        bento,
        share,
        MARKER.replace('open("/s/ready"', "open('/proc/self/comm', 'w').write('a\\x1b[2J'); open(\"/s/ready\""),
    )
    bento("stop", "w")
    assert "\x1b" not in bento("report", "w").stdout
