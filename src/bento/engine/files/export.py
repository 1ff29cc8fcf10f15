"""``export``: a container's root filesystem as one tar archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.engine.files import container_root
from bento.engine.resources.mounting import masked
from bento.errors import as_bento_error
from bento.files.metadata import inside
from bento.files.tarout import TarWriter
from bento.files.walk import walk

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers


def export(drivers: Drivers, ref: str, fd: int) -> None:
    """Write the archive to ``fd``; what is mounted in the container is not in it. Blocks.

    A container that runs goes on meanwhile; when it ends, so does this: raises WrongState. Raises NotFound,
    BrokenPipeError when the reader has gone.
    """
    try:
        with container_root.opened(drivers, ref, with_mounts=False) as box:
            writer = TarWriter(lambda data: box.write(fd, data))
            left_out = masked(drivers, box.container.spec, box.root_fd)
            writer.add_all(inside(walk(box.root_fd, left_out=left_out, check=box.check), box.ids), "")
            writer.close()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise as_bento_error(error) from error
