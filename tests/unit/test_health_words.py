"""The words of health checks: options, HEALTHCHECK, what is merged with an image's, and what listings show."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento import clock
from bento.cli.main import Parser, load
from bento.cli.options import health as options
from bento.docker.words import Now, status_text
from bento.engine.lifecycle.create import _health
from bento.errors import UsageError
from bento.model.container import Container, ContainerSpec, Run, Status
from bento.model.health import Health, HealthStatus, OnUnhealthy
from bento.model.image import Healthcheck, ImageConfig
from bento.oci.change import apply_changes
from bento.parse.health import parse_command, parse_on_failure
from bento.units import parse_retries, parse_span_ns


def asked(*words: str) -> Healthcheck | None:
    parser = Parser(prog="bento run", allow_abbrev=False)
    load("run").configure(parser)
    return options.read(parser.parse_args([*words, "image"])).check


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("curl -f x || exit 1", ("CMD-SHELL", "curl -f x || exit 1")),
        ("[ -f /x ]", ("CMD-SHELL", "[ -f /x ]")),
        ('["CMD", "a", "b"]', ("CMD", "a", "b")),
        ('["CMD-SHELL", "a b"]', ("CMD-SHELL", "a b")),
        ('["a", "b"]', ("CMD", "a", "b")),
        ("none", ("NONE",)),
        ("", ()),
    ],
)
def test_a_command_is_for_a_shell_or_a_list(text, test):
    assert parse_command(text) == test


@pytest.mark.parametrize("text", ["[]", '[""]', "a\0b"])
def test_a_command_that_names_no_program_is_refused(text):
    with pytest.raises(UsageError):
        parse_command(text)


@pytest.mark.parametrize(
    ("text", "span_ns"),
    [("30s", 30 * 10**9), ("1m30s", 90 * 10**9), ("500ms", 5 * 10**8), ("1.5", 15 * 10**8), ("0", 0), ("0s", 0)],
)
def test_times(text, span_ns):
    assert parse_span_ns(text, what="time") == span_ns


@pytest.mark.parametrize("text", ["", "-1s", "soon", "1us", "1 s", "999999999h", "1d", "nan"])
def test_bad_times_are_refused(text):
    with pytest.raises(UsageError, match="bad time"):
        parse_span_ns(text, what="time")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "9" * 20])
def test_bad_retries_are_refused(text):
    with pytest.raises(UsageError, match="retries"):
        parse_retries(text)


def test_options():
    assert asked() is None
    assert asked("--no-healthcheck") == Healthcheck(test=("NONE",))
    assert asked("--health-cmd", "x", "--health-interval", "1s", "--health-start-interval", "2s") == Healthcheck(
        test=("CMD-SHELL", "x"), interval_ns=10**9, start_interval_ns=2 * 10**9
    )
    assert asked("--health-retries", "4", "--health-timeout", "3", "--health-start-period", "1m") == Healthcheck(
        retries=4, timeout_ns=3 * 10**9, start_period_ns=60 * 10**9
    )


@pytest.mark.parametrize(
    "words", [("--no-healthcheck", "--health-retries", "1"), ("--health-on-failure", "x"), ("--health-interval", "x")]
)
def test_options_that_make_no_sense_are_refused(words):
    with pytest.raises(UsageError):
        asked(*words)


OF_IMAGE = Healthcheck(test=("CMD", "x"), interval_ns=5, retries=9)


@pytest.mark.parametrize(
    ("given", "of_image", "merged"),
    [
        (None, None, None),
        (None, OF_IMAGE, OF_IMAGE),
        (Healthcheck(test=("NONE",)), OF_IMAGE, Healthcheck(test=("NONE",))),
        (Healthcheck(retries=2), OF_IMAGE, Healthcheck(test=("CMD", "x"), interval_ns=5, retries=2)),
        (Healthcheck(test=("CMD", "y")), OF_IMAGE, Healthcheck(test=("CMD", "y"), interval_ns=5, retries=9)),
        (Healthcheck(test=("CMD", "y")), None, Healthcheck(test=("CMD", "y"))),
    ],
)
def test_what_is_not_given_is_the_images(given, of_image, merged):
    assert _health(given, of_image) == merged


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ("HEALTHCHECK NONE", Healthcheck(test=("NONE",))),
        ("healthcheck cmd curl -f x || exit 1", Healthcheck(test=("CMD-SHELL", "curl -f x || exit 1"))),
        ('HEALTHCHECK CMD ["a", "b c"]', Healthcheck(test=("CMD", "a", "b c"))),
        (
            "HEALTHCHECK --interval=5m  --timeout=3s --start-period=1s --start-interval=500ms --retries=2 CMD x",
            Healthcheck(
                test=("CMD-SHELL", "x"),
                interval_ns=300 * 10**9,
                timeout_ns=3 * 10**9,
                start_period_ns=10**9,
                start_interval_ns=5 * 10**8,
                retries=2,
            ),
        ),
    ],
)
def test_healthcheck_in_changes(change, check):
    assert apply_changes(ImageConfig(), [change]).healthcheck == check


@pytest.mark.parametrize(
    "change",
    [
        "HEALTHCHECK",
        "HEALTHCHECK x",
        "HEALTHCHECK CMD",
        "HEALTHCHECK NONE x",
        "HEALTHCHECK --retries=2 NONE",
        "HEALTHCHECK --every=5s CMD x",
        "HEALTHCHECK --interval 5s CMD x",
        "HEALTHCHECK --interval=soon CMD x",
    ],
)
def test_a_bad_healthcheck_is_refused(change):
    with pytest.raises(UsageError):
        apply_changes(ImageConfig(), [change])


@pytest.mark.parametrize(
    ("test", "argv"),
    [
        ((), ()),
        (("NONE",), ()),
        (("CMD",), ()),
        (("CMD", "a", "b"), ("a", "b")),
        (("CMD-SHELL", "a b"), ("/bin/sh", "-c", "a b")),
        (("OTHER", "x"), ()),
    ],
)
def test_what_is_run(test, argv):
    assert Healthcheck(test=test).argv == argv


@pytest.mark.parametrize(
    ("health", "status", "text"),
    [
        (None, Status.RUNNING, "Up 2 minutes"),
        (Health(), Status.RUNNING, "Up 2 minutes (health: starting)"),
        (Health(status=HealthStatus.HEALTHY), Status.RUNNING, "Up 2 minutes (healthy)"),
        (Health(status=HealthStatus.UNHEALTHY), Status.RUNNING, "Up 2 minutes (unhealthy)"),
        (Health(status=HealthStatus.HEALTHY), Status.PAUSED, "Up 2 minutes (Paused)"),
        (Health(status=HealthStatus.HEALTHY), Status.STOPPED, "Exited (?)"),
    ],
)
def test_listings_say_it_as_docker_does(health, status, text):
    now = Now(wall_ns=clock.wall_ns(), boot_s=clock.boot_s())
    container = Container(
        id="1", name="w", created_unix_ns=1, spec=ContainerSpec(image="i", image_id="", layers=(), command=("x",)),
        status=status, health=health, run=Run(number=1, runtime="r", started_unix_ns=now.wall_ns - 130 * 10**9),
    )  # fmt: skip
    assert status_text(container, now) == text


def test_what_does_not_run_is_unhealthy_as_in_docker():
    spec = ContainerSpec(image="i", image_id="", layers=())
    container = Container(id="1", name="w", created_unix_ns=1, spec=spec, health=Health(status=HealthStatus.HEALTHY))
    assert replace(container, status=Status.STOPPED).health_status is HealthStatus.UNHEALTHY
    assert replace(container, status=Status.RUNNING).health_status is HealthStatus.HEALTHY
    assert replace(container, health=None).health_status is None


def test_what_is_done_with_an_unhealthy_container() -> None:
    assert [parse_on_failure(each.value) for each in OnUnhealthy] == list(OnUnhealthy)
    for text in ("", "reboot", "Kill"):
        with pytest.raises(UsageError, match="bad --health-on-failure"):
            parse_on_failure(text)
