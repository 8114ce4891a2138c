"""Secrets of receivers, each in its own file. A file is read for each message, so that a change counts at once."""

from pathlib import Path

from contract.errors import BadInput, Code

MAX_SECRET_BYTES = 4_096
"""A larger file cannot be a password or a key."""


def read_secret(path: Path) -> str:
    """Returns the text in a file, without spaces around it. BadInput `config_invalid` names the file."""
    try:
        found = path.read_bytes()
    except OSError as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {error.strerror}: write the secret into this file") from None
    if not found.strip() or len(found) > MAX_SECRET_BYTES or not found.isascii():
        raise BadInput(Code.CONFIG_INVALID, f"{path}: expected one secret in ASCII, at most {MAX_SECRET_BYTES} bytes")
    return found.decode("ascii").strip()
