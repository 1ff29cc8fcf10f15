"""What skopeo says, in our words: one line that tells what to do. Samples are of skopeo 1.9.3."""

from __future__ import annotations

from pathlib import Path

import pytest

from bento.drivers.transport.output import Bar, bars, explain
from bento.errors import MissingTool, NotFound, NotPermitted, StorageUnusable, TransportFailed, UsageError

SAMPLES = Path(__file__).parents[1] / "transport_output" / "skopeo-1.9.3"
MEANT = {
    "authority": (TransportFailed, "--cert-dir"),
    "bad-authfile": (UsageError, "--authfile"),
    "bad-blob": (TransportFailed, "digest differs"),
    "bad-config": (TransportFailed, "digest differs"),
    "bad-login": (NotPermitted, "--creds"),
    "disk-full": (StorageUnusable, "disk is full"),
    "hostname": (TransportFailed, "not trusted"),
    "http": (TransportFailed, "--tls-verify=false"),
    "missing-blob": (TransportFailed, "lost a part"),
    "no-cert-dir": (TransportFailed, "--cert-dir"),
    "no-dir": (NotFound, "nothing there"),
    "no-layout": (NotFound, "nothing there"),
    "no-login": (NotPermitted, "--creds"),
    "no-storage-image": (NotFound, "no such image"),
    "push-no-login": (NotPermitted, "--creds"),
    "refused": (TransportFailed, "connection refused"),
    "short-blob": (TransportFailed, "digest differs"),
    "unknown-host": (TransportFailed, "name is not known"),
    "unknown-name": (NotFound, "no such image"),
    "unknown-tag": (NotFound, "no such image"),
}


def fatal(words: str) -> str:
    return f'time="2026-01-01T00:00:00Z" level=fatal msg="{words}"\n'


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.txt")), ids=lambda path: path.stem)
def test_every_known_failure_says_what_to_do(path):
    kind, part = MEANT[path.stem]
    error = explain(path.read_text(), "web:1")
    assert type(error) is kind
    assert part in str(error)
    assert str(error).startswith("web:1: ")
    assert "\n" not in str(error)
    assert error.hint


def test_every_meaning_has_a_sample():
    assert sorted(MEANT) == sorted(path.stem for path in SAMPLES.glob("*.txt"))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("reading manifest x in registry: denied: requested access to the resource is denied", NotPermitted),
        ("Error reading manifest: invalid status code from registry 403 (Forbidden)", NotPermitted),
        ("toomanyrequests: You have reached your pull rate limit.", TransportFailed),
        ("open /etc/containers/policy.json: no such file or directory", MissingTool),
        ("Source image rejected: Running image docker://x is rejected by policy.", NotPermitted),
        ("dial tcp 192.0.2.1:443: i/o timeout", TransportFailed),
        ("dial tcp [100::1]:443: connect: network is unreachable", TransportFailed),
        ("read tcp 192.0.2.1:1->192.0.2.2:443: read: connection reset by peer", TransportFailed),
    ],
)
def test_failures_that_need_other_networks(words, kind):
    assert type(explain(fatal(words), "web:1")) is kind


def test_a_name_that_reads_like_an_error_is_none():
    words = r"Error parsing image name \"docker://h/denied/unauthorized:401\": something new"
    error = explain(fatal(words), "h/denied/unauthorized:401")
    assert type(error) is TransportFailed
    assert error.message == "h/denied/unauthorized:401: something new"


@pytest.mark.parametrize("stderr", ["", "panic: x\n\ngoroutine 1\n", fatal(r"two\nlines \"quoted\"")])
def test_unknown_words_are_passed_on_in_one_line(stderr):
    error = explain(stderr, "web:1")
    assert type(error) is TransportFailed
    assert "\n" not in str(error)


def test_bars_tell_how_far_each_blob_is():
    drawn = (
        "Getting image source signatures\r\nCopying blob 2e5fbc5981ad [=====>----] 16.8MiB / 28.6MiB\r\n"
        "Copying blob f33f66b8f6aa [==========] 1.0MiB / 1.0MiB\r\n\x1b[2A\x1b[JCopying blob 2e5fbc5981ad done  \r\n"
        "Copying blob 0dc55a03744f skipped: already exists  \r\nCopying blob aaaaaaaaaaaa [>---] 570.0b / 2.0KiB\r\n"
        "Copying config 3e3640a3e5 [=====] 570.0b / 570.0b\r\n"
    )
    assert list(bars(drawn)) == [
        Bar("2e5fbc5981ad", int(16.8 * 2**20)),
        Bar("f33f66b8f6aa", 2**20),
        Bar("2e5fbc5981ad", None),
        Bar("0dc55a03744f", None),
        Bar("aaaaaaaaaaaa", 570),
    ]
