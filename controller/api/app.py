"""The aiohttp application: the route table behind authentication, errors as JSON."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from controller.api.audit_routes import CHECKED, Checked
from controller.api.auth import (
    API,
    CALLS,
    FAILED,
    NEEDS,
    PROOFS,
    SESSIONS,
    TOKEN,
    TOKENS,
    calls,
    failures,
    guard,
    note_refusals,
)
from controller.api.body import BODY_LIMITS, PUSHES, Pushes, let_wait, read_body
from controller.api.callers import check_caller
from controller.api.door import HANDLER_ARGS
from controller.api.drift_routes import LOOKS, KeptLooks
from controller.api.errors import Handler, errors_to_json
from controller.api.live import live_app
from controller.api.metrics import metrics
from controller.api.openapi import openapi
from controller.api.page import MISTYPED_ADDRESS, PAGE_ADDRESSES, no_such_page, page, static_file, static_paths
from controller.api.page_routes import CELLS, KeptCells
from controller.api.route import Endpoint
from controller.api.routes import FLEET, ROUTES, KeptFleet
from controller.api.scopes import hold_scope
from controller.api.sign_in_routes import add_doors
from controller.api.state_key import STATE
from controller.state import State
from controller.trust.sessions import Sessions
from controller.verbs import refusals

OPENAPI, METRICS = "/v1/openapi.json", "/metrics"
TELL_S = 5.0
"""Seconds between two checks whether a minute of refused attempts is over."""

_log = logging.getLogger("edgeward.api")


def make_app(state: State, token: str) -> web.Application:
    """Returns the application of one controller; `token` is the local one, which has every permission."""
    app = web.Application(
        middlewares=[errors_to_json, note_refusals, check_caller, guard, read_body, hold_scope],
        handler_args=HANDLER_ARGS,
    )
    app[STATE] = state
    app[TOKEN] = token
    app[TOKENS] = state.tokens
    app[SESSIONS] = Sessions(token)
    app[API] = state.config.api
    app[FAILED], app[CALLS] = failures(), calls()
    app[PUSHES] = Pushes(state.config.data_dir / "incoming")
    app[PROOFS] = {(route.method, route.path): route.proof for route in ROUTES}
    app[BODY_LIMITS] = {(route.method, route.path): route.max_body_bytes for route in ROUTES}
    app[NEEDS] = {(route.method, route.path): route.needs for route in ROUTES} | {("GET", OPENAPI): "nothing"}
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _as_json(route.handler), expect_handler=let_wait)
    app.router.add_get(OPENAPI, _as_json(_openapi))
    app[NEEDS]["GET", METRICS] = "view" if state.config.api.metrics == "token" else "nothing"
    app.router.add_get(METRICS, metrics)
    _add_page(app)
    app[CHECKED], app[CELLS], app[FLEET], app[LOOKS] = Checked(), KeptCells(), KeptFleet(), KeptLooks()
    add_doors(app)
    live_app(app)
    app.cleanup_ctx.append(_tell_refusals)
    return app


def _add_page(app: web.Application) -> None:
    """Adds the page's addresses and files, which need no token: they contain no secret."""
    files = ((path, static_file(path)) for path in static_paths())
    for path, answer in [*((each, page) for each in PAGE_ADDRESSES), *files, (MISTYPED_ADDRESS, no_such_page)]:
        resource = app.router.add_get(path, answer).resource
        app[NEEDS]["GET", resource.canonical if resource is not None else path] = "nothing"


async def _tell_refusals(app: web.Application) -> AsyncIterator[None]:
    """Audits the number of refused attempts when a minute is over, and at the end."""
    state = app[STATE]

    async def tell() -> None:
        while True:
            await asyncio.sleep(TELL_S)
            try:
                refusals.audit(state, state.refusals.due(time.time()))
            except Exception:  # one failed check must not end the task: attempts would be counted and never audited
                _log.exception("refused attempts could not be audited")

    telling = asyncio.create_task(tell())
    yield
    telling.cancel()
    refusals.audit(state, state.refusals.rest())


def _as_json(answer: Endpoint) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        found = await answer(request)
        if isinstance(found, web.StreamResponse):
            return found
        body = msgspec.json.encode(found)
        return web.Response(body=body, content_type="application/json")

    return handle


async def _openapi(_: web.Request) -> object:
    return openapi()
