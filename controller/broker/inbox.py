"""The messages of devices that wait for the next pass: decoded, authenticated, bounded.

Decides what counts as a message, and what is dropped first when too many wait. Refuses to know what messages mean.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable
from operator import itemgetter

from contract import topics
from contract.captured import Captured
from contract.errors import BadInput, Code, EdgewardError
from contract.inquiries import Answered
from contract.messages import Ack, Heartbeat, Presence, Report, Telemetry
from contract.protocol import PROTOCOL
from contract.said import decode_said
from contract.signatures import MAC_PREFIX
from controller.broker.allowance import Allowance
from controller.broker.refusals import Refusals
from controller.broker.strangers import MAX_NAMES, Strangers
from controller.reconcile.world import FromDevice
from controller.trust.senders import Senders

MAX_CAPTURED = 500
"""Batches of captured inferences that wait for the next pass, of up to 1 MB each. A device sends a batch again until it
is acknowledged, so a dropped batch arrives later."""
MAX_INBOX = 50_000
"""The most messages that wait for the next pass: ten seconds at the 5,000 a second that one connection carries
(docs/adr/0004). Above this limit, the oldest message of the first kind in `_DROPPED_FIRST` is dropped and counted."""

_DROPPED_FIRST: tuple[type[FromDevice], ...] = (Telemetry, Heartbeat, Presence, Report)
"""Kinds of messages in the order in which they are dropped. Telemetry goes first: the next telemetry follows soon. The
next heartbeat replaces a lost one, and also shows presence. Reports go last: a device sends a report again until it is
acknowledged, but only after a reconnect or a retry."""

_KINDS: dict[str, type[FromDevice | Captured | Answered]] = {
    topics.UP_ANSWERED: Answered,
    topics.UP_CAPTURED: Captured,
    topics.UP_HEARTBEAT: Heartbeat,
    topics.UP_REPORT: Report,
    topics.UP_PRESENCE: Presence,
    topics.UP_TELEMETRY: Telemetry,
}

_log = logging.getLogger("edgeward.controller")


class Inbox:
    """Messages in the order of arrival. `now` returns seconds since 1970; `answered` takes answers to inquiries."""

    def __init__(
        self,
        senders: Senders,
        now: Callable[[], float],
        answered: Callable[[str, Answered], bool] = lambda _device, _answer: False,
        *,
        agreement: str = "",
    ) -> None:
        self._senders = senders
        self._agreement = agreement
        """The public key for codes that may replace signatures of telemetry; empty for none."""
        self._now = now
        self._answered = answered
        self._allowance = Allowance()
        self._arrived = 0
        self._waiting: dict[type[FromDevice], deque[tuple[int, str, FromDevice]]] = {
            kind: deque() for kind in _DROPPED_FIRST
        }
        self._captured: deque[tuple[str, Captured]] = deque()
        self.counts: Counter[str] = Counter()
        """Counts by reason. `malformed`, `wrong_name`, `wrong_device` and `unsigned`: refused. `overflow`: dropped
        because too many wait. `throttled`: not decoded, because the device had sent too much. `parts`: parts of
        accepted messages that could not be decoded. `answers_unasked`: answers to no open question. `retired`: from
        devices that have left the fleet."""
        self.retired_heard: set[str] = set()
        """Retired devices that have sent messages since the last look at this set: they do not know that they are
        retired."""
        self.unheard: dict[str, Ack] = {}
        """The answer to a heartbeat with an invalid signature since the last check, by device."""
        self.agreements: dict[str, Ack] = {}
        """The message about codes in place of signatures since the last check, by device."""
        self._strangers = Strangers()
        self._refusals = Refusals()

    def put(self, topic: str, payload: bytes) -> bool:
        """Adds the message from a topic. Returns False, and counts it, if it is not a message, or not from the topic's
        device.
        """
        found = topics.parse_up(topic)
        if found is None:
            if not self.counts["wrong_name"]:
                _log.warning(
                    "message on %r dropped: no device has such a name; later ones are only counted", topic[:200]
                )
            self.counts["wrong_name"] += 1
            return False
        if found[1] not in _KINDS or not payload:
            return False
        device, kind = found
        if not self._allowance.spend(device, len(payload), self._now()):
            self.counts["throttled"] += 1
            self._refusals.throttled(device, self._now())
            return False
        try:
            message, dropped = decode_said(payload, _KINDS[kind])
            if dropped:
                self.counts["parts"] += dropped
            self._refuse_others(device, message)
        except EdgewardError as error:
            self.counts["wrong_device" if error.code == Code.WRONG_DEVICE else "malformed"] += 1
            if self._refusals.refused(device, self._now()):
                _log.warning("message on the topic of %s dropped: %s", device, error)
            return False
        if heard := self._is_heard(device, message, payload):
            self._keep(device, message)
        return heard

    def take(self) -> tuple[list[tuple[str, FromDevice]], list[tuple[str, Captured]]]:
        """Removes and returns all (device, message) and all (device, batch of captured inferences), in the order of
        arrival. Logs the sums of what was refused, once a minute.
        """
        for words in self._refusals.sums(self._now()):
            _log.warning("dropped: %s", words)
        arrived = sorted((each for queue in self._waiting.values() for each in queue), key=itemgetter(0))
        captured = list(self._captured)
        self._captured.clear()
        for queue in self._waiting.values():
            queue.clear()
        return [(device, message) for _, device, message in arrived], captured

    def strangers(self) -> dict[str, str]:
        """Returns by device how many recent messages in its name it has not signed, in words."""
        return self._strangers.told(self._now())

    def loudest(self) -> dict[str, str]:
        """Returns by device, in words, its recent messages that were refused or throttled, the worst first."""
        return self._refusals.told(self._now())

    @property
    def refused(self) -> int:
        """The number of messages that were refused as malformed or under a wrong name, throttled, or dropped."""
        return sum(self.counts[why] for why in ("malformed", "wrong_name", "wrong_device", "throttled", "overflow"))

    def _is_heard(self, device: str, message: FromDevice | Captured | Answered, payload: bytes) -> bool:
        """Returns whether a message comes from its device and the device is part of the fleet; counts it if not."""
        if device in self._senders.retired:
            self.counts["retired"] += 1
            self.retired_heard |= {device} if isinstance(message, Presence) and message.online else set()
            return False
        if not self._senders.is_authentic(device, message, self._now(), payload):
            self.counts["unsigned"] += 1
            self._strangers.note(device, self._now())
            self._answer_unheard(device, message)
            self._agree(device, message, is_heard=False)
            return False
        self._agree(device, message, is_heard=True)
        if not self._senders.has_keys(device, self._now()):
            self._answer_unheard(device, message)
        return True

    def _answer_unheard(self, device: str, message: FromDevice | Captured | Answered) -> None:
        """Notes that a device must get the message that its key is not known: it then renews, and so shows its
        certificate.
        """
        if isinstance(message, Heartbeat) and message.signature and len(self.unheard) < MAX_NAMES:
            self.unheard[device] = Ack(boot=message.boot, seq=message.seq, heard=False)

    def _agree(self, device: str, message: FromDevice | Captured | Answered, *, is_heard: bool) -> None:
        """Notes that a device with signed telemetry may use codes, or that the key of a code is not known here."""
        if not isinstance(message, Telemetry) or not message.signature or len(self.agreements) >= MAX_NAMES:
            return
        has_code = message.signature.startswith(MAC_PREFIX)
        if has_code and not is_heard:
            self.agreements[device] = Ack(boot=message.boot, seq=message.seq, agreement="")
        elif is_heard and not has_code and self._agreement and self._senders.can_agree(device):
            self.agreements[device] = Ack(boot=message.boot, seq=message.seq, agreement=self._agreement)

    def _refuse_others(self, device: str, message: FromDevice | Captured | Answered) -> None:
        if message.device != device:
            raise BadInput(Code.WRONG_DEVICE, f"a message on the topic of {device} names {message.device!r}")
        if message.protocol != PROTOCOL:
            words = f"it speaks protocol {message.protocol}, this controller {PROTOCOL}: upgrade the older one"
            raise BadInput(Code.PROTOCOL_UNKNOWN, words)

    def _keep(self, device: str, message: FromDevice | Captured | Answered) -> None:
        if isinstance(message, Answered):
            self.counts["answers_unasked"] += not self._answered(device, message)
            return
        if isinstance(message, Captured):
            if len(self._captured) >= MAX_CAPTURED:
                self._captured.popleft()
                self.counts["overflow"] += 1
            self._captured.append((device, message))
            return
        if sum(map(len, self._waiting.values())) >= MAX_INBOX:
            next(queue for queue in self._waiting.values() if queue).popleft()
            self.counts["overflow"] += 1
        self._arrived += 1
        self._waiting[type(message)].append((self._arrived, device, message))
