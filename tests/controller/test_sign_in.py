"""Attack table: signing in with an OpenID provider. If any part of its answer is invalid, nobody is signed in."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from joserfc import jwt

from contract.errors import BadInput, Code
from controller.api.app import make_app
from controller.api.auth import PAGE_HEADER
from controller.api.sign_in_routes import BACK, DOORS
from controller.config import Config, OidcConfig, OidcGrant, StorageConfig
from controller.signin.grants import grant_of, name_of
from controller.signin.pending import MAX_PENDING, PENDING_S, Pending
from controller.state import State, open_state
from controller.verbs.sign_in import open_provider
from tests.controller.sign_in_world import (
    CLIENT,
    CODE,
    ECK,
    GRANTS,
    OTHER,
    RSA,
    SECRET,
    Idp,
    back,
    configured,
    leave,
    talk,
    whole,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("oidc")
    (made / "secret").write_text(f"{SECRET}\n")
    return made


@pytest.fixture(scope="module")
def state(folder: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(folder / "data"))))
    yield made
    made.close()


def test_a_person_gets_the_role_and_scope_of_the_first_matching_grant(state: State) -> None:
    ended, me = talk(state, whole)
    assert ended == "/fleet"
    assert (me["name"], me["roles"], me["scope"]) == ("ada", ["operator"], "site=north")
    entry = state.journal.audit_entries(1)[0]
    assert (entry["actor"], entry["action"]) == ("ada", "sign in")
    assert entry["detail"] == "operator; only for site=north; Example u-17"


def test_the_browser_is_sent_with_pkce_state_and_nonce_and_the_code_is_redeemed_with_the_verifier(state: State) -> None:
    async def script(client: TestClient, idp: Idp) -> None:
        asked = await leave(client, idp)
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert (asked["client_id"], asked["scope"]) == (CLIENT, "openid profile")
        assert asked["redirect_uri"] == f"http://fleet.test{BACK}"
        assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
        assert all(len(asked[each]) >= 43 for each in ("state", "nonce", "code_challenge"))
        await back(client, state=asked["state"], code=CODE)
        (sent,) = idp.exchanged
        assert sent["redirect_uri"] == asked["redirect_uri"]
        assert base64.b64decode(sent["authorization"].removeprefix("Basic ")).decode() == f"{CLIENT}:{SECRET}"

    talk(state, script)


def test_a_public_client_sends_no_secret_and_client_secret_post_sends_it_in_the_form(state: State) -> None:
    public, by_post = Idp(), Idp(document={"token_endpoint_auth_methods_supported": ["client_secret_post"]})
    assert talk(state, whole, public, client_secret_file="")[1]["name"] == "ada"
    assert talk(state, whole, by_post)[1]["name"] == "ada"
    assert (public.exchanged[0]["client_id"], public.exchanged[0]["authorization"]) == (CLIENT, "")
    assert (by_post.exchanged[0]["client_secret"], by_post.exchanged[0]["authorization"]) == (SECRET, "")


def unsigned(claims: dict[str, Any]) -> str:
    def text(part: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

    return f"{text({'alg': 'none', 'kid': 'r1'})}.{text(claims)}."


def by_mac(claims: dict[str, Any]) -> str:
    """Signed with the provider's public key as the secret of a MAC."""
    head, body, _ = jwt.encode({"alg": "RS256", "kid": "r1"}, claims, RSA).split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "r1"}).encode()).decode().rstrip("=")
    sign = hmac.digest(RSA.as_pem(private=False), f"{head}.{body}".encode(), "sha256")
    return f"{head}.{body}.{base64.urlsafe_b64encode(sign).decode().rstrip('=')}"


def with_a_changed_body(claims: dict[str, Any]) -> str:
    head, _, sign = jwt.encode({"alg": "RS256", "kid": "r1"}, claims, RSA).split(".")
    body = base64.urlsafe_b64encode(json.dumps({**claims, "groups": ["admins"]}).encode()).decode().rstrip("=")
    return f"{head}.{body}.{sign}"


NOW = int(time.time())
ATTACKS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "for another audience": ({"aud": "other"}, None, "another audience"),
    "for nobody": ({"aud": None}, None, "another audience"),
    "for us among others, made for another": ({"aud": [CLIENT, "other"], "azp": "other"}, None, "another party"),
    "for us among others, made for nobody": ({"aud": [CLIENT, "other"]}, None, "another party"),
    "of another issuer": ({"iss": "https://evil.example"}, None, "its issuer"),
    "with another nonce": ({"nonce": "replayed"}, None, "nonce"),
    "without a nonce": ({"nonce": None}, None, "nonce"),
    "that has expired": ({"exp": NOW - 120, "iat": NOW - 400}, None, "expired"),
    "without an end": ({"exp": None}, None, "no time"),
    "made an hour ago": ({"iat": NOW - 3600}, None, "just now"),
    "made tomorrow": ({"iat": NOW + 86_400, "exp": NOW + 90_000}, None, "just now"),
    "that holds tomorrow": ({"nbf": NOW + 86_400}, None, "does not hold yet"),
    "with an end that is no number": ({"exp": "later"}, None, "no time"),
    "that names nobody": ({"sub": ""}, None, "names nobody"),
    "that nobody has signed": ({}, unsigned, "algorithm 'none'"),
    "signed by a MAC with the public key": ({}, by_mac, "algorithm 'HS256'"),
    "signed by another key of that name": ({}, lambda c: jwt.encode({"alg": "RS256", "kid": "r1"}, c, OTHER), "no key"),
    "signed by a key that is not there": ({}, lambda c: jwt.encode({"alg": "RS256", "kid": "x"}, c, OTHER), "no key"),
    "by a key of another kind": ({}, lambda c: jwt.encode({"alg": "RS256", "kid": "e1"}, c, RSA), "no key"),
    "whose body was changed": ({}, with_a_changed_body, "no key"),
    "that is no token": ({}, lambda _: "a.b", "no signed token"),
    "that is too long": ({}, lambda _: "a" * 40_000, "40000 characters"),
    "of somebody without a grant": ({"groups": ["guests"]}, None, "no grant"),
    "without groups": ({"groups": None}, None, "no grant"),
    "without a name": ({"preferred_username": None}, None, "says no 'preferred_username'"),
}


@pytest.mark.parametrize(("changed", "signed", "why"), ATTACKS.values(), ids=ATTACKS)
def test_an_id_token_alone_signs_nobody_in(state: State, changed: dict[str, Any], signed: Any, why: str) -> None:
    ended, me = talk(state, whole, Idp(changed=changed, **({"signed": signed} if signed else {})))
    assert (ended, me) == ("/#refused=sign_in_refused", None)
    entry = state.journal.audit_entries(1)[0]
    assert entry["action"] == "sign in refused"
    assert why in entry["detail"]


def test_a_valid_token_of_each_kind_of_key_and_without_a_key_id_is_accepted(state: State) -> None:
    kinds = (({"alg": "ES256", "kid": "e1"}, ECK), ({"alg": "PS256", "kid": "r1"}, RSA), ({"alg": "ES256"}, ECK))
    for header, key in kinds:
        assert (
            talk(state, whole, Idp(signed=lambda c, h=header, k=key: jwt.encode(h, c, k, [h["alg"]])))[1]["name"]
            == "ada"
        )


def test_a_state_is_valid_once_and_only_in_the_browser_that_started_it(state: State) -> None:
    async def script(client: TestClient, idp: Idp) -> list[str]:
        asked = await leave(client, idp)
        async with aiohttp.ClientSession() as thief:
            url = client.make_url(BACK).with_query(state=asked["state"], code=CODE)
            elsewhere = (await thief.get(url, allow_redirects=False)).headers["Location"]
        used_up = await back(client, state=asked["state"], code=CODE)
        asked = await leave(client, idp)
        good = await back(client, state=asked["state"], code=CODE)
        again = await back(client, state=asked["state"], code=CODE)
        return [elsewhere, used_up, good, again, await back(client, state="made-up", code=CODE), await back(client)]

    refused = "/#refused=sign_in_refused"
    assert talk(state, script) == [refused, refused, "/fleet", refused, refused, refused]


def test_a_wrong_code_an_error_and_an_answer_of_another_issuer_are_refused(state: State) -> None:
    async def script(client: TestClient, idp: Idp) -> list[str]:
        found = []
        for query in ({"code": "stolen"}, {"error": "access_denied"}, {"code": CODE, "iss": "https://evil.example"}):
            asked = await leave(client, idp)
            found.append(await back(client, state=asked["state"], **query))
        return found

    assert talk(state, script) == ["/#refused=sign_in_refused"] * 3


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nSet-Cookie: x=y", ""]
)
def test_the_address_after_sign_in_is_never_another_site(state: State, to: str) -> None:
    async def script(client: TestClient, idp: Idp) -> str:
        asked = await leave(client, idp, to)
        return await back(client, state=asked["state"], code=CODE)

    assert talk(state, script) == "/"


def test_cookies_of_a_sign_in_are_limited_to_this_host_and_path_and_hidden_from_scripts(state: State) -> None:
    async def script(client: TestClient, idp: Idp) -> tuple[str, str]:
        begun = await client.get("/v1/session/provider", allow_redirects=False)
        asked = parse_qs(urlsplit(begun.headers["Location"]).query)
        idp.asked = {key: value[0] for key, value in asked.items()}
        ended = await client.get(BACK, params={"state": asked["state"][0], "code": CODE}, allow_redirects=False)
        return begun.headers["Set-Cookie"], ended.headers.getall("Set-Cookie")[0]

    begun, session = talk(state, script)
    for said in ("HttpOnly", "Path=/v1"):
        assert said in begun
        assert said in session
    assert "SameSite=Lax" in begun, "the provider leads back from another site"
    assert "SameSite=Strict" in session


def test_ending_the_session_ends_its_token_and_revoking_the_token_ends_the_session(state: State) -> None:
    async def script(client: TestClient, idp: Idp) -> list[int]:
        await whole(client, idp)
        cookie = {each.key: each.value for each in client.session.cookie_jar}
        before = (await client.get("/v1/me")).status
        await client.delete("/v1/session", headers={PAGE_HEADER: "1"})
        stolen = (await client.get("/v1/me", cookies=cookie)).status
        await whole(client, idp)
        (newest,) = [each for each in state.tokens.all() if each.signed_in and not each.revoked and each.name == "ada"][
            -1:
        ]
        state.tokens.revoke(newest.id)
        return [before, stolen, (await client.get("/v1/me")).status]

    assert talk(state, script) == [200, 401, 401]


def test_tokens_of_ended_sign_ins_are_deleted(state: State) -> None:
    talk(state, whole)
    for each in state.tokens.all():
        if each.signed_in:
            state.tokens.revoke(each.id)
    talk(state, whole)
    assert len([each for each in state.tokens.all() if each.signed_in]) == 1


def test_a_provider_with_new_keys_is_asked_again_but_not_for_every_unknown_key_id(state: State) -> None:
    async def script(client: TestClient, idp: Idp) -> tuple[list[str], int]:
        found = []
        idp.keys = [ECK]
        found.append((await whole(client, idp))[0])
        idp.keys = [RSA]
        found.append((await whole(client, idp))[0])
        looks = idp.key_looks
        client.app[DOORS].provider._keys_at -= 61.0
        found.append((await whole(client, idp))[0])
        return found, idp.key_looks - looks

    ended, looks = talk(state, script)
    assert ended == ["/#refused=sign_in_refused", "/#refused=sign_in_refused", "/fleet"]
    assert looks == 1


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"issuer": "https://evil.example"}, "sign_in_refused"),
        ({"token_endpoint": None}, "sign_in_refused"),
        ({"token_endpoint": "http://evil.example/token"}, "config_invalid"),
        ({"padding": "x" * 600_000}, "provider_unreachable"),
    ],
)
def test_a_discovery_document_of_another_issuer_is_refused(state: State, document: Any, code: str) -> None:
    async def script(client: TestClient, _: Idp) -> str:
        return (await client.get("/v1/session/provider", allow_redirects=False)).headers["Location"]

    assert talk(state, script, Idp(document=document)) == f"/#refused={code}"


def test_a_person_with_too_many_failed_sign_ins_gets_an_error_with_that_reason(state: State) -> None:
    async def script(client: TestClient, _: Idp) -> set[int]:
        return {(await client.get(BACK, allow_redirects=False)).status for _ in range(25)}

    assert talk(state, script) == {303, 429}


def test_the_sign_in_page_names_the_provider_only_if_there_is_one(state: State) -> None:
    async def script(client: TestClient, _: Idp) -> tuple[Any, int]:
        ways = await (await client.get("/v1/session/ways")).json()
        return ways["provider"], (await client.get("/v1/session/provider", allow_redirects=False)).status

    assert talk(state, script) == ("Example", 303)
    assert talk(state, script, name="")[0].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"issuer": "http://provider.example"}, "expected https://"),
        ({"client_id": ""}, "no client_id"),
        ({"grant": ()}, "nobody could sign in"),
        ({"grant": (OidcGrant("groups", "x", ("viewer",), {"site": "a"}),)}, "grant of 'x': a scope limits"),
        ({"client_secret_file": "/nowhere"}, "No such file"),
    ],
)
def test_an_invalid_configuration_is_refused_at_the_start(folder: Path, changed: dict[str, Any], said: str) -> None:
    plain = {"client_id": CLIENT, "client_secret_file": str(folder / "secret"), "grant": GRANTS, "issuer": "https://i"}
    with pytest.raises(BadInput) as caught:
        open_provider(OidcConfig(**{**plain, **changed}))
    assert caught.value.code == Code.CONFIG_INVALID
    assert said in caught.value.detail


def test_without_the_package_the_start_names_the_command_that_installs_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BadInput, match="pip install 'edgeward\\[oidc\\]'"):
        open_provider(configured(folder, "https://i"))
    assert open_provider(OidcConfig()) is None


def test_claims_are_read_from_lists_objects_and_texts_and_a_part_of_a_text_does_not_match() -> None:
    assert grant_of(GRANTS, {"groups": "ops-north"}) is GRANTS[0]
    assert grant_of(GRANTS, {"realm_access": {"roles": ["admins"]}}) is GRANTS[1]
    for claims in ({"groups": "ops-northern"}, {"groups": [["ops-north"]]}, {"groups": {"ops-north": 1}}, {}):
        with pytest.raises(BadInput):
            grant_of(GRANTS, claims)


def test_two_people_never_get_one_name() -> None:
    names = [name_of({"n": said, "sub": sub}, "n") for said, sub in (("Ada.B", "1"), ("ada b", "2"), ("ada-b", "3"))]
    assert len(set(names)) == 3
    assert names[2] == "ada-b"
    assert name_of({"n": "@" * 90, "sub": "1"}, "n")
    assert len(name_of({"n": "É" * 5 + "a" * 90, "sub": "1"}, "n")) <= 63


def test_sign_ins_in_progress_are_limited_and_end_after_ten_minutes() -> None:
    numbers = iter(range(10**6))
    pending = Pending(lambda: str(next(numbers)))
    first, second = pending.begin("/", 0.0), pending.begin("/", 0.0)
    with pytest.raises(BadInput, match="10 minutes"):
        pending.end(second.state, second.browser, PENDING_S)
    for _ in range(MAX_PENDING):
        pending.begin("/", 0.0)
    with pytest.raises(BadInput, match="no sign-in under way"):
        pending.end(first.state, first.browser, 0.0)


@pytest.mark.filterwarnings("ignore")
def test_a_person_signs_in_with_a_real_provider(state: State, folder: Path) -> None:
    mock = pytest.importorskip("oidc_provider_mock", reason="no provider here: pip install oidc-provider-mock==0.3.4")
    user = mock.User(sub="bob", claims={"preferred_username": "Bob", "groups": ["ops-north"]})
    with mock.run_server_in_thread(user_claims=[user]) as provider:
        issuer = f"http://localhost:{provider.server_port}"
        state.config = Config(storage=state.config.storage, oidc=configured(folder, issuer))

        async def run() -> Any:
            async with TestClient(TestServer(make_app(state, "edg_local"))) as client:
                left = await client.get("/v1/session/provider", params={"to": "/fleet?q=a"}, allow_redirects=False)
                async with aiohttp.ClientSession() as person:
                    said = await person.post(left.headers["Location"], data={"sub": "bob"}, allow_redirects=False)
                    there = urlsplit(said.headers["Location"])
                ended = await client.get(f"{BACK}?{there.query}", allow_redirects=False)
                return ended.headers["Location"], await (await client.get("/v1/session")).json()

        ended, me = asyncio.run(run())
    assert ended == "/fleet?q=a"
    assert (me["name"].rpartition("-")[0], me["roles"], me["scope"]) == ("bob", ["operator"], "site=north")
