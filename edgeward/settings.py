"""The controller's address and token: from arguments, then the environment, then the files of a local controller."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.errors import BadInput, Code, WorldError

DEFAULT_DATA_DIR = "~/.edgeward"


@dataclass(frozen=True, slots=True)
class Settings:
    """The address of a controller, and the token for it."""

    url: str
    token: str


def find_settings(
    url: str | None = None, token: str | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Returns the settings from arguments, then EDGEWARD_URL and EDGEWARD_TOKEN, then files in EDGEWARD_DATA_DIR
    (~/.edgeward).

    WorldError `controller_unreachable` if no address is known; BadInput `config_invalid` for an invalid address,
    and `unauthenticated` if the token is missing or malformed.
    """
    known = os.environ if environment is None else environment
    directory = Path(known.get("EDGEWARD_DATA_DIR", DEFAULT_DATA_DIR)).expanduser()
    url = url or known.get("EDGEWARD_URL") or _local_url(directory)
    token = token or known.get("EDGEWARD_TOKEN") or _local_token(directory)
    if not url:
        words = "no controller is named: start `edgeward-controller run` here, or set EDGEWARD_URL and EDGEWARD_TOKEN"
        raise WorldError(Code.CONTROLLER_UNREACHABLE, f"{words} (looked in {directory})")
    if not url.startswith(("http://", "https://")):
        raise BadInput(Code.CONFIG_INVALID, f"EDGEWARD_URL {url!r}: expected http://host:port or https://host")
    if not token:
        where = f"EDGEWARD_DATA_DIR to the data directory of the controller (looked in {directory})"
        raise BadInput(Code.UNAUTHENTICATED, f"no token for {url}: set EDGEWARD_TOKEN, or {where}")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise BadInput(Code.UNAUTHENTICATED, "EDGEWARD_TOKEN holds letters that no token has: copy it again")
    return Settings(url.rstrip("/"), token)


def _local_url(directory: Path) -> str | None:
    try:
        url = json.loads((directory / "controller.json").read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError):
        return None
    return str(url)


def _local_token(directory: Path) -> str | None:
    try:
        return (directory / "token").read_text(encoding="ascii").strip()
    except OSError:
        return None
