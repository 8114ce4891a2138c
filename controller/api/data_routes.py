"""The routes of data sets, and of deletion requests."""

import asyncio

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import decode
from controller.api.auth import actor_of
from controller.api.paging import page_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.clock import stamp_of
from controller.registry.data_sets import DataSet
from controller.registry.erasures import Request
from controller.verbs import data_sets, erasures
from controller.verbs.data_sets import TrainedOn


class DataSetMade(msgspec.Struct, frozen=True):
    """A version of a data set, and whether it was made by this call."""

    new: bool
    data_set: DataSet


class RowsLeftOut(msgspec.Struct, frozen=True):
    """Captured rows that were not kept, because the registry has no such version."""

    model: str
    """Empty: versions beyond the first 64, together."""
    release: int
    rows: int
    """Since the controller started."""


class DataPage(msgspec.Struct, frozen=True):
    """A page of versions of data sets."""

    total: int
    """The number of versions on all pages."""
    data_sets: list[DataSet]
    left_out: list[RowsLeftOut]
    """Of all devices, on every page."""


class TrainedView(msgspec.Struct, frozen=True):
    """A version that was trained on deleted rows."""

    model: str
    release: int
    data_set: str
    run: str


class DeletionView(msgspec.Struct, frozen=True):
    """A request to delete rows, and its result."""

    id: str
    by: str
    reason: str
    asked_at: str
    done_at: str | None
    """None until all devices have answered."""
    took_s: float | None
    captured_rows: int
    data_sets: dict[str, int]
    devices: dict[str, int | None]
    """Rows deleted on each device; None: it has not answered yet."""
    trained: list[TrainedView]


async def list_data_sets(request: web.Request) -> DataPage:
    """Returns versions of data sets, newest first. `q` are words of name, model, columns and maker; `name` and `model`
    are whole. BadInput `request_invalid`.
    """
    asked = request.query
    limit, offset = page_of(asked)
    words, model = asked.get("q", "").lower().split(), asked.get("model", "")
    found = [
        each
        for each in request.app[STATE].data_sets.all(asked.get("name", ""))
        if model in ("", each.model) and all(word in _words(each) for word in words)
    ]
    found.sort(key=lambda each: (each.created_at, each.version), reverse=True)
    left_out = request.app[STATE].world.measured.left_out.rows
    rows = [RowsLeftOut(*of, count) for of, count in sorted(left_out.items())]
    return DataPage(len(found), found[offset : offset + limit], rows)


async def list_trained(request: web.Request) -> list[TrainedOn]:
    """Returns every version of a model whose lineage names this version of a data set, newest first."""
    return data_sets.trained_on(request.app[STATE], _reference(request, "version"))


async def make_data_set(request: web.Request) -> DataSetMade:
    """Makes the next version of a data set from captured rows and their labels."""
    wanted = decode(await request.read(), data_sets.RowsWanted)
    state, name = request.app[STATE], request.match_info["name"]
    made, is_new = await data_sets.make(state, name, wanted, actor=actor_of(request))
    return DataSetMade(is_new, made)


async def show_data_set(request: web.Request) -> DataSet:
    """Returns one version with its schema."""
    return request.app[STATE].data_sets.find(_reference(request, "version"))


async def data_set_file(request: web.Request) -> web.StreamResponse:
    """Returns the rows of a version as a Parquet file."""
    store = request.app[STATE].data_sets
    found = store.find(_reference(request, "version"))
    return web.Response(body=await asyncio.to_thread(store.content, found))


async def compare_data_sets(request: web.Request) -> data_sets.DataComparison:
    """Returns what differs between two versions of a data set."""
    return await data_sets.compare(request.app[STATE], _reference(request, "before"), _reference(request, "after"))


async def delete_data_set(request: web.Request) -> DataSet:
    """Deletes the rows of one version; its record stays."""
    return data_sets.delete(request.app[STATE], _reference(request, "version"), actor=actor_of(request))


async def request_deletion(request: web.Request) -> DeletionView:
    """Deletes captured rows everywhere: here, in data sets, on devices."""
    wanted = decode(await request.read(), erasures.ErasureWanted)
    return deletion_view(await erasures.request(request.app[STATE], wanted, actor=actor_of(request)))


async def list_deletions(request: web.Request) -> list[DeletionView]:
    """Returns every request to delete rows, newest first."""
    return [deletion_view(each) for each in request.app[STATE].erasures.all()]


async def show_deletion(request: web.Request) -> DeletionView:
    """Returns one request to delete rows."""
    return deletion_view(request.app[STATE].erasures.find(request.match_info["deletion"]))


def deletion_view(made: Request) -> DeletionView:
    """A request as callers see it."""
    return DeletionView(
        id=made.order.id,
        by=made.by,
        reason=made.reason,
        asked_at=stamp_of(made.asked_at),
        done_at=stamp_of(made.done_at) if made.done_at else None,
        took_s=round(made.done_at - made.asked_at, 1) if made.done_at else None,
        captured_rows=made.captured_rows,
        data_sets=made.data_sets,
        devices={device: rows if rows >= 0 else None for device, rows in made.devices.items()},
        trained=[TrainedView(each.model, each.release, each.data_set, each.run) for each in made.trained],
    )


def _words(data_set: DataSet) -> str:
    """The text that is searched for words, in small letters."""
    about = (data_set.reference, data_set.model, data_set.created_by, data_set.sha256, *data_set.columns)
    return " ".join(about).lower()


def _reference(request: web.Request, key: str) -> str:
    number = request.match_info[key]
    if not (number == "newest" or number.isdigit()):
        raise BadInput(Code.REQUEST_INVALID, f"version {number[:20]!r}: expected a number, or newest")
    return f"{request.match_info['name']}@{number}"


_ONE = "/v1/data/{name}/versions/{version}"
DATA_ROUTES = (
    Route("view", "GET", "/v1/data", list_data_sets, "A page of data sets", DataPage),
    Route("push", "POST", "/v1/data/{name}", make_data_set, "Make a data set", DataSetMade, data_sets.RowsWanted),
    Route("view", "GET", _ONE, show_data_set, "One version of a data set", DataSet),
    Route("view", "GET", f"{_ONE}/trained", list_trained, "Versions trained on it", list[TrainedOn]),
    Route("view", "GET", f"{_ONE}/file", data_set_file, "Its rows, as Parquet", bytes),
    Route("push", "DELETE", _ONE, delete_data_set, "Delete its rows", DataSet),
    Route(
        "view", "GET", "/v1/data/{name}/compare/{before}/{after}", compare_data_sets, "What differs",
        data_sets.DataComparison,
    ),
    Route(
        "device", "POST", "/v1/deletions", request_deletion, "Delete captured rows everywhere", DeletionView,
        erasures.ErasureWanted,
    ),
    Route("view", "GET", "/v1/deletions", list_deletions, "All deletions", list[DeletionView]),
    Route("view", "GET", "/v1/deletions/{deletion}", show_deletion, "One deletion", DeletionView),
)  # fmt: skip
