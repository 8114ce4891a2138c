"""One OpenID provider: its discovery document, its keys, and the exchange of a code for an ID token.

Decides how long its answers are kept, and that requests go only over TLS or to this machine. Refuses to know whether a
token is valid (`signin.id_token`) and what its holder may do (`signin.grants`).
"""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from contract.errors import BadInput, Code, WorldError
from controller.config import OidcConfig
from controller.signin.id_token import Expected, UnknownKeyError, checked, refused
from controller.signin.pending import Begun

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 512 * 1024
KEPT_S = 3600.0
"""Seconds for which discovery and keys are not requested again."""
ASKED_AGAIN_S = 60.0
"""Seconds between two requests for an unknown key, so that tokens with invented key names cost the provider no more."""
_NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
_HERE = ("localhost", "127.0.0.1", "::1")


class Provider:
    """The provider of the configuration. `clock` returns seconds since 1970."""

    def __init__(self, config: OidcConfig, secret: str, clock: Callable[[], float]) -> None:
        self._config = config
        self._secret = secret
        self._clock = clock
        self._document: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []
        self._asked_at = self._keys_at = float("-inf")

    async def address(self, begun: Begun, back: str) -> str:
        """Returns the address to which a browser that begins to sign in is sent. `back` is the address to which the
        provider sends it afterwards.

        WorldError `provider_unreachable`; BadInput `sign_in_refused` if the provider is not the configured one.
        """
        document = await self._discovered()
        asked = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": back,
            "scope": " ".join(dict.fromkeys(("openid", *self._config.ask_for))),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": begun.challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in document["authorization_endpoint"] else "?"
        return f"{document['authorization_endpoint']}{joint}{urlencode(asked)}"

    async def claims(self, code: str, begun: Begun, back: str) -> dict[str, Any]:
        """Returns the claims about the person for whom the provider has made `code`. Errors as in `address`."""
        token = await self._exchanged(code, begun, back)
        expected = Expected(self._config.issuer, self._config.client_id, begun.nonce)
        try:
            return checked(token, await self._known_keys(), expected, self._clock())
        except UnknownKeyError:
            keys = await self._known_keys(again=True)
        try:
            return checked(token, keys, expected, self._clock())
        except UnknownKeyError:
            raise refused("no key of the provider has the name that it gives") from None

    def check_issuer(self, said: str | None) -> None:
        """Raises BadInput `sign_in_refused` for an answer that names another issuer (RFC 9207)."""
        if said is not None and said != self._config.issuer:
            raise BadInput(Code.SIGN_IN_REFUSED, f"the answer is of another issuer: {said[:100]!r}")

    async def _exchanged(self, code: str, begun: Begun, back: str) -> str:
        document = await self._discovered()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": begun.verifier}
        headers = {}
        if not self._secret:
            form["client_id"] = self._config.client_id
        elif "client_secret_basic" in document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            proof = f"{quote(self._config.client_id, safe='')}:{quote(self._secret, safe='')}"  # by RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(proof.encode()).decode()}"
        else:
            form |= {"client_id": self._config.client_id, "client_secret": self._secret}
        status, answer = await self._ask("POST", document["token_endpoint"], data=form, headers=headers)
        if status >= 400:
            raise BadInput(Code.SIGN_IN_REFUSED, f"the provider refused the code: {str(answer.get('error'))[:100]}")
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise refused("there is none")
        return token

    async def _discovered(self) -> dict[str, Any]:
        if self._document and self._clock() < self._asked_at + KEPT_S:
            return self._document
        _, found = await self._ask("GET", f"{self._config.issuer.rstrip('/')}/.well-known/openid-configuration")
        missing = [key for key in _NEEDED if not isinstance(found.get(key), str)]
        if missing or found["issuer"] != self._config.issuer:
            words = f"it says no {missing[0]}" if missing else f"it calls itself {found['issuer'][:100]!r}"
            raise BadInput(Code.SIGN_IN_REFUSED, f"the discovery document of {self._config.issuer}: {words}")
        for key in _NEEDED[1:]:
            check_address(found[key], key)
        self._document, self._asked_at = found, self._clock()
        return found

    async def _known_keys(self, *, again: bool = False) -> list[dict[str, Any]]:
        age_s = self._clock() - self._keys_at
        if age_s < (ASKED_AGAIN_S if again else KEPT_S):
            return self._keys
        document = await self._discovered()
        _, found = await self._ask("GET", document["jwks_uri"])
        keys = found.get("keys")
        self._keys = [each for each in keys if isinstance(each, dict)] if isinstance(keys, list) else []
        self._keys_at = self._clock()
        return self._keys

    async def _ask(self, method: str, url: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Returns (status, JSON object) of an answer. Redirects are not followed, because a secret would
        be sent along.
        """
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
                session.request(method, url, allow_redirects=False, **options) as answer,
            ):
                raw, status = await _bounded(answer.content), answer.status
            found = json.loads(raw)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            words = f"{urlsplit(url).netloc}: {type(error).__name__}: {error}"
            raise WorldError(Code.PROVIDER_UNREACHABLE, words[:300]) from error
        if not isinstance(found, dict) or status >= 500 or (status >= 400 and method == "GET"):
            raise WorldError(Code.PROVIDER_UNREACHABLE, f"{urlsplit(url).netloc}: HTTP {status} without an answer")
        return status, found


def check_address(url: str, what: str) -> None:
    """Raises BadInput `config_invalid` for an address that is neither https nor on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise BadInput(
            Code.CONFIG_INVALID, f"oidc: {what} {url[:100]!r}: expected https://, or http:// on this machine"
        )


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    found = b""
    while chunk := await content.read(64 * 1024):
        found += chunk
        if len(found) > MAX_ANSWER_BYTES:
            raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
    return found
