"""Answers inquiries of operators, within limits of number, size and time.

Decides that one inquiry is answered at a time, and none twice. Refuses to know how logs are kept and checks are made.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from agent.ports import Link
from contract import topics
from contract.errors import BadInput, Code
from contract.inquiries import LIFE_S, Answered, Inquiry, Probed, fitted
from contract.protocol import PROTOCOL
from contract.signatures import Sign, sign_message
from contract.wire import encode

MAX_KEPT_IDS = 64
"""Ids of inquiries that are not answered again; they expire long before 64 others are signed."""
MAX_BURST, BURST_S = 10, 60.0
"""The most inquiries that are answered in any BURST_S seconds. With this limit a stolen key of a controller cannot
overload a small device with checks, and a person does not need more.
"""
GIVE_UP_S = 30.0
"""Seconds after which an unanswered inquiry is dropped, so that another one can be answered."""


@dataclass(frozen=True, slots=True)
class Replies:
    """Answers of one device to inquiries: numbered, signed and sent. `number` returns the boot and the next number."""

    device: str
    link: Link
    number: Callable[[], tuple[int, int]]
    sign: Sign | None

    def send(
        self, identifier: str, *, lines: tuple[str, ...] = (), left_out: int = 0, probed: Probed | None = None
    ) -> None:
        """Sends the answer to the inquiry of this id."""
        boot, seq = self.number()
        answer = Answered(
            protocol=PROTOCOL, device=self.device, boot=boot, seq=seq, id=identifier,
            lines=lines, left_out=left_out, probed=probed,
        )  # fmt: skip
        self.link.publish(topics.answered(self.device), encode(sign_message(answer, self.sign)), expiry_s=LIFE_S)


class Inquiries:
    """The inquiries of one device. `look` begins to answer one, and passes the result to `answer`."""

    def __init__(self, replies: Replies, *, look: Callable[[Inquiry], None], dropped: Counter[str]) -> None:
        self._replies = replies
        self._look = look
        self._dropped = dropped
        self._seen: deque[str] = deque(maxlen=MAX_KEPT_IDS)
        self._open: tuple[Inquiry, float] | None = None
        self._begun: deque[float] = deque(maxlen=MAX_BURST)

    def take(self, inquiry: Inquiry, date_s: float, now: float) -> None:
        """Begins to answer an inquiry that the director has signed. `date_s`: seconds since 1970.

        BadInput `wrong_device`, `protocol_unknown`; `desired_expired` for an old inquiry that somebody has kept.
        """
        check_asked(inquiry, self._replies.device, date_s)
        busy = self._open is not None and now - self._open[1] < GIVE_UP_S
        many = len(self._begun) == MAX_BURST and now - self._begun[0] < BURST_S
        if inquiry.id in self._seen or busy or many:
            self._dropped["inquiries"] += 1
            return
        self._seen.append(inquiry.id)
        self._begun.append(now)
        self._open = inquiry, now
        self._look(inquiry)

    def answer(self, identifier: str, lines: tuple[str, ...]) -> None:
        """Sends the result; nothing if the inquiry was dropped in the meantime."""
        if self._open is None or self._open[0].id != identifier:
            return
        inquiry, self._open = self._open[0], None
        kept, left_out = fitted(lines, inquiry.lines)
        self._replies.send(identifier, lines=kept, left_out=left_out)


def check_asked(inquiry: Inquiry, device: str, date_s: float) -> None:
    """BadInput `wrong_device`, `protocol_unknown`; `desired_expired` for an old inquiry that is sent again."""
    if inquiry.device != device:
        raise BadInput(Code.WRONG_DEVICE, f"an inquiry for {inquiry.device}")
    if inquiry.protocol != PROTOCOL:
        raise BadInput(Code.PROTOCOL_UNKNOWN, f"an inquiry of protocol {inquiry.protocol}, this side {PROTOCOL}")
    if abs(date_s - inquiry.issued) > LIFE_S:
        words = f"an inquiry of {date_s - inquiry.issued:.0f} s ago: is the clock right?"
        raise BadInput(Code.DESIRED_EXPIRED, words)
