r"""Which names are valid for devices, models and rollouts.

The name of a model or a rollout becomes a topic level, a file name and a role. Its alphabet is safe in all three. A
device has the name that its maker gave it (a serial number, a MAC address, a host name). This name is safe in topics,
certificates and addresses without changes, and is escaped in file names. Patterns end in ``\Z``, not ``$``, which would
accept a trailing newline.
"""

import hashlib
import re

from contract.errors import BadInput, Code

SERVICE_PREFIX = "svc."
"""The prefix of certificates of the controller's own services. No device name may begin with it: the broker would treat
the device as a service."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
"""64 characters fit into a certificate's common name. The first character excludes options, `..` and hidden files."""
_UNSAFE_IN_FILE = re.compile(r"[^a-z0-9._-]")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_PATH = re.compile(r"models/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)/v([1-9][0-9]{0,8})\.onnx\Z")


def check_name(name: str, what: str) -> str:
    """Returns `name` if it is valid for a `what` (model, rollout, token). BadInput `name_invalid` otherwise."""
    if not _NAME.match(name):
        raise BadInput(
            Code.NAME_INVALID,
            f"{what} name {name[:80]!r}: use 1 to 63 lower-case letters, digits and '-', not at either end",
        )
    return name


def is_device_name(text: str) -> bool:
    """Tells whether a device may have the name `text`."""
    return _DEVICE.match(text) is not None and not text.lower().startswith(SERVICE_PREFIX)


def check_device_name(name: str) -> str:
    """Returns `name` if a device may have it. BadInput `name_invalid` otherwise."""
    if not is_device_name(name):
        raise BadInput(
            Code.NAME_INVALID,
            f"device name {name[:80]!r}: use 1 to 64 letters, digits, '.', '_', ':' and '-', beginning with a letter "
            f"or a digit; {SERVICE_PREFIX!r} may not begin a device's name",
        )
    return name


def in_file_name(device: str) -> str:
    """Returns a device's name as a part of a file name.

    Names that differ only in capitals stay different, and there is no colon, because of FAT.
    """
    return _UNSAFE_IN_FILE.sub(lambda found: f"%{ord(found.group()):02x}", check_device_name(device))


def is_digest(text: str) -> bool:
    """Tells whether `text` is a SHA-256 in lower-case hexadecimal."""
    return _DIGEST.match(text) is not None


def target_path(model: str, release: int) -> str:
    """Returns the TUF target path of one version: ``models/<model>/v<release>.onnx``."""
    return f"models/{check_name(model, 'model')}/v{release}.onnx"


def parse_target_path(path: str) -> tuple[str, int]:
    """Parses a target path into (model, release).

    BadInput `path_invalid` for anything else, also for path traversal.
    """
    found = _PATH.match(path)
    if found is None:
        raise BadInput(Code.PATH_INVALID, f"target path {path[:80]!r}: expected models/<model>/v<number>.onnx")
    return found.group(1), int(found.group(2))


def unit_number(text: str) -> float:
    """Returns a stable hash of a text, in [0, 1)."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13
