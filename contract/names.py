r"""Which names are legal for devices, models and rollouts.

The name of a model or a rollout becomes a topic level, a file name and a role: its alphabet is the intersection of
what is safe in all three. A device is called what its maker calls it (a serial, a MAC address, a host name): its name
is safe in topics, certificates and addresses as it is, and is escaped in names of files.
Patterns end in ``\Z``, not ``$``, which would accept a trailing newline.
"""

import hashlib
import re

from contract.errors import BadInput, Code

SERVICE_PREFIX = "svc."
"""Certificates of the controller's own services begin with it: no device may, or the broker would take it for one."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
"""64 is what a certificate's common name holds. The first character makes it no option, no `..` and no hidden file."""
_UNSAFE_IN_FILE = re.compile(r"[^a-z0-9._-]")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_PATH = re.compile(r"models/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)/v([1-9][0-9]{0,8})\.onnx\Z")


def check_name(name: str, what: str) -> str:
    """Return `name` if it may stand for a `what` (model, rollout, token); else raise BadInput `name_invalid`."""
    if not _NAME.match(name):
        raise BadInput(
            Code.NAME_INVALID,
            f"{what} name {name[:80]!r}: use 1 to 63 lower-case letters, digits and '-', not at either end",
        )
    return name


def is_device_name(text: str) -> bool:
    """Whether a device may be called `text`."""
    return _DEVICE.match(text) is not None and not text.lower().startswith(SERVICE_PREFIX)


def check_device_name(name: str) -> str:
    """Return `name` if a device may have it; else raise BadInput `name_invalid`."""
    if not is_device_name(name):
        raise BadInput(
            Code.NAME_INVALID,
            f"device name {name[:80]!r}: use 1 to 64 letters, digits, '.', '_', ':' and '-', beginning with a letter "
            f"or a digit; {SERVICE_PREFIX!r} begins no device's name",
        )
    return name


def in_file_name(device: str) -> str:
    """A device's name as part of a file's: no two are one where capitals count for nothing, none has a colon (FAT)."""
    return _UNSAFE_IN_FILE.sub(lambda found: f"%{ord(found.group()):02x}", check_device_name(device))


def is_digest(text: str) -> bool:
    """Whether `text` is a lower-case SHA-256 in hexadecimal."""
    return _DIGEST.match(text) is not None


def target_path(model: str, release: int) -> str:
    """The TUF target path of one version: ``models/<model>/v<release>.onnx``."""
    return f"models/{check_name(model, 'model')}/v{release}.onnx"


def parse_target_path(path: str) -> tuple[str, int]:
    """Split a target path into (model, release); anything else, traversal included, is BadInput `path_invalid`."""
    found = _PATH.match(path)
    if found is None:
        raise BadInput(Code.PATH_INVALID, f"target path {path[:80]!r}: expected models/<model>/v<number>.onnx")
    return found.group(1), int(found.group(2))


def unit_number(text: str) -> float:
    """A stable hash of a text, in [0, 1)."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13
