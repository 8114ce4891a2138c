"""An order to delete captured rows, by key, answer, time or model. It is part of the signed desired document.

Decides which rows an order names. All its conditions must hold; of several keys or answers one is enough. Refuses to
know where rows are kept: the controller and each device apply the order to their own.
"""

from typing import Annotated

import msgspec

from contract.bounds import WholeMoment
from contract.captured import CapturedRow, LateLabel
from contract.messages import Short
from contract.wire import Message

MAX_NAMED = 64
"""Keys, or answers, of one order: a larger order is split, so that a signed document stays small."""
MAX_ERASURES = 16
"""Orders in one document. Further ones follow when the device has reported that the first are done."""


class Erasure(Message, frozen=True):
    """Which captured rows to delete."""

    id: Short
    model: Short = ""
    """Only rows of this model; empty: of every model."""
    keys: Annotated[tuple[Short, ...], msgspec.Meta(max_length=MAX_NAMED)] = ()
    answers: Annotated[tuple[Short, ...], msgspec.Meta(max_length=MAX_NAMED)] = ()
    since: WholeMoment = 0
    """Seconds since 1970 by the device's clock: rows from that time on."""
    before: WholeMoment = 0
    """Rows captured earlier than that; 0: no end."""

    def matches(self, row: CapturedRow) -> bool:
        """Tells whether a row is to be deleted."""
        return (
            self.model in ("", row.model)
            and (not self.keys or row.key in self.keys)
            and (not self.answers or row.id in self.answers)
            and row.at >= self.since
            and (not self.before or row.at < self.before)
        )

    def may_concern(self, label: LateLabel) -> bool:
        """Tells whether a label may belong to a row to be deleted. A label does not contain the row's key and time."""
        return self.model in ("", label.model) and (not self.answers or label.id in self.answers)
