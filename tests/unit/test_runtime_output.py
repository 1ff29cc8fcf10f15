"""What the real crun and runc wrote, kept in runtime_output/NAME-VERSION/, becomes the right error."""

from __future__ import annotations

from pathlib import Path

import pytest

from bento.drivers.runtime import output
from bento.drivers.runtime.detect import parse_version
from bento.errors import BentoError, CommandNotExecutable, CommandNotFound, Conflict, RuntimeFailed, UsageError

SAMPLES = Path(__file__).parent / "runtime_output"
RUNTIMES = sorted(path.name for path in SAMPLES.iterdir())

CREATE = {
    "not-found": (CommandNotFound, "/no/such"),
    "not-on-path": (CommandNotFound, "nosuch"),
    "noexec": (CommandNotExecutable, "/srv/noexec: permission denied"),
    "directory": (CommandNotExecutable, "permi"),
    "cwdfile": (UsageError, "working directory /etc/passwd: not a directory"),
    "badsource": (UsageError, "cannot mount /no/such/src: no such file"),
    "fileondir": (UsageError, "cannot mount /etc/passwd on /mnt: not a directory"),
    "dironfile": (UsageError, "cannot mount /etc on /etc/passwd: not a directory"),
    "badopt": (UsageError, "cannot mount tmpfs on /mnt: invalid argument"),
    "create-exists": (Conflict, "still knows"),
    "limits": (RuntimeFailed, "resource limit"),
    "weight": (RuntimeFailed, "cannot set a weight of block I/O: blkio."),
    "limit": (RuntimeFailed, "cannot set a limit: "),
}


def sample(runtime: str, case: str) -> str:
    return (SAMPLES / runtime / f"{case}.txt").read_text()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("case", CREATE)
def test_known_create_failures_get_their_class_and_name_the_culprit(runtime: str, case: str) -> None:
    kind, words = CREATE[case]

    error = output.explain(sample(runtime, case), verb="create", command="/srv/noexec")

    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)
    assert error.hint


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_the_user_may_not_even_see_is_either_not_found_or_not_executable(runtime: str) -> None:
    error = output.explain(sample(runtime, "noperm"), verb="create", command="/root/x")

    assert error.exit_code in (126, 127)
    assert "/root/x" in error.message


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("case", ["start-unknown", "start-running", "start-stopped"])
def test_other_failures_pass_the_words_on(runtime: str, case: str) -> None:
    error = output.explain(sample(runtime, case), verb="start")

    assert type(error) is RuntimeFailed
    assert "could not start the container: " in error.message
    assert "level=error" not in error.message


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_unknown_and_running_are_told_apart(runtime: str) -> None:
    assert output.is_unknown_container(sample(runtime, "delete-unknown"))
    assert output.is_unknown_container(sample(runtime, "start-unknown"))
    assert output.is_still_running(sample(runtime, "delete-running"))
    assert not output.is_still_running(sample(runtime, "delete-unknown"))
    assert not output.is_unknown_container(sample(runtime, "delete-running"))
    assert not output.is_unknown_container(sample(runtime, "not-found"))
    assert not output.is_unknown_container(sample(runtime, "badsource"))


def test_cgroup2_without_the_right_to_lock_memory_is_explained() -> None:
    error = output.explain(sample("crun-1.8.1", "memlock"), verb="create")

    assert type(error) is RuntimeFailed
    assert "CAP_SYS_RESOURCE" in error.hint


def test_hybrid_cgroups_are_explained() -> None:
    error = output.explain(sample("crun-1.8.1", "hybrid"), verb="create")

    assert type(error) is RuntimeFailed
    assert "hybrid" in error.message
    assert "runc" in error.hint


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_sample_is_used(runtime: str) -> None:
    special = {"version", "hybrid", "memlock"}
    others = {"noperm", "start-unknown", "start-running", "start-stopped", "delete-unknown", "delete-running"}

    assert {path.stem for path in (SAMPLES / runtime).iterdir()} - special == CREATE.keys() | others


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_version_is_read(runtime: str) -> None:
    name, _, version = runtime.partition("-")

    probe = parse_version(sample(runtime, "version"))

    assert probe is not None
    assert (probe.name, ".".join(map(str, probe.version))) == (name, version)
    assert probe.has_seccomp


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ""),
        ("\n  \n", ""),
        ("plain words\n", "plain words"),
        ("one\ntwo\nthree\n", "two three"),
        ('time="t" level=warning msg="not this"\ntime="t" level=error msg="but \\"this\\""\n', 'but "this"'),
        ('time="t" level=warning msg="only a warning"\n', ""),
        ('{"level":"error","msg":"in JSON","time":"t"}\n', "in JSON"),
        ('{"level":"info","msg":"chatter"}\nreal words', "real words"),
        ('{"msg": broken\n', '{"msg": broken'),
        ('time="t" level=fatal msg=word', "word"),
    ],
)
def test_the_sentence_is_found(text: str, sentence: str) -> None:
    assert output.sentence(text) == sentence


def test_a_long_story_is_cut() -> None:
    assert len(output.sentence("x" * 10_000)) == 500


def test_no_words_at_all_is_said() -> None:
    error: BentoError = output.explain("", verb="create")

    assert "gave no reason" in error.message


@pytest.mark.parametrize(
    ("words", "kind", "named"),
    [
        (
            'error finding executable "nosuch" in PATH [/usr/bin /bin]: no such file or directory',
            CommandNotFound,
            "nosuch",
        ),
        ("creating process: failed to load /no/such: no such file or directory", CommandNotFound, "/no/such"),
        ("creating process: failed to load /etc/passwd: permission denied", CommandNotExecutable, "/etc/passwd"),
    ],
)
def test_runsc_starts_what_it_cannot_find_only_at_the_start(words: str, kind: type[BentoError], named: str) -> None:
    said = f"starting container: starting root container: starting sandbox: {words}"

    error = output.explain(said, verb="start")

    assert type(error) is kind
    assert named in error.message


def test_runsc_refuses_to_delete_what_it_does_not_see_stopped() -> None:
    assert output.is_still_running("cannot delete container that is not stopped without --force flag")
    assert output.is_unknown_container('loading container "x": file does not exist')


@pytest.mark.parametrize(
    "text",
    [
        "openat2 `proc/timer_list`: Too many open files",  # crun
        "error loading seccomp filter into kernel: error creating scratch pipe: pipe2: too many open files",  # runc
    ],
)
def test_too_few_open_files_are_told_as_the_limit_they_are(text: str) -> None:
    error = output.explain(text, verb="create")

    assert isinstance(error, RuntimeFailed)
    assert "nofile" in error.hint


def test_bad_option_of_a_tmpfs_is_not_told_as_one_of_a_bind_mount() -> None:
    assert "tmpfs(5)" in output.explain("mount `tmpfs` to `mnt`: Invalid argument", verb="create").hint
    assert "bind" in output.explain("mount `/etc/passwd` to `mnt`: Not a directory", verb="create").hint
