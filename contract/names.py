r"""Which names are legal for devices, models and rollouts.

A name becomes a topic level, a file name and a role: the alphabet is the intersection of what is safe in all three.
Patterns end in ``\Z``, not ``$``, which would accept a trailing newline.
"""

import hashlib
import re

from contract.errors import BadInput, Code

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_PATH = re.compile(r"models/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)/v([1-9][0-9]{0,8})\.onnx\Z")


def check_name(name: str, what: str) -> str:
    """Return `name` if it may stand for a `what` (device, model, rollout); else raise BadInput `name_invalid`."""
    if not _NAME.match(name):
        raise BadInput(
            Code.NAME_INVALID,
            f"{what} name {name[:80]!r}: use 1 to 63 lower-case letters, digits and '-', not at either end",
        )
    return name


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
