"""The aiohttp application: the route table behind authentication, errors as JSON."""

import msgspec
from aiohttp import web

from controller.api.auth import TOKEN, require_token
from controller.api.errors import Handler, errors_to_json
from controller.api.openapi import openapi
from controller.api.routes import MAX_BODY_BYTES, ROUTES, Answer
from controller.api.service_key import SERVICE
from controller.service import Service


def make_app(service: Service, token: str) -> web.Application:
    """The application of one service."""
    app = web.Application(middlewares=[errors_to_json, require_token], client_max_size=MAX_BODY_BYTES)
    app[SERVICE] = service
    app[TOKEN] = token
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _as_json(route.handler))
    app.router.add_get("/v1/openapi.json", _as_json(_openapi))
    return app


def _as_json(answer: Answer) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        body = msgspec.json.encode(await answer(request))
        return web.Response(body=body, content_type="application/json")

    return handle


async def _openapi(_: web.Request) -> object:
    return openapi()
