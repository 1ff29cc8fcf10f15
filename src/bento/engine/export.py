"""``export``: a container's root filesystem as one tar archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.engine import inside
from bento.engine.mounting import masked
from bento.errors import as_bento_error
from bento.files.tarout import TarWriter
from bento.files.walk import walk

if TYPE_CHECKING:
    from bento.engine.parts import Parts


def export(parts: Parts, ref: str, fd: int) -> None:
    """Write the archive to ``fd``; what is mounted in the container is not in it. Blocks.

    A container that runs goes on meanwhile; when it ends, so does this: raises WrongState. Raises NotFound,
    BrokenPipeError when nobody reads.
    """
    try:
        with inside.opened(parts, ref, with_mounts=False) as box:
            writer = TarWriter(lambda data: box.write(fd, data))
            left_out = masked(parts, box.container.spec, box.root_fd)
            writer.add_all(walk(box.root_fd, left_out=left_out, check=box.check), "")
            writer.close()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise as_bento_error(error) from error
