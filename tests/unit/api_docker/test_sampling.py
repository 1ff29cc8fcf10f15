"""One sample of a container is for all clients that read it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from bento.api_docker.streams import sampling
from bento.api_docker.streams.sampling import Sampling
from bento.engine.views.stats import Sampler
from bento.errors import InternalError, RuntimeFailed
from bento.model.stats import ContainerStats
from bento.serving.engines import Engines


class FakeSampler:
    """Counts its samples; ``left``: how many there are before the container is gone."""

    def __init__(self, left: int = 1000) -> None:
        self.left, self.taken = left, 0

    def sample(self) -> list[ContainerStats]:
        self.taken += 1
        self.left -= 1
        return [ContainerStats(id="a", name=str(self.taken), now=None, before=None)] if self.left >= 0 else []


class FakeEngines:
    error: RuntimeFailed | None = None

    async def ask(self, work: Callable[[Any], Any]) -> Any:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return work(None)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_INTERVAL_S", 0.01)


def follow(made: Sampling, name: str, sampler: FakeSampler):
    return made.follow(name, cast("Sampler", sampler))


def test_clients_share_samples_and_the_last_one_ends_them():
    async def main() -> None:
        made = Sampling(cast("Engines", FakeEngines()))
        first, spare, other = FakeSampler(), FakeSampler(), FakeSampler()
        readers = [follow(made, "a", first), follow(made, "a", spare), follow(made, "b", other)]
        for _ in range(3):
            [one, two, _] = [await anext(reader) for reader in readers]
            assert one == two
        assert spare.taken == 0
        assert other.taken >= 3
        # One that does not read misses what is taken meanwhile.
        last = await anext(readers[0])
        while int((await anext(readers[0])).name) < int(last.name) + 5:
            pass
        assert int((await anext(readers[1])).name) >= int(last.name) + 5
        late = follow(made, "a", spare)
        assert int((await anext(late)).name) > 5  # at once, and not the first
        for reader in (*readers, late):
            assert made.is_at_work
            await reader.aclose()
        assert not made.is_at_work
        taken = first.taken
        await asyncio.sleep(0.05)
        assert first.taken == taken
        made.close()

    asyncio.run(main())


def test_a_container_that_goes_ends_its_readers_alone():
    async def main() -> None:
        made = Sampling(cast("Engines", FakeEngines()))
        short, long = follow(made, "a", FakeSampler(left=2)), follow(made, "b", FakeSampler())
        await anext(long)
        assert [one.name async for one in short][-1] == "2"
        await anext(long)
        await long.aclose()
        assert not made.is_at_work

    asyncio.run(main())


def test_a_container_that_cannot_be_looked_at_ends_its_readers_alone():
    class Broken(FakeSampler):
        def sample(self) -> list[ContainerStats]:
            raise RuntimeFailed("broken")

    async def main() -> None:
        made = Sampling(cast("Engines", FakeEngines()))
        sound = follow(made, "b", FakeSampler())
        await anext(sound)
        with pytest.raises(RuntimeFailed):
            await anext(follow(made, "a", Broken()))
        last = await anext(sound)
        assert int((await anext(sound)).name) > int(last.name)
        await sound.aclose()
        assert not made.is_at_work

    asyncio.run(main())


def test_a_defect_ends_all_readers_and_the_next_one_begins_anew():
    class Defect(FakeSampler):
        def sample(self) -> list[ContainerStats]:
            raise ValueError("a file of the kernel's that has other words")

    async def main() -> None:
        made = Sampling(cast("Engines", FakeEngines()))
        sound = follow(made, "b", FakeSampler())
        await anext(sound)
        for reader in (follow(made, "a", Defect()), sound):
            with pytest.raises(InternalError, match="ValueError"):
                async for _ in reader:
                    pass
        assert not made.is_at_work
        again = follow(made, "b", FakeSampler())
        assert (await anext(again)).name == "1"
        await again.aclose()

    asyncio.run(main())


def test_an_error_reaches_all_readers_and_the_next_one_tries_again():
    async def main() -> None:
        engines = FakeEngines()
        engines.error = RuntimeFailed("broken")
        made = Sampling(cast("Engines", engines))
        for reader in (follow(made, "a", FakeSampler()), follow(made, "b", FakeSampler())):
            with pytest.raises(RuntimeFailed):
                await anext(reader)
        assert not made.is_at_work
        engines.error = None
        again = follow(made, "a", FakeSampler())
        assert (await anext(again)).name == "1"
        await again.aclose()

    asyncio.run(main())
