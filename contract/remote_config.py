"""The part of a device's configuration that a controller may change, in its signed desired document, with a version.

Decides the fields and their bounds. Refuses to know what the device's own file allows: the device refuses more than
its file allows, so that a stolen director key gives no further rights.
"""

from decimal import Decimal
from typing import Annotated

import msgspec

from contract.messages import MAX_SENSORS, Short
from contract.protocol import MAX_MODELS_PER_DEVICE
from contract.versions import MAX_VERSION
from contract.wire import Message

Seconds = Annotated[int, msgspec.Meta(ge=1, le=86_400)]
"""Seconds. A shorter interval would overload the broker of a fleet. Whole numbers, because signed documents hold no
others.
"""


class CaptureRates(Message, frozen=True):
    """The fraction of a model's inferences that is kept for the controller; the device alone decides what is removed
    from them.
    """

    rate: Decimal = Decimal(0)
    below_confidence: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        """ValueError for a rate beyond [0, 1]."""
        for rate in (self.rate, self.below_confidence):
            if not rate.is_finite() or not Decimal(0) <= rate <= Decimal(1):
                raise ValueError(f"rate {rate}: expected 0 to 1")


class RemoteConfig(Message, frozen=True):
    """Replaces parts of the device's own file. None or empty: its own file is used."""

    version: Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)]
    """Grows with every change; a device tries each version once."""
    heartbeat_s: Seconds | None = None
    telemetry_s: Seconds | None = None
    paused_sensors: Annotated[tuple[Short, ...], msgspec.Meta(max_length=MAX_SENSORS)] = ()
    """Names as in the heartbeat, `serial-1`: their rows are dropped before the model reads them."""
    capture: Annotated[dict[Short, CaptureRates], msgspec.Meta(max_length=MAX_MODELS_PER_DEVICE)] = {}
    """The capture settings by model; only for models whose rows may leave the device by its own file."""
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=512)] | None = None
    """The most connections of local programs; at most those of the device's own file."""
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] | None = None
    """The largest body of a request; at most that of the device's own file."""
