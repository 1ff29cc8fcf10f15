"""Manifests and configurations of images: what is read of good ones, and that bad ones are refused in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.engine.resources import mounting
from bento.errors import UsageError
from bento.model.image import Healthcheck, HistoryEntry, ImageConfig
from bento.oci import image as oci
from bento.oci import image_config, image_writing
from bento.oci.image import Descriptor, Index, Manifest
from bento.oci.platform import Platform, runs_on

HEX = "ab" * 32
DIGEST = f"sha256:{HEX}"
AMD = Platform("linux", "amd64")
CONFIG: dict[str, Any] = {"mediaType": oci.OCI_CONFIG, "digest": DIGEST, "size": 5}
LAYER: dict[str, Any] = {"mediaType": oci.OCI_LAYER + "+gzip", "digest": DIGEST, "size": 7}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
ROOTFS: dict[str, Any] = {"type": "layers", "diff_ids": [DIGEST]}
DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def refused(parse: Any, document: object) -> str:
    content = document if isinstance(document, bytes) else encoded(document)
    with pytest.raises(UsageError) as raised:
        parse(content)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# -- manifests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"mediaType": ""}, {"annotations": {"x": "y"}, "unknown": [1]}])
def test_manifest_of_oci(more: dict[str, Any]) -> None:
    parsed = oci.parse_manifest(encoded(MANIFEST | more))
    layers = (Descriptor(LAYER["mediaType"], DIGEST, 7),)
    assert parsed == Manifest(Descriptor(oci.OCI_CONFIG, DIGEST, 5), layers)


@pytest.mark.parametrize(
    ("media_type", "in_oci_words"),
    [
        ("application/vnd.docker.image.rootfs.diff.tar", "v1.tar"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "v1.tar+gzip"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar", "nondistributable.v1.tar"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "nondistributable.v1.tar+gzip"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "nondistributable.v1.tar+zstd"),
    ],
)
def test_layers_of_every_kind_are_taken_also_foreign_ones(media_type: str, in_oci_words: str) -> None:
    parsed = oci.parse_manifest(encoded(MANIFEST | {"layers": [LAYER | {"mediaType": media_type}]}))
    assert isinstance(parsed, Manifest)
    assert oci.oci_type(parsed.layers[0].media_type) == f"application/vnd.oci.image.layer.{in_oci_words}"


@pytest.mark.parametrize("first", range(256))
def test_any_skippable_frame_may_begin_a_zstd_layer(first: int) -> None:
    """RFC 8878, 3.1.2: the magic number is 0x184D2A5?, little endian."""
    assert oci.layer_type(bytes([first]) + b"\x2a\x4d\x18\4\0") == oci.OCI_LAYER + "+zstd" * (first >> 4 == 5)


def test_manifest_of_docker() -> None:
    config = CONFIG | {"mediaType": "application/vnd.docker.container.image.v1+json"}
    layer = LAYER | {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}
    document = MANIFEST | {"mediaType": DOCKER_TYPE, "config": config, "layers": [layer]}
    assert isinstance(oci.parse_manifest(encoded(document)), Manifest)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "cannot be read"), (b"[]", "cannot be read"), (b"\xff", "cannot be read"), (b"[" * 100_000, "cannot be"),
        (MANIFEST | {"schemaVersion": 1}, "schema 1"), (MANIFEST | {"fsLayers": []}, "schema 1"),
        (MANIFEST | {"mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"}, "schema 1"),
        (MANIFEST | {"schemaVersion": 3}, "version 3"), (MANIFEST | {"schemaVersion": "2"}, "cannot be read"),
        ({"schemaVersion": 2}, "either"), (MANIFEST | {"manifests": []}, "either"),
        ({"schemaVersion": 2, "config": CONFIG}, "lacks"), ({"schemaVersion": 2, "layers": [LAYER]}, "lacks"),
        (MANIFEST | {"mediaType": "text/html"}, "unknown type of manifest"),
        (MANIFEST | {"mediaType": INDEX_TYPE}, "unknown type of manifest"),
        (MANIFEST | {"config": CONFIG | {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "no container"),
        (MANIFEST | {"config": CONFIG | {"digest": "sha256:../../etc/passwd"}}, "bad digest"),
        (MANIFEST | {"config": CONFIG | {"size": -1}}, "-1 bytes"),
        (MANIFEST | {"layers": [LAYER | {"size": 1 << 60}]}, "bytes"),
        (MANIFEST | {"layers": [LAYER | {"digest": HEX}]}, "bad digest"),
        (MANIFEST | {"layers": [LAYER | {"mediaType": "application/x-tar"}]}, "unknown type of layer"),
        (MANIFEST | {"layers": [LAYER | {"mediaType": oci.OCI_LAYER + "+gzip+encrypted"}]}, "encrypted"),
        (MANIFEST | {"layers": [LAYER] * (oci.LAYERS_MAX + 1)}, "overlayfs stacks"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_manifest(document: object, says: str) -> None:
    assert says in refused(oci.parse_manifest, document)


def index(*platforms: dict[str, str] | None) -> Index:
    entries = [
        {"mediaType": oci.OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": number}
        | ({} if platform is None else {"platform": platform})
        for number, platform in enumerate(platforms)
    ]
    parsed = oci.parse_manifest(encoded({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}))
    assert isinstance(parsed, Index)
    return parsed


def platform(architecture: str, variant: str = "", os: str = "linux") -> dict[str, str]:
    return {"os": os, "architecture": architecture} | ({"variant": variant} if variant else {})


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [
        ([platform("arm64"), platform("amd64")], AMD, 1),
        ([platform("amd64"), platform("amd64")], AMD, 0),
        ([platform("amd64", os="windows"), platform("amd64")], AMD, 1),
        ([platform("arm", "v6"), platform("arm", "v7"), platform("arm", "v8")], Platform("linux", "arm", "v7"), 1),
        ([platform("arm", "v5"), platform("arm", "v6")], Platform("linux", "arm", "v7"), 1),
        ([platform("arm64")], Platform("linux", "arm64", "v8"), 0),
        ([platform("unknown", os="unknown"), platform("amd64")], AMD, 1),
        ([None], AMD, 0),
    ],
)
def test_platform_that_fits_best_is_chosen(there: list[Any], wanted: Platform, chosen: int) -> None:
    assert oci.choose_platform(index(*there), wanted).size == chosen


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ([], "it is empty"), ([platform("arm64", "v8"), platform("s390x")], "linux/arm64/v8, linux/s390x"),
        ([platform("unknown", os="unknown")], "it is empty"), ([None, None], "it is empty"),
    ],
)  # fmt: skip
def test_no_platform_fits(there: list[Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        oci.choose_platform(index(*there), AMD)


def test_newer_variant_than_the_machine_is_not_chosen() -> None:
    with pytest.raises(UsageError, match="linux/arm/v6"):
        oci.choose_platform(index(platform("arm", "v7")), Platform("linux", "arm", "v6"))


@pytest.mark.parametrize(
    ("own", "runs"),
    [
        (AMD, True), (Platform(), True), (Platform("linux", "amd64", "v1"), True), (Platform("linux", "arm64"), False),
        (Platform("linux", "386"), False), (Platform("linux", "AMD64"), False),
    ],
)  # fmt: skip
def test_what_runs_on_a_machine(own: Platform, runs: bool) -> None:
    assert runs_on(own, AMD) == runs


# -- configurations -------------------------------------------------------------------------------


def config(**runtime: Any) -> ImageConfig:
    return image_config.parse_config(encoded({"rootfs": ROOTFS, "config": runtime})).config


def test_config_says_it_all() -> None:
    document = {
        "architecture": "arm", "os": "linux", "variant": "v7", "author": "Ann", "created": "1970-01-01T00:00:01.5Z",
        "rootfs": ROOTFS,
        "history": [{"created_by": "x", "comment": "c"}, {"empty_layer": True}],
        "config": {
            "User": "ann:staff", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b", "C="], "Entrypoint": ["/e"],
            "Cmd": ["c"], "Volumes": {"/v/": {}, "v": {}, "/a//b": {}}, "WorkingDir": "x/../y", "Labels": {"k": "v"},
            "StopSignal": "SIGQUIT", "Healthcheck": {"Test": ["CMD", "t"], "Interval": 1, "Retries": 2},
        },
    }  # fmt: skip
    parsed = image_config.parse_config(encoded(document))
    assert parsed.config == ImageConfig(
        entrypoint=("/e",), command=("c",), env=("A=b", "C="), workdir="/y", user="ann:staff", stop_signal="SIGQUIT",
        labels={"k": "v"}, exposed_ports=("80/tcp",), volumes=("/a/b", "/v"),
        healthcheck=Healthcheck(test=("CMD", "t"), interval_ns=1, retries=2),
    )  # fmt: skip
    assert parsed.platform == Platform("linux", "arm", "v7")
    assert (parsed.author, parsed.created_unix_ns, parsed.diff_ids) == ("Ann", 1_500_000_000, (DIGEST,))
    assert [(step.created_by, step.comment, step.is_empty_layer) for step in parsed.history] == [
        ("x", "c", False),
        ("", "", True),
    ]


@pytest.mark.parametrize(
    ("runtime", "field", "expected"),
    [
        ({"Cmd": "echo x"}, "command", ("/bin/sh", "-c", "echo x")), ({"Cmd": None, "Env": None}, "command", ()),
        ({"Env": ["novalue", "=x", "A=b"]}, "env", ("A=b",)), ({"WorkingDir": "//a"}, "workdir", "/a"),
        ({"WorkingDir": "../.."}, "workdir", "/"), ({"Volumes": None}, "volumes", ()), ({"User": None}, "user", ""),
    ],
)  # fmt: skip
def test_what_engines_of_old_have_written(runtime: dict[str, Any], field: str, expected: object) -> None:
    assert getattr(config(**runtime), field) == expected


def test_a_null_among_words_is_an_empty_one() -> None:
    """As for those that read it in Go."""
    said = {"Env": [None, "A=1"], "Cmd": ["a", None], "Labels": {"a": None}}
    got = image_config.parse_config(encoded({"config": said, "history": [None], "rootfs": ROOTFS}))
    assert (got.config.env, got.config.command, got.config.labels) == (("A=1",), ("a", ""), {"a": ""})
    assert got.history == (HistoryEntry(),)


def test_almost_nothing_is_enough() -> None:
    parsed = image_config.parse_config(encoded({"rootfs": {"type": "layers"}}))
    assert parsed.config == ImageConfig()
    assert (parsed.platform, parsed.created_unix_ns) == (Platform("linux"), 0)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"{", "cannot be read"), ({}, "no rootfs"), ({"rootfs": {"type": "raw"}}, "no rootfs"),
        ({"rootfs": ROOTFS, "os": "windows"}, "windows"), ({"rootfs": ROOTFS | {"diff_ids": ["x"]}}, "bad digest"),
        ({"rootfs": ROOTFS, "config": {"Cmd": ["a\0b"]}}, "NUL"), ({"rootfs": ROOTFS, "config": {"Env": [1]}}, "read"),
        ({"rootfs": ROOTFS, "config": {"User": "a\0"}}, "NUL"), ({"rootfs": ROOTFS, "history": {}}, "cannot be read"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_config(document: object, says: str) -> None:
    assert says in refused(image_config.parse_config, document)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 0), ("", 0), ("soon", 0), ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01t00:00:00.000000001z", 1), ("1970-01-01T00:00:00.1234567899Z", 123456789),
        ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01T00:00:00-00:01", 60 * 10**9), ("0001-01-01T00:00:00Z", 0),
        ("1970-13-01T00:00:00Z", 0), ("1970-01-01T25:00:00Z", 0), ("9999-12-31T23:59:59-23:59", 0),
        ("9999-12-31T23:59:59Z", 0), ("2262-04-11T23:47:16.854775807Z", 2**63 - 1),
        ("2262-04-11T23:47:16.854775808Z", 0),
    ],
)  # fmt: skip
def test_time(text: str | None, expected: int) -> None:
    assert image_config.parse_time(text) == expected


# -- writing --------------------------------------------------------------------------------------

_WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(
    st.builds(
        ImageConfig,
        entrypoint=st.lists(_WORDS).map(tuple),
        command=st.lists(_WORDS).map(tuple),
        user=_WORDS,
        stop_signal=_WORDS,
        labels=st.dictionaries(_WORDS, _WORDS),
        healthcheck=st.none() | st.builds(Healthcheck, test=st.just(("CMD", "x")), retries=st.integers(0, 9)),
    )
)
def test_what_is_written_is_read_again(written: ImageConfig) -> None:
    content = image_writing.write_config(written, AMD, [DIGEST])
    parsed = image_config.parse_config(content)
    assert (parsed.config, parsed.platform, parsed.diff_ids) == (written, AMD, (DIGEST,))
    assert image_writing.write_config(parsed.config, AMD, [DIGEST]) == content


def test_manifest_that_is_written_is_read_again() -> None:
    wanted = Manifest(Descriptor(oci.OCI_CONFIG, DIGEST, 5), (Descriptor(oci.layer_type(b"\x1f\x8b"), DIGEST, 7),))
    assert oci.parse_manifest(image_writing.write_manifest(wanted.config, wanted.layers)) == wanted


def test_what_is_not_text_is_told() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        image_writing.write_config(ImageConfig(user="\udcff"), AMD, [])


def test_words_of_inspect_are_dockers() -> None:
    words = image_writing.runtime_words(ImageConfig(exposed_ports=("80/tcp",), healthcheck=Healthcheck(test=("NONE",))))
    assert words["ExposedPorts"] == {"80/tcp": {}}
    assert words["Healthcheck"] == {"Test": ["NONE"]}
    assert "Healthcheck" not in image_writing.runtime_words(ImageConfig())


def test_volume_at_the_root_is_for_create_to_refuse() -> None:
    document = {"rootfs": ROOTFS, "config": {"Volumes": {"/x/..": {}, "/data": {}}}}

    assert image_config.parse_config(json.dumps(document).encode()).config.volumes == ("/", "/data")
    with pytest.raises(UsageError, match="volume at /"):
        mounting.complete((), ("/", "/data"))
