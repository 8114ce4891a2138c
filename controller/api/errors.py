"""Maps codes to HTTP status; the only module that uses both."""

import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code, EdgewardError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger("edgeward.api")

_STATUS = {
    Code.UNAUTHENTICATED: 401,
    Code.SIGN_IN_REFUSED: 401,
    Code.FORBIDDEN: 403,
    Code.FOUR_EYES: 403,
    Code.OUTSIDE_SCOPE: 403,
    Code.CLAIM_REFUSED: 403,
    Code.RATE_LIMITED: 429,
    Code.UNKNOWN_TOKEN: 404,
    Code.UNKNOWN_MODEL: 404,
    Code.UNKNOWN_VERSION: 404,
    Code.UNKNOWN_DEVICE: 404,
    Code.UNKNOWN_BLOB: 404,
    Code.UNKNOWN_ROLLOUT: 404,
    Code.UNKNOWN_CERTIFICATE: 404,
    Code.UNKNOWN_ALERT: 404,
    Code.UNKNOWN_SILENCE: 404,
    Code.UNKNOWN_RECEIVER: 404,
    Code.UNKNOWN_DATA_SET: 404,
    Code.UNKNOWN_RUN: 404,
    Code.UNKNOWN_RETRAINING: 404,
    Code.RETRAINING_CONFLICT: 409,
    Code.AUTHORITY_IN_USE: 409,
    Code.DEVICE_ENROLLED: 409,
    Code.ROLLOUT_CONFLICT: 409,
    Code.PLAN_CHANGED: 409,
    Code.NO_WAY_BACK: 409,
    Code.VERSION_ROLLED_BACK: 409,
    Code.VERSION_WITHDRAWN: 409,
    Code.VERSION_REMOVED: 409,
    Code.MESSAGE_TOO_LARGE: 413,
    Code.HOST_UNKNOWN: 421,
    Code.REQUEST_SLOW: 408,
    Code.STORE_CORRUPT: 503,
}


def status_of(error: EdgewardError) -> int:
    """Returns the HTTP status of an error: bad input is 4xx (422 unless said otherwise), faults of the world 503."""
    if isinstance(error, BadInput):
        return _STATUS.get(error.code, 422)
    return 503


def answer(code: str, detail: str, status: int) -> web.Response:
    """Returns an error as JSON: ``{"code", "detail"}``."""
    return web.json_response({"code": code, "detail": detail}, status=status, dumps=_dumps)


@web.middleware
async def errors_to_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every failure into JSON with a code; an unexpected one is logged, and its answer holds no internal details.

    An error after the caller has disconnected is not a failure.
    """
    try:
        return await handler(request)
    except EdgewardError as error:
        return answer(error.code, error.detail, status_of(error))
    except web.HTTPException as error:
        code = Code.MESSAGE_TOO_LARGE if error.status == 413 else Code.REQUEST_INVALID
        return answer(code, f"{request.method} {request.path}: {error.reason}", error.status)
    except Exception:
        if request.transport is not None and not request.transport.is_closing():
            # else the caller has disconnected: a caller must not be able to fill the log
            _log.exception("%s %s failed", request.method, request.path)
        return answer("internal", "the controller's log says more", 500)


def _dumps(value: object) -> str:
    return msgspec.json.encode(value).decode()
