"""Uploads a blob to a broker as the controller does. Refuses to know which devices will fetch it."""

import asyncio
import random

from contract.blobs import Blob
from controller.broker.link import ControllerLink
from controller.broker.messages import Retained, chunk_messages
from controller.config import BrokerConfig

UPLOADED = "edgeward/v1/pub/uploaded"
CONNECTED_S = 30.0
UPLOADED_S = 120.0


def upload(url: str, data: bytes, blob: Blob) -> None:
    """Retains a blob by the controller's own link. Returns once the broker has all chunks; TimeoutError otherwise."""

    async def run() -> None:
        connected, held = asyncio.Event(), asyncio.Event()
        link = ControllerLink(
            f"upload-{random.random()}",
            url,
            BrokerConfig(),
            [UPLOADED],
            loop=asyncio.get_running_loop(),
            on_message=lambda *_: held.set(),
            on_connected=connected.set,
        )
        link.start()
        try:
            await asyncio.wait_for(connected.wait(), CONNECTED_S)
            link.retain(chunk_messages(blob, data))
            link.retain([Retained(UPLOADED, b"")])
            await asyncio.wait_for(held.wait(), UPLOADED_S)
        finally:
            link.stop()

    asyncio.run(run())
