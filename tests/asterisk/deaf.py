"""A daemon that dies while it hears of a call's end: questions are passed on, the end of a call is read and dropped.

    deaf.py PORT_FILE AGI_PORT

Listens on a port of loopback, which it writes to PORT_FILE, and passes what is not `end` on to AGI_PORT.
"""

import asyncio
import os
import sys

DEADLINE = 10


async def copy(source, target):
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    target.close()


async def serve(reader, writer, port):
    environment = await asyncio.wait_for(reader.readuntil(b"\n\n"), DEADLINE)
    if b"agi_network_script: end\n" in environment:
        writer.close()
        return
    upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
    upstream_writer.write(environment)
    await asyncio.gather(copy(reader, upstream_writer), copy(upstream_reader, writer), return_exceptions=True)


async def main(port_file, port):
    server = await asyncio.start_server(lambda r, w: serve(r, w, port), "127.0.0.1", 0)
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(f"{server.sockets[0].getsockname()[1]}\n")
    os.rename(port_file + ".new", port_file)
    await server.serve_forever()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
