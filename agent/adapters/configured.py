"""The adapters that a configuration asks for. Each is imported only if it is asked for: most devices use few of them.

Decides which adapter an address or a setting means. Refuses to know what is done with it.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agent.config import Broker, Config, ServingConfig, check_serve_at
from agent.ports import Link
from agent.serving.slot import ModelSlot
from agent.stimuli import Stimulus
from agent.transfer.carriers import Carrier
from contract.protocol import VERSION
from contract.signatures import Sign

if TYPE_CHECKING:
    from agent.adapters.http.blob_server import BlobServer, Find
    from agent.adapters.http.server import HttpServer
    from agent.serving.metrics import Facts

_log = logging.getLogger("edgeward.agent")


class Connection(Link, Protocol):
    """A link with its own thread."""

    def start(self) -> None:
        """Connects in the background, and again whenever the connection ends."""
        ...

    def stop(self) -> None:
        """Disconnects and ends the thread."""
        ...

    def hand_over(self) -> None:
        """Ends without announcing that the device is offline: another connection of the device takes its place."""
        ...

    def revive(self) -> None:
        """Starts the thread again if it has died."""
        ...


def new_connection(
    broker: Broker, device: str, boot: int, deliver: Callable[[Stimulus], None], dropped: Counter[str]
) -> Connection:
    """The link that `broker.url` names: a broker, or a directory. BadInput `config_invalid`.

    `boot` is the number of this start of the agent. `dropped` counts what limits discarded.
    """
    if broker.url.startswith("file:"):
        from agent.adapters.directory_link import DirectoryLink

        return DirectoryLink(broker.url, device, deliver)
    from agent.adapters.mqtt.paho_link import PahoLink

    return PahoLink(broker, device, boot, deliver, dropped=dropped)


def open_source(address: str, deliver: Callable[[Stimulus], None], ca_file: str) -> Carrier:
    """A source of chunks beside the broker."""
    from agent.adapters.sources import Source

    return Source(address, deliver, ca_file)


def new_blob_server(serve_at: str, find: "Find") -> "BlobServer | None":
    """The server that neighbours ask for blobs; None if nothing is to be shared, or if the address cannot be used now.

    An address that does not exist yet, or is not this device's, keeps no model from serving.
    """
    if (address := check_serve_at(serve_at)) is None:
        return None
    from agent.adapters.http.blob_server import BlobServer

    try:
        return BlobServer(*address, find)
    except OSError as error:
        _log.warning("transfer.serve_at %s: %s; nothing is shared", serve_at, error.strerror)
        return None


def new_server(
    config: ServingConfig,
    slots: Callable[[], Mapping[str, ModelSlot]],
    *,
    facts: Callable[[], "Facts"],
    dropped: Counter[str],
    device: str,
) -> "HttpServer":
    """The server of the Open Inference Protocol. asyncio and httptools cost 3 MB and 30 ms. WorldError `port_taken`."""
    from agent.adapters.http.server import HttpServer
    from agent.serving.oip import Endpoint
    from agent.serving.statistics import Statistics

    statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())
    endpoint = Endpoint(
        slots,
        statistics,
        version=VERSION,
        facts=facts,
        ready_when_empty=config.ready_when_empty,
        dropped=dropped,
        device=device,
    )
    return HttpServer(endpoint, config)


class LateSigner:
    """Signs with the device's key, from any thread. The key is read, and cryptography imported, at first use."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._sign: Sign | None = None
        self._code: tuple[str, Sign | None] = ("", None)
        """The controller's public key, and what makes codes with it."""

    def __call__(self, data: bytes) -> str:
        """The signature over `data`. BadInput `config_invalid` if there is no key."""
        sign = self._sign or self._load()
        self._sign = sign
        return sign(data)

    def renewed(self) -> None:
        """Signs all later messages with the key that is valid now."""
        self._sign = self._load()
        self._code = ("", None)

    def code(self, public: str, data: bytes) -> str:
        """The code over `data` that a controller with this public key (PEM) can check; "" if the keys are of
        different kinds.
        """
        if self._code[0] != public:
            from contract.macs import agreed_code

            self._code = (public, agreed_code(self._pem(), public, self._config.device.name))
        make = self._code[1]
        return make(data) if make is not None else ""

    def _load(self) -> Sign:
        from agent.trust.credentials import load_signer
        from contract.keys import signer_of

        broker = self._config.broker
        return load_signer(broker.key_file) if not broker.cert_file else signer_of(self._pem())

    def _pem(self) -> bytes:
        """The device's private key that is valid now."""
        if not self._config.broker.cert_file:
            return Path(self._config.broker.key_file).read_bytes()
        from agent.adapters.renewer import open_pairs

        return open_pairs(self._config).current().key
