"""The query of a search of devices: filters, one order, one page. Turns texts into a checked query.

Decides which filters and orders there are. Refuses to know how it is answered (`roster`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from contract.errors import BadInput, Code
from contract.protocol import MAX_LABELS
from controller.fleet.device_health import HEALTH_WORDS
from controller.fleet.twin import PresenceWord

PRESENCE_WORDS: tuple[str, ...] = get_args(PresenceWord)
ORDERS = ("device", "presence", "health", "seen", "version")
"""Besides them `label.KEY`; a minus before it reverses the order. `seen`: the longest silent first."""
DEFAULT_PAGE = 50
MAX_PAGE = 1_000
"""Devices in one answer: about 1.5 MB."""
MAX_TEXT_CHARS = 200


@dataclass(frozen=True, slots=True)
class DeviceQuery:
    """Devices that pass all filters; a page of them in one order. An empty filter passes every device."""

    text: str = ""
    """A text in lower case, found anywhere in the name, in a label or in a code of what is wrong."""
    presence: frozenset[str] = frozenset()
    health: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    """The model that is desired or reported."""
    release: int | None = None
    """The release that answers; of `model`, or of any."""
    code: str = ""
    coded: frozenset[str] = frozenset()
    """Devices with a quarantined version that failed with this code, although they no longer report it."""
    pinned: bool = False
    """Only devices on which a pin holds a model, of people or of its own configuration; with `model` that model."""
    among: frozenset[str] | None = None
    """The only devices to search; None: all."""
    order: str = "device"
    descending: bool = False
    limit: int = DEFAULT_PAGE
    offset: int = 0


def check_words(asked: Sequence[str], known: Sequence[str], name: str) -> frozenset[str]:
    """Returns the words in a query, each of which may be several with commas. BadInput `request_invalid`."""
    words = frozenset(word for text in asked for word in text.split(",") if word)
    if wrong := sorted(words - set(known)):
        raise BadInput(Code.REQUEST_INVALID, f"{name} {wrong[0][:40]!r}: expected one of {', '.join(known)}")
    return words


def check_presence(asked: Sequence[str]) -> frozenset[str]:
    """Returns words of presence. BadInput `request_invalid`."""
    return check_words(asked, PRESENCE_WORDS, "presence")


def check_health(asked: Sequence[str]) -> frozenset[str]:
    """Returns words of health. BadInput `request_invalid`."""
    return check_words(asked, HEALTH_WORDS, "health")


def check_labels(asked: Sequence[str]) -> dict[str, str]:
    """Returns labels from texts `key=value`. BadInput `request_invalid`."""
    found = {}
    for text in asked:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise BadInput(Code.REQUEST_INVALID, f"label {text[:80]!r}: expected KEY=VALUE")
        found[key] = value
    if len(found) > MAX_LABELS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(found)} labels, limit {MAX_LABELS}")
    return found


def check_text(text: str) -> str:
    """Returns the text to search for, in lower case. BadInput `request_invalid`."""
    if len(text) > MAX_TEXT_CHARS:
        raise BadInput(Code.REQUEST_INVALID, f"{text[:40]!r}...: at most {MAX_TEXT_CHARS} characters")
    return text.strip().lower()


def check_order(text: str) -> tuple[str, bool]:
    """Returns (order, whether it is reversed). BadInput `request_invalid`."""
    order = text.removeprefix("-") or "device"
    if order not in ORDERS and not (order.startswith("label.") and len(order) > len("label.")):
        raise BadInput(Code.REQUEST_INVALID, f"sort {order[:64]!r}: expected {', '.join(ORDERS)} or label.KEY")
    return order, text.startswith("-")


def check_page(limit: int, offset: int) -> tuple[int, int]:
    """Returns (limit, offset). BadInput `request_invalid`."""
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(Code.REQUEST_INVALID, f"limit {limit}: ask for 1 to {MAX_PAGE} devices at once")
    return limit, offset
