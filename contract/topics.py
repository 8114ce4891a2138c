"""Names of MQTT topics, and what each topic carries.

Decides how topics are named and parsed. Refuses to know what messages mean. Readable messages are under ``edgeward/``.
Blobs have their own root, so that a wildcard subscription to ``edgeward/#`` does not receive them.
"""

from contract.names import check_device_name, check_name, is_device_name, is_digest

ROOT = "edgeward/v1"
BLOB_ROOT = "edgeward-blobs/v1"

UP_PRESENCE = "presence"
UP_HEARTBEAT = "heartbeat"
UP_REPORT = "report"
UP_TELEMETRY = "telemetry"
UP_CAPTURED = "captured"
UP_ANSWERED = "answered"
RETAINED_FILTERS = (f"{ROOT}/d/+/down/desired", f"{ROOT}/pub/#", f"{BLOB_ROOT}/+/+")
"""All that the controller retains."""


def presence(device: str) -> str:
    """Retained: whether the device is online. It is also the topic of the device's last will."""
    return _up(device, UP_PRESENCE)


def heartbeat(device: str) -> str:
    """The full reported state, sent at an interval and after every connection."""
    return _up(device, UP_HEARTBEAT)


def report(device: str) -> str:
    """Changes of phase, and refusals; sent again until acknowledged."""
    return _up(device, UP_REPORT)


def telemetry(device: str) -> str:
    """Counts and histograms of an interval; a message may be lost."""
    return _up(device, UP_TELEMETRY)


def captured(device: str) -> str:
    """Captured inferences; sent again until acknowledged."""
    return _up(device, UP_CAPTURED)


def desired(device: str) -> str:
    """Retained: the signed document that says what the device must run."""
    return f"{ROOT}/d/{check_device_name(device)}/down/desired"


def ack(device: str) -> str:
    """Acknowledgements: the controller has made a report or a captured batch durable."""
    return f"{ROOT}/d/{check_device_name(device)}/down/ack"


def inquiry(device: str) -> str:
    """Questions of operators to the device, signed by the director; never retained."""
    return f"{ROOT}/d/{check_device_name(device)}/down/inquiry"


def answered(device: str) -> str:
    """The device's answer to an inquiry."""
    return _up(device, UP_ANSWERED)


def model_role(model: str) -> str:
    """Retained: the signed document that lists a model's versions with their manifests."""
    return f"{ROOT}/pub/models/{check_name(model, 'model')}"


def trust() -> str:
    """Retained: the trust bundle, the same for every device."""
    return f"{ROOT}/pub/trust"


def root(version: int) -> str:
    """Retained: one version of the root of trust, for devices that were offline for many rotations."""
    return f"{ROOT}/pub/trust/root/{version}"


def is_document(topic: str) -> bool:
    """Whether a topic carries a signed order or metadata: a desired document, a trust bundle, a root or a role."""
    return topic.startswith(f"{ROOT}/pub/") or (topic.startswith(f"{ROOT}/d/") and topic.endswith("/down/desired"))


def chunk(digest: str, index: int) -> str:
    """Retained: chunk `index` of the blob `digest`."""
    return f"{BLOB_ROOT}/{digest}/{index}"


def chunk_list(digest: str) -> str:
    """Retained: the digests of the blob up to the end of each chunk, joined."""
    return f"{BLOB_ROOT}/{digest}/list"


def up_filter(kind: str) -> str:
    """The filter by which the controller subscribes to one kind of message from all devices."""
    return f"{ROOT}/d/+/up/{kind}"


def parse_up(topic: str) -> tuple[str, str] | None:
    """Returns (device, kind) of a topic that a device writes, or None for any other topic.

    The device is identified by its topic, not by the payload. A topic with an invalid device name gives None as well.
    """
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != ROOT or parts[2] != "d" or parts[4] != "up":
        return None
    return (parts[3], parts[5]) if is_device_name(parts[3]) else None


def is_up(topic: str) -> bool:
    """Whether a device writes to a topic, for any name of a device."""
    parts = topic.split("/")
    return len(parts) == 6 and "/".join(parts[:3]) == f"{ROOT}/d" and parts[4] == "up"


def parse_desired(topic: str) -> str | None:
    """Returns the device whose desired document a topic carries, or None."""
    parts = topic.split("/")
    named = len(parts) == 6 and is_device_name(parts[3])
    return parts[3] if named and topic == desired(parts[3]) else None


def parse_blob(topic: str) -> tuple[str, int | None] | None:
    """Returns (digest, index) of a blob's topic, with index None for its chunk list; None for any other topic."""
    parts = topic.split("/")
    if len(parts) != 4 or "/".join(parts[:2]) != BLOB_ROOT or not is_digest(parts[2]):
        return None
    if parts[3] == "list":
        return parts[2], None
    return (parts[2], int(parts[3])) if parts[3].isascii() and parts[3].isdigit() and len(parts[3]) < 10 else None


def _up(device: str, kind: str) -> str:
    return f"{ROOT}/d/{check_device_name(device)}/up/{kind}"
