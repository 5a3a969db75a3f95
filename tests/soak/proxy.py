#!/usr/bin/env python3
"""Connections that can be made silent, cut or moved, for scripts/soak.

    proxy.py CONTROL NAME=LISTEN=TARGET...

LISTEN and TARGET are `unix:PATH` or `tcp:HOST:PORT`. Prints `ready` when it listens. Commands come as lines on the
Unix socket CONTROL, each answered `ok` or `error: ...`:

    freeze NAME          no byte passes any more, on old and new connections; all stay open
    freeze-old NAME      the same for the connections there are; new ones work
    cut NAME             all connections are closed, and new ones at once
    open NAME            back to normal. What `freeze` kept goes on; what `freeze-old` made silent stays silent
    target NAME TARGET   where new connections go

A connection that is silent and closed by one side is closed for the other side too: the far end must not keep the
locks of a client that has long given up.
"""

import asyncio
import os
import sys

BUFFER_LIMIT = 4 * 1024 * 1024


def address(text):
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return ("unix", rest)
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not port.isdigit():
        raise ValueError(f"no such address: {text}")
    return ("tcp", host, int(port))


class Side(asyncio.Protocol):
    """One end of a connection: the client's or the target's."""

    def __init__(self, pair):
        self.pair = pair
        self.peer = None
        self.transport = None
        self.kept = []
        self.size = 0

    def connection_made(self, transport):
        self.transport = transport
        self.pair.made(self)

    def data_received(self, data):
        self.kept.append(data)
        self.size += len(data)
        self.pass_on()
        if self.size > BUFFER_LIMIT:
            self.pair.close()

    def pass_on(self):
        peer = self.peer
        if self.pair.silent() or peer is None or peer.transport is None:
            return
        for data in self.kept:
            peer.transport.write(data)
        self.kept.clear()
        self.size = 0

    def connection_lost(self, _error):
        self.pair.lost(self)


class Pair:
    """A client's connection and ours to the target."""

    def __init__(self, way):
        self.way = way
        self.client = Side(self)
        self.target = None
        self.frozen = False

    def silent(self):
        return self.frozen or self.way.frozen

    def made(self, side):
        if side is not self.client:
            return
        if self.way.is_cut:
            side.transport.abort()
            return
        self.way.pairs.add(self)
        self.way.proxy.spawn(self.connect())

    async def connect(self):
        target = Side(self)
        loop = asyncio.get_running_loop()
        try:
            kind, *where = self.way.target
            if kind == "unix":
                await loop.create_unix_connection(lambda: target, *where)
            else:
                await loop.create_connection(lambda: target, *where)
        except OSError:
            # As if the target itself had refused.
            self.close()
            return
        if self.client.transport.is_closing():
            target.transport.abort()
            return
        self.target = target
        self.client.peer, target.peer = target, self.client
        self.client.pass_on()

    def lost(self, side):
        self.way.pairs.discard(self)
        other = side.peer
        if other is not None and other.transport is not None and not other.transport.is_closing():
            if self.silent():
                other.transport.abort()
            else:
                side.pass_on()
                other.transport.close()

    def close(self):
        for side in (self.client, self.target):
            if side is not None and side.transport is not None:
                side.transport.abort()


class Way:
    """One address that we listen on, and where it leads."""

    def __init__(self, proxy, listen, target):
        self.proxy = proxy
        self.listen = listen
        self.target = target
        self.pairs = set()
        self.frozen = False
        self.is_cut = False

    async def start(self):
        loop = asyncio.get_running_loop()
        kind, *where = self.listen
        if kind == "unix":
            return await loop.create_unix_server(lambda: Pair(self).client, *where)
        return await loop.create_server(lambda: Pair(self).client, *where)

    def command(self, word, rest):
        if word == "freeze":
            self.frozen = True
        elif word == "freeze-old":
            for pair in self.pairs:
                pair.frozen = True
        elif word == "cut":
            self.is_cut = True
            for pair in list(self.pairs):
                pair.close()
        elif word == "open":
            self.frozen = self.is_cut = False
            for pair in list(self.pairs):
                for side in (pair.client, pair.target):
                    if side is not None:
                        side.pass_on()
        elif word == "target":
            self.target = address(rest[0])
        else:
            raise ValueError(f"no such command: {word}")


class Proxy:
    def __init__(self, words):
        self.ways = {}
        self.tasks = set()
        for word in words:
            name, listen, target = word.split("=")
            self.ways[name] = Way(self, address(listen), address(target))

    def spawn(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def control(self, reader, writer):
        while line := await reader.readline():
            try:
                word, name, *rest = line.decode().split()
                self.ways[name].command(word, rest)
                answer = "ok"
            except (ValueError, KeyError, IndexError) as error:
                answer = f"error: {error!r}"
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        writer.close()

    async def run(self, control):
        for way in self.ways.values():
            await way.start()
        await asyncio.start_unix_server(self.control, control)
        print("ready", flush=True)
        await asyncio.Event().wait()


def send(control, words):
    """For scripts: `proxy.py --send CONTROL COMMAND NAME...`"""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(control)
        connection.sendall((" ".join(words) + "\n").encode())
        answer = connection.makefile().readline().strip()
    if answer != "ok":
        sys.exit(answer or "no answer")


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__)
    if arguments[0] == "--send":
        send(arguments[1], arguments[2:])
        return
    os.umask(0o077)
    try:
        asyncio.run(Proxy(arguments[1:]).run(arguments[0]))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
