"""Blobs in an S3-compatible bucket. The API redirects a caller there, to an address that is valid for an hour.

Decides when a blob is uploaded (when it is first requested), and when the bucket is checked for it again. The client is
obstore. Credentials are in the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`), or come from
the machine's own role. Refuses to know the caller.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from contract.errors import BadInput, Code
from controller.background import Background

if TYPE_CHECKING:
    from obstore.store import S3Store

ADDRESS_S = 3600
LOOK_AGAIN_S = 3600.0
"""Seconds until a known object is checked again, because other programs may delete objects."""
RETRY_S = 60.0
"""Seconds until the next attempt after a failure of the bucket."""
TIMEOUT_S = 60
"""Seconds for one request. A long upload is split into parts of one request each."""
MAX_RETRIES = 2

_log = logging.getLogger("edgeward.bucket")


class Bucket:
    """One bucket, `s3://name/prefix`; `now` returns monotonic seconds. BadInput `config_invalid` without obstore."""

    def __init__(self, url: str, endpoint: str, now: Callable[[], float]) -> None:
        self._url = url
        self._store = _store(url, endpoint)
        self._now = now
        self._look_at: dict[str, float] = {}
        """The time of the next check or upload of each blob. Blobs that are in the bucket are in `_there`."""
        self._there: set[str] = set()
        self._background = Background()
        self._one_at_a_time = asyncio.Lock()

    def address(self, digest: str, path: Path) -> str | None:
        """Returns a presigned address of the blob.

        Returns None while the blob is not in the bucket; then its upload begins, and the API serves it meanwhile.
        """
        if self._now() >= self._look_at.get(digest, 0.0):
            self._look_at[digest] = self._now() + RETRY_S
            self._background.begin(self._bring(digest, path))
        if digest not in self._there:
            return None
        from obstore import sign

        return sign(self._store, "GET", digest, timedelta(seconds=ADDRESS_S))

    async def stop(self) -> None:
        """Cancels uploads that run."""
        await self._background.stop()

    async def _bring(self, digest: str, path: Path) -> None:
        from obstore.exceptions import BaseError

        async with self._one_at_a_time:
            try:
                await self._put_if_missing(digest, path)
            except (BaseError, OSError) as error:
                self._there.discard(digest)
                _log.warning("bucket %s: %s", self._url, str(error).partition("\n")[0][:300])
                return
        self._there.add(digest)
        self._look_at[digest] = self._now() + LOOK_AGAIN_S

    async def _put_if_missing(self, digest: str, path: Path) -> None:
        from obstore import head_async, put_async

        try:
            if (await head_async(self._store, digest))["size"] == path.stat().st_size:
                return
        except FileNotFoundError:
            pass
        await put_async(self._store, digest, path)
        _log.info("uploaded %s to bucket %s", digest[:12], self._url)


def _store(url: str, endpoint: str) -> "S3Store":
    try:
        from obstore.store import S3Store
    except ImportError:
        words = "publish.bucket needs obstore: pip install 'edgeward[controller,s3]'"
        raise BadInput(Code.CONFIG_INVALID, words) from None
    parts = urlsplit(url)
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        endpoint=endpoint or None,
        client_options={"allow_http": endpoint.startswith("http:"), "timeout": f"{TIMEOUT_S}s"},
        retry_config={"max_retries": MAX_RETRIES},
    )
