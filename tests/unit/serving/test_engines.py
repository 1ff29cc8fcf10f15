"""The threads that call the engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bento.errors import KernelError
from bento.serving.engines import Engines


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "refused"), TimeoutError(), BrokenPipeError(32, "gone")])
@pytest.mark.parametrize("verb", ["ask", "act"])
def test_an_error_of_the_engines_sockets_is_an_answer_and_ends_no_connection(
    monkeypatch: pytest.MonkeyPatch, error: OSError, verb: str
) -> None:
    def fail(engine: object) -> None:
        raise error

    async def ask() -> None:
        unused: Any = None
        engines = Engines(unused, unused)
        monkeypatch.setattr(engines, "_engine", object)
        try:
            await getattr(engines, verb)(fail)
        finally:
            engines.close()

    with pytest.raises(KernelError):
        asyncio.run(ask())
