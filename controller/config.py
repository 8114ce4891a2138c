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
MAX_TOPICS = 16
"""The most topics for rows of sensors. The broker reads each as a line for each message."""
OwnTopic = Annotated[
    str, msgspec.Meta(pattern=r"^(?!edgeward(-blobs)?(/|\Z))[\w.-]+(/(\+|[\w.-]+))*(/#)?\Z", max_length=200)
]
"""A filter whose first level is written out and is not one of Edgeward's own."""


class StorageConfig(Message, frozen=True):
    """The directory that holds everything that the controller keeps."""

    data_dir: str = "~/.edgeward"


class ApiConfig(Message, frozen=True):
    """The addresses of the API, and its limits on connections."""

    host: str = "127.0.0.1"
    port: Port = 8470
    """0 picks a free port."""
    max_connections: Annotated[int, msgspec.Meta(ge=4, le=10_000)] = 256
    """A further connection is answered with an error and closed."""
    max_connections_per_address: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    """Connections of one address, or of one IPv6 /64; trusted proxies may have more."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies whose header names the caller's address."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The one header that these proxies set. A caller may have sent other headers."""
    public_url: str = ""
    """The address of the API for devices and people, for example a TLS proxy's; empty: host and port."""
    names: tuple[str, ...] = ()
    """Names besides those of `host` and `public_url` by which callers may reach the API. Addresses and `localhost`
    are always allowed; other names are answered 421, because a web page can point its own name at this machine.
    """
    metrics: Literal["token", "open"] = "token"
    """Whether `/metrics` asks for a token with the role viewer, as Vault, MinIO and Kubernetes do: it shows faults
    and refused attempts, which a stranger must not see. `open`: every client that reaches the port may read it.
    """


class BrokerConfig(Message, frozen=True):
    """The MQTT 5 broker that is used or started."""

    url: str = "auto"
    """auto | mosquitto | embedded (started by the controller), or mqtt://host:port, mqtts://host:port."""
    host: str = "127.0.0.1"
    """The address at which a started broker listens."""
    port: Port = 1883
    """0 picks a free port."""
    tls: bool | Literal["auto"] = "auto"
    """A started Mosquitto requires a certificate of this controller's authority from every client.

    auto: it does, unless clients have had a password from an earlier start.
    """
    names: tuple[str, ...] = ()
    """Names and addresses by which devices reach a started broker; devices get the first one."""
    topics: Annotated[tuple[OwnTopic, ...], msgspec.Meta(max_length=MAX_TOPICS)] = ()
    """Filters of topics besides Edgeward's own, which every client under mutual TLS may read and write: rows for
    sensors, predictions of sinks."""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class ConvertConfig(Message, frozen=True):
    """The limits of a conversion, and the types that it may build."""

    timeout_s: Seconds = 300.0
    memory_mb: Annotated[int, msgspec.Meta(ge=256)] = 4096
    trusted_types: tuple[str, ...] = ()
    require_sandbox: bool = True
    """Refuse to convert where the kernel cannot confine a conversion fully. The evidence records how far it was
    confined."""


class FleetConfig(Message, frozen=True):
    """The observation of the fleet, and the rules for its devices and rollouts."""

    silent_s: Seconds = 90.0
    """A device without a heartbeat for this long is silent."""
    reconcile_s: Seconds = 1.0
    four_eyes: bool = False
    """A rollout starts only after another person, with the role approver, has approved it."""
    require_signed: bool = False
    """Ignore devices without a certificate. A device that once had a certificate must always sign."""


class TrustConfig(Message, frozen=True):
    """How the metadata of a new fleet is made."""

    metadata_dir: str = ""


class PublishConfig(Message, frozen=True):
    """The size of chunks, and the sources of blobs besides the broker."""

    chunk_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_CHUNK_BYTES)] = DEFAULT_CHUNK_BYTES
    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=MAX_SOURCES)] = ()
    """Addresses that devices use before the broker, in this order: `https://cdn.example/{sha256}`, or this controller's
    own API, `http://host:8470/v1/blobs/{sha256}`. The list of a blob's chunks is at the same address with the suffix
    `.list`."""
    bucket: Annotated[str, msgspec.Meta(pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#]*)?)?\Z")] = ""
    """`s3://name/prefix`: a caller that asks the API for a blob is redirected there, to a presigned address."""
    bucket_endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z")] = ""
    """The address of a store other than AWS."""
    neighbours: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """A label, for example `site`. Devices with the same value of it and with `[transfer] serve_at` are neighbours: a
    device gets their addresses before all other sources. Empty: there are no neighbours."""


class EventsConfig(Message, frozen=True):
    """The receivers of rollout events."""

    webhooks: tuple[Annotated[str, msgspec.Meta(pattern="^https?://")], ...] = ()
    """Addresses that receive every event by POST, as CloudEvents 1.0."""
    secret_file: str = ""
    """A file with a secret of Standard Webhooks (`whsec_...`), by which every event is signed. Empty: unsigned."""


class TracesConfig(Message, frozen=True):
    """Where the traces of rollouts go."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z")] = ""
    """An OpenTelemetry collector over OTLP/HTTP, `http://collector:4318/v1/traces`. Empty: no trace is made."""
    ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """The fraction of rollouts that are traced."""


class AlertsConfig(Message, frozen=True):
    """The file with rules and receivers of alerts, and how often rules are judged."""

    file: str = ""
    """A path; empty: the default rules, and no receiver."""
    every_s: Seconds = 5.0


class TelemetryConfig(Message, frozen=True):
    """How long the counts of devices are kept."""

    keep_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 400
    """A year, and one more month for questions about it."""
    max_mb: Annotated[int, msgspec.Meta(ge=10, le=1_000_000)] = 4096
    """Above this limit, the oldest rows are deleted first."""


class OidcGrant(Message, frozen=True):
    """The roles of people for whom the provider states one claim."""

    claim: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """A claim of the ID token; with dots if it lies inside another one: `realm_access.roles`."""
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """Its text, or one of its texts."""
    roles: Annotated[tuple[Literal["viewer", "operator", "approver", "admin"], ...], msgspec.Meta(min_length=1)]
    labels: dict[str, str] = {}
    """Only devices with these labels."""
    models: tuple[str, ...] = ()
    """Only these models."""


class OidcConfig(Message, frozen=True):
    """The OpenID provider with which people sign in at the page."""

    name: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """The text of the page's button; empty: the issuer's address."""
    issuer: str = ""
    """Its address, exactly as the provider writes it; empty: people sign in with tokens alone."""
    client_id: str = ""
    client_secret_file: str = ""
    """A file with the client's secret; empty: a public client, which PKCE alone protects."""
    name_claim: str = "preferred_username"
    """The claim that names a person. Choose one that people cannot change themselves: four eyes depend on it."""
    ask_for: tuple[str, ...] = ("profile",)
    """Scopes that are requested from the provider besides `openid`, so that its answer has the claims for grants and
    names."""
    session_h: Annotated[float, msgspec.Meta(gt=0, le=12)] = 8.0
    """Hours after which a person signs in again."""
    grant: tuple[OidcGrant, ...] = ()
    """The first matching grant is used. A person without a matching grant cannot sign in."""


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
    traces: TracesConfig = TracesConfig()
    alerts: AlertsConfig = AlertsConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    oidc: OidcConfig = OidcConfig()

    @property
    def data_dir(self) -> Path:
        """The data directory, with ~ expanded."""
        return Path(self.storage.data_dir).expanduser()


def load_config(path: Path | None) -> Config:
    """Returns the checked configuration from a TOML file; for None, the defaults.

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
