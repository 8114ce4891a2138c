"""The desired document: what one device shall run, as the director says it.

A TUF targets file with `x-edge` beside it. Refuses to know whether the release signer agrees: admission compares both.
"""

from decimal import Decimal
from typing import Annotated

import msgspec

from contract.wire import Message


class TrialPolicy(Message, frozen=True):
    """When a device confirms a trial or rolls it back, by itself and offline."""

    soak_s: Decimal = Decimal(300)
    """How long the trial must stay healthy."""
    give_up_s: Decimal = Decimal(86_400)
    """A trial that cannot be judged by then is rolled back."""
    boot_budget: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """Boots that a trial may take before it is rolled back."""
    min_samples: Annotated[int, msgspec.Meta(ge=0)] = 30
    """Inferences before a verdict; with fewer the verdict is inconclusive, never pass."""
    window: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    """Newest inferences that are judged."""
    max_error_ratio: Decimal = Decimal("0.02")
    """Share of inferences that may raise or answer a value that is not finite."""
    max_latency_ms_p95: Decimal = Decimal(100)
    require_sandbox: bool = False
    """Refuse the version where the probe cannot be fully confined."""
    isolated: bool = False
    """Serve the version from a confined process of its own: it may crash or hang without the agent."""
    max_accuracy_drop: Decimal = Decimal("0.05")
    """How far the trial's accuracy may lie below stable's, where the sensor brings labels."""


class DesiredTarget(Message, frozen=True):
    """The `custom` field of a desired target."""

    slot: str
    generation: Annotated[int, msgspec.Meta(ge=1)]
    rollout: str
    policy: TrialPolicy


class EdgeFields(Message, frozen=True):
    """The signed `x-edge` field of a desired document."""

    protocol: int
    device: str
    issued: str
    nonce: str = ""
    """What the device asked to be repeated: it proves that the document is not older than the question."""
