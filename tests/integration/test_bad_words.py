"""Every option of the stop capability with nonsense: one line on stderr, the right exit status, nothing is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from bento.cli import main

from support import procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_one_line

AT_ONCE = 4
USAGE, FAILED, RUN_FAILED = 2, 1, 125
SECONDS = ("soon", "-2", "nan", "inf", "", "1 2", "1e999", "0x10")
NO_SECONDS = (*SECONDS, "-1")  # where never is no answer
SIGNALS = ("NOPE", "0", "65", "32", "-9", "", "RTMIN+31", "TERM,KILL", "9.5")
COMMANDS = ("", " ", "\t\n")
SWITCH = ("yes", "")
"""What is no switch's: a value, as in --all=yes."""
A_CHOICE = ("maybe", "", "END")
KEYS = ("ctrl-", "ab", "ctrl-é", "a,", ",", "ctrl-1")

HOOKS = {
    "--pre-stop": COMMANDS,
    "--pre-stop-host": COMMANDS,
    "--pre-stop-sleep": NO_SECONDS,
    "--post-stop-host": COMMANDS,
    "--hook-timeout": (*NO_SECONDS, "0"),
}
STOP = HOOKS | {
    "-t": SECONDS,
    "--time": ("soon",),
    "--timeout": ("soon",),
    "-s": SIGNALS,
    "--signal": ("NOPE",),
    "--stop-method": ("nope", "", "SIGTERM", "exec"),
    "--stop-command": COMMANDS,
    "--scope": (*A_CHOICE, "all"),
    "--wrapper": (*A_CHOICE, "end"),
    "--deaf": A_CHOICE,
    "--exit-hold": NO_SECONDS,
    "--start-window": NO_SECONDS,
    "--last-call": NO_SECONDS,
    "--last-call-all": SWITCH,
    "--kill-timeout": NO_SECONDS,
    "--paused": A_CHOICE,
    "--drain": SWITCH,
    "--force": SWITCH,
}
PIDS = ("", "0", "-1", "one", "1.5", "99999999999")
ENGINES = ("", "lxd", "Podman")
ONCE_MORE = {option: values[:2] for option, values in STOP.items()}
"""Verbs that read the options of a stop by the same function."""
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "stop": STOP | {
        "--extend": SWITCH, "--no-wait": SWITCH, "--ignore": SWITCH, "--strict": SWITCH, "-v": ("=yes",),
        "--verbose": SWITCH, "--format": ("xml", ""), "--total": NO_SECONDS, "-a": ("=yes",), "--all": SWITCH,
        "--filter": ("w", "", "=w", "color=red", "status=dead", "exited=x", "label="),
        "--watch": SWITCH, "--engine": ENGINES, "--pid": PIDS,
    },
    "restart": ONCE_MORE,
    "explain": ONCE_MORE | {"--pid": PIDS, "--engine": ENGINES, "--format": ("xml", "")},
    "report": {"--format": ("xml", ""), "--engine": ENGINES, "--pid": PIDS, "--html": ("",)},
    "shutdown": {"--total": NO_SECONDS, "-v": ("=yes",), "--verbose": SWITCH, "--format": ("xml", "")},
    "install-unit": {"--print": SWITCH, "--prefix": ("",), "--serve": SWITCH, "--zygote": SWITCH,
                     "--docker-group": ("", "wheel")},
    "start": {
        "--restart-policy": SWITCH, "-a": (), "--attach": SWITCH, "-i": (), "--interactive": SWITCH,
        "--sig-proxy": SWITCH, "--detach-keys": (), "--wait": SWITCH, "--wait-timeout": NO_SECONDS,
        "--sdnotify": A_CHOICE,
    },
    "attach": {"--no-stdin": SWITCH, "--sig-proxy": SWITCH, "--detach-keys": KEYS},
    "kill": {"-s": SIGNALS, "--signal": ("NOPE",)},
    "create": {option: values[:2] for option, values in HOOKS.items()} | {
        "--stop-signal": SIGNALS[:2], "--stop-timeout": SECONDS[:2], "--stop-method": ("nope", "", "exec"),
        "--stop-scope": A_CHOICE, "--stop-wrapper": A_CHOICE, "--stop-deaf": A_CHOICE,
        "--stop-exit-hold": ("soon", "-1"),
        "--stop-last-call": ("soon", "-1"), "--stop-start-window": ("soon", "-1"), "--stop-last-call-all": SWITCH,
        "--stop-command": COMMANDS, "--system": SWITCH, "--init": SWITCH, "--rm": SWITCH,
        "--restart": ("", "never", "on-failure:", "on-failure:x", "on-failure:-1", "always:3", "ALWAYS"),
        "--requires": (), "--pid": ("w", "container:", "host:w"),
        "--net": ("", "a:", "a:ip=x", "a:color=red", "name=,ip=10.1.0.1", "container:", "a:ip6=10.1.0.1", "a:mac=1"),
        "--ip": ("", "x", "fd00::1"), "--ip6": ("", "10.1.0.1"), "--mac-address": ("", "1", "01:00:00:00:00:01"),
        "--network-alias": ("", "a b"), "--net-alias": ("",), "--dns-option": ("", "a b"),
        "--expose": ("", "0", "80/dccp", "9-8", "1:2"), "-P": (), "--publish-all": SWITCH,
        "--pids-limit": ("", "1e3", "many", "1.5", "²"),
        "-m": ("-1", "1k", "lots", "1x", "1e3", "1kk", "9" * 20), "--memory": ("lots",),
        "--cpus": ("", "-1", "all", "1e3", "nan", "1.", "9" * 9),
        "-p": ("", "x", "80:", "70000:80", "80:80/dccp", "8000-8002:80-81", "300.1.1.1:80:80", "[::1]:80:80/sctp"),
        "--publish": ("x",), "--drain": SWITCH, "--mount": ("", "dst=/x,colour=red", "type=nope,dst=/x"),
        "--pull": ("sometimes", ""),
        "--cap-add": ("", "NOPE", "CAP_", "net admin"), "--cap-drop": ("NOPE",),
        "--security-opt": ("", "label=", "colour=red", "no-new-privileges=x", "seccomp", "seccomp=/no/such"),
        "--group-add": (), "--add-host": ("", "x", "x:", ":1.1.1.1", "x:1.1.1", "a b:1.1.1.1"),
        "--dns": ("", "x", "1.1.1"), "--dns-search": ("", "a b"), "--shm-size": ("", "0", "-1", "1k", "lots"),
        "--sysctl": ("", "x", "net.core.somaxconn", "kernel.hostname=x", "vm.swappiness=1", "net=1", "../x=1"),
        "--device": ("", "null", "/no/such", "/etc/hosts", "/etc", "/dev/null:x", "/dev/null:/x", "no.such/device=a"),
        "--label-file": ("/no/such",),
        "--volumes-from": (":ro", "w:rox", "w:ro:ro"),
        "-i": (), "--interactive": SWITCH, "-t": (), "--tty": SWITCH,
        "--log-driver": ("syslog", "passthrough", "", "NONE"),
        "--log-opt": ("", "max-size", "max-size=", "max-size=0", "max-size=1k", "max-size=-2",
                      "max-file=3", "max-file=0", "tag=x", "=1m"),
        "--platform": ("linux/", "darwin/arm64", "arm 64", "linux/a/b/c"),
        "--tls-verify": ("maybe", ""),
        "-q": ("=yes",), "--quiet": SWITCH,
        "--read-only-tmpfs": SWITCH, "--privileged": SWITCH, "--oom-kill-disable": SWITCH, "--no-healthcheck": SWITCH,
        "--health-interval": ("soon", "-1s"), "--health-timeout": ("soon",), "--health-start-period": ("soon",),
        "--health-start-interval": ("soon",), "--health-retries": ("x", "-1"), "--health-on-failure": A_CHOICE,
        "--health-cmd": (), "--runtime": (), "--gpus": ("", "x", "0", "device=", "all,capabilities=utility"),
        "--memory-swap": ("lots",), "--memory-reservation": ("lots",), "--memory-swappiness": ("101", "x"),
        "-c": ("x",), "--cpu-shares": ("x", "-1"), "--cpu-period": ("x",), "--cpu-quota": ("x",),
        "--cpuset-cpus": ("x", "1-"), "--cpuset-mems": ("x",), "--blkio-weight": ("x", "1001"),
        "--oom-score-adj": ("x", "1001"), "--blkio-weight-device": ("x", "/dev/null:5"),
        "--device-read-bps": ("x", "/dev/null"), "--device-write-bps": ("x",), "--device-read-iops": ("x",),
        "--device-write-iops": ("x",), "--device-cgroup-rule": ("", "x"),
        "--ipc": ("token-ring",), "--uts": A_CHOICE, "--cgroupns": A_CHOICE, "--userns": ("maybe", "END"),
        "--sdnotify": A_CHOICE, "--cgroup-parent": ("web", "a.slice"), "--pod": (),
    },
}  # fmt: skip
"""Every option of these verbs, or of create's those of this capability, with what is not to be taken for anything."""
OTHERS_OF_CREATE = {
    "--name", "-e", "--env", "--env-file", "-v", "--volume", "--tmpfs", "-w", "--workdir", "-u", "--user",
    "--hostname", "-h",
    "--read-only", "--entrypoint", "--label", "--ulimit", "--network", "--cidfile",
}  # fmt: skip
"""See test_bad_input.py for these."""

COMBINED: dict[str, tuple[tuple[str, ...], ...]] = {
    "stop": (
        (), ("--extend", "w"), ("--force", "-t", "3", "w"), ("--all", "w"), ("--filter", "name=w", "w"),
        ("--no-such", "w"), ("--no-such=a b", "w"), ("-t",),
        ("--stop-method", "exec", "w"), ("--stop-method", "signal", "--stop-method", "nope", "w"),
        ("--filter", "name=w", "--stop-method", "exec"),
    ),
    "restart": ((), ("--force", "-t", "-1", "w"), ("--extend", "-t", "3", "w"), ("--all",), ("--no-wait", "w")),
    "explain": ((), ("--pid", "1", "w"), ("w", "c"), ("--all",), ("--extend", "-t", "3", "w")),
    "report": ((), ("w", "c"), ("--all",)),
    "shutdown": (("w",), ("-t", "3"), ("--all",)),
    "install-unit": (("w",), ("--print", "--prefix", "/usr/local"), ("--prefix",)),
    "start": ((), ("--restart-policy", "w"), ("--all",), ("-a", "w", "c"), ("-i", "--restart-policy")),
    "attach": ((), ("w", "c"), ("--all",)),
    "kill": ((), ("-s",), ("--all",)),
    "create": (
        (), ("--rm", "--restart", "always", "host"), ("--system", "--init", "host"),
        ("--stop-method", "exec", "host"), ("--network", "none", "--add-host", "x:host-gateway", "host"),
        ("--no-such=a b", "host"), ("-x y", "host"),
    ),
}  # fmt: skip
"""What goes wrong together, or is left out."""

FOUND_OUT: dict[str, tuple[tuple[str, ...], ...]] = {
    "stop": (("nobody",), ("c",)),
    "restart": (("nobody",),),
    "explain": (("nobody",), ("c",), ("--pid", "4194304"), ("--pid", "2")),
    "report": (("nobody",), ("w",), ("c",)),
    "start": (("nobody",), ("-a", "nobody")),
    "attach": (("nobody",), ("c",)),
    "kill": (("nobody",), ("c",)),
    "create": (
        *(("--requires", name, "host", "true") for name in ("", "nobody", "a b", "=w")),
        ("--pid", "container:nobody", "host", "true"),
        ("--network", "token-ring", "host", "true"),
        ("--network", "container:nobody", "host", "true"),
    ),
    "install-unit": (("--prefix", "/proc/nowhere"),),
}
"""What reads well and cannot be done: another exit status."""


class Case(NamedTuple):
    """A command line, and how it ends."""

    words: tuple[str, ...]
    code: int


def cases(verb: str) -> Iterator[Case]:
    target = {"create": ("host", "true"), "shutdown": (), "install-unit": ()}.get(verb, ("w",))
    for option, values in OPTIONS[verb].items():
        for value in values:
            word = f"{option}={value}" if option.startswith("--") else f"{option}{value}"
            given = (option, value) if not value and not option.startswith("--") else (word,)
            yield Case((verb, *given, *target), USAGE)
    for words in COMBINED.get(verb, ()):
        yield Case((verb, *words), USAGE)
    for words in FOUND_OUT.get(verb, ()):
        yield Case((verb, *words), FAILED)


class World(NamedTuple):
    """All that a refused command must leave as it is."""

    records: list[str]
    files: list[tuple[str, int, int]]
    processes: set[tuple[int, int]]

    @classmethod
    def now(cls, bento: BentoCli) -> World:
        with sqlite3.connect(f"file:{bento.roots.root}/bento.db?mode=ro", uri=True) as db:
            records = list(db.iterdump())
        db.close()
        files = [
            (str(path), path.lstat().st_mode, path.lstat().st_size)
            for root in bento.roots
            for path in sorted(root.rglob("*"))
            if not path.name.startswith("bento.db-") and not path.is_relative_to(bento.roots.run_root / "locks")
        ]
        return cls(records, files, {process.key for process in procs.descendants() if process.is_alive})


@ONE_RUNTIME
@pytest.mark.parametrize("verb", OPTIONS)
def test_nonsense_is_refused_in_one_line_and_nothing_is_changed(bento: BentoCli, verb: str) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    bento("create", "--name", "c", "host", "true")
    before = World.now(bento)

    def complaint(case: Case) -> str:
        """What is wrong with the answer; empty when it is as it should be."""
        finished = bento(*case.words, check=False)
        try:
            assert finished.returncode == case.code
            assert finished.stdout == ""
            assert_one_line(finished)
        except AssertionError:
            return f"{case}: {finished}"
        return ""

    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = [text for text in pool.map(complaint, cases(verb)) if text]
    assert wrong == [], "\n".join(wrong)
    assert World.now(bento) == before


@ONE_RUNTIME
def test_run_keeps_its_own_failures_apart_from_the_programs(bento: BentoCli) -> None:
    for option, values in OPTIONS["create"].items():
        if values in ((), SWITCH):
            continue
        finished = bento("run", f"{option}={values[-1]}", "host", "true", check=False)
        assert finished.returncode == RUN_FAILED, str(finished)
        assert_one_line(finished)
    assert bento("ps", "-aq").stdout == ""


@pytest.mark.parametrize("verb", OPTIONS)
def test_every_option_of_a_verb_is_tried(verb: str) -> None:
    parser = main.Parser(prog=verb)
    main.load(verb).configure(parser)
    known = {word for action in parser._actions for word in action.option_strings} - {"-h", "--help"}
    assert set(OPTIONS[verb]) == known - (OTHERS_OF_CREATE if verb == "create" else set())
