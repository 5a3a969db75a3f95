"""The proxy does what the faults say: silence, cuts, a move; and a close is passed on even in silence."""

import asyncio
import os
import tempfile
import unittest

import proxy


class Ways(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.left = []
        self.open = []
        await self.server("a")
        await self.server("b")
        self.proxy = proxy.Proxy([f"way=unix:{self.path('way')}=unix:{self.path('a')}"])
        self.way = self.proxy.ways["way"]
        self.listening = await self.way.start()

    async def asyncTearDown(self):
        self.way.command("open", [])
        for pair in list(self.way.pairs):
            pair.close()
        for end in self.open:
            end.close()
        self.listening.close()
        # Until all has noticed.
        await asyncio.sleep(0.05)
        self.dir.cleanup()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    async def server(self, name):
        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(name.encode() + b" " + line)
            self.left.append(name)
            writer.close()

        self.open.append(await asyncio.start_unix_server(serve, self.path(name)))

    async def ask(self, connection, word, seconds=5):
        reader, writer = connection
        writer.write(word + b"\n")
        return await asyncio.wait_for(reader.readline(), seconds)

    async def connect(self):
        reader, writer = await asyncio.open_unix_connection(self.path("way"))
        self.open.append(writer)
        return reader, writer

    async def test_bytes_pass_both_ways(self):
        self.assertEqual(await self.ask(await self.connect(), b"hello"), b"a hello\n")

    async def test_frozen_connections_go_on_afterwards_and_lose_nothing(self):
        connection = await self.connect()
        await self.ask(connection, b"one")
        self.way.command("freeze", [])
        with self.assertRaises(asyncio.TimeoutError):
            await self.ask(connection, b"two", 0.2)
        fresh = await self.connect()
        with self.assertRaises(asyncio.TimeoutError):
            await self.ask(fresh, b"three", 0.2)
        self.way.command("open", [])
        self.assertEqual(await asyncio.wait_for(connection[0].readline(), 5), b"a two\n")
        self.assertEqual(await asyncio.wait_for(fresh[0].readline(), 5), b"a three\n")

    async def test_old_connections_stay_silent_for_ever_and_new_ones_work(self):
        old = await self.connect()
        await self.ask(old, b"one")
        self.way.command("freeze-old", [])
        self.assertEqual(await self.ask(await self.connect(), b"two"), b"a two\n")
        self.way.command("open", [])
        with self.assertRaises(asyncio.TimeoutError):
            await self.ask(old, b"three", 0.2)
        # Its client gives up: the server must learn of it.
        old[1].close()
        for _ in range(100):
            if self.left:
                break
            await asyncio.sleep(0.05)
        self.assertEqual(self.left, ["a"])

    async def test_a_cut_closes_old_and_new_connections(self):
        old = await self.connect()
        await self.ask(old, b"one")
        self.way.command("cut", [])
        for connection in (old, await self.connect()):
            try:
                self.assertEqual(await asyncio.wait_for(connection[0].read(), 5), b"")
            except ConnectionError:
                pass
        self.way.command("open", [])
        self.assertEqual(await self.ask(await self.connect(), b"two"), b"a two\n")

    async def test_new_connections_go_where_the_target_moved(self):
        old = await self.connect()
        await self.ask(old, b"one")
        self.way.command("target", [f"unix:{self.path('b')}"])
        self.assertEqual(await self.ask(await self.connect(), b"two"), b"b two\n")
        self.assertEqual(await self.ask(old, b"three"), b"a three\n")

    async def test_a_target_that_is_away_closes_the_client(self):
        self.way.command("target", [f"unix:{self.path('nobody')}"])
        reader, _ = await self.connect()
        try:
            self.assertEqual(await asyncio.wait_for(reader.read(), 5), b"")
        except ConnectionError:
            pass

    def test_addresses(self):
        self.assertEqual(proxy.address("tcp:127.0.0.1:80"), ("tcp", "127.0.0.1", 80))
        self.assertEqual(proxy.address("unix:/a/b"), ("unix", "/a/b"))
        with self.assertRaises(ValueError):
            proxy.address("http://x")


if __name__ == "__main__":
    unittest.main()
