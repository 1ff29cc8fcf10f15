"""``--trace``: what the table names is there, what is written can be read, and nothing is loaded without the option."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from bento.trace import recorder
from bento.trace.points import POINTS


@pytest.mark.parametrize(("module", "pattern"), [(name, each) for name, points in POINTS.items() for each, _ in points])
def test_every_point_names_functions_that_are_there(module, pattern):
    assert recorder.named(import_module(module), pattern)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["--trace", "f", "ps"], "f"),
        (["--trace=f", "ps"], "f"),
        (["--root", "r", "--log-level=debug", "--trace", "f", "ps"], "f"),
        (["--root", "--trace", "ps"], None),
        (["run", "host", "tool", "--trace", "f"], None),
        (["--help", "--trace", "f"], "f"),
        (["--trace"], None),
        ([], None),
    ],
)
def test_the_option_stands_before_the_verb(words, path):
    assert recorder.path_in(words) == path


def trace_of(tmp_path, *words):
    path = tmp_path / "trace.json"
    done = subprocess.run(
        [sys.executable, "-m", "bento", "--trace", str(path), *words], capture_output=True, text=True, check=False
    )
    return done, json.loads(path.read_text()) if path.is_file() else None


def test_spans_are_inside_each_other_as_calls_are(tmp_path):
    done, events = trace_of(tmp_path, "--root", str(tmp_path / "l"), "--run-root", str(tmp_path / "r"), "ps", "--help")
    assert done.returncode == 0, done.stderr
    spans = {event["name"]: event for event in events if event["ph"] == "X"}
    outer, inner = spans["cli.main.run"], spans["cli.main.split"]
    assert outer["ts"] <= inner["ts"]
    assert inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
    assert (outer["pid"], outer["tid"]) == (inner["pid"], inner["tid"])
    assert spans["import bento.cli.main"]["cat"] == "import"
    assert {event["args"]["name"] for event in events if event["name"] == "process_name"} == {f"bento {outer['pid']}"}


def test_a_failure_is_traced_too(tmp_path):
    done, events = trace_of(tmp_path, "no-such-verb")
    assert done.returncode == 2
    assert events


@pytest.mark.parametrize("words", [["ps", "--help"], ["run", "--help"]])
def test_nothing_is_loaded_without_the_option(tmp_path, words):
    program = "import sys, os; from bento.__main__ import main; leave = os._exit\n"
    program += "def check(status): leave(9 if 'bento.trace' in sys.modules else status)\nos._exit = check\n"
    program += f"sys.argv = ['bento', *{words!r}]; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["/nowhere/trace.json", "/dev/null", "."])
def test_a_file_that_cannot_be_written_is_one_line(path):
    done = subprocess.run(
        [sys.executable, "-m", "bento", "--trace", path, "ps"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"bento: --trace {path}: ")
    assert done.stderr.count("\n") == 1


def test_several_processes_write_one_whole_file(tmp_path):
    path = tmp_path / "trace.json"
    own = recorder.Recorder(recorder._open(str(path)))
    own.add("before", "verb", 0)
    child = os.fork()
    if child == 0:
        own.forget()
        own.add("child", "verb", 0)
        own.flush()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    own.flush()
    own.flush()  # nothing more: nothing is written
    events = [event for event in json.loads(path.read_text()) if event["ph"] == "X"]
    assert {(event["name"], event["pid"]) for event in events} == {("before", os.getpid()), ("child", child)}


def test_a_server_that_is_traced_does_not_keep_all_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "_FLUSHED_AT", 3)
    path = tmp_path / "trace.json"
    own = recorder.Recorder(recorder._open(str(path)))
    for _ in range(7):
        own.add("step", "verb", 0)
    assert sum(event["ph"] == "X" for event in json.loads(path.read_text())) == 6
