"""The routes of rollout templates: list, show with revisions, save, delete."""

from typing import Any

from aiohttp import web

from contract.wire import Message, decode
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.verbs import templates
from controller.verbs.rollouts import resolve_strategy
from controller.verbs.templates import Template


class TemplateRequest(Message, frozen=True):
    """What a template is to hold."""

    strategy: str | dict[str, Any]
    """A name, or the fields of a strategy."""
    selector: dict[str, str] = {}
    """Labels that a device must have; empty: every device."""
    hours: tuple[str, ...] = ()
    """Hours in UTC in which offers are made: `mon-fri 08:00-16:00`."""
    note: str = ""


async def list_templates(request: web.Request) -> list[Template]:
    """Returns the newest revision of every template, sorted by name."""
    return templates.every(request.app[STATE].store)


async def show_template(request: web.Request) -> list[Template]:
    """Returns the kept revisions of a template, the newest first."""
    return templates.revisions(request.app[STATE].store, request.match_info["template"])[::-1]


async def save_template(request: web.Request) -> Template:
    """Saves the next revision of a template."""
    asked = decode(await request.read(), TemplateRequest)
    return templates.save(
        request.app[STATE],
        request.match_info["template"],
        resolve_strategy(asked.strategy),
        asked.selector,
        asked.hours,
        note=asked.note,
        actor=actor_of(request),
    )


async def delete_template(request: web.Request) -> Template:
    """Deletes a template; returns what it was."""
    return templates.delete(request.app[STATE], request.match_info["template"], actor=actor_of(request))


_ONE = "/v1/rollout-templates/{template}"
TEMPLATE_ROUTES = (
    Route("view", "GET", "/v1/rollout-templates", list_templates, "Rollout templates", list[Template]),
    Route("view", "GET", _ONE, show_template, "One template, all its revisions", list[Template]),
    Route("rollout", "PUT", _ONE, save_template, "Save a template", Template, TemplateRequest),
    Route("rollout", "DELETE", _ONE, delete_template, "Delete a template", Template),
)
