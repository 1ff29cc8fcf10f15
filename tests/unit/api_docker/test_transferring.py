"""Images on their way, as clients of ``bento serve`` are told of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from bento.api_docker.transferring import Import, Load, Transfer, carry_out
from bento.errors import UsageError
from bento.wiring import Engine


class Refusing:
    """An engine to which no archive is one."""

    def load(self, source: Path) -> None:
        raise UsageError(f"{source}: this is no tar archive")

    def import_image(self, source: Path, *_: Any, **__: Any) -> None:
        self.load(source)


@pytest.mark.parametrize("task", [Load(), Import(name="a:1")], ids=lambda each: type(each).__name__)
def test_a_client_is_not_told_of_descriptors_of_the_server(task: Transfer):
    fds = os.pipe()
    try:
        with pytest.raises(UsageError, match=r"^the archive: this is no tar archive$"):
            carry_out(cast(Engine, Refusing()), task, *fds)
    finally:
        for fd in fds:
            os.close(fd)
