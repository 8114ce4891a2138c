"""A strategy as commands take it: its name, or a TOML file.

Decides how a file is read. Refuses to know which fields a strategy has: the controller checks them.
"""

import tomllib
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code

NAMED = "A name, or a TOML file as in configs/rollouts."


def read_strategy(given: str) -> str | dict[str, Any]:
    """Returns a strategy's name, or the fields in a TOML file; BadInput `strategy_invalid`."""
    path = Path(given)
    if path.suffix != ".toml":
        return given
    try:
        return {"name": path.stem[:64], **tomllib.loads(path.read_text(encoding="utf-8"))}
    except OSError as error:
        raise BadInput(Code.STRATEGY_INVALID, f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(Code.STRATEGY_INVALID, f"{path}: {error}") from None
