"""Images from a registry of the test's own, and back: names, digests, passwords, certificates, platforms, failures."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from support import leaks, webimages
from support.cli import BentoCli
from support.registry import PASSWORD, USER, Registry, registry, run, skopeo
from support.workload import ONE_RUNTIME, assert_clean, assert_one_line

pytestmark = ONE_RUNTIME

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def place(scratch):
    """A registry with base:1 and nginx:1, and base:2 as Docker would have pushed it."""
    layout = webimages.layout()
    with registry(scratch) as made:
        made.push(f"oci:{layout}:base", "base:1")
        made.push(f"oci:{layout}:base", "base:2", "--format=v2s2")
        made.push(f"oci:{layout}:nginx", "nginx:1")
        yield made


@pytest.fixture(scope="module")
def guarded(scratch):
    """A registry with TLS and a password."""
    with registry(scratch, has_tls=True, has_password=True) as made:
        layout = webimages.layout()
        made.push(f"oci:{layout}:base", "base:1", f"--dest-creds={USER}:{PASSWORD}")
        yield made


def raw(place: Registry, path: str) -> str:
    """The manifest as the registry has it."""
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{place.name(path)}")


def put_index(place: Registry, path: str, manifests: list[dict[str, object]]) -> None:
    """Push a list of images."""
    name, _, tag = path.partition(":")
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
    url = f"http://{place.host}/v2/{name}/manifests/{tag}"
    request = urllib.request.Request(url, body, {"Content-Type": INDEX}, method="PUT")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201


def image(bento: BentoCli, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bento("inspect", "--type", "image", name).stdout)[0]
    return found


def test_an_image_is_pulled_run_and_pulled_again_without_a_download(bento: BentoCli, place: Registry) -> None:
    name = place.name("nginx:1")
    pulled = bento("pull", name)
    assert pulled.stdout == f"{name}\n"
    assert pulled.stderr.count(": transferred, ") == 2
    assert bento("run", "--rm", name, "nginx", "-v").stderr.startswith("nginx version")
    again = bento("pull", name)
    assert again.stderr.count(": is here already, ") == 2
    assert "transferred" not in again.stderr
    quiet = bento("pull", "-q", name)
    assert (quiet.stdout, quiet.stderr) == (f"{name}\n", "")
    assert image(bento, name)["Digest"] in pulled.stderr


@pytest.mark.parametrize("path", ["base:1", "base:2"], ids=["oci", "docker"])
def test_what_is_pushed_has_the_digest_that_was_pulled(bento: BentoCli, place: Registry, path: str, tmp_path) -> None:
    bento("pull", "-q", place.name(path))
    pushed = bento("push", "-q", "--digestfile", tmp_path / "digest", place.name(path), place.name(f"copy/of-{path}"))
    assert raw(place, f"copy/of-{path}") == raw(place, path)
    assert (DOCKER_MANIFEST in raw(place, path)) == (path == "base:2")
    assert pushed.stdout.strip() == (tmp_path / "digest").read_text() == image(bento, place.name(path))["Digest"]
    bento("tag", place.name(path), place.name("again:1"))
    bento("push", "-q", place.name("again:1"))  # to where its name says
    assert raw(place, "again:1") == raw(place, path)
    events = bento.listing("events", "--stream=false", "-f", "type=image")
    again = place.name("again:1")
    assert [(event["Action"], event["Actor"]["ID"]) for event in events if event["Action"] != "tag"] == [
        ("pull", place.name(path)), ("push", place.name(f"copy/of-{path}")), ("push", again),
    ]  # fmt: skip
    assert events[-1]["Actor"]["Attributes"]["name"] == again.rpartition(":")[0]


def test_a_digest_names_exactly_one_image(bento: BentoCli, place: Registry) -> None:
    bento("pull", "-q", place.name("base:1"))
    name = f"{place.name('base')}@{image(bento, place.name('base:1'))['Digest']}"
    assert bento("pull", "-q", name).stdout == f"{name}\n"
    assert bento("run", "--rm", "--pull", "never", name, "echo", "here").stdout == "here\n"
    wrong = f"{place.name('base')}@sha256:{'0' * 64}"
    assert "no such image" in bento.fails("pull", wrong)
    assert "digest" in bento.fails("push", place.name("base:1"), wrong, code=2)


def test_one_of_several_that_cannot_be_pulled_keeps_no_other_back(bento: BentoCli, place: Registry) -> None:
    names = [place.name(path) for path in ("base:1", "none:1", "nginx:1")]
    done = bento("pull", "-q", names[0], "UPPER CASE", *names[1:], check=False)
    assert done.returncode == 2  # the worst
    assert done.stdout.splitlines() == [names[0], names[2]]
    assert len(done.stderr.splitlines()) == 2
    assert "none" in done.stderr


def test_run_pulls_what_the_policy_says(bento: BentoCli, place: Registry) -> None:
    name = place.name("base:1")
    assert "--pull never" in bento.fails("run", "--pull", "never", name, "true", code=125)
    assert "--pull never" in bento.fails("create", "--pull", "never", name, "true")
    missing = bento("run", "--rm", name, "echo", "one")
    assert (missing.stdout, "transferred" in missing.stderr) == ("one\n", True)
    there = bento("run", "--rm", name, "echo", "two")
    assert (there.stdout, there.stderr) == ("two\n", "")
    always = bento("run", "--rm", "--pull", "always", name, "echo", "three")
    assert (always.stdout, "is here already" in always.stderr) == ("three\n", True)
    gone = place.name("none:1")
    line = bento.fails("run", "--rm", gone, "true", code=125)
    assert f"no such image: {gone}, and it cannot be fetched: " in line
    assert bento.fails("run", "--pull", "always", "--rm", gone, "true", code=125)
    assert "bad" not in bento("run", "--rm", "--pull", "always", "host", "true").stderr  # is always here
    assert_clean(bento)


def test_short_names_are_looked_for_in_the_registries_in_their_order(bento: BentoCli, place: Registry, scratch) -> None:
    with registry(scratch) as other:
        other.push(f"oci:{webimages.layout()}:base", "only/here:1")
        both = {"BENTO_REGISTRIES": f"{place.host},{other.host}"}
        assert bento("pull", "-q", "only/here:1", env=both).stdout == f"{other.name('only/here:1')}\n"
        assert bento("pull", "-q", "base:1", env=both).stdout == f"{place.name('base:1')}\n"
        assert bento("run", "--rm", "only/here:1", "echo", "x", env={"BENTO_REGISTRIES": ""}).stdout == "x\n"
        line = bento.fails("pull", "none", env=both)
    assert place.name("none:latest") in line
    assert other.name("none:latest") in line
    # A registry that does not answer might have it: the next one is not asked, lest another's image be taken for it.
    dead = {"BENTO_REGISTRIES": f"{other.host} {place.host}"}
    assert "connection refused" in bento.fails("pull", "base:1", env=dead)
    assert "BENTO" not in bento.fails("pull", "base:1", env={"BENTO_REGISTRIES": "nonsense"}, code=2)
    assert "no registry" in bento.fails("pull", "base:1", env={"BENTO_REGISTRIES": ","}, code=2)


def test_each_platform_gets_its_own(bento: BentoCli, place: Registry, tmp_path) -> None:
    layout = tmp_path / "layout"
    skopeo("copy", f"oci:{webimages.layout()}:base", f"oci:{layout}:arm")
    run("umoci", "config", "--image", f"{layout}:arm", "--architecture=arm64")
    digests = {"amd64": place.push(f"oci:{webimages.layout()}:base", "multi:amd64"),
               "arm64": place.push(f"oci:{layout}:arm", "multi:arm64")}  # fmt: skip
    manifests = []
    for architecture, digest in digests.items():
        size = len(raw(place, f"multi:{architecture}"))
        manifests.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
                          "platform": {"os": "linux", "architecture": architecture}})  # fmt: skip
    put_index(place, "multi:1", manifests)
    name = place.name("multi:1")
    for architecture, digest in digests.items():
        bento("pull", "-q", "--platform", f"linux/{architecture}", name)
        assert image(bento, name)["Digest"] == digest
    bento("pull", "-q", name)
    own = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    other = "arm64" if own == "amd64" else "amd64"
    assert image(bento, name)["Digest"] == digests[own]
    line = bento.fails("pull", "--platform", "linux/s390x", name)
    assert "linux/amd64" in line
    assert "linux/arm64" in line
    # One image, not a list: it says itself what it is for.
    assert f"is for linux/{other}" in bento("pull", "-q", place.name(f"multi:{other}")).stderr
    line = bento.fails("pull", "-q", "--platform", f"linux/{own}", place.name(f"multi:{other}"))
    assert f"is for linux/{other}, not for linux/{own}" in line
    for bad in ("linux", "windows/amd64", "linux/amd64/v1/x", "/", "linux/"):
        bento.fails("pull", "--platform", bad, name, code=2)


def test_a_guarded_registry_wants_a_certificate_and_a_password(bento: BentoCli, guarded: Registry, tmp_path) -> None:
    name = guarded.name("base:1")
    trust = ("--cert-dir", guarded.authority)
    assert "--cert-dir" in bento.fails("pull", "--tls-verify=true", name)
    assert "--creds" in bento.fails("pull", *trust, "--tls-verify=true", name)
    line = bento.fails("pull", *trust, "--creds", f"{USER}:wrong", name)
    assert "is what --creds or --authfile says?" in line
    assert "give --creds" not in line
    assert "terminal" in bento.fails("pull", *trust, "--creds", USER, name, code=2)
    assert bento("pull", "-q", *trust, "--tls-verify=true", "--creds", f"{USER}:{PASSWORD}", name).stdout
    assert bento("pull", "-q", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}", name).stdout
    authfile = tmp_path / "auth.json"
    authfile.write_text(json.dumps({"auths": {guarded.host: {"auth": "YW5uOnNlY3JldA=="}}}))
    flags = (*trust, "--authfile", authfile, "--tls-verify")
    assert bento("push", "-q", *flags, name, guarded.name("copy:1")).stdout
    assert bento("pull", "-q", *flags, guarded.name("copy:1")).stdout
    assert "--creds" in bento.fails("push", *trust, name, guarded.name("copy:2"))
    usual = {"REGISTRY_AUTH_FILE": str(authfile)}
    assert bento("pull", "-q", *trust, guarded.name("copy:1"), env=usual).stdout
    assert "/nonexistent" in bento.fails("pull", "--authfile", "/nonexistent", name)
    assert "/nonexistent" in bento.fails("pull", "--cert-dir", "/nonexistent", name)


def test_login_is_used_by_pulls_until_the_logout_and_shows_the_password_nowhere(
    bento: BentoCli, guarded: Registry, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    (tmp_path / "skopeo").write_text(f'#!/bin/sh\necho "$@" >>{calls}\nexec {shutil.which("skopeo")} "$@"\n')
    (tmp_path / "skopeo").chmod(0o755)
    env = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    name, trust = guarded.name("base:1"), ("--cert-dir", guarded.authority, "--tls-verify=true")
    words = (*trust, "--username", USER, "--password-stdin", guarded.host)
    assert bento("logout", guarded.host, env=env).stdout == f"Not logged in to {guarded.host}\n"
    assert "are the user's name and the password right" in bento.fails("login", *words, stdin="wrong\n", env=env)
    assert "no login" in bento.fails("login", *trust, guarded.host, env=env)
    assert "bento login" in bento.fails("pull", *trust, name, env=env)

    assert bento("login", *words, stdin=f"{PASSWORD}\n", env=env).stdout == "Login Succeeded\n"
    assert bento("login", *trust, f"https://{guarded.host}/v2/", env=env).stdout == "Login Succeeded\n"  # that again
    assert bento("pull", "-q", *trust, name, env=env).stdout
    skopeo("inspect", f"--authfile={tmp_path}/auth.json", "--tls-verify=false", f"docker://{name}")

    assert bento("logout", guarded.host, env=env).stdout == f"Removing login credentials for {guarded.host}\n"
    assert guarded.host not in (tmp_path / "auth.json").read_text()
    assert "bento login" in bento.fails("pull", *trust, name, env=env)
    assert "login" in calls.read_text()
    assert PASSWORD not in calls.read_text()


def test_failures_are_one_line_and_leave_nothing(bento: BentoCli, place: Registry) -> None:
    cases = {
        place.name("base:none"): "no such image",
        "127.0.0.1:1/base:1": "connection refused",
        "registry.invalid/base:1": "",  # not known, or no network to ask on
        "oci:/nonexistent": "nothing there",
        "dir:/nonexistent": "nothing there",
    }
    for name, words in cases.items():
        assert words in bento.fails("pull", name)
    for bad in ("", "A/B", "x y", "host/", "nginx:", "docker://", "https://docker.io/nginx", "host:5000/x@sha256:1"):
        bento.fails("pull", bad, code=2)
    assert "--tls-verify=false" in bento.fails("pull", "--tls-verify=true", place.name("base:1"))
    assert "nothing to fetch" in bento.fails("pull", "host", code=2)
    assert "is empty" in bento.fails("pull", "", code=2)
    assert "no such image" in bento.fails("push", "none", place.name("none:1"))
    assert bento("images", "-q").stdout == ""
    assert_clean(bento)


def test_a_layer_that_is_not_what_was_promised_never_becomes_visible(bento: BentoCli, scratch) -> None:
    layout = webimages.layout()
    with registry(scratch) as place:
        place.push(f"oci:{layout}:base", "base:1")
        digest = json.loads(raw(place, "base:1"))["layers"][0]["digest"]
        blob = place.blob(digest)
        content = blob.read_bytes()
        blob.write_bytes(content[:-8] + b"damaged!")
        line = bento.fails("pull", place.name("base:1"))
        assert "digest differs" in line
        assert not (bento.roots.root / "blobs/sha256" / digest.removeprefix("sha256:")).exists()
        assert bento("images", "-q").stdout == ""
        assert_clean(bento)
        blob.write_bytes(content)
        assert bento("run", "--rm", place.name("base:1"), "echo", "whole").stdout == "whole\n"


def test_other_engines_stores_are_read_and_written(
    bento: BentoCli, place: Registry, leak_check: leaks.LeakWatch
) -> None:
    base = leak_check.base
    store = f"containers-storage:[vfs@{base}/c+{base}/cr]localhost/b:1"
    skopeo("copy", "--src-tls-verify=false", f"docker://{place.name('base:2')}", store)
    bento("pull", "-q", place.name("base:2"))
    identifier = image(bento, place.name("base:2"))["Id"]
    assert bento("pull", "-q", store).stdout == "localhost/b:1\n"
    assert image(bento, "localhost/b:1")["Id"] == identifier
    assert bento("run", "--rm", "localhost/b:1", "echo", "x").stdout == "x\n"
    for kind in ("oci", "dir"):
        target = f"{kind}:{base}/{kind}"
        bento("push", "-q", "localhost/b:1", target)
        assert bento("pull", "-q", target).stdout.strip() == bento("pull", "-q", target).stdout.strip()
        assert skopeo("inspect", "--raw", target)
    bento("push", "-q", "localhost/b:1", store.replace("localhost/b:1", "localhost/c:1"))
    assert skopeo("inspect", "--raw", store.replace("localhost/b:1", "localhost/c:1"))


def test_an_imported_image_can_be_pushed_and_pulled_elsewhere(
    bento: BentoCli, place: Registry, leak_check: leaks.LeakWatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (tmp_path / "bin/busybox").chmod(0o755)
    bento("import", "-c", 'CMD ["/bin/busybox", "echo", "imported"]', tmp_path, "mine")
    digest = bento("push", "-q", "mine", place.name("mine:1")).stdout.strip()
    bento("rmi", "mine")
    assert bento("run", "--rm", place.name("mine:1")).stdout == "imported\n"
    assert image(bento, place.name("mine:1"))["Digest"] == digest
    assert_one_line(bento("push", "mine", check=False), "no such image")
