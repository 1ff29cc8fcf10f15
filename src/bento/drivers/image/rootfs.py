"""Root filesystems as images: a directory or a tar archive becomes one layer, stored under the hash of its content.

Both go one way: a tar stream, hashed and unpacked by GNU tar in one pass. A layer's name is the sha256 of the
*uncompressed* stream (OCI image-spec: its DiffID), so that the same archive, compressed or not, is the same layer. Of a
directory, tar writes a stream that depends on nothing but the files: sorted, without access and change times.

A layer is unpacked beside its place and renamed into it when it is complete and on disk. What an interrupted import
leaves is one directory ``tmp-*``. Imports, and the programs that unpack for them, share a lock on the ``layers``
directory; who gets it alone knows that each ``tmp-*`` is a leftover.

A second lock, on the file ``layers.lock`` and held for moments only, keeps records and layers together: shared by who
makes a record that stands on a layer, exclusive for who puts a layer in its place or takes it away. Both are flock(2):
gone with their holder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from bento.command import run
from bento.drivers.image.base import nothing
from bento.drivers.image.source import Source
from bento.errors import BentoError, NotPermitted, StorageUnusable
from bento.kernel.tree import remove_tree
from bento.model.image import Image, ImageConfig

_TEMPORARY: Final = "tmp-"
_SYNC_LIMIT_S: Final = 600.0


class RootfsImages:
    """An ImageDriver below ``<root>/layers``. Safe between processes; keeps nothing in memory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._layers = root / "layers"
        self._lock_path = root / "layers.lock"

    def import_rootfs(
        self, source: Path, name: str, config: ImageConfig, record: Callable[[Image], Iterable[str]] = nothing
    ) -> Image:
        """Copy a directory, or unpack an archive, into a layer; have the image recorded, and return it.

        ``source`` is a directory (of which other filesystems mounted below are left out), a tar archive, plain or
        compressed by gzip, bzip2, xz or zstd, or ``-``: an archive on standard input. Blocks for as long as that
        takes. Members that would leave the directory make the import fail, or land inside. Idempotent: what is there
        already is used again. ``record``: see ImageDriver.

        Raises UsageError when there is nothing usable at ``source``, StorageUnusable when the disk is full,
        NotPermitted, MissingTool; then nothing is left below the root.
        """
        lock = self._shared_lock()
        try:
            temporary = self._temporary()
            try:
                image = self._unpack(source, name, config, temporary, lock)
                doomed = self._settle(image, temporary, record)
            finally:
                remove_tree(temporary)
            for path in doomed:
                remove_tree(path)
            return image
        except OSError as error:
            raise self._explain(error) from error
        finally:
            os.close(lock)

    def kept(self) -> AbstractContextManager[None]:
        """Return a context in which no layer goes. Blocks for moments at its beginning; many may be in it."""
        return self._changing(fcntl.LOCK_SH)

    def remove_layers(self, choose: Callable[[], Iterable[str]]) -> list[str]:
        """Delete the layers that ``choose`` returns, and return those that were there. See ImageDriver.

        Layers that are not below this root, such as the machine's own /, are left alone.
        """
        lock = self._shared_lock()  # what is deleted here is no leftover yet
        try:
            with self._changing(fcntl.LOCK_EX):
                doomed = self._withdraw(choose())
            for path in doomed.values():
                remove_tree(path)
            return list(doomed)
        except OSError as error:
            raise self._explain(error) from error
        finally:
            os.close(lock)

    def layers(self) -> list[str]:
        """Return the complete layers on disk."""
        return [os.fspath(self._layers / name) for name in self._names() if not name.startswith(_TEMPORARY)]

    def leftovers(self) -> list[str]:
        """Return what interrupted imports and removals have left; empty while one is under way."""
        return self._with_leftovers(is_removing=False)

    def remove_leftovers(self) -> list[str]:
        """Delete what ``leftovers`` names; return it. Idempotent."""
        return self._with_leftovers(is_removing=True)

    def _with_leftovers(self, *, is_removing: bool) -> list[str]:
        if not any(name.startswith(_TEMPORARY) for name in self._names()):
            return []
        lock = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = [name for name in self._names() if name.startswith(_TEMPORARY)]
            for name in found if is_removing else ():
                remove_tree(self._layers / name)
            return found
        except BlockingIOError:
            return []
        finally:
            os.close(lock)

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self._layers))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._explain(error) from error

    def _shared_lock(self) -> int:
        try:
            os.makedirs(self._layers, mode=0o700, exist_ok=True)
            lock = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._explain(error) from error
        fcntl.flock(lock, fcntl.LOCK_SH)
        return lock

    @contextmanager
    def _changing(self, kind: int) -> Iterator[None]:
        try:
            os.makedirs(self._root, mode=0o711, exist_ok=True)
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._explain(error) from error
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)

    def _temporary(self) -> Path:
        return self._layers / f"{_TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}"

    def _unpack(self, path: Path, name: str, config: ImageConfig, temporary: Path, lock: int) -> Image:
        # Only an import pays for hashing: loading OpenSSL would be felt at every stop.
        from bento.drivers.image.unpack import Unpacking, image_id

        source = Source(path)
        try:
            temporary.mkdir(mode=0o755)
            temporary.chmod(0o755)  # an archive without an entry for its root: what a root directory should be
            unpacking = Unpacking(source, temporary, root=self._root, lock=lock)
            unpacking.run()
        finally:
            source.close()
        return Image(
            id=image_id(unpacking.digest, config),
            name=name,
            layers=(os.fspath(self._layers / unpacking.digest),),
            config=config,
            created_unix_ns=time.time_ns(),
            size_bytes=unpacking.size_bytes,
        )

    def _settle(self, image: Image, temporary: Path, record: Callable[[Image], Iterable[str]]) -> Iterable[Path]:
        """Put the layer in its place and have it recorded, as one; return what is to be deleted now."""
        layer = Path(image.layers[0])
        is_written = not layer.is_dir()
        if is_written:
            self._write_out(temporary)
        with self._changing(fcntl.LOCK_EX):
            is_new = not layer.is_dir()
            if is_new:
                if not is_written:  # removed in the last moment
                    self._write_out(temporary)
                os.rename(temporary, layer)
            try:
                unused = record(image)
            except BaseException:
                if is_new:
                    os.rename(layer, temporary)
                raise
            return self._withdraw(unused).values()

    def _withdraw(self, layers: Iterable[str]) -> dict[str, Path]:
        """Take layers away from their names, so that none half deleted is ever taken for a whole one.

        Returns where they are now.
        """
        doomed: dict[str, Path] = {}
        for layer in map(Path, layers):
            if layer.parent == self._layers and not layer.name.startswith("."):
                away = self._temporary()
                try:
                    os.rename(layer, away)
                except FileNotFoundError:
                    continue
                doomed[os.fspath(layer)] = away
        return doomed

    def _write_out(self, temporary: Path) -> None:
        # A layer's name promises the content for ever, also after a power cut: rename(2) says nothing about the files.
        written = run(["sync", "--file-system", os.fspath(temporary)], timeout_s=_SYNC_LIMIT_S)
        if written.returncode != 0:
            raise StorageUnusable(
                f"the layer could not be written to disk: {written.stderr.strip()}", hint="see the kernel's log"
            )

    def _explain(self, error: OSError) -> BentoError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageUnusable(f"the disk of {self._root} is full", hint="free some space and try again")
        if isinstance(error, PermissionError):
            return NotPermitted(f"{error.filename or self._layers} may not be used by this user", hint="run as root")
        if error.errno == errno.EROFS:
            return StorageUnusable(f"{self._root} is on a read-only filesystem", hint="choose another --root")
        return StorageUnusable(f"{error.filename or self._layers}: {error.strerror}", hint="choose another --root")
