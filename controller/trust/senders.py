"""Decides whether a message is from its device: the topic names the device, and the signature proves it.

A device that ever had a certificate must always sign, so an attacker gains nothing without a signature. Presence
comes from the broker and is not signed. Refuses to know where keys are stored.
"""

from collections.abc import Callable, Container
from typing import Any, Protocol

from contract.keys import is_signed_by
from contract.macs import has_code_by
from contract.messages import Presence, Telemetry
from contract.signatures import MAC_PREFIX, Sign

KEYS_KEPT_S = 600.0
"""Seconds after which a certificate's dates are checked again."""


class DeviceKeys(Protocol):
    """Public keys by device."""

    def public_keys(self, device: str, now: float) -> list[str]:
        """Keys in PEM with which the device may sign now."""
        ...

    def enrolled(self, device: str) -> bool:
        """Whether the device has ever had a certificate."""
        ...


class Senders:
    """Public keys of devices, cached until one changes. `now` is seconds since 1970."""

    def __init__(
        self, keys: DeviceKeys, *, require_signed: bool, code: Callable[[str, str], Sign | None] = lambda *_: None
    ) -> None:
        self._keys = keys
        self._code = code
        """Makes the codes of telemetry from a device's public key and its name."""
        self._codes: dict[str, list[Sign]] = {}
        self._require_signed = require_signed
        self._known: dict[str, tuple[float, bool, list[str]]] = {}
        self._signed_last: dict[str, str] = {}
        """The key that signed the newest message of each device."""
        self.retired: Container[str] = ()
        """Retired devices: no message is accepted from them, not even presence."""

    def is_authentic(self, device: str, message: Any, now: float, raw: bytes = b"") -> bool:
        """Returns whether `message`, which came as `raw` on a topic of `device`, is from that device."""
        if message.device != device or device in self.retired:
            return False
        if isinstance(message, Presence):
            return True
        enrolled, keys = self._keys_of(device, now)
        if not enrolled:
            return not self._require_signed
        if isinstance(message, Telemetry) and message.signature.startswith(MAC_PREFIX):
            return any(has_code_by(message, code, raw) for code in self._codes_of(device, keys))
        return self._is_signed(device, message, keys, raw)

    def can_agree(self, device: str) -> bool:
        """Returns whether the key that signed the device's newest message can make codes in place of signatures."""
        last = self._signed_last.get(device)
        return last is not None and self._code(last, device) is not None

    def has_keys(self, device: str, now: float) -> bool:
        """Returns whether any key with which the device may sign is known."""
        return bool(self._keys_of(device, now)[1])

    def _is_signed(self, device: str, message: Any, keys: list[str], raw: bytes) -> bool:
        """Tries the key that signed last before all others: each attempt takes 0.1 ms."""
        last = self._signed_last.get(device, "")
        for key in sorted(keys, key=lambda each: each != last):
            if is_signed_by(message, [key], raw):
                self._signed_last[device] = key
                return True
        return False

    def forget(self, device: str) -> None:
        """Drops the cached keys of a device whose certificates have changed."""
        self._known.pop(device, None)
        self._signed_last.pop(device, None)
        self._codes.pop(device, None)

    def _codes_of(self, device: str, keys: list[str]) -> list[Sign]:
        """Returns what makes codes by each of the device's keys; agreeing on one takes 0.1 ms."""
        if device not in self._codes:
            made = (self._code(key, device) for key in keys)
            self._codes[device] = [code for code in made if code is not None]
        return self._codes[device]

    def _keys_of(self, device: str, now: float) -> tuple[bool, list[str]]:
        known = self._known.get(device)
        if known is None or now - known[0] > KEYS_KEPT_S:
            keys = self._keys.public_keys(device, now)
            if known is None or keys != known[2]:
                self._codes.pop(device, None)
            self._known[device] = known = (now, self._keys.enrolled(device), keys)
        return known[1], known[2]
