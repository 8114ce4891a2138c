"""The routes by which a browser signs in with a provider: it is sent there, and returns with a code that becomes a
session.

Decides the cookie that ties both steps to one browser. A refusal leads back to the sign-in page, with its code and no
text of others. Refuses to know how a provider's answer is checked.
"""

import re
import secrets
import time

from aiohttp import web

from contract.errors import BadInput, Code, EdgewardError
from contract.wire import Message
from controller.api.auth import SESSIONS, address_of, count_failure
from controller.api.limits import Limiter
from controller.api.route import Route
from controller.api.session_routes import COOKIE_PATH, give_session
from controller.api.state_key import STATE
from controller.signin.pending import PENDING_S, Pending
from controller.signin.provider import Provider
from controller.state import State
from controller.trust.refusals import Refusal
from controller.trust.sessions import MAX_SESSION_S, Session
from controller.verbs import refusals
from controller.verbs.sign_in import open_provider, sign_in

BACK = "/v1/session/provider/back"
MAX_CODE_CHARS = 4096
_LOCAL_ADDRESS = re.compile(r"/(?!/)[A-Za-z0-9._~%/?=&:+@-]{0,500}\Z")
"""An address of this page: it names no other host, and a browser cannot read it as one."""


class Doors:
    """How people sign in with a provider, and the sign-ins in progress."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.pending = Pending(lambda: secrets.token_urlsafe(32))
        self.begins = Limiter(per_s=1, burst=50)
        """The limit of sign-ins from one address: an office may sign in together, but cannot fill the list of those in
        progress."""


DOORS = web.AppKey("doors", Doors)


class Ways(Message, frozen=True):
    """The ways in which a person may sign in besides a token."""

    provider: str
    """The name of the provider; empty: there is none."""


def add_doors(app: web.Application) -> None:
    """Enables sign-in with the provider of the configuration, if there is one. BadInput `config_invalid`."""
    provider = open_provider(app[STATE].config.oidc)
    if provider is not None:
        app[DOORS] = Doors(provider)


async def show_ways(request: web.Request) -> Ways:
    """Says how a person may sign in."""
    oidc = request.app[STATE].config.oidc
    return Ways(provider=(oidc.name or oidc.issuer) if DOORS in request.app else "")


async def leave_for_provider(request: web.Request) -> web.Response:
    """Sends a browser to the provider. `to` is the address of the page to show afterwards."""
    doors, now = _doors(request), time.time()
    if not doors.begins.allows(address_of(request), time.monotonic()):
        raise BadInput(Code.RATE_LIMITED, "too many sign-ins from this address: wait a minute")
    wanted = request.query.get("to", "/")
    begun = doors.pending.begin(wanted if _LOCAL_ADDRESS.match(wanted) else "/", now)
    try:
        there = await doors.provider.address(begun, _back(request.app[STATE]))
    except EdgewardError as error:
        return _refused(request, error)
    answer = _to(there)
    answer.set_cookie(
        _cookie(request), begun.browser, path=COOKIE_PATH, max_age=int(PENDING_S), httponly=True, samesite="Lax",
        secure=_is_tls(request),
    )  # fmt: skip
    return answer


async def come_back(request: web.Request) -> web.Response:
    """Exchanges the provider's answer for a session."""
    doors, state, now = _doors(request), request.app[STATE], time.time()
    try:
        begun = doors.pending.end(request.query.get("state", ""), request.cookies.get(_cookie(request), ""), now)
        doors.provider.check_issuer(request.query.get("iss"))
        kept = sign_in(state, await doors.provider.claims(_code(request), begun, _back(state)))
    except EdgewardError as error:
        return _refused(request, error)
    answer = _to(begun.back_to)
    ends_at = min(now + MAX_SESSION_S, kept.expires_at)
    give_session(request, answer, Session(token=kept.id, actor="", expires_at=ends_at), is_tls=_is_tls(request))
    answer.del_cookie(_cookie(request), path=COOKIE_PATH)
    return answer


def _doors(request: web.Request) -> Doors:
    if DOORS not in request.app:
        raise BadInput(Code.REQUEST_INVALID, "nobody signs in with a provider here: [oidc] names none")
    return request.app[DOORS]


def _code(request: web.Request) -> str:
    if "error" in request.query:
        raise BadInput(Code.SIGN_IN_REFUSED, f"the provider says {request.query['error'][:100]!r}")
    code = request.query.get("code", "")
    if not 0 < len(code) <= MAX_CODE_CHARS:
        raise BadInput(Code.SIGN_IN_REFUSED, "the provider's answer has no code")
    return code


def _refused(request: web.Request, error: EdgewardError) -> web.Response:
    """Redirects to the sign-in page; the reason is in the audit. After too many failures the page says so."""
    actor = address_of(request)
    refusals.refuse(request.app[STATE], Refusal(actor, "sign in refused", error.code, error.detail[:300]))
    if isinstance(error, BadInput):
        count_failure(request, "sign_in")
    answer = _to(f"/#refused={error.code}")
    answer.del_cookie(_cookie(request), path=COOKIE_PATH)
    return answer


def _to(address: str) -> web.Response:
    headers = {"Location": address, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)


def _cookie(request: web.Request) -> str:
    return f"{request.app[SESSIONS].cookie}_begun"


def _back(state: State) -> str:
    return f"{state.public_url.rstrip('/')}{BACK}"


def _is_tls(request: web.Request) -> bool:
    return request.secure or request.app[STATE].public_url.startswith("https://")


SIGN_IN_ROUTES = (
    Route("nothing", "GET", "/v1/session/ways", show_ways, "The ways to sign in", Ways),
    Route("nothing", "GET", "/v1/session/provider", leave_for_provider, "To the provider (303)", None),
    Route("nothing", "GET", BACK, come_back, "Back from the provider (303)", None),
)
