"""Rule S29: shells at their prompts, as at a keyboard, and what stays as the plain stop has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.cli import BentoCli
from support.console import PROMPT, Console
from support.workload import ONE_RUNTIME, POLITE, PYTHON, Share, assert_clean, occasions, stop_report

BASH = ("/bin/bash", "--norc")
MARK, ANSWER = "echo typed-$((6 * 7))", "typed-42"


@contextmanager
def typed(
    bento: BentoCli,
    share: Share,
    *words: str,
    line: str = MARK,
    answer: str = ANSWER,
    prompt: str = PROMPT,
    then: str = PROMPT,
) -> Iterator[None]:
    """A container ``c`` at a terminal: at its prompt a line was typed, and its answer has come, and ``then``."""
    env = ("-e", f"PS1={PROMPT}", "-e", "TERM=xterm", "-e", "HISTFILE=/s/history", "-e", "LC_ALL=C.UTF-8")
    share.script(".zshrc", "SAVEHIST=10")
    flags = [word for word in words if word == "--init"]
    command = ("host", *words[len(flags) :])
    with Console(
        bento, "run", "-it", "--name", "c", "-e", "ZDOTDIR=/s", *env, *share.flags, *flags, *command
    ) as screen:
        screen.read_until(prompt)
        _type(screen, line, answer, then)
        yield
        screen.end()


def _type(screen: Console, line: str, answer: str = ANSWER, then: str = PROMPT) -> None:
    begin = len(screen.text)
    screen.type(f"{line}\n")
    screen.read_until_after(begin, answer)
    screen.read_until_after(screen.text.index(answer, begin) + len(answer), then)


def signals(report: dict[str, Any]) -> list[str]:
    return [f"{one['signal']} {one['comm']}" for one in report["signalled"]]


@ONE_RUNTIME
@pytest.mark.parametrize("words", [BASH, ("zsh",)], ids=str)
def test_s29_a_shell_at_its_prompt_saves_its_history_and_leaves(bento: BentoCli, share: Share, words) -> None:
    name = words[0].rpartition("/")[2]
    with typed(bento, share, *words):
        explained = bento("explain", "c").stdout
        assert f"{name} was at its prompt, and ended by SIGHUP" in explained
        assert "signalled, with SIGHUP: it is at its prompt" in explained
        said = bento("stop", "-v", "-t", "60", "c")
        assert f"SIGHUP to {name}, " in said.stderr
    report = bento.inspect("c")["Stop"]
    assert (signals(report), report["verdict"]) == ([f"SIGHUP {name}"], "graceful")
    assert MARK in share.lines("history")
    assert "signalled with SIGHUP" in bento("report", "c").stdout
    (kill,) = bento.listing("events", "--since", "1h", "--until", "0s", "--filter", "event=kill")
    assert kill["Actor"]["Attributes"]["signal"] == "1"


@ONE_RUNTIME
@pytest.mark.parametrize("words", [("dash",), ("busybox", "sh")], ids=str)
def test_s29_one_that_sighup_does_not_reach_is_ended_at_its_prompt(bento: BentoCli, share: Share, words) -> None:
    with typed(bento, share, *words):
        report = stop_report(bento, "-t", "60", "c")
    assert (signals(report), report["verdict"], report["exit_code"]) == ([], "default-action", 137)
    assert "alone at its prompt" in report["cause"]


@ONE_RUNTIME
@pytest.mark.parametrize(("words", "said"), [
    ((PYTHON, "-q"), {"line": "print(6 * 7)", "answer": "42", "prompt": ">>> ", "then": ">>> "}),  # not a shell
    (BASH, {"line": "read -p 'what'' now? '", "answer": "what now? ", "then": ""}),  # not at its prompt
    (BASH, {"line": "sleep 600 &", "answer": "[1]"}),  # a job
], ids=["python", "read", "job"])  # fmt: skip
def test_s29_what_may_be_at_work_has_the_whole_grace(bento: BentoCli, share: Share, words, said) -> None:
    with typed(bento, share, *words, **said):
        report = stop_report(bento, "-t", "1.5", "c")
    assert (signals(report), report["verdict"]) == ([], "killed")
    assert share.text("history") == ""


@ONE_RUNTIME
@pytest.mark.parametrize(("words", "order", "verdict"), [
    (("--init", *BASH), ["SIGTERM catatonit", "SIGHUP bash"], "graceful"),
    (("sh", "-c", "bash --norc; echo next > /s/next"), ["SIGHUP bash"], "forwarded"),
    (("script", "-q", "-c", "bash --norc", "/dev/null"), ["SIGTERM script"], "graceful"),
], ids=["init", "wrapper", "script"])  # fmt: skip
def test_s29_below_another_program(bento: BentoCli, share: Share, words, order, verdict) -> None:
    with typed(bento, share, *words):
        report = stop_report(bento, "-t", "60", "c")
    assert (signals(report), report["verdict"]) == (order, verdict)
    assert MARK in share.lines("history")
    assert share.text("next") == ""


@ONE_RUNTIME
def test_s13a_tmux_closes_the_terminals_of_its_shells_and_leaves(bento: BentoCli, share: Share) -> None:
    with typed(bento, share, "tmux", "-f", "/dev/null", "new", "bash --norc", prompt="# ", then="# "):
        report = stop_report(bento, "-t", "60", "c")
    assert (signals(report), report["verdict"]) == (["SIGTERM tmux", "SIGTERM tmux"], "graceful")
    assert occasions(report) == ["init", "exit-hold"]
    assert MARK in share.lines("history")


@ONE_RUNTIME
def test_s29_in_an_exec_session_it_gets_it_when_pid_1_leaves(bento: BentoCli, share: Share) -> None:
    bento("run", "-d", "--name", "c", *share.flags, "host", PYTHON, "-c", POLITE)
    bento.wait_for_log("c", "ready")
    env = ("-e", f"PS1={PROMPT}", "-e", "TERM=xterm", "-e", "HISTFILE=/s/history")
    with Console(bento, "exec", "-it", *env, "c", *BASH) as screen:
        screen.read_until(PROMPT)
        _type(screen, MARK)
        report = stop_report(bento, "-t", "60", "c")
        screen.end()
    assert (signals(report), report["verdict"]) == (["SIGTERM python3", "SIGHUP bash"], "graceful")
    assert occasions(report) == ["init", "exit-hold"]
    assert MARK in share.lines("history")
    bento("rm", "c")
    assert_clean(bento)
