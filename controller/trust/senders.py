"""Whether a message is the device's own: the broker says who sent it, the device's signature proves it.

Decides belief. Who ever had a certificate must sign from then on, so that nobody can strip signatures off. Presence is
the broker's word and carries none. Refuses to know what messages mean.
"""

from typing import Any

from contract.keys import is_signed_by
from contract.messages import Presence
from controller.registry.credentials import Credentials

REMEMBERED_S = 600.0
"""After so long a certificate's date is looked at again."""


class Voices:
    """Public keys of devices, remembered until one changes."""

    def __init__(self, credentials: Credentials, *, require_signed: bool) -> None:
        self._credentials = credentials
        self._require_signed = require_signed
        self._known: dict[str, tuple[float, bool, list[str]]] = {}

    def believes(self, device: str, message: Any, now: float) -> bool:
        """Whether `message`, which came on a topic of `device`, is to be taken in."""
        if isinstance(message, Presence):
            return True
        enrolled, keys = self._keys(device, now)
        if message.device != device:
            return False
        if not enrolled:
            return not self._require_signed
        return is_signed_by(message, keys)

    def forget(self, device: str) -> None:
        """Look its keys up again: it has a new certificate, or none any more."""
        self._known.pop(device, None)

    def _keys(self, device: str, now: float) -> tuple[bool, list[str]]:
        known = self._known.get(device)
        if known is None or now - known[0] > REMEMBERED_S:
            keys = self._credentials.public_keys(device, now)
            self._known[device] = known = (now, self._credentials.enrolled(device), keys)
        return known[1], known[2]
