"""The agent's configuration: strict TOML, every key with its default here and in configs/agent.toml.

Decides what a legal configuration is. Refuses to know how it is used.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from contract.desired import Provider
from contract.errors import BadInput, Code
from contract.maintenance import parse_hours
from contract.messages import MAX_SENSORS
from contract.names import check_device_name, check_name
from contract.remote_config import RemoteConfig
from contract.toml_config import decode_toml
from contract.wire import Message

Rate = Annotated[float, msgspec.Meta(gt=0, le=100_000)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Interval = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
HeaderName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\\Z")]
HeaderValue = Annotated[str, msgspec.Meta(pattern="^[\\x20-\\x7e]{0,1024}\\Z")]
Batch = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Device(Message, frozen=True):
    """The name, labels and directory of the device."""

    name: str
    state_dir: str = "/var/lib/edgeward-agent"
    labels: dict[str, str] = {}


class Broker(Message, frozen=True):
    """The address of the MQTT 5 broker, and the settings of the connection."""

    url: str = "mqtt://127.0.0.1:1883"
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class Trust(Message, frozen=True):
    """The root of trust and the files that belong to it."""

    root_file: str = "root.json"
    fresh: bool = False


class EnrolmentConfig(Message, frozen=True):
    """The controller that issues the certificate."""

    url: str = ""
    claim_file: str = ""
    """A claim, relative to the configuration: the first start exchanges the claim for the certificate and deletes
    the file.
    """


class IntervalsConfig(Message, frozen=True):
    """Intervals between messages and checks."""

    heartbeat_s: Interval = 30.0
    telemetry_s: Interval = 30.0
    judge_s: Interval = 1.0


class ServingConfig(Message, frozen=True):
    """Where local programs ask for predictions by the Open Inference Protocol."""

    listen: str = ""
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] = 16 * 1024 * 1024
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=512)] = 128
    names: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()
    """Names that a request may have in its `Host` header, besides addresses and `localhost`."""
    origins: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()
    """Pages that may call from a browser, besides those that come from this server."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2
    model_threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    providers: Annotated[tuple[Provider, ...], msgspec.Meta(max_length=8)] = ()
    """Execution providers of onnxruntime that versions may ask for, besides the CPU's."""
    ready_when_empty: bool = True
    probes_per_h: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 60
    """Candidates of a search that this device probes for the controller within an hour, while it does nothing else.
    They never serve. 0: none.
    """
    worker_deadline_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 5.0
    memory_mb: Annotated[int, msgspec.Meta(ge=0)] = 0


class FileSink(Message, frozen=True, tag_field="kind", tag="file"):
    """JSON lines in a file; a full file is renamed to NAME.1 and replaces the former NAME.1."""

    path: str
    max_bytes: Annotated[int, msgspec.Meta(ge=4096)] = 10_000_000
    batch: Batch = 1
    batch_s: Interval = 1.0
    inputs: tuple[str, ...] = ()


class TopicSink(Message, frozen=True, tag_field="kind", tag="topic"):
    """JSON lines to an MQTT topic of the same broker."""

    topic: str
    batch: Batch = 1
    batch_s: Interval = 1.0
    inputs: tuple[str, ...] = ()


class WebhookSink(Message, frozen=True, tag_field="kind", tag="webhook"):
    """A JSON array by POST; tried again three times, unless the answer says that it will never be accepted."""

    url: Annotated[str, msgspec.Meta(pattern="^https?://")]
    headers: Annotated[dict[HeaderName, HeaderValue], msgspec.Meta(max_length=16)] = {}
    token_file: str = ""
    secret_file: str = ""
    batch: Batch = 1
    batch_s: Interval = 1.0
    inputs: tuple[str, ...] = ()


Sink = FileSink | TopicSink | WebhookSink


class ReplaySensor(Message, frozen=True, tag_field="kind", tag="replay"):
    """Rows of a CSV (also .gz) or Parquet file at a steady rate. With `follow`: rows that are appended, as CSV or JSON
    lines.
    """

    model: str
    path: str
    rate_hz: Rate = 1.0
    label: str = ""
    key: str = ""
    start_row: Annotated[int, msgspec.Meta(ge=0)] = 0
    loop: bool = False
    follow: bool = False
    existing: bool = False
    sink: Sink | None = None


class TopicSensor(Message, frozen=True, tag_field="kind", tag="topic"):
    """JSON objects from an MQTT topic of the same broker."""

    model: str
    topic: str
    label: str = ""
    key: str = ""
    sink: Sink | None = None


class StdinSensor(Message, frozen=True, tag_field="kind", tag="stdin"):
    """JSON objects on standard input, one per line."""

    model: str
    label: str = ""
    key: str = ""
    sink: Sink | None = None


class SerialSensor(Message, frozen=True, tag_field="kind", tag="serial"):
    """Lines from a serial port: JSON objects, or values separated by commas in the order of `columns`."""

    model: str
    path: str
    baud: Literal[1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400] = 115_200
    columns: tuple[str, ...] = ()
    label: str = ""
    key: str = ""
    sink: Sink | None = None


class ImagesSensor(Message, frozen=True, tag_field="kind", tag="images"):
    """Pictures that appear in a directory. Each is one row: of columns, or of the one tensor that `input` names."""

    model: str
    path: str
    width: Annotated[int, msgspec.Meta(ge=1, le=512)]
    height: Annotated[int, msgspec.Meta(ge=1, le=512)]
    colours: bool = False
    layout: Literal["columns", "hwc", "chw"] = "columns"
    """Columns x0, x1, ...; or a tensor of height, width and channels in this order."""
    input: str = ""
    look_s: Interval = 1.0
    existing: bool = False
    sink: Sink | None = None


class SoundSensor(Message, frozen=True, tag_field="kind", tag="sound"):
    """Clips of sound, each one row: of a WAV file, of those that appear in a directory, or of a pipe of raw samples.

    The tensor that `input` names gets float32 from -1 to 1, `rate_input` the rate where the model asks for it.
    """

    model: str
    path: str
    rate_hz: Annotated[int, msgspec.Meta(ge=100, le=192_000)]
    clip_s: Annotated[float, msgspec.Meta(gt=0, le=60)]
    input: Annotated[str, msgspec.Meta(min_length=1)]
    hop_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    rate_input: str = ""
    channels: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """The channels of a pipe; a file contains its own."""
    look_s: Interval = 1.0
    existing: bool = False
    sink: Sink | None = None


Sensor = ReplaySensor | TopicSensor | StdinSensor | SerialSensor | ImagesSensor | SoundSensor


class Capture(Message, frozen=True):
    """Which inferences of a model are kept for the controller, and which columns never leave the device."""

    model: str
    rate: Fraction = 0.0
    below_confidence: Fraction = 0.0
    remove: tuple[str, ...] = ()


class FeedbackConfig(Message, frozen=True):
    """Topics of the same broker on which applications send labels, and numbers that they measure."""

    labels_topic: str = ""
    metrics_topic: str = ""
    kept_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 1024 * 1024
    """The bytes for each model on flash: answers that still wait for a label after a restart of the agent."""


class Pin(Message, frozen=True):
    """A model that stays at one release, even if the controller requests another."""

    model: str
    release: Annotated[int, msgspec.Meta(ge=1)]


class GoldenConfig(Message, frozen=True):
    """How often the session that answers is tested with its golden set."""

    interval_s: Annotated[float, msgspec.Meta(ge=60, le=30 * 86_400)] = 604_800.0
    hot_c: Annotated[float, msgspec.Meta(gt=0, le=150)] = 70.0


class SpoolConfig(Message, frozen=True):
    """The limits of messages for the controller that wait on flash."""

    max_bytes: Annotated[int, msgspec.Meta(ge=64 * 1024, le=1 << 32)] = 16 * 1024 * 1024
    batch_s: Interval = 30.0


class TransferConfig(Message, frozen=True):
    """How much of this device's link models may use, and where they come from besides the broker."""

    max_bytes_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    hours: tuple[str, ...] = ()
    sources: Annotated[tuple[str, ...], msgspec.Meta(max_length=4)] = ()
    keep_mb: Annotated[int, msgspec.Meta(ge=0)] = 64
    serve_at: str = ""


class Config(Message, frozen=True):
    """The whole configuration file."""

    device: Device
    broker: Broker = Broker()
    trust: Trust = Trust()
    enrolment: EnrolmentConfig = EnrolmentConfig()
    intervals: IntervalsConfig = IntervalsConfig()
    serving: ServingConfig = ServingConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    golden: GoldenConfig = GoldenConfig()
    spool: SpoolConfig = SpoolConfig()
    transfer: TransferConfig = TransferConfig()
    sensor: Annotated[tuple[Sensor, ...], msgspec.Meta(max_length=MAX_SENSORS)] = ()
    capture: tuple[Capture, ...] = ()
    pin: tuple[Pin, ...] = ()


def load_config(path: Path) -> Config:
    """Reads and checks a file. BadInput `config_invalid` names the file, the key and the allowed values."""
    try:
        config = decode_toml(path.read_text(encoding="utf-8"), Config, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {getattr(error, 'strerror', error)}") from None
    try:
        check_device_name(config.device.name)
        check_listen(config.serving.listen)
        check_transfer(config.transfer)
        check_feedback(config)
        for sensor in config.sensor:
            check_name(sensor.model, "model")
            check_follow(sensor)
            if isinstance(sensor, ImagesSensor) and (sensor.layout == "columns") == bool(sensor.input):
                raise BadInput(Code.CONFIG_INVALID, 'an images sensor with layout "hwc" or "chw" names its input')
        for model in (*(capture.model for capture in config.capture), *(pin.model for pin in config.pin)):
            check_name(model, "model")
    except BadInput as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {error.detail}") from None
    return config


def check_allowed(wanted: RemoteConfig, own: Config) -> None:
    """Checks that a remote configuration stays within the device's own file. BadInput `config_invalid`."""
    kinds = [str(type(sensor).__struct_config__.tag) for sensor in own.sensor]
    sensors = {f"{kind}-{number}" for number, kind in enumerate(kinds, 1)}
    captured = {capture.model for capture in own.capture}
    beyond = [f"no sensor {name}" for name in wanted.paused_sensors if name not in sensors]
    beyond += [f"the device's own file captures nothing of {name}" for name in wanted.capture if name not in captured]
    for name in ("max_connections", "max_body_bytes"):
        asked, most = getattr(wanted, name), getattr(own.serving, name)
        if asked is not None and asked > most:
            beyond.append(f"{name} {asked}: the device's own file allows {most}")
    if beyond:
        raise BadInput(Code.CONFIG_INVALID, "; ".join(beyond))


def check_follow(sensor: Sensor) -> None:
    """Checks that a followed file is of a kind that can grow. BadInput `config_invalid`."""
    if not isinstance(sensor, ReplaySensor) or not sensor.follow:
        return
    if sensor.loop or sensor.path.endswith((".gz", ".parquet")):
        words = "follow reads what is appended to a file of CSV or JSON lines, and never comes to its end"
        raise BadInput(Code.CONFIG_INVALID, f"sensor path {sensor.path[:80]!r}: {words}")


def check_feedback(config: Config) -> None:
    """Checks that labels and metrics come on topics of their own: a message is read once. BadInput `config_invalid`."""
    rows = [sensor.topic for sensor in config.sensor if isinstance(sensor, TopicSensor)]
    named = [topic for topic in (config.feedback.labels_topic, config.feedback.metrics_topic) if topic]
    if twice := next((topic for topic in named if topic in rows or named.count(topic) > 1), ""):
        words = "rows, labels and metrics are different messages, and each needs a topic of its own"
        raise BadInput(Code.CONFIG_INVALID, f"topic {twice[:80]!r} is named twice: {words}")


def check_transfer(transfer: TransferConfig) -> None:
    """Checks hours and addresses of sources. BadInput `config_invalid`."""
    for hours in transfer.hours:
        parse_hours(hours)
    for source in transfer.sources:
        web = source.startswith(("http://", "https://")) and "{sha256}" in source
        if not web and not source.startswith("file:///"):
            words = '"https://host/path/{sha256}" or "file:///directory"'
            raise BadInput(Code.CONFIG_INVALID, f"transfer.sources {source[:80]!r}: {words}")
    check_serve_at(transfer.serve_at)


def check_serve_at(serve_at: str) -> tuple[str, int] | None:
    """Returns (address, port) by which neighbours reach this device, None for "". BadInput `config_invalid`."""
    if not serve_at:
        return None
    import ipaddress  # here, because most devices serve no neighbours

    host, _, port = serve_at.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        address = None
    if address is None or address.is_unspecified or not port.isdigit() or not 0 < int(port) < 65_536:
        words = 'the address by which neighbours reach this device and a port, "192.168.1.17:8472"'
        raise BadInput(Code.CONFIG_INVALID, f"transfer.serve_at {serve_at[:80]!r}: {words}")
    return str(address), int(port)


def check_listen(listen: str) -> tuple[str, int]:
    """Returns (path, 0) of a Unix socket, ("", 0) for "", or (host, port) on loopback. BadInput `config_invalid`."""
    if not listen or (listen.startswith("unix:/") and len(listen) > len("unix:/")):
        return listen.removeprefix("unix:"), 0
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) < 65_536:
        raise BadInput(Code.CONFIG_INVALID, f'serving.listen {listen[:80]!r}: "unix:/run/x.sock" or "127.0.0.1:8000"')
    if host != "localhost" and not _is_loopback(host):
        words = f"serving.listen {listen[:80]!r} leaves this device, and requests are not authenticated: use loopback"
        raise BadInput(Code.CONFIG_INVALID, f"{words}, and a proxy with TLS in front of it")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    import ipaddress  # here, because most devices do not listen

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
