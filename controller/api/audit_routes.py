"""The routes of the audit: newest entries, filtered and page by page, and all of it with the proof that
it is complete.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import Message
from controller.api import operator_views as views
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.version_routes import number_of
from controller.clock import stamp_of
from controller.registry.journal import AuditFilter
from controller.verbs import audit

MAX_ENTRIES = 1_000
"""Entries of one answer: 200 kB; older ones are requested with `before`."""
MAX_TEXT_CHARS = 200
"""The longest text in a filter."""
RECHECK_S = 60.0
"""Seconds for which an answer about the whole audit is reused if no entry was added: reading 100,000 takes 0.4
s."""
_ASKED = frozenset({"since", "until", "actor", "action", "subject", "before", "limit", "q"})


class AuditCheck(Message, frozen=True):
    """Whether the audit was changed."""

    entries: int
    newest_hash: str
    faults: tuple[str, ...]
    """What is wrong; empty if the chain and the checkpoints agree."""
    witness: str
    """The checkpoint in signed metadata, `number:hash`; every device stores it."""
    seal: str
    checked_at: str


@dataclass
class Checked:
    """The newest answer about the whole audit."""

    at: float = 0.0
    newest: str = ""
    faults: tuple[str, ...] = ()


CHECKED = web.AppKey("checked", Checked)


async def list_entries(request: web.Request) -> list[views.AuditEntry]:
    """Returns the newest entries first, `limit` of them (100; at most 1,000).

    `since` and `until` are dates, or dates and times, in UTC unless they name a zone; entries at `until` are left out.
    `actor` is the whole name, `action` how the action begins, `subject` a part of the subject, `q` a part of any of
    them. `before` is the number of an entry: the next page begins before the last one of this page.
    BadInput `request_invalid`.
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
        words=_text(query.get("q", "")),
    )
    limit, before = (number_of(query.get(key, preset)) for key, preset in (("limit", "100"), ("before", "0")))
    found = request.app[STATE].journal.audit_entries(min(limit, MAX_ENTRIES), wanted=wanted, before=before)
    return msgspec.convert(found, list[views.AuditEntry])


async def export_audit(request: web.Request) -> views.AuditExport:
    """Returns the whole audit, with the checkpoints that are kept elsewhere, and what is wrong."""
    state = request.app[STATE]
    entries, faults = audit.whole(state)
    return views.AuditExport(
        entries=msgspec.convert(entries, list[views.AuditEntry]),
        witness=state.trust_metadata.audit_witness(),
        seal=state.audit_seal.checkpoint,
        faults=faults,
    )


async def check_audit(request: web.Request) -> AuditCheck:
    """Says whether the audit is complete, without sending it. What was checked a minute ago is not read again."""
    state = request.app[STATE]
    kept = request.app[CHECKED]
    if kept.newest != state.journal.checkpoint() or time.time() - kept.at > RECHECK_S:
        _, faults = audit.whole(state)
        kept.at, kept.newest, kept.faults = time.time(), state.journal.checkpoint(), tuple(faults)
    number, _, newest_hash = kept.newest.partition(":")
    return AuditCheck(
        entries=int(number),
        newest_hash=newest_hash,
        faults=kept.faults,
        witness=state.trust_metadata.audit_witness(),
        seal=state.audit_seal.checkpoint,
        checked_at=stamp_of(kept.at),
    )


def _moment(text: str) -> str:
    """Returns a date and time in the form of entries; empty for none."""
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus in an address that was not escaped
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
    Route("view", "GET", "/v1/audit/check", check_audit, "Check whether the audit is complete", AuditCheck),
    Route("view", "GET", "/v1/audit/export", export_audit, "All of the audit", views.AuditExport),
)
