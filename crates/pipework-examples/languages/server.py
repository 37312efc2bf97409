"""A server on a Unix domain socket, until its input ends: responds to each line with the line in capitals."""

import asyncio
import sys


async def capitals(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main(path):
    server = await asyncio.start_unix_server(capitals, path)
    print(f"serving {path}", flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main(sys.argv[1]))
