"""Manifests, indexes and configurations of images: any bytes are understood, or UsageError is raised.

More than CI tries: ``make fuzz``.
"""

from __future__ import annotations

import copy
import json
import os
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bento.errors import UsageError
from bento.model.image import ImageConfig
from bento.oci.image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Index, choose_platform, parse_manifest
from bento.oci.image_config import parse_config
from bento.oci.image_writing import write_config
from bento.oci.platform import Platform

FUZZ = settings(max_examples=int(os.environ.get("BENTO_FUZZ_EXAMPLES", "150")))
DIGEST = "sha256:" + "ab" * 32
INDEX = "application/vnd.oci.image.index.v1+json"


def descriptor(media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": DIGEST, "size": 10, **more}


MANIFEST = {
    "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG),
    "layers": [descriptor(OCI_LAYER), descriptor(OCI_LAYER + "+gzip")], "annotations": {"a": "b"},
}  # fmt: skip
LIST = {
    "schemaVersion": 2,
    "mediaType": INDEX,
    "manifests": [
        descriptor(OCI_MANIFEST, platform={"os": "linux", "architecture": "arm", "variant": "v7"}),
        descriptor(OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
    ],
}
CONFIG = {
    "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00.123Z", "author": "a",
    "config": {
        "User": "1:2", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": ["/x"], "Cmd": ["y"],
        "Volumes": {"/v": {}}, "WorkingDir": "/w", "Labels": {"l": "m"}, "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1, "Retries": 3},
    },
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x", "empty_layer": True}],
}  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.sampled_from(["\0", "..", "/", "v99", DIGEST, "sha512:" + "0" * 128, "9999-99-99T99:99:99Z", INDEX]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a document, by their way from its root."""
    found = [at]
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += places(value, (*at, key))
    return found


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> bytes:
    """A document with values replaced or taken away; perhaps cut, perhaps with bytes changed."""
    made: Any = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(places(made)))
        value = draw(JSON)
        if not way:
            made = value if draw(st.integers(0, 9)) == 0 else made
            continue
        holder = made
        for step in way[:-1]:
            holder = holder[step]
        if draw(st.booleans()):
            holder[way[-1]] = value
        else:
            del holder[way[-1]]
    content = bytearray(json.dumps(made).encode())
    if content and draw(st.integers(0, 4)) == 0:
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 4)) == 0 else content)


def check_manifest(content: bytes) -> None:
    try:
        parsed = parse_manifest(content)
        if isinstance(parsed, Index):
            choose_platform(parsed, Platform("linux", "arm", "v7"))
    except UsageError as error:
        assert_one_line(error)


def check_config(content: bytes) -> None:
    try:
        parsed = parse_config(content)
    except UsageError as error:
        assert_one_line(error)
        return
    assert parsed.created_unix_ns >= 0
    # What was understood can be stored, and written again.
    msgspec.json.decode(msgspec.json.encode(parsed.config), type=ImageConfig)
    again = parse_config(write_config(parsed.config, parsed.platform, parsed.diff_ids))
    assert again.config == parsed.config


def assert_one_line(error: UsageError) -> None:
    assert error.message.isprintable(), repr(error.message)
    assert "\n" not in (error.hint or "")
    assert len(error.message) < 600


@FUZZ
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"schemaVersion":2,"manifests":' + b"[" * 100_000)
@example(b'{"rootfs":{"type":"layers","diff_ids":[1e400]}}')
@example(b'{"a":"\xff"}')
@example(b'"\\ud800"')
def test_any_bytes(content: bytes) -> None:
    check_manifest(content)
    check_config(content)


@FUZZ
@given(changed(MANIFEST) | changed(LIST))
def test_changed_manifests(content: bytes) -> None:
    check_manifest(content)


@FUZZ
@given(changed(CONFIG))
def test_changed_configurations(content: bytes) -> None:
    check_config(content)
