"""The routes of rollouts: preview, start, control, approve, and explain."""

import time
from typing import Any, get_args

from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of, role_refusal, subject_of
from controller.api.paging import page_of
from controller.api.rollout_views import (
    MemberPage,
    RolloutPage,
    RolloutView,
    VerdictView,
    member_page,
    rollout_summary,
    rollout_view,
    verdict_view,
)
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.version_routes import number_of
from controller.events.traces import trace_of
from controller.fleet.absences import Return
from controller.fleet.device_query import check_words
from controller.reconcile.preview import Preview
from controller.reconcile.preview import preview as preview_of
from controller.rollout.model import FINAL, Rollout, Status
from controller.rollout.schedule import ALWAYS, Schedule
from controller.rollout.strategies import STRATEGIES
from controller.state import State
from controller.verbs import devices, rollouts, scopes, steering, templates
from controller.verbs.retries import retry_failed
from controller.verbs.returns import returns_of
from controller.verbs.rollout_comparison import RolloutComparison, compare
from controller.verbs.rollout_story import RolloutEvent, story
from controller.verbs.rollouts import resolve_strategy
from controller.verbs.steering import Seen
from controller.verbs.templates import Filled
from controller.verbs.verb_previews import VerbPreview, preview_approval, preview_verb, refused_step

DEFAULT_STRATEGY = "canary"


class PlanRequest(Message, frozen=True):
    """A request to plan a rollout: which version, by which strategy, for which devices."""

    model: str
    release: int | str | None = None
    """A number, a semantic version or an alias, as it is now; None: the newest version that passed its gates."""
    strategy: str | dict[str, Any] | None = None
    """A name, or the fields of a strategy; None: that of the template, else `canary`."""
    selector: dict[str, str] = {}
    """Labels that a device must have; empty: those of the template, else every device."""
    template: str = ""
    """A saved template, for what the request leaves out."""
    again: bool = False
    """Whether a version may be started that was rolled back."""
    schedule: Schedule = ALWAYS
    """The times at which offers may be made."""


class RolloutRequest(PlanRequest, frozen=True):
    """A request to start a rollout."""

    plan_digest: str = ""
    """The digest of a preview: start exactly that plan, or nothing."""


class ApprovalRequest(Message, frozen=True):
    """A request to approve a proposed rollout."""

    plan_digest: str
    """The digest of the plan that the approver has seen."""


class JudgeRequest(Message, frozen=True):
    """A request to judge a rollout again."""

    revert: bool = False
    """Whether the rollout is rolled back if a rule fails."""


def filled(state: State, wanted: PlanRequest) -> Filled:
    """Returns what a request means, with its template."""
    given = None if wanted.strategy is None else resolve_strategy(wanted.strategy)
    return templates.fill(state.store, wanted.template, given, wanted.selector, wanted.schedule)


def _release(request: web.Request, wanted: PlanRequest) -> int | None:
    if wanted.release is None:
        return None
    return request.app[STATE].aliases.resolve(wanted.model, wanted.release)


async def list_rollouts(request: web.Request) -> RolloutPage:
    """Returns rollouts, newest first, without their members; only those of a `model`, with a `status` (may be
    repeated), or with `open=true`. BadInput `request_invalid` for an unknown status.
    """
    world, asked, now = request.app[STATE].world, request.query, time.time()
    statuses = check_words(asked.getall("status", []), get_args(Status), "status")
    limit, offset = page_of(asked)
    chosen = [
        each
        for each in reversed(world.durable.rollouts.values())
        if asked.get("model") in (None, each.model)
        and (not statuses or each.status in statuses)
        and (asked.get("open") != "true" or each.status not in FINAL)
    ]
    page = chosen[offset : offset + limit]
    return RolloutPage(total=len(chosen), rollouts=tuple(rollout_summary(each, world, now) for each in page))


async def list_members(request: web.Request) -> MemberPage:
    """Returns members of a rollout, in the order of the plan; filters are `outcome`, `wave` (from 0 on)
    and `stratum`.
    """
    state, asked = request.app[STATE], request.query
    limit, offset = page_of(asked)
    wave = asked.get("wave")
    return member_page(
        rollouts.find(state, request.match_info["rollout"]),
        state.world,
        time.time(),
        outcomes=asked.getall("outcome", []),
        wave=None if wave is None else number_of(wave),
        stratum=asked.get("stratum", ""),
        limit=limit,
        offset=offset,
    )


def _view(state: State, rollout: Rollout) -> RolloutView:
    now, trace_id = time.time(), trace_of(state.config.traces, rollout)

    def returns(devices: list[str]) -> dict[str, Return | None]:
        return returns_of(state, devices, now)

    return rollout_view(rollout, state.world, now, returns=returns, trace_id=trace_id)


async def show_rollout(request: web.Request) -> RolloutView:
    """Returns one rollout."""
    state = request.app[STATE]
    return _view(state, rollouts.find(state, request.match_info["rollout"]))


async def plan_rollout(request: web.Request) -> Preview:
    """Returns what a rollout would do, and changes nothing."""
    return _preview(request, decode(await request.read(), PlanRequest), None)


async def start_rollout(request: web.Request) -> RolloutView:
    """Plans and starts a rollout."""
    state = request.app[STATE]
    wanted = decode(await request.read(), RolloutRequest)
    meant = filled(state, wanted)
    rollout = await rollouts.prepare_and_start(
        state,
        wanted.model,
        _release(request, wanted),
        meant.strategy or STRATEGIES[DEFAULT_STRATEGY],
        meant.selector,
        plan_digest=wanted.plan_digest,
        again=wanted.again,
        actor=actor_of(request),
        schedule=meant.schedule,
        source=meant.source,
    )
    return _view(state, rollout)


async def preview_start(request: web.Request) -> Preview:
    """Returns what a start would do, and refuses it as the start itself would be refused; nothing is changed."""
    wanted = decode(await request.read(), RolloutRequest)
    return _preview(request, wanted, wanted.plan_digest)


def _preview(request: web.Request, wanted: PlanRequest, starting: str | None) -> Preview:
    """`starting`: the digest of the plan that would be started; None: it is not about a start."""
    meant = filled(request.app[STATE], wanted)
    return rollouts.preview(
        request.app[STATE],
        wanted.model,
        _release(request, wanted),
        meant.strategy or STRATEGIES[DEFAULT_STRATEGY],
        meant.selector,
        again=wanted.again,
        schedule=meant.schedule,
        starting=starting,
    )


async def approve_rollout(request: web.Request) -> RolloutView:
    """Approves a proposed rollout, so that it starts."""
    state = request.app[STATE]
    digest = decode(await request.read(), ApprovalRequest).plan_digest
    name, subject = request.match_info["rollout"], subject_of(request)
    started = rollouts.approve(state, name, digest, subject=subject)
    return _view(state, started)


async def steer_rollout(request: web.Request) -> RolloutView:
    """Pauses, resumes, promotes, aborts or rolls back a rollout."""
    state = request.app[STATE]
    verb = request.path.rpartition("/")[2]
    steered = steering.steer(
        state,
        request.match_info["rollout"],
        verb,  # type: ignore[arg-type]  # the route table registers these paths only
        seen=decode(await request.read() or b"{}", Seen),
        actor=actor_of(request),
    )
    return _view(state, steered)


async def preview_step(request: web.Request) -> VerbPreview:
    """Returns the effect of a `verb`: approve, pause, resume, promote, abort, rollback; changes nothing."""
    verb, state, name = request.query.get("verb", ""), request.app[STATE], request.match_info["rollout"]
    if verb not in STEPS:
        raise BadInput(Code.REQUEST_INVALID, f"verb = {verb[:20]!r}: expected {', '.join(STEPS)}")
    subject = subject_of(request)
    if words := role_refusal(subject, "approve" if verb == "approve" else "rollout"):
        return refused_step(rollouts.find(state, name), verb, BadInput(Code.FORBIDDEN, words))
    if words := scopes.rollout_refusal(state, subject.scope, name):
        return refused_step(rollouts.find(state, name), verb, BadInput(Code.OUTSIDE_SCOPE, words))
    if verb == "approve":
        return preview_approval(state, name, subject)
    return preview_verb(state, name, verb, actor=subject.name)  # type: ignore[arg-type]  # checked above


async def retry_rollout(request: web.Request) -> RolloutView:
    """Starts the same release again, only on the devices on which an ended rollout failed."""
    state = request.app[STATE]
    started = retry_failed(state, request.match_info["rollout"], actor=actor_of(request))
    return _view(state, started)


async def compare_rollouts(request: web.Request) -> RolloutComparison:
    """Compares two rollouts."""
    return compare(request.app[STATE], request.match_info["rollout"], request.match_info["other"])


async def judge_rollout(request: web.Request) -> list[VerdictView]:
    """Returns what its accuracy rules say now that late labels have come."""
    state = request.app[STATE]
    revert = decode(await request.read() or b"{}", JudgeRequest).revert
    name, actor = request.match_info["rollout"], actor_of(request)
    return [verdict_view(each) for each in steering.judge_again(state, name, revert=revert, actor=actor)]


async def show_plan(request: web.Request) -> Preview:
    """Returns the plan of an existing rollout: costs, what its rules can find, and ways back, at this time."""
    state = request.app[STATE]
    return preview_of(state.world, rollouts.find(state, request.match_info["rollout"]), time.time())


async def list_events(request: web.Request) -> list[RolloutEvent]:
    """Returns the events of a rollout, oldest first: its newest 500 events."""
    return story(request.app[STATE], request.match_info["rollout"])


async def explain_rollout(request: web.Request) -> views.Sentences:
    """Returns where the rollout stands and what it waits for."""
    return views.Sentences(rollouts.explain(request.app[STATE], request.match_info["rollout"]))


async def device_why(request: web.Request) -> views.WhyView:
    """Returns why a device runs what it runs."""
    items = devices.explain_items(request.app[STATE], request.match_info["device"])
    return views.WhyView(sentences=[item.sentence for item in items], items=tuple(items))


STEPS = ("approve", *get_args(steering.Verb))
"""The subject of a preview."""
_ONE = "/v1/rollouts/{rollout}"
ROLLOUT_ROUTES = (
    Route("view", "GET", "/v1/rollouts", list_rollouts, "Rollouts, newest first", RolloutPage),
    Route("rollout", "POST", "/v1/rollouts", start_rollout, "Start a rollout", RolloutView, RolloutRequest),
    Route("rollout", "POST", "/v1/rollouts/dry-run", preview_start, "What a start would do", Preview, RolloutRequest),
    Route("view", "POST", "/v1/rollouts/plan", plan_rollout, "What a rollout would do", Preview, PlanRequest),
    Route("view", "GET", _ONE, show_rollout, "One rollout", RolloutView),
    Route("view", "GET", f"{_ONE}/members", list_members, "Its members, a page", MemberPage),
    Route("view", "GET", f"{_ONE}/plan", show_plan, "Its plan in figures", Preview),
    Route("view", "GET", f"{_ONE}/events", list_events, "What happened to it", list[RolloutEvent]),
    Route("view", "GET", f"{_ONE}/explain", explain_rollout, "Where it stands, in sentences", views.Sentences),
    Route("view", "POST", f"{_ONE}/preview", preview_step, "What a step would do", VerbPreview),
    Route("rollout", "POST", f"{_ONE}/pause", steer_rollout, "Stop starting devices", RolloutView, Seen),
    Route("rollout", "POST", f"{_ONE}/resume", steer_rollout, "Continue after failures", RolloutView, Seen),
    Route("rollout", "POST", f"{_ONE}/promote", steer_rollout, "End the wave now", RolloutView, Seen),
    Route("rollout", "POST", f"{_ONE}/abort", steer_rollout, "Stop; devices that have it keep it", RolloutView, Seen),
    Route("rollout", "POST", f"{_ONE}/rollback", steer_rollout, "Everybody back", RolloutView, Seen),
    Route("approve", "POST", f"{_ONE}/approve", approve_rollout, "Let it start", RolloutView, ApprovalRequest),
    Route("rollout", "POST", f"{_ONE}/retry", retry_rollout, "Try the failed devices again", RolloutView),
    Route("view", "GET", f"{_ONE}/compare/{{other}}", compare_rollouts, "Two side by side", RolloutComparison),
    Route("rollout", "POST", f"{_ONE}/judge", judge_rollout, "Judge it again", list[VerdictView], JudgeRequest),
    Route("view", "GET", "/v1/devices/{device}/why", device_why, "Why it runs what it runs", views.WhyView),
)
