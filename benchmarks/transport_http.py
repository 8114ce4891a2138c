"""The comparison for transport: an aiohttp file server, and aiohttp clients that verify and write what they fetch.

`python -m benchmarks.transport_http serve FILE` or `... fetch URL COUNT DIRECTORY SHA256`.
"""

import asyncio
import gc
import hashlib
import json
import sys
import time
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web


def serve(file: Path) -> None:
    """Serves one file at /blob. Prints the free port that it has chosen."""

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/blob", lambda _: web.FileResponse(file))  # type: ignore[arg-type, return-value]
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[union-attr]
        await asyncio.Event().wait()

    asyncio.run(run())


async def fetch(url: str, count: int, directory: Path, sha256: str) -> dict[str, float]:
    """Fetches `url` with `count` clients.

    Returns the seconds until all have the file, and the CPU seconds of this process.
    """

    async def one(session: ClientSession, number: int) -> None:
        sha = hashlib.sha256()
        async with session.get(url) as answer:
            with (directory / f"http-{number}").open("wb") as file:
                async for part in answer.content.iter_chunked(64 * 1024):
                    sha.update(part)
                    file.write(part)
        assert sha.hexdigest() == sha256

    async with ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=None)) as session:
        gc.freeze()  # as the agent links do
        print("READY", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began, began_cpu_s = time.monotonic(), time.process_time()
        await asyncio.gather(*(one(session, number) for number in range(count)))
        return {"took_s": time.monotonic() - began, "cpu_s": time.process_time() - began_cpu_s}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]))
    else:
        print(json.dumps(asyncio.run(fetch(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5]))), flush=True)
        sys.stdin.readline()  # a process that has finished uses no CPU that others need
