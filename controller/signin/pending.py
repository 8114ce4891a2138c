"""Sign-ins in progress: the requests to a provider, and the browser of each.

Decides that a state is valid once, for ten minutes, and only in the browser that began. Time and randomness are
handed in. Refuses to know HTTP and providers.
"""

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from contract.errors import BadInput, Code

PENDING_S = 600.0
"""Seconds of a sign-in: enough for a person who must find a second factor first."""
MAX_PENDING = 1_000
"""The most sign-ins in progress. Above this limit, the oldest is dropped, and that person begins again."""


@dataclass(frozen=True, slots=True)
class Begun:
    """One sign-in in progress. Only `state`, `nonce` and the verifier's digest leave this controller."""

    state: str
    nonce: str
    verifier: str
    browser: str
    """The value of a cookie of the browser that began."""
    back_to: str
    """The address of the page to show afterwards."""
    until: float

    @property
    def challenge(self) -> str:
        """Returns the verifier's digest, by RFC 7636 (S256)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Pending:
    """All sign-ins in progress. `draw` returns a new text that nobody can guess."""

    def __init__(self, draw: Callable[[], str]) -> None:
        self._draw = draw
        self._begun: OrderedDict[str, Begun] = OrderedDict()

    def begin(self, back_to: str, now: float) -> Begun:
        """Begins a sign-in and keeps it."""
        state, nonce, verifier, browser = (self._draw() for _ in range(4))
        made = Begun(state, nonce, verifier, browser, back_to, now + PENDING_S)
        self._begun[made.state] = made
        if len(self._begun) > MAX_PENDING:
            self._begun.popitem(last=False)
        return made

    def end(self, state: str, browser: str, now: float) -> Begun:
        """Removes and returns the sign-in with this state. BadInput `sign_in_refused` if it is unknown, too old, or of
        another browser.
        """
        begun = self._begun.pop(state, None)
        if begun is None:
            raise BadInput(Code.SIGN_IN_REFUSED, "this state is of no sign-in under way here, or was used before")
        if now >= begun.until:
            raise BadInput(Code.SIGN_IN_REFUSED, f"it took more than {PENDING_S / 60:.0f} minutes: begin again")
        if not hmac.compare_digest(begun.browser.encode(), browser.encode(errors="surrogateescape")):
            raise BadInput(Code.SIGN_IN_REFUSED, "another browser began this sign-in")
        return begun
