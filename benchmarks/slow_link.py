"""A slow link: a TCP proxy with a limited rate, in a thread. It can cut connections, and counts bytes to the device."""

import asyncio
import contextlib
import socket
import threading

STEP_BYTES = 4096


class SlowLink:
    """Forwards a free local port to `port` of this machine. `bytes_s` limits the bytes a second towards the device."""

    def __init__(self, port: int, bytes_s: float) -> None:
        self.bytes_down = 0
        self.port = 0
        self._to = port
        self._bytes_s = bytes_s
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        self._ready.wait()

    def cut(self) -> None:
        """Closes every connection that is open now."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0, limit=STEP_BYTES))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        made.setblocking(False)
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            await self._loop.sock_connect(made, ("127.0.0.1", self._to))
            down, up = await asyncio.open_connection(sock=made, limit=STEP_BYTES)
            await asyncio.gather(self._up(reader, up), self._down(down, writer), return_exceptions=True)
        self._writers.discard(writer)
        writer.close()

    async def _up(self, reader: asyncio.StreamReader, up: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(STEP_BYTES):
                up.write(data)
                await up.drain()
        finally:
            up.close()

    async def _down(self, down: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        free_at = self._loop.time()
        try:
            while data := await down.read(STEP_BYTES):
                free_at = max(free_at, self._loop.time()) + len(data) / self._bytes_s
                await asyncio.sleep(free_at - self._loop.time())
                self.bytes_down += len(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
