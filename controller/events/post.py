"""Sends one POST to an address of the configuration. Redirects are not followed, because a secret would be sent along.

Decides which statuses are final. Refuses to know what is sent and how often.
"""

from collections.abc import Mapping

import aiohttp

from controller.events.attempts import LATER, NotTaken, Refused

TIMEOUT_S = 10.0


async def post(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Sends `body`. Refused for a final status; NotTaken for any other failure, and for a broken connection."""
    try:
        async with session.post(url, data=body, headers=dict(headers), allow_redirects=False) as answer:
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NotTaken(f"{type(error).__name__}: {error}") from error
    if 200 <= status < 300:
        return
    if status < 500 and status not in LATER:
        raise Refused(f"HTTP {status}: not tried again")
    raise NotTaken(f"HTTP {status}")


def new_session() -> aiohttp.ClientSession:
    """Returns a session for one receiver."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
