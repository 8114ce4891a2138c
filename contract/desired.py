"""The desired document: what one device shall run, as the director says it.

A TUF targets file with `x-edge` beside it. Refuses to know whether the release signer agrees: admission compares both.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from contract.blobs import Blob
from contract.wire import Message


class TrialPolicy(Message, frozen=True):
    """How a device tries a version, and when it confirms it or rolls it back, by itself and offline."""

    mode: Literal["serve", "shadow"] = "serve"
    """serve: the trial answers. shadow: stable answers, the trial repeats what it is asked and is compared."""
    share: Decimal = Decimal(1)
    """Of the requests that the trial answers, chosen by a stable hash of their key; stable answers the rest."""
    shadow_share: Decimal = Decimal(1)
    """Of stable's inferences that a shadow repeats."""
    max_shadow_cpu: Decimal = Decimal("0.1")
    """Of one core, that a shadow may use; what it has no time for is not repeated, and counted."""
    min_agreement: Decimal = Decimal(0)
    """Share of a shadow's answers that must be stable's. 0: a better model may well answer otherwise."""
    reverse_share: Decimal = Decimal(0)
    """Of the trial's inferences that stable repeats beside it, within `max_shadow_cpu`: tells a world that has drifted
    from a model that is worse, and keeps the way back warm."""
    windows: tuple[str, ...] = ()
    """When a device may change what serves, by its own wall clock: `mon-fri 02:00-04:00`. None: at any time. What is
    needed is fetched and probed before."""
    max_hold_s: Decimal = Decimal(86_400)
    """How long the application on the device may hold an update up."""
    unload_first: bool = True
    """Where memory is too short for two sessions: let nothing serve for a moment, or refuse the version."""
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


MAX_SOURCES = 4
"""Named in one document."""
Source = Annotated[str, msgspec.Meta(pattern=r"^https?://[^{}\s]+\{sha256\}[^{}\s]*\Z", max_length=512)]


class Delivery(Message, frozen=True):
    """The artifact in fewer bytes, for a device that can undo the encoding and has the base.

    The director's word, as the release signer knows neither: what comes out is held against the manifest's digest.
    """

    encoding: Annotated[str, msgspec.Meta(max_length=32)]
    """One that the device does not know is passed over."""
    blob: Blob
    base: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """Digest of the artifact that it is a change to; empty: it stands for itself."""


class DesiredTarget(Message, frozen=True):
    """The `custom` field of a desired target."""

    slot: str
    generation: Annotated[int, msgspec.Meta(ge=1)]
    rollout: str
    policy: TrialPolicy
    delivery: Delivery | None = None
    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=MAX_SOURCES)] = ()
    """Where blobs may be fetched besides the broker, in order of preference; `{sha256}` stands for the blob's name."""


class EdgeFields(Message, frozen=True):
    """The signed `x-edge` field of a desired document."""

    protocol: int
    device: str
    issued: str
    nonce: str = ""
    """What the device asked to be repeated: it proves that the document is not older than the question."""
