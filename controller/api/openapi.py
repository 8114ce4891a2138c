"""The OpenAPI 3.1 document, generated from the route table and the structs that the table names."""

import re
from typing import Any

import msgspec

from controller.api.route import Route
from controller.api.routes import ROUTES

_REF = "#/components/schemas/{name}"


def openapi() -> dict[str, Any]:
    """Returns the OpenAPI document as plain values, ready for JSON."""
    types = [route.returns for route in ROUTES] + [route.takes for route in ROUTES if route.takes is not None]
    schemas, components = msgspec.json.schema_components([*types, Error], ref_template=_REF)
    by_type = dict(zip([str(kind) for kind in [*types, Error]], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Edgeward controller", "version": "1", "license": {"name": "Apache-2.0"}},
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "paths": paths,
    }


class Error(msgspec.Struct):
    """The body of every error answer: a stable code, and a text that says what was wrong."""

    code: str
    detail: str


def _operation(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}{re.sub('[^a-z]+', '_', route.path)}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", route.path)
        ],
        "responses": {
            "200": {"description": "done", "content": _content(route, by_type)},
            "default": {"description": "refused or failed", "content": _json(by_type[str(Error)])},
        },
        "security": [] if route.needs == "nothing" else [{"token": []}],
    }
    if route.multipart:
        described["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": _parts(by_type)}}}
    elif route.takes is not None:
        described["requestBody"] = {"required": True, "content": _json(by_type[str(route.takes)])}
    return described


def _content(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    return {"application/octet-stream": {}} if route.returns is bytes else _json(by_type[str(route.returns)])


def _parts(by_type: dict[str, Any]) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    request = next(schema for name, schema in by_type.items() if "PushRequest" in name)
    properties = {"request": request, "model": binary, "sample": binary}
    required = list(properties)
    return {"type": "object", "properties": {**properties, "held_out": binary}, "required": required}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
