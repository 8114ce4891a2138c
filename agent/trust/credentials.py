"""The credentials of a device, read from the files of its enrolment: the root of trust, and the key for its messages.

Decides whether the files can be used. The module is separate from `config`, because it imports python-tuf and
cryptography.
"""

from pathlib import Path

from agent.config import Config
from contract.errors import BadInput, Code
from contract.keys import signer_of
from contract.signatures import Sign
from contract.trust.chain import trust_root
from contract.trust.verified import Trusted


def load_signer(key_file: str) -> Sign:
    """Returns the function that signs with the key of the device's certificate. BadInput `config_invalid`."""
    try:
        return signer_of(Path(key_file).read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"broker.key_file {key_file}: {error}") from None


def load_root(config: Config, beside: Path) -> Trusted:
    """Returns the root of trust; its path is relative to the configuration file. BadInput `config_invalid`."""
    path = beside.parent / config.trust.root_file
    try:
        return trust_root(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"trust.root_file {path}: {getattr(error, 'strerror', error)}") from None
    except BadInput as error:
        raise BadInput(Code.CONFIG_INVALID, f"trust.root_file {path}: {error.detail}") from None
