"""A client of a Unix domain socket: sends its input, prints the response."""

import asyncio
import sys


async def main(path):
    reader, writer = await asyncio.open_unix_connection(path)

    async def send():
        while data := await asyncio.to_thread(sys.stdin.buffer.read, 65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def receive():
        while data := await reader.read(65536):
            sys.stdout.buffer.write(data)

    await asyncio.gather(send(), receive())
    writer.close()
    await writer.wait_closed()


asyncio.run(main(sys.argv[1]))
