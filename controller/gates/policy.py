"""The limits of each gate for a model's versions before release, written by people as TOML or code.

Decides which limits there are. A gate without a limit judges nothing, except parity, and held-out rows compared with
the champion. Refuses to know how anything is measured.
"""

from typing import Annotated

import msgspec

from contract.wire import Message

Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Rows = Annotated[int, msgspec.Meta(ge=1)]


class HeldOutPolicy(Message, frozen=True):
    """Limits on held-out rows: rows that the model was not trained on, with their labels."""

    required: bool = False
    """Whether a push without held-out rows fails."""
    min_accuracy: Ratio | None = None
    """The smallest accuracy of a classifier."""
    max_error: Positive | None = None
    """The largest mean absolute error of a regression, in the unit of its labels."""
    max_worse: Ratio = 0.02
    """How much worse than the champion it may be on the same rows: a drop of accuracy, or an increase of the error as a
    fraction of the champion's."""


class SlicePolicy(Message, frozen=True):
    """Limits on parts of the held-out rows: each value of each group, and fifths in time."""

    max_worse: Ratio | None = None
    """How much worse a slice may be than all rows: a drop of accuracy, or an increase of the error as a fraction."""
    min_rows: Rows = 30
    """Smaller slices are left out, and the verdict says so."""


class FairnessPolicy(Message, frozen=True):
    """Limits on differences between groups, by the names of Fairlearn, for a classifier with two labels."""

    groups: tuple[str, ...] = ()
    """Groups of the held-out rows that are compared; empty: none."""
    positive: str = "1"
    """The label that counts as selected."""
    min_rows: Rows = 30
    """Smaller groups are left out, and the verdict says so."""
    demographic_parity_difference: Ratio | None = None
    equalized_odds_difference: Ratio | None = None
    equal_opportunity_difference: Ratio | None = None
    demographic_parity_ratio: Ratio | None = None
    """The smallest allowed ratio; 1 is parity."""
    equalized_odds_ratio: Ratio | None = None
    """The smallest allowed ratio."""


class GatePolicy(Message, frozen=True):
    """All limits of one model."""

    max_size_bytes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """The size of the full form's file."""
    max_latency_us_p95: Positive | None = None
    """The latency of one row on one thread of the controller."""
    max_memory_mb: Positive | None = None
    """Address space for loading, as the conversion measured it."""
    held_out: HeldOutPolicy = HeldOutPolicy()
    slices: SlicePolicy = SlicePolicy()
    fairness: FairnessPolicy = FairnessPolicy()
    same_signature: bool = False
    """Whether callers of the versions that devices run must be able to call the new one unchanged."""
    licences: tuple[str, ...] = ()
    """Allowed SPDX identifiers; empty: all licences are allowed, and none need be stated."""
    operators: tuple[str, ...] = ()
    """Allowed ONNX operators; empty: all that a device loads."""
    own: tuple[str, ...] = ()
    """Gates of the user's own, by name, that must have run and passed."""
