"""The permissions of a person whom a provider has identified, and their name in the audit. Pure.

Decides that the first matching grant is used, so that the scope of one never combines with the roles of another.
Refuses to know whether claims are true: `signin.id_token` does.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from contract.errors import BadInput, Code
from contract.names import check_name
from controller.config import OidcGrant

MAX_NAME_CHARS = 63
MARK_CHARS = 8
"""Characters of the digest that distinguishes two people whose names were rewritten."""


def grant_of(grants: Iterable[OidcGrant], claims: Mapping[str, Any]) -> OidcGrant:
    """Returns the first grant whose claim has its value. BadInput `sign_in_refused` if none fits."""
    for grant in grants:
        said = _found(claims, grant.claim)
        values = said if isinstance(said, list) else [said]
        if any(isinstance(each, str) and each == grant.value for each in values):
            return grant
    who = str(claims.get("sub"))[:100]
    raise BadInput(Code.SIGN_IN_REFUSED, f"no grant of [oidc] fits what the provider says of {who!r}")


def name_of(claims: Mapping[str, Any], claim: str) -> str:
    """Returns the name of a person, in the form of token names: the claim's text if it is such a name already.

    Other texts are rewritten, and end with a digest of the provider's own id, so that two people never have one
    name. BadInput `sign_in_refused` without the claim.
    """
    said = _found(claims, claim)
    if not isinstance(said, str) or not said:
        raise BadInput(Code.SIGN_IN_REFUSED, f"the provider says no {claim!r}: ask for it with [oidc] ask_for")
    with suppress(BadInput):
        return check_name(said, "person")
    mark = hashlib.sha256(str(claims.get("sub", "")).encode()).hexdigest()[:MARK_CHARS]
    plain = re.sub(r"[^a-z0-9]+", "-", said.lower()).strip("-")[: MAX_NAME_CHARS - MARK_CHARS - 1].strip("-")
    return f"{plain}-{mark}" if plain else mark


def _found(claims: Mapping[str, Any], path: str) -> Any:
    """Returns a claim by its name, or by names with dots if claims lie inside others, as `realm_access.roles`."""
    if path in claims:
        return claims[path]
    inner: Any = claims
    for part in path.split("."):
        inner = inner.get(part) if isinstance(inner, dict) else None
    return inner
