"""Images built by buildah (1.28 and newer), with a storage of its own below the engine's root.

Each build runs in a mount and a PID namespace of its own: what it mounts and starts is gone when it has ended, however
it ends. Commands run by chroot isolation (buildah-build(1)): this needs no runtime, no cgroup and no network of its
own. What is made is an archive in Docker's format, since OCI's has no word for a health check.

    <root>/build/storage    layers of base images and of steps: the cache
    <root>/build/run-*      one build: buildah's run root, the context that came on stdin, the archive; flock(2) held

A build holds a shared flock on ``build``; whatever deletes the cache holds it alone.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bento import log
from bento.command import Child, clean_environment, find_program, replay_line, spawn
from bento.errors import BuildFailed, StorageUnusable
from bento.files.tree import remove_tree, taken_bytes
from bento.kernel.process import pidfd, proc
from bento.model.transfer import BuildOptions
from bento.units import SIGKILL

_RUN: Final = "run-"
_IMAGES: Final = "overlay-images/images.json"
_KEPT_VARIABLES: Final = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy",
    "no_proxy", "all_proxy",
)  # fmt: skip
"""The way out of this machine; the builder gets nothing else of the caller's."""
_FOREVER_S: Final = 1e9
_TIDY_S: Final = 60.0
_END_S: Final = 10.0


class _Known(Struct, frozen=True):
    """An image of the storage (containers/storage, images.go): its id is the digest of its configuration."""

    id: str
    names: tuple[str, ...] = ()


class BuildahBuilder:
    """A BuilderDriver below ``<root>/build``. Safe between processes; keeps nothing in memory."""

    def __init__(self, root: Path) -> None:
        self._home = root / "build"

    @contextmanager
    def session(self) -> Iterator[_Session]:
        """See BuilderDriver."""
        program = find_program("buildah", package="buildah")
        with ExitStack() as held:
            try:
                os.makedirs(self._home / "storage", mode=0o700, exist_ok=True)
                self.remove_leftovers()
                held.callback(os.close, _lock(self._home, fcntl.LOCK_SH))
                directory, own = self._make_run()
            except OSError as error:
                what = error.filename or self._home
                raise StorageUnusable(f"{what}: {error.strerror}", hint="is it there, and writable?") from error
            held.callback(os.close, own)
            held.callback(remove_tree, directory)
            session = _Session(program, self._home / "storage", directory)
            held.callback(session.end)
            yield session

    def _make_run(self) -> tuple[Path, int]:
        """Make a build's own directory; return it with its lock. Before it is locked, it may be taken for left over."""
        while True:
            directory = Path(tempfile.mkdtemp(prefix=_RUN, dir=self._home))
            with suppress(FileNotFoundError):
                own = _lock(directory, fcntl.LOCK_EX)
                if directory.exists():
                    return directory, own
                os.close(own)

    def size_bytes(self) -> int:
        """See BuilderDriver."""
        return taken_bytes(self._home) if self._home.exists() else 0

    def used_unix_ns(self) -> int:
        """See BuilderDriver. Each build makes a directory there, and removes it."""
        return os.stat(self._home).st_mtime_ns if self._home.exists() else 0

    def prune(self) -> int:
        """See BuilderDriver."""
        with self._alone() as is_alone:
            if not is_alone:
                return 0
            freed_bytes = self.size_bytes()
            for name in os.listdir(self._home):
                remove_tree(self._home / name)
            return freed_bytes

    def leftovers(self) -> list[str]:
        """See BuilderDriver."""
        return [name for name in self._runs() if _is_free(self._home / name)]

    def remove_leftovers(self) -> list[str]:
        """See BuilderDriver."""
        found = []
        for name in self._runs():
            with suppress(FileNotFoundError, BlockingIOError):
                lock = _lock(self._home / name, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    remove_tree(self._home / name)
                finally:
                    os.close(lock)
                found.append(name)
        return found

    def _runs(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self._home) if name.startswith(_RUN))
        return []

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the cache alone. False where a build goes on, or there has been none."""
        try:
            lock = _lock(self._home, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            yield False
            return
        try:
            yield True
        finally:
            os.close(lock)


class _Session:
    """A BuildSession."""

    def __init__(self, program: Path, storage: Path, directory: Path) -> None:
        self.directory = directory
        self._program, self._storage = program, storage
        self._has_begun = False

    def place_of(self, name: str) -> str:
        """See BuildSession."""
        return f"containers-storage:[overlay@{self._storage}+{self.directory / 'run'}]{name}"

    def has(self, name: str, image_id: str) -> bool:
        """See BuildSession. What cannot be read, or has another form, has nothing: it is put there anew."""
        try:
            known = msgspec.json.decode((self._storage / _IMAGES).read_bytes(), type=list[_Known])
        except (OSError, msgspec.DecodeError):
            return False
        return any(each.id == image_id.removeprefix("sha256:") and name in each.names for each in known)

    def build(self, options: BuildOptions, *, context: Path, containerfile: Path, output_fd: int | None) -> Path:
        """See BuildSession."""
        self._has_begun = True
        identity, archive = self.directory / "id", self.directory / "image.tar"
        words = ["build", *_flags(options), "--iidfile", str(identity), "-f", str(containerfile), str(context)]
        self._run(words, output_fd, "the build failed", has_network=options.network == "host")
        image_id = identity.read_text(encoding="ascii").strip().removeprefix("sha256:")
        self._run(["push", "--format", "v2s2", image_id, f"docker-archive:{archive}"], None, "what was built is lost")
        return archive

    def end(self) -> None:
        """Forget the working containers of a build that was broken off. Others' are kept: their builds go on."""
        if not self._has_begun or (self.directory / "image.tar").exists():
            return
        self._has_begun = False
        with suppress(BuildFailed):
            if _is_alone_in(self._storage.parent):
                self._run(["rm", "--all"], None, "", limit_s=_TIDY_S)

    def _run(
        self, words: Sequence[str], output_fd: int | None, failure: str, *, limit_s: float = _FOREVER_S,
        has_network: bool = False,
    ) -> None:  # fmt: skip
        """Run buildah in namespaces of its own. Raises BuildFailed; whatever is raised, nothing of it runs any more."""
        argv = [
            str(find_program("unshare", package="util-linux")), "--mount", "--pid", "--fork", "--kill-child",
            "--mount-proc", *([] if has_network else ["--net"]), "--",
            str(self._program), "--root", str(self._storage), "--runroot", str(self.directory / "run"),
            "--storage-driver", "overlay", *words,
        ]  # fmt: skip
        log.debug(f"run: {replay_line(argv)}")
        # Should this process be killed, the kernel kills unshare, and with it all that is in its PID namespace.
        argv = [str(find_program("setpriv", package="util-linux")), "--pdeathsig", "KILL", "--", *argv]
        env = clean_environment() | {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        env |= {"TMPDIR": str(self.directory), "BUILDAH_ISOLATION": "chroot"}
        child = spawn(argv, env=env, stdout_fd=output_fd, stderr_fd=output_fd, new_session=True)
        try:
            done = child.finish(limit_s)
        except BaseException:
            _end(child)
            raise
        if done.returncode != 0:
            said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            reason = said[-1].removeprefix("Error: ") if said else f"buildah exited with {done.returncode}"
            raise BuildFailed(f"{failure}: {reason}", hint="" if said else "it has said why")


def _end(child: Child) -> None:
    """Kill all that runs in the PID namespace, and wait for the end of it: that of its first process is the last."""
    fds = []
    for pid in proc.children(child.pid):
        with suppress(ProcessLookupError):
            fds.append(os.pidfd_open(pid))
    child.kill()  # unshare first: it would complain of the end of the other one
    for fd in fds:
        pidfd.send(fd, SIGKILL)
        pidfd.wait(fd, _END_S)
        os.close(fd)


def _flags(options: BuildOptions) -> list[str]:
    flags = ["--isolation", "chroot", "--layers", "--format", "docker", "--pull=never", "--network", "host"]
    flags += [] if options.uses_cache else ["--no-cache"]
    flags += [f"--target={options.target}"] if options.target else []
    flags += [f"--platform={options.platform}"] if options.platform else []
    flags += [f"--build-arg={key}={value}" for key, value in options.build_args]
    return [*flags, *(f"--label={key}={value}" for key, value in options.labels)]


def _lock(directory: Path, how: int) -> int:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, how)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _is_free(directory: Path) -> bool:
    try:
        os.close(_lock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


def _is_alone_in(home: Path) -> bool:
    return len([name for name in os.listdir(home) if name.startswith(_RUN) and not _is_free(home / name)]) == 1
