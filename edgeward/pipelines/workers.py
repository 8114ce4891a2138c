"""Where steps are performed: processes here, or the workers of a Dask cluster.

Decides how many run at once here, and that a step on a cluster is named by its address. So if a worker dies, another
one repeats its step, and nothing is performed twice. Refuses to know what a step is.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from contract.errors import BadInput, Code, WorldError
from edgeward.pipelines.job import Outcome, Package, Result
from edgeward.pipelines.process import perform

SCHEME = "dask://"
CONNECT_S = 10.0
RETRIES = 3
"""Workers that may die during one step before it counts as the step's fault."""


class Workers(Protocol):
    """Performs packages."""

    def submit(self, address: str, package: Package) -> Future[Outcome]:
        """Begins to perform a package."""
        ...


class LocalWorkers:
    """Processes on this machine, as many as there are processors."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="step")
        self._stopped = threading.Event()

    def submit(self, address: str, package: Package) -> Future[Outcome]:
        """Performs a package in its own process once a processor is free."""
        return self._pool.submit(perform, package, self._stopped.is_set)

    def close(self) -> None:
        """Ends running processes."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)


class DaskWorkers:
    """The workers of a Dask cluster, which have this package installed."""

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError:
            words = f"{SCHEME}{address} needs Dask distributed: pip install 'edgeward[dask]'"
            raise BadInput(Code.CONFIG_INVALID, words) from None
        try:
            connect: Any = distributed.Client
            self._client: Any = connect(f"tcp://{address}", timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError) as error:
            words = f"no Dask scheduler at {address}: {error}; start one with `dask scheduler`"
            raise WorldError(Code.REQUEST_INVALID, words[:400]) from None

    def submit(self, address: str, package: Package) -> Future[Outcome]:
        """Sends a package to the cluster; if a worker dies, another one performs it."""
        raw = msgspec.msgpack.encode(package)
        # The name of the task is the address: the cluster performs it once for one controller, for all callers.
        key = f"edgeward-{address}-{package.environment.get('EDGEWARD_URL', '')}"
        remote = self._client.submit(_perform_there, raw, key=key, retries=RETRIES)
        future: Future[Outcome] = Future()
        thread = threading.Thread(target=_hand_over, args=(remote, future), daemon=True)
        thread.start()
        return future

    def close(self) -> None:
        """Ends the connection; the cluster drops tasks that still run."""
        self._client.close()


@contextmanager
def open_workers(on: str = "") -> Iterator[Workers]:
    """Workers at an address, `dask://host:port`; without one, processes here.

    BadInput `config_invalid` for another address or without Dask; WorldError if there is no answer.
    """
    if on and not on.startswith(SCHEME):
        raise BadInput(Code.CONFIG_INVALID, f"{on!r}: expected dask://host:port, or nothing for processes here")
    workers = DaskWorkers(on.removeprefix(SCHEME)) if on else LocalWorkers(os.cpu_count() or 1)
    try:
        yield workers
    finally:
        workers.close()


def _perform_there(raw: bytes) -> bytes:
    """Performs a package on a worker."""
    return msgspec.msgpack.encode(perform(msgspec.msgpack.decode(raw, type=Package)))


def _hand_over(remote: Any, future: "Future[Outcome]") -> None:
    """Waits for a task of the cluster. A step that has killed every worker has failed by its own fault."""
    try:
        future.set_result(msgspec.msgpack.decode(remote.result(), type=Outcome))
    except Exception as error:
        words = f"died with its workers: {type(error).__name__}: {error}"[:400]
        future.set_result(Outcome(Result(error=words)))
