"""Verification of an ID token, by OpenID Connect Core 1.0, section 3.1.3.7. Pure: keys and time are handed in.

Decides which algorithms are accepted: only signatures by a provider's public key, so that neither `none` nor a MAC
with a public key as its secret is accepted. Refuses to know where tokens and keys come from.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contract.errors import BadInput, Code

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
LEEWAY_S = 60
"""Seconds by which the clocks of provider and controller may differ."""
MAX_AGE_S = 600
"""The largest age of a token in seconds: it was made for this sign-in, a moment ago."""
MAX_TOKEN_CHARS = 32_768
"""The longest token: the groups of a person in a large company fill some kB."""
MAX_KEYS = 50
"""The most keys of a provider: two are usual, and each costs an attempt if a token names none."""


class UnknownKeyError(Exception):
    """The token names a key that is not known: the provider may have changed its keys."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The required content of the token of one sign-in."""

    issuer: str
    client_id: str
    nonce: str


def checked(token: str, keys: Sequence[Mapping[str, Any]], expected: Expected, now: float) -> dict[str, Any]:
    """Returns the claims of a token that is signed by one of `keys` (JWKs) and made for this sign-in; `now` in seconds
    since 1970.

    BadInput `sign_in_refused` for any other; UnknownKeyError if it names an unknown key.
    """
    claims = _signed(token, keys)
    _check_audience(claims, expected)
    _check_times(claims, now)
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), expected.nonce.encode()):
        raise refused("its nonce is of another sign-in")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise refused("it names nobody")
    return claims


def refused(words: str) -> BadInput:
    """Returns the error for a wrong answer of a provider."""
    return BadInput(Code.SIGN_IN_REFUSED, f"the provider's ID token does not hold: {words}")


def _signed(token: str, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from joserfc import jws, jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    if len(token) > MAX_TOKEN_CHARS:
        raise refused(f"it has {len(token)} characters")
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError, UnicodeError):
        raise refused("it is no signed token") from None
    algorithm, named = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise refused(f"its algorithm {str(algorithm)[:20]!r} does not count")
    chosen = [key for key in keys[:MAX_KEYS] if named is None or key.get("kid") == named]
    if not chosen:
        raise UnknownKeyError
    for key in chosen:
        try:
            return dict(jwt.decode(token, import_key(dict(key)), algorithms=list(ALGORITHMS)).claims)
        except (JoseError, ValueError, TypeError, UnicodeError):
            continue  # a key of another kind, or for another token
    raise refused("no key of the provider has signed it")


def _check_audience(claims: Mapping[str, Any], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise refused(f"its issuer is {str(claims.get('iss'))[:100]!r}")
    said = claims.get("aud")
    audience = said if isinstance(said, list) else [said]
    if expected.client_id not in audience:
        raise refused("it is for another audience")
    party = claims.get("azp")
    if party != expected.client_id and (party is not None or len(audience) > 1):
        raise refused("it was made for another party")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    ends, made = _moment(claims.get("exp")), _moment(claims.get("iat"))
    if now >= ends + LEEWAY_S:
        raise refused("it has expired")
    if not made - LEEWAY_S <= now < made + MAX_AGE_S + LEEWAY_S:
        raise refused("it was not made just now")
    if now < _moment(claims.get("nbf", made)) - LEEWAY_S:
        raise refused("it does not hold yet")


def _moment(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise refused("it says no time")
    return float(value)
