"""The aiohttp application: the route table behind authentication, errors as JSON."""

import msgspec
from aiohttp import web

from controller.api.auth import CALLS, FAILED, NEEDS, TOKEN, TOKENS, calls, failures, guard
from controller.api.errors import Handler, errors_to_json
from controller.api.openapi import openapi
from controller.api.page import PAGE_FILES, page
from controller.api.route import Endpoint
from controller.api.routes import MAX_BODY_BYTES, ROUTES
from controller.api.state_key import STATE
from controller.state import State

OPENAPI = "/v1/openapi.json"


def make_app(state: State, token: str) -> web.Application:
    """The application of one controller; `token` is the local one, which may do everything."""
    app = web.Application(middlewares=[errors_to_json, guard], client_max_size=MAX_BODY_BYTES)
    app[STATE] = state
    app[TOKEN] = token
    app[TOKENS] = state.tokens
    app[FAILED], app[CALLS] = failures(), calls()
    app[NEEDS] = {(route.method, route.path): route.needs for route in ROUTES} | {("GET", OPENAPI): "nothing"}
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _as_json(route.handler))
    app.router.add_get(OPENAPI, _as_json(_openapi))
    for path in PAGE_FILES:
        app[NEEDS]["GET", path] = "nothing"
        app.router.add_get(path, page)
    return app


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
