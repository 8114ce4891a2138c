"""The routes of runs: the inputs and results of trainings, as machines have sent them."""

from aiohttp import web

from contract.errors import BadInput, Code
from contract.run_compare import Row
from contract.run_record import Record
from contract.run_sent import MAX_SENT_BYTES, Curve, SentRun
from contract.wire import Message, decode
from controller.api.auth import actor_of
from controller.api.paging import page_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.clock import stamp_of
from controller.registry.runs import KeptRun, RunQuery
from controller.verbs import runs

_ASKED = frozenset({"q", "name", "status", "model", "data_set", "sort", "limit", "offset"})


class RunLine(Message, frozen=True):
    """One run of a list. Times are in ISO 8601."""

    id: str
    name: str
    status: str
    started_at: str
    took_s: float | None
    """None while it runs, or if it ended without a report."""
    params: dict[str, str]
    metrics: dict[str, float]
    pushed: tuple[tuple[str, int], ...]
    """(model, release) of every version that was pushed from it."""
    data_sets: tuple[str, ...]
    sent_by: str


class RunPage(Message, frozen=True):
    """A page of runs."""

    total: int
    """The number of runs on all pages."""
    runs: tuple[RunLine, ...]


class RunDetail(Message, frozen=True):
    """One run."""

    record: Record
    result: str
    """The digest of all artifacts and models; empty for a run that made none."""
    started_at: str
    took_s: float | None
    sent_by: str
    sent_at: str


async def list_runs(request: web.Request) -> RunPage:
    """Returns runs that pass every filter, newest first.

    `q` are words of id, name, model, parameters, tags, data sets, commit and sender; `name`, `status`, `model` and
    `data_set` (NAME@VERSION) are whole. `sort` is started, name, status or metric.NAME, with a minus before it the
    other way round. BadInput `request_invalid`.
    """
    asked = request.query
    if unknown := sorted(set(asked) - _ASKED):
        raise BadInput(Code.REQUEST_INVALID, f"{unknown[0][:40]!r}: expected one of {', '.join(sorted(_ASKED))}")
    limit, offset = page_of(asked)
    named = {key: asked.get(key, "") for key in ("name", "status", "model", "data_set")}
    query = RunQuery(text=asked.get("q", "")[:200], order=asked.get("sort", "") or "-started", **named)
    total, found = request.app[STATE].runs.page(query, limit, offset)
    return RunPage(total=total, runs=tuple(map(line_of, found)))


async def show_run(request: web.Request) -> RunDetail:
    """Returns one run with all that is known of it. BadInput `unknown_run`."""
    return _detail(request.app[STATE].runs.find(request.match_info["run"]))


async def show_curves(request: web.Request) -> list[Curve]:
    """Returns the numbers of a run over steps; `metric`, which may be repeated, names those that are wanted."""
    metrics = request.query.getall("metric", [])[:100]
    return request.app[STATE].runs.curves(request.match_info["run"], metrics)


async def compare_runs(request: web.Request) -> list[Row]:
    """Returns everything in which two runs differ: results first, then what may explain them."""
    return runs.compared(request.app[STATE], request.match_info["before"], request.match_info["after"])


async def keep_run(request: web.Request) -> RunDetail:
    """Keeps a run, in place of an earlier state of it."""
    sent = decode(await request.read(), SentRun, max_bytes=MAX_SENT_BYTES)
    return _detail(runs.keep(request.app[STATE], request.match_info["run"], sent, actor=actor_of(request)))


def line_of(kept: KeptRun) -> RunLine:
    """Returns a run as a list shows it."""
    record = kept.record
    return RunLine(
        id=record.id,
        name=record.name,
        status=record.status,
        started_at=stamp_of(record.started_at),
        took_s=_took_s(record),
        params=record.params,
        metrics=record.metrics,
        pushed=tuple((each.model, each.release) for each in record.pushed),
        data_sets=tuple(sorted({each.data_set for each in record.data if each.data_set})),
        sent_by=kept.sent_by,
    )


def _detail(kept: KeptRun) -> RunDetail:
    record = kept.record
    return RunDetail(
        record=record, result=record.result, started_at=stamp_of(record.started_at), took_s=_took_s(record),
        sent_by=kept.sent_by, sent_at=kept.sent_at,
    )  # fmt: skip


def _took_s(record: Record) -> float | None:
    return round(record.ended_at - record.started_at, 3) if record.ended_at else None


_RUN = "/v1/runs/{run}"
RUN_ROUTES = (
    Route("view", "GET", "/v1/runs", list_runs, "A page of runs", RunPage),
    Route("view", "GET", _RUN, show_run, "One run", RunDetail),
    Route("view", "GET", f"{_RUN}/curves", show_curves, "Its numbers over steps", list[Curve]),
    Route("push", "PUT", _RUN, keep_run, "Keep a run", RunDetail, SentRun, max_body_bytes=MAX_SENT_BYTES),
    Route("view", "GET", "/v1/runs/{before}/compare/{after}", compare_runs, "What differs", list[Row]),
)
