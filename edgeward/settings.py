"""The controller's address and token: from arguments, then the environment, then the files of a local controller."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.errors import BadInput, Code

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

    BadInput `config_invalid` if address or token is missing.
    """
    known = os.environ if environment is None else environment
    directory = Path(known.get("EDGEWARD_DATA_DIR", DEFAULT_DATA_DIR)).expanduser()
    url = url or known.get("EDGEWARD_URL") or _local_url(directory)
    token = token or known.get("EDGEWARD_TOKEN") or _local_token(directory)
    if not url or not token:
        missing = "address" if not url else "token"
        raise BadInput(
            Code.CONFIG_INVALID,
            f"no {missing} of a controller: start `edgeward-controller run` here, or set EDGEWARD_URL "
            f"and EDGEWARD_TOKEN (looked in {directory})",
        )
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
