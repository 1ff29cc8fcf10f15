"""Images moved by skopeo: registries, OCI layouts, directories, other engines' stores.

skopeo keeps neither Docker's manifests nor configurations when it writes an OCI layout: it converts them, which changes
the image's id and drops what OCI has no word for, such as health checks. So only the layers come by ``skopeo copy``;
the manifest and the configuration are asked for as they are (``inspect --raw``), and what is stored here is, byte by
byte, what the source has.

skopeo writes each layer beside its place and renames it into a "shared blob directory" when it is whole, verified and
on disk. That directory is the transfer's own, and holds links to the blobs that the store has already: these it skips.
An inotify watch reports each new one, which is handed on at once.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Final

import msgspec

from bento import log
from bento.command import Child, replay_line, spawn
from bento.drivers.image.base import Inbox
from bento.drivers.transport import login, output, program
from bento.drivers.transport.copying import Copying
from bento.errors import NotPermitted, TransportFailed
from bento.model.transfer import Access, Credentials, OnProgress, TransferProgress
from bento.oci import layout as layouts
from bento.oci.image import Descriptor, Manifest, choose_platform, layer_type, parse_manifest
from bento.oci.layout import blob_path, digest_of, image_manifest, layer_sizes
from bento.oci.packing import HEAD_BYTES
from bento.oci.platform import Platform

REGISTRY: Final = "docker://"
_INSPECT_LIMIT_S: Final = 300.0
"""For a manifest or a configuration: a few KiB. A registry may be slow, but not for ever."""
_RETRIES: Final = "3"
"""For the layers; as podman."""


class SkopeoTransport:
    """A TransportDriver. Keeps nothing between two transfers; safe between threads."""

    def __init__(self, insecure_registries: tuple[str, ...] = ()) -> None:
        """``insecure_registries``, ``HOST[:PORT]``, need not speak TLS, nor have a certificate that is trusted."""
        self._insecure = insecure_registries

    def fetch(
        self, source: str, inbox: Inbox, *, access: Access, platform: Platform, on_progress: OnProgress | None = None
    ) -> str:
        """See TransportDriver."""
        with _Session(source, inbox, access, self._insecure) as session:
            raw = session.inspect(source, "--raw")
            _check_promise(source, raw)
            parsed = parse_manifest(raw)
            if isinstance(parsed, Manifest):
                return session.bring(source, [], raw, parsed, on_progress)
            if not source.startswith(REGISTRY):  # other transports cannot name one image of several by its digest
                return session.bring(source, _overrides(platform), b"", None, on_progress)
            source = f"{_repository(source)}@{choose_platform(parsed, platform).digest}"
            raw = session.inspect(source, "--raw")
            _check_promise(source, raw)
            return session.bring(source, [], raw, image_manifest(raw), on_progress)

    def look(self, source: str, inbox: Inbox, *, access: Access) -> tuple[bytes, bytes]:
        """See TransportDriver."""
        with _Session(source, inbox, access, self._insecure) as session:
            raw = session.inspect(source, "--raw")
            _check_promise(source, raw)
            is_one = isinstance(parse_manifest(raw), Manifest)
            return raw, session.inspect(source, "--config", "--raw") if is_one else b""

    def send(
        self, manifest: bytes, blobs: Path, inbox: Inbox, destination: str, *, access: Access,
        on_progress: OnProgress | None = None,
    ) -> str:  # fmt: skip
        """See TransportDriver."""
        with _Session(destination, inbox, access, self._insecure) as session:
            return session.carry_off(manifest, blobs, destination, on_progress)

    def login(self, registry: str, credentials: Credentials | None, access: Access) -> str:
        """See TransportDriver."""
        return login.login(registry, credentials, access, self._insecure)

    def logout(self, registry: str, access: Access) -> bool:
        """See TransportDriver."""
        return login.logout(registry, access)


class _Session:
    """The skopeo calls of one transfer, and what they have in common. A context."""

    def __init__(self, place: str, inbox: Inbox, access: Access, insecure: tuple[str, ...]) -> None:
        self._what = place.removeprefix(REGISTRY)
        self._inbox = inbox
        host = self._what.partition("/")[0] if place.startswith(REGISTRY) else ""
        self._flags = program.access_flags(access, host, insecure)
        self._program = program.find()
        self._has_login = access.credentials is not None or bool(access.authfile)
        self._secret_fd = _secret(access, host)
        if self._secret_fd is not None:
            self._flags.append(f"authfile=/proc/self/fd/{self._secret_fd}")

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._secret_fd is not None:
            os.close(self._secret_fd)
        if isinstance(error, NotPermitted) and self._has_login:
            raise output.after_login(error) from error

    def inspect(self, source: str, *flags: str) -> bytes:
        """Return a manifest (``--raw``) or configuration (``--config --raw``) as the source has it."""
        with _Answer() as answer:
            answer.begin(self._inspecting(source, *flags, answer=answer))
            return answer.wait(self._what)

    def bring(
        self, source: str, overrides: list[str], raw: bytes, manifest: Manifest | None, on_progress: OnProgress | None
    ) -> str:
        """Have the image stored, and return its manifest's digest. ``raw`` and ``manifest`` where they are known.

        The configuration is fetched while the layers are.
        """
        if manifest is not None and self._is_complete(manifest, on_progress):
            return self._inbox.add_bytes(raw)
        layout, shared = self._inbox.directory / "layout", self._inbox.directory / "shared"
        (shared / "sha256").mkdir(parents=True)
        sizes = layer_sizes(manifest) if manifest is not None else {}
        for digest in sizes:
            if (known := self._inbox.find(digest)) is not None:
                os.link(known, blob_path(shared, digest))
        argv = [
            *overrides, "copy", "--dest-oci-accept-uncompressed-layers", f"--dest-shared-blob-dir={shared}",
            f"--retry-times={_RETRIES}", *(f"--src-{flag}" for flag in self._flags), source, f"oci:{layout}",
        ]  # fmt: skip
        copying = Copying(sizes, on_progress, arrivals=shared / "sha256", taken=self._arrived)
        with _Answer() as answer:
            answer.begin(self._inspecting(source, *overrides, "--config", "--raw", answer=answer))
            copying.follow(lambda stdout_fd: self._spawn(argv, stdout_fd), self._what)
            config = answer.wait(self._what)
        return self._settle(raw, manifest, config, _read_layout(layout, shared), shared)

    def carry_off(self, manifest: bytes, blobs: Path, destination: str, on_progress: OnProgress | None) -> str:
        """Copy an image of the store; return the digest it has over there."""
        sizes = layer_sizes(image_manifest(manifest))
        layout, written = self._inbox.directory / "layout", self._inbox.directory / "digest"
        _write_layout(layout, manifest)
        kept = "--preserve-digests" if destination.startswith(REGISTRY) else "--dest-oci-accept-uncompressed-layers"
        argv = [
            "copy", kept, f"--src-shared-blob-dir={blobs}", f"--digestfile={written}", f"--retry-times={_RETRIES}",
            *(f"--dest-{flag}" for flag in self._flags), f"oci:{layout}", destination,
        ]  # fmt: skip
        Copying(sizes, on_progress).follow(lambda stdout_fd: self._spawn(argv, stdout_fd), self._what)
        return written.read_text(encoding="ascii").strip()

    def _settle(self, raw: bytes, manifest: Manifest | None, config: bytes, came: bytes, shared: Path) -> str:
        """Store configuration and manifest: the source's own, where that is what has come.

        Another engine's store has the layers uncompressed, or packed anew, so that its manifest is not true of them.
        """
        brought = image_manifest(came)
        for digest in layer_sizes(brought):
            if self._inbox.find(digest) is None and not blob_path(shared, digest).exists():
                # skopeo leaves out what its manifest has addresses for. An image does not choose the hosts that root
                # connects to.
                raise TransportFailed(
                    f"{self._what}: its layer {digest} is to be fetched from elsewhere, as its manifest says",
                    hint="save the image on a machine that has all of it, and load it here",
                )
        if manifest is None or _digests(manifest) != _digests(brought):
            layers = [_as_it_is(layer, shared) for layer in brought.layers]
            is_true = list(brought.layers) == layers and brought.config.digest == digest_of(config)
            raw = came if is_true else layouts.generate(config, layers)
            for layer in layers:
                self._inbox.take(layer.digest, blob_path(shared, layer.digest))
        elif manifest.config.digest != digest_of(config):
            raise TransportFailed(f"{self._what}: its configuration is not what its manifest says", hint="try again")
        self._inbox.add_bytes(config)
        return self._inbox.add_bytes(raw)

    def _arrived(self, digest: str, path: Path) -> None:
        self._inbox.take(digest, path)
        self._inbox.begin_layer(digest)

    def _is_complete(self, manifest: Manifest, on_progress: OnProgress | None) -> bool:
        if any(self._inbox.find(digest) is None for digest in (manifest.config.digest, *layer_sizes(manifest))):
            return False
        for digest, size in layer_sizes(manifest).items() if on_progress is not None else ():
            assert on_progress is not None
            on_progress(TransferProgress(digest=digest, phase="present", done_bytes=size, total_bytes=size))
        return True

    def _inspecting(self, source: str, *words: str, answer: _Answer) -> Child:
        overrides = [word for word in words if word.startswith("--override")]
        rest = [word for word in words if not word.startswith("--override")]
        argv = [*overrides, "inspect", *rest, *(f"--{flag}" for flag in self._flags), source]
        return self._spawn(argv, answer.fd)

    def _spawn(self, words: list[str], stdout_fd: int | None) -> Child:
        argv = [*self._program, *words]
        log.debug(f"run: {replay_line(argv)}")
        env = program.environment()
        env["TMPDIR"] = os.fspath(self._inbox.directory)  # what it puts there may be as large as all layers
        passed = [fd for fd in (self._inbox.lock_fd, self._secret_fd) if fd is not None]
        # A session of its own: the terminal's Ctrl-C is for us, and we end it.
        return spawn(argv, env=env, stdout_fd=stdout_fd, pass_fds=tuple(passed), new_session=True)


class _Answer:
    """What a child writes on its standard output, of any length. A context, which ends the child."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("answer", os.MFD_CLOEXEC)
        self._child: Child | None = None

    def begin(self, child: Child) -> None:
        """Take over the child that writes to ``fd``."""
        self._child = child

    def wait(self, what: str) -> bytes:
        """Return it all. Blocks until the child has ended. Raises what ``output.explain`` makes of a failure."""
        assert self._child is not None
        done = self._child.finish(_INSPECT_LIMIT_S)
        if done.returncode != 0:
            raise output.explain(done.stderr, what)
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._child is not None:
                self._child.kill()
        finally:
            os.close(self.fd)


def _secret(access: Access, host: str) -> int | None:
    """Return a file in memory with the credentials: on no command line, on no disk, gone with its holder."""
    if access.credentials is None:
        return None
    word = f"{access.credentials.user}:{access.credentials.password}".encode()
    entry = {"auth": base64.b64encode(word).decode()}
    if access.credentials.identity_token:
        entry["identitytoken"] = access.credentials.identity_token
    auth = {"auths": {host: entry}}
    fd = os.memfd_create("auth", os.MFD_CLOEXEC)
    os.write(fd, msgspec.json.encode(auth))
    return fd


def _digests(manifest: Manifest) -> list[str]:
    return [layer.digest for layer in manifest.layers]


def _as_it_is(layer: Descriptor, shared: Path) -> Descriptor:
    """Type a layer by what it holds: skopeo calls also those gzip that it has not packed."""
    path = blob_path(shared, layer.digest)
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    return Descriptor(layer_type(head), layer.digest, path.stat().st_size)


def _write_layout(layout: Path, manifest: bytes) -> None:
    """Write a layout that names one image, whose blobs lie elsewhere (skopeo's "shared blob directory")."""
    layout.mkdir()
    (layout / layouts.LAYOUT_FILE).write_bytes(layouts.LAYOUT_CONTENT)
    (layout / "index.json").write_bytes(layouts.index([layouts.descriptor(manifest)]))


def _read_layout(layout: Path, shared: Path) -> bytes:
    """Return the manifest of the one image that skopeo has written. Raises TransportFailed."""
    try:
        index = msgspec.json.decode((layout / "index.json").read_bytes())
        return blob_path(shared, index["manifests"][0]["digest"]).read_bytes()
    except (OSError, msgspec.DecodeError, LookupError, TypeError, AttributeError) as error:
        raise TransportFailed(f"skopeo has written no image: {error}", hint="is it older than 1.9?") from None


def _overrides(platform: Platform) -> list[str]:
    named = (("os", platform.os), ("arch", platform.architecture), ("variant", platform.variant))
    return [f"--override-{name}={value}" for name, value in named if value]


def _repository(source: str) -> str:
    """``docker://HOST/PATH`` without tag and digest."""
    name = source.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _check_promise(source: str, content: bytes) -> None:
    """A request for a digest gets that, or nothing."""
    _, at, wanted = source.partition("@")
    if at and source.startswith(REGISTRY) and digest_of(content) != wanted:
        raise TransportFailed(
            f"{source.removeprefix(REGISTRY)}: what came has digest {digest_of(content)}", hint="try again"
        )
