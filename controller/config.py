"""The controller's configuration: strict TOML, every key with its default here and in configs/controller.toml."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from contract.desired import MAX_SOURCES, Source
from contract.errors import BadInput, Code
from contract.protocol import DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES
from contract.toml_config import decode_toml
from contract.wire import Message

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class StorageConfig(Message, frozen=True):
    """Where everything is kept."""

    data_dir: str = "~/.edgeward"


class ApiConfig(Message, frozen=True):
    """Where the API listens."""

    host: str = "127.0.0.1"
    port: Port = 8470
    """0 picks a free port."""
    max_connections: Annotated[int, msgspec.Meta(ge=4, le=10_000)] = 256
    """One more is told so and closed."""
    max_connections_per_address: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    """Of one address, or of one /64; trusted proxies may have more."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose word about the caller's address counts."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The one header that those proxies set: another one may come from the caller."""
    public_url: str = ""
    """How devices and people reach the API, through a TLS proxy for instance; empty: host and port."""


class BrokerConfig(Message, frozen=True):
    """Which MQTT 5 broker is used, or started."""

    url: str = "auto"
    """auto | mosquitto | embedded (started by the controller), or mqtt://host:port, mqtts://host:port."""
    host: str = "127.0.0.1"
    """Where a started broker listens."""
    port: Port = 1883
    """0 picks a free port."""
    tls: bool = False
    """A started Mosquitto asks every client for a certificate of this controller's authority."""
    names: tuple[str, ...] = ()
    """Names and addresses under which devices reach a started broker; the first one is given to them."""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class ConvertConfig(Message, frozen=True):
    """What a conversion may cost and which types it may build."""

    timeout_s: Seconds = 300.0
    memory_mb: Annotated[int, msgspec.Meta(ge=256)] = 4096
    trusted_types: tuple[str, ...] = ()
    require_sandbox: bool = True
    """Refuse to convert where the kernel cannot confine a conversion fully; evidence says how far one was."""


class FleetConfig(Message, frozen=True):
    """How the fleet is watched."""

    silent_s: Seconds = 90.0
    """A device without a heartbeat for so long is silent."""
    reconcile_s: Seconds = 1.0
    four_eyes: bool = False
    """A rollout starts only when another person, with the role approver, has approved it."""
    require_signed: bool = False
    """Ignore devices without a certificate. One that has been given a certificate must sign in any case."""


class TrustConfig(Message, frozen=True):
    """Where a new fleet's metadata comes from."""

    metadata_dir: str = ""


class PublishConfig(Message, frozen=True):
    """How blobs are cut, and where devices find them besides the broker."""

    chunk_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_CHUNK_BYTES)] = DEFAULT_CHUNK_BYTES
    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=MAX_SOURCES)] = ()
    """Tried before the broker, in this order: `https://cdn.example/{sha256}`, or this controller's own API,
    `http://host:8470/v1/blobs/{sha256}`. The list of a blob's chunks lies beside it as `{sha256}.list`."""
    bucket: Annotated[str, msgspec.Meta(pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#]*)?)?\Z")] = ""
    """`s3://name/prefix`: a caller that asks the API for a blob is sent there by a presigned address."""
    bucket_endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z")] = ""
    """The address of a store that is not AWS's."""
    neighbours: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """Devices with one value of this label, `site` say, that share what they have confirmed (`[transfer] serve_at`) are
    named to each other before every other source. Empty: none is."""


class EventsConfig(Message, frozen=True):
    """Where events of rollouts are sent."""

    webhooks: tuple[Annotated[str, msgspec.Meta(pattern="^https?://")], ...] = ()
    """Addresses that get every event by POST, as CloudEvents 1.0."""


class Config(Message, frozen=True):
    """The whole configuration."""

    storage: StorageConfig = StorageConfig()
    api: ApiConfig = ApiConfig()
    broker: BrokerConfig = BrokerConfig()
    convert: ConvertConfig = ConvertConfig()
    fleet: FleetConfig = FleetConfig()
    publish: PublishConfig = PublishConfig()
    trust: TrustConfig = TrustConfig()
    events: EventsConfig = EventsConfig()

    @property
    def data_dir(self) -> Path:
        """The data directory, with ~ expanded."""
        return Path(self.storage.data_dir).expanduser()


def load_config(path: Path | None) -> Config:
    """The configuration in a TOML file, checked; the defaults for None.

    BadInput `config_invalid` names the file and the key.
    """
    if path is None:
        return Config()
    try:
        config = decode_toml(path.read_text(encoding="utf-8"), Config, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {getattr(error, 'strerror', error)}") from None
    for proxy in config.api.trusted_proxies:
        try:
            ip_network(proxy)
        except ValueError as error:
            raise BadInput(Code.CONFIG_INVALID, f"{path}: $.api.trusted_proxies: {error}") from None
    return config
