#!/usr/bin/python3 -BSE
"""aserver.py SOCKET SECONDS [ready=NAME]: the same as server.py in asyncio."""

import asyncio
import os
import signal

from common import PIECES, touch, words

(place, seconds), options = words()


async def main():
    under_way = set()

    async def answer(reader, writer):
        under_way.add(asyncio.current_task())
        for number in range(PIECES):
            writer.write(f"{number}\n".encode())
            await writer.drain()
            while not os.path.exists("go"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(float(seconds) / PIECES)
        writer.write(f"whole {PIECES}\n".encode())
        await writer.drain()
        writer.close()

    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = await asyncio.start_unix_server(answer, place)
    touch(options.get("ready"))  # not ready(): the loop has to serve meanwhile
    await told.wait()
    server.close()
    await asyncio.gather(*under_way)


asyncio.run(main())
