"""A provider with answers that tests choose, a controller that knows it, and a browser that goes from one
to the other.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from controller.api.app import make_app
from controller.api.sign_in_routes import BACK
from controller.config import ApiConfig, Config, OidcConfig, OidcGrant
from controller.state import State

CLIENT, SECRET, CODE = "edgeward", "s3cret", "the-code"
RSA = RSAKey.generate_key(2048, {"kid": "r1"})
OTHER = RSAKey.generate_key(2048, {"kid": "r1"})
ECK = ECKey.generate_key("P-256", {"kid": "e1"})
GRANTS = (
    OidcGrant(claim="groups", value="ops-north", roles=("operator",), labels={"site": "north"}),
    OidcGrant(claim="realm_access.roles", value="admins", roles=("admin",)),
)
Script = Callable[[TestClient, "Idp"], Awaitable[Any]]


@dataclass
class Idp:
    """A provider whose answers the tests choose: `changed` claims, and how a token is signed."""

    issuer: str = ""
    changed: dict[str, Any] = field(default_factory=dict)
    signed: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode({"alg": "RS256", "kid": "r1"}, claims, RSA)
    keys: list[Any] = field(default_factory=lambda: [RSA, ECK])
    asked: dict[str, str] = field(default_factory=dict)
    """The query with which the browser came."""
    exchanged: list[dict[str, str]] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)
    key_looks: int = 0

    async def discovery(self, _: web.Request) -> web.Response:
        ends = {name: f"{self.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        return web.json_response({"issuer": self.issuer, **ends, **self.document})

    async def jwks(self, _: web.Request) -> web.Response:
        self.key_looks += 1
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})

    async def token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.exchanged.append({**form, "authorization": request.headers.get("Authorization", "")})
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if form.get("code") != CODE or challenge != self.asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "u-17", "iat": now, "exp": now + 300,
            "nonce": self.asked["nonce"], "preferred_username": "ada", "groups": ["ops-north"], **self.changed,
        }  # fmt: skip
        return web.json_response({"id_token": self.signed({k: v for k, v in claims.items() if v is not None})})

    def app(self) -> web.Application:
        made = web.Application()
        made.router.add_get("/.well-known/openid-configuration", self.discovery)
        made.router.add_get("/jwks_uri", self.jwks)
        made.router.add_post("/token_endpoint", self.token)
        return made


def configured(folder: Path, issuer: str, **changed: Any) -> OidcConfig:
    plain = {"client_id": CLIENT, "client_secret_file": str(folder / "secret"), "grant": GRANTS, "name": "Example"}
    return OidcConfig(issuer=issuer, **{**plain, **changed})


def talk(state: State, script: Script, idp: Idp | None = None, **changed: Any) -> Any:
    """Runs a script against a controller and a provider."""
    idp = idp or Idp()

    async def run() -> Any:
        async with TestServer(idp.app()) as served:
            idp.issuer = str(served.make_url("")).rstrip("/")
            oidc = configured(Path(state.config.storage.data_dir).parent, idp.issuer, **changed)
            state.config = Config(
                storage=state.config.storage, oidc=oidc, api=ApiConfig(public_url="http://fleet.test")
            )
            async with TestClient(TestServer(make_app(state, "edg_local"))) as client:
                return await script(client, idp)

    return asyncio.run(run())


async def leave(client: TestClient, idp: Idp, to: str = "/fleet") -> dict[str, str]:
    answer = await client.get("/v1/session/provider", params={"to": to}, allow_redirects=False)
    assert answer.status == 303, await answer.text()
    there = urlsplit(answer.headers["Location"])
    idp.asked = {key: value[0] for key, value in parse_qs(there.query).items()}
    return idp.asked


async def back(client: TestClient, **query: str) -> str:
    """Returns where the browser ends."""
    answer = await client.get(BACK, params=query, allow_redirects=False)
    assert answer.status == 303, await answer.text()
    return answer.headers["Location"]


async def whole(client: TestClient, idp: Idp) -> tuple[str, Any]:
    """(where the browser ends, whose session it has) after a sign-in."""
    asked = await leave(client, idp)
    ended = await back(client, state=asked["state"], code=CODE)
    return ended, await (await client.get("/v1/session")).json()
