"""Sessions of the page: a browser's cookie in place of a token.

Decides the content of a cookie (token and end) and whether this controller made it. A session is not stored: it
names a token, and ends with it. Therefore it remains valid after a restart of the controller. Refuses to know HTTP,
and what the holder may do.
"""

import base64
import hashlib
import hmac

import msgspec

from contract.errors import BadInput
from contract.wire import Message, decode, encode

MAX_SESSION_S = 12 * 3600.0
"""Seconds of the longest session: a working day. After that a person needs the token again."""
MAX_COOKIE_CHARS = 512
LOCAL = "local"
"""The id in a session of the token in the controller's data directory."""


class Session(Message, frozen=True):
    """The content of a cookie."""

    token: str
    """The id of a token, or `local`."""
    actor: str
    """The name that the audit gives to a holder of the local token."""
    expires_at: float
    """Seconds since 1970: never after the end of the token."""


class Sessions:
    """Makes and reads cookies of one controller. `secret` is its local token, which a cookie does not reveal."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"edgeward page session", "sha256")
        self.cookie = f"edgeward_{hashlib.sha256(self._key).hexdigest()[:8]}"
        """The name of the cookie. Two controllers on one host have two, because browsers do not separate cookies by
        port."""

    def seal(self, session: Session) -> str:
        """Returns the value of the cookie."""
        body = encode(session)
        return f"{_text(body)}.{_text(self._sign(body))}"

    def read(self, cookie: str, now: float) -> Session | None:
        """Returns the content of a cookie; None for one that this controller did not make, or that has expired."""
        body_text, _, sign_text = cookie.partition(".")
        if not sign_text or len(cookie) > MAX_COOKIE_CHARS:
            return None
        try:
            body, sign = _bytes(body_text), _bytes(sign_text)
        except ValueError:
            return None
        if not hmac.compare_digest(sign, self._sign(body)):
            return None
        try:
            found = decode(body, Session)
        except (BadInput, msgspec.MsgspecError):
            return None
        return found if now < found.expires_at else None

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
