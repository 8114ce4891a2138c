"""The routes of the audit: newest entries, filtered and page by page, and all of it with what proves it whole."""

from datetime import UTC, datetime

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from controller.api import operator_views as views
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.version_routes import number_of
from controller.registry.journal import AuditFilter
from controller.verbs import audit

MAX_ENTRIES = 1_000
"""Entries of one answer: 200 kB; what is older is asked for with `before`."""
MAX_TEXT_CHARS = 200
"""Of a text in a filter."""
_ASKED = frozenset({"since", "until", "actor", "action", "subject", "before", "limit"})


async def list_entries(request: web.Request) -> list[views.AuditEntry]:
    """Newest entries first, `limit` of them (100; at most 1,000).

    `since` and `until` are dates, or dates and times, in UTC unless they name a zone; entries at `until` are left out.
    `actor` is the whole name, `action` how the action begins, `subject` a part of the subject. `before` is the number
    of an entry: the next page begins before the last one of this page. BadInput `request_invalid`.
    """
    query = request.query
    if unknown := sorted(set(query) - _ASKED):
        raise BadInput(Code.REQUEST_INVALID, f"{unknown[0][:40]!r}: expected one of {', '.join(sorted(_ASKED))}")
    wanted = AuditFilter(
        since=_moment(query.get("since", "")),
        until=_moment(query.get("until", "")),
        actor=_text(query.get("actor", "")),
        action=_text(query.get("action", "")),
        subject=_text(query.get("subject", "")),
    )
    limit, before = (number_of(query.get(key, preset)) for key, preset in (("limit", "100"), ("before", "0")))
    found = request.app[STATE].journal.audit_entries(min(limit, MAX_ENTRIES), wanted=wanted, before=before)
    return msgspec.convert(found, list[views.AuditEntry])


async def export_audit(request: web.Request) -> views.AuditExport:
    """The whole audit, with the checkpoints that are kept elsewhere, and what is wrong."""
    state = request.app[STATE]
    entries, faults = audit.whole(state)
    return views.AuditExport(
        entries=msgspec.convert(entries, list[views.AuditEntry]),
        witness=state.trust_metadata.audit_witness(),
        seal=state.audit_seal.checkpoint,
        faults=faults,
    )


def _moment(text: str) -> str:
    """A date and time as entries have it; empty for none."""
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus in an address that nobody has escaped
    except ValueError:
        words = f"{text[:40]!r}: expected a date such as 2026-01-31, or 2026-01-31T13:00:00+00:00"
        raise BadInput(Code.REQUEST_INVALID, words) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0).isoformat()


def _text(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS:
        raise BadInput(Code.REQUEST_INVALID, f"{text[:40]!r}...: at most {MAX_TEXT_CHARS} characters")
    return text


AUDIT_ROUTES = (
    Route("view", "GET", "/v1/audit", list_entries, "Who did what, newest first", list[views.AuditEntry]),
    Route("view", "GET", "/v1/audit/export", export_audit, "All of the audit", views.AuditExport),
)
