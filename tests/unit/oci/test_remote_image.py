"""An image as a registry has it."""

from __future__ import annotations

import json

import pytest

from bento.docker import image_api
from bento.errors import UsageError
from bento.oci.layout import digest_of
from bento.oci.platform import Platform
from bento.oci.remote_image import read

DIGEST = "sha256:" + "a" * 64
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 2}


def test_a_manifest_is_for_what_its_configuration_says():
    manifest = json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": []}).encode()
    found = read(manifest, b'{"os": "linux", "architecture": "arm", "variant": "v7"}')
    assert image_api.distribution(found) == {
        "Descriptor": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(manifest),
            "size": len(manifest),
        },
        "Platforms": [{"architecture": "arm", "os": "linux", "variant": "v7"}],
    }  # fmt: skip
    assert read(manifest, b"{}").platforms == ()


def test_a_list_is_for_what_it_names_but_for_attestations():
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    one = {"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "digest": DIGEST, "size": 2}
    platforms = [("linux", "amd64"), ("linux", "arm64"), ("unknown", "unknown")]
    manifests = [one | {"platform": {"os": os, "architecture": machine}} for os, machine in platforms]
    found = read(json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [*manifests, one]}).encode())
    assert found.media_type == kind
    assert found.platforms == (Platform("linux", "amd64"), Platform("linux", "arm64"))


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b"\xff"])
def test_what_is_no_manifest_is_refused(manifest):
    with pytest.raises(UsageError):
        read(manifest)
