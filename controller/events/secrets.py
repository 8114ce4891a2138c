"""Secrets of receivers, each in a file of its own. Read for each message, so that a changed one counts at once."""

from pathlib import Path

from contract.errors import BadInput, Code

MAX_SECRET_BYTES = 4_096
"""A password or a key; a larger file is another one."""


def read_secret(path: Path) -> str:
    """The text in a file, without spaces around it. BadInput `config_invalid` names the file."""
    try:
        found = path.read_bytes()
    except OSError as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {error.strerror}: write the secret into this file") from None
    if not found.strip() or len(found) > MAX_SECRET_BYTES or not found.isascii():
        raise BadInput(Code.CONFIG_INVALID, f"{path}: expected one secret in ASCII, at most {MAX_SECRET_BYTES} bytes")
    return found.decode("ascii").strip()
