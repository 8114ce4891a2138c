"""The routes of labels: the rows that people are asked to label, and their answers."""

import time

from aiohttp import web

from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.verbs.labels import LabelsWanted, label_rows, labels_wanted

MAX_LABELS_BYTES = 4 * 1024 * 1024
"""The largest request: about 100,000 labels."""


class LateLabel(Message, frozen=True):
    """The label of one captured row."""

    id: int
    label: str | float


class LabelsRequest(Message, frozen=True):
    """Labels that came late."""

    labels: tuple[LateLabel, ...]


async def show_wanted(request: web.Request) -> LabelsWanted:
    """Returns captured rows to label today: half at random, half of those about which the model was least sure."""
    return labels_wanted(request.app[STATE], request.match_info["model"], time.time())


async def give_labels(request: web.Request) -> views.Labelled:
    """Gives late labels to captured rows."""
    wanted = decode(await request.read(), LabelsRequest, max_bytes=MAX_LABELS_BYTES)
    labels = {each.id: each.label for each in wanted.labels}
    model = request.match_info["model"]
    return views.Labelled(label_rows(request.app[STATE], model, labels, actor=actor_of(request)))


_LABELS = "/v1/models/{model}/labels"
LABEL_ROUTES = (
    Route("view", "GET", f"{_LABELS}/wanted", show_wanted, "Rows that need a label", LabelsWanted),
    Route("push", "POST", _LABELS, give_labels, "Labels come late", views.Labelled, LabelsRequest),
)
