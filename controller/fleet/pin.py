"""A pin: a person holds a model on a device at one release.

Decides its words. Refuses to know rollouts, and how a device is brought to the release. Every stored pin is in
force: `reconcile.pinning` ends one whose time is over, so no other package compares times.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from contract.wire import Message
from controller.fleet.exclusion import Exclusion


class Pin(Message, frozen=True):
    """The release at which a model is held on one device, and the person who holds it there."""

    release: int
    by: str
    at: str
    """The date and time at which it began, in ISO 8601."""
    reason: str = ""
    until: float = 0.0
    """Seconds since 1970 at which it ends; 0: it lasts until a person ends it."""

    def is_over(self, now: float) -> bool:
        """Whether its time is over."""
        return 0.0 < self.until <= now


def pin_words(pin: Pin) -> str:
    """Returns in words the release of a pin, its person, its end and its reason."""
    until = f" until {datetime.fromtimestamp(pin.until, UTC).isoformat(timespec='seconds')}" if pin.until else ""
    return f"pinned at v{pin.release} by {pin.by}{until}" + (f": {pin.reason}" if pin.reason else "")


def pinned_among(excluded: Mapping[str, Exclusion]) -> list[str]:
    """Returns the devices, sorted, that a pin has left out, of the controller or of the device's own configuration;
    `excluded` is the reason by device.
    """
    return sorted(device for device, reason in excluded.items() if reason.why == "pinned")
