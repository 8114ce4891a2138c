"""The routes of existing versions: view, search, compare, withdraw, alias, note, waive, delete blobs."""

from aiohttp import web

from contract.errors import BadInput, Code
from contract.lineage import SignedLineage
from contract.wire import Message, decode
from controller.api import version_views as views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.gates.policy import GatePolicy
from controller.registry.compare import Comparison, compare_versions
from controller.registry.notes import Notes
from controller.registry.search import DEFAULT_PAGE, read_query
from controller.state import State
from controller.verbs import versions, writing
from controller.verbs.fits import fit
from controller.verbs.gates import set_gates, shown_policy
from controller.verbs.statements import lineage_statement


class WithdrawRequest(Message, frozen=True):
    """A request to withdraw a version."""

    reason: str
    """The reason, which is shown to everybody who wants to start it."""


class WaiveRequest(Message, frozen=True):
    """A request to let a version pass although a gate has failed."""

    gate: str
    reason: str
    """The reason, which is shown with the version after that."""


class AliasRequest(Message, frozen=True):
    """A request to set an alias of a version."""

    version: str
    """A number, a semantic version, another alias, or `newest`."""


class TagsRequest(Message, frozen=True):
    """Tags to set; null removes one."""

    tags: dict[str, str | None]


class TextRequest(Message, frozen=True):
    """A note or a comment."""

    text: str


class CleanRequest(Message, frozen=True):
    """A request to apply the retention rule to a model."""

    keep: int
    """The number of newest passed versions that keep their blobs."""
    apply: bool = False
    """False: only show the effect."""


async def list_versions(request: web.Request) -> list[views.VersionView]:
    """Returns versions of a model, oldest first."""
    return views.list_views(request.app[STATE], request.match_info["model"])


async def search_versions(request: web.Request) -> views.VersionPage:
    """Returns versions of all models that fulfil every `where` and contain `text`, in the order of `sort`; `limit` from
    `offset` on.
    """
    state, asked = request.app[STATE], request.query
    limit, offset = (
        number_of(asked.get(key, preset)) for key, preset in (("limit", str(DEFAULT_PAGE)), ("offset", "0"))
    )
    query = read_query(asked.getall("where", []), asked.get("text", ""), asked.get("sort", ""), limit, offset)
    found = state.catalogue.search(query)
    unknown = () if found.total else tuple(state.catalogue.unknown(query))
    return views.VersionPage(total=found.total, versions=views.found_views(state, found.keys), unknown=unknown)


async def show_version(request: web.Request) -> views.VersionDetail:
    """Returns one version with manifest, lineage and evidence."""
    state, model, release = named(request)
    return views.version_detail(state, state.registry.version(model, release))


async def compare(request: web.Request) -> Comparison:
    """Returns what differs between two versions of a model."""
    state, model = request.app[STATE], request.match_info["model"]
    pair = [
        state.registry.version(model, state.aliases.resolve(model, request.match_info[key]))
        for key in ("before", "after")
    ]
    environments = [state.registry.environment(each.lineage.environment_sha256) for each in pair]
    return compare_versions(pair[0], pair[1], (environments[0], environments[1]))


async def check_fit(request: web.Request) -> views.FitView:
    """Returns which devices can run a version, in which form, and why the others cannot."""
    state, model, release = named(request)
    found = fit(state, model, release)
    return views.FitView(
        model=model, release=release, forms=dict(found.forms), unfit=found.unfit, unknown=tuple(found.unknown)
    )


async def state_lineage(request: web.Request) -> SignedLineage:
    """Returns the origin of a version, signed by the director; `prediction` names a captured row that it answered."""
    state, model, release = named(request)
    return lineage_statement(state, model, release, request.query.get("prediction", ""))


async def withdraw_version(request: web.Request) -> views.VersionDetail:
    """Excludes a version from every later rollout; devices that run it continue, and are listed."""
    state, model, release = named(request)
    reason = decode(await request.read(), WithdrawRequest).reason
    return views.version_detail(state, versions.withdraw(state, model, release, reason=reason, actor=actor_of(request)))


async def reinstate_version(request: web.Request) -> views.VersionDetail:
    """Allows a withdrawn version in rollouts again."""
    state, model, release = named(request)
    return views.version_detail(state, versions.reinstate(state, model, release, actor=actor_of(request)))


async def waive_gate(request: web.Request) -> views.VersionDetail:
    """Makes a version pass although a gate has failed, with a reason."""
    state, model, release = named(request)
    asked = decode(await request.read(), WaiveRequest)
    version = versions.waive(state, model, release, asked.gate, reason=asked.reason, actor=actor_of(request))
    return views.version_detail(state, version)


async def show_gates(request: web.Request) -> GatePolicy:
    """Returns the limits for versions of a model; none if no limits were set."""
    return shown_policy(request.app[STATE], request.match_info["model"])


async def put_gates(request: web.Request) -> GatePolicy:
    """Sets the limits for versions that are pushed later."""
    policy = decode(await request.read(), GatePolicy)
    return set_gates(request.app[STATE], request.match_info["model"], policy, actor=actor_of(request))


async def list_aliases(request: web.Request) -> list[views.AliasView]:
    """Returns the aliases of a model, sorted by name."""
    state, model = request.app[STATE], request.match_info["model"]
    state.registry.versions(model)
    return [_alias_view(state, model, name) for name in state.aliases.of(model)]


async def set_alias(request: web.Request) -> views.AliasView:
    """Sets an alias to a version."""
    state, model, name = request.app[STATE], request.match_info["model"], request.match_info["alias"]
    release = state.aliases.resolve(model, decode(await request.read(), AliasRequest).version)
    writing.set_alias(state, model, name, release, actor=actor_of(request))
    return _alias_view(state, model, name)


async def remove_alias(request: web.Request) -> list[views.AliasView]:
    """Removes an alias; returns the others."""
    writing.remove_alias(
        request.app[STATE], request.match_info["model"], request.match_info["alias"], actor=actor_of(request)
    )
    return await list_aliases(request)


async def tag_version(request: web.Request) -> Notes:
    """Sets tags of a version, and removes those that are null."""
    state, model, release = named(request)
    changes = decode(await request.read(), TagsRequest).tags
    return writing.tag(state, model, release, changes, actor=actor_of(request))


async def note_version(request: web.Request) -> Notes:
    """Replaces the note of a version; an empty text removes it."""
    state, model, release = named(request)
    text = decode(await request.read(), TextRequest).text
    return writing.write_note(state, model, release, text, actor=actor_of(request))


async def comment_version(request: web.Request) -> Notes:
    """Appends a comment to a version."""
    state, model, release = named(request)
    return writing.comment(
        state, model, release, decode(await request.read(), TextRequest).text, actor=actor_of(request)
    )


async def clean_model(request: web.Request) -> views.CleanAnswer:
    """Returns which versions keep their blobs, and why; with `apply` deletes the blobs of the others."""
    asked = decode(await request.read(), CleanRequest)
    state, model = request.app[STATE], request.match_info["model"]
    done = versions.clean(state, model, keep_newest=asked.keep, apply=asked.apply, actor=actor_of(request))
    return views.CleanAnswer(
        kept=tuple(views.Retained(release=release, reason=reason) for release, reason in done.rule.kept.items()),
        marked=tuple(done.marked),
        removed=tuple(done.removed),
        removed_bytes=done.removed_bytes,
    )


def named(request: web.Request) -> tuple[State, str, int]:
    """Returns (state, model, release) of a path. BadInput `unknown_model`, `unknown_version`."""
    state, model = request.app[STATE], request.match_info["model"]
    return state, model, state.aliases.resolve(model, request.match_info["release"])


def number_of(text: str) -> int:
    """Returns a number in a path or a query; BadInput `request_invalid`."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadInput(Code.REQUEST_INVALID, f"{text[:20]!r}: expected a number")
    return int(text)


def _alias_view(state: State, model: str, name: str) -> views.AliasView:
    alias = state.aliases.of(model)[name]
    return views.AliasView(alias=name, release=alias.release, by=alias.by, at=alias.at)


_MODEL = "/v1/models/{model}"
_ONE = f"{_MODEL}/versions/{{release}}"
VERSION_ROUTES = (
    Route("view", "GET", "/v1/versions", search_versions, "Search versions of all models", views.VersionPage),
    Route("view", "GET", f"{_MODEL}/versions", list_versions, "Versions of a model", list[views.VersionView]),
    Route("view", "GET", _ONE, show_version, "One version", views.VersionDetail),
    Route("view", "GET", f"{_ONE}/fit", check_fit, "Which devices can run it", views.FitView),
    Route("view", "GET", f"{_MODEL}/compare/{{before}}/{{after}}", compare, "What differs between two", Comparison),
    Route("view", "GET", f"{_ONE}/statement", state_lineage, "Where it comes from, signed", SignedLineage),
    Route(
        "rollout", "POST", f"{_ONE}/withdraw", withdraw_version, "Bar it from rollouts", views.VersionDetail,
        WithdrawRequest,
    ),
    Route("rollout", "POST", f"{_ONE}/reinstate", reinstate_version, "Take that back", views.VersionDetail),
    Route("rollout", "POST", f"{_ONE}/waive", waive_gate, "Waive a failed gate", views.VersionDetail, WaiveRequest),
    Route("view", "GET", f"{_MODEL}/gates", show_gates, "Limits before release", GatePolicy),
    Route("rollout", "PUT", f"{_MODEL}/gates", put_gates, "Set limits before release", GatePolicy, GatePolicy),
    Route("view", "GET", f"{_MODEL}/aliases", list_aliases, "Aliases of a model", list[views.AliasView]),
    Route("push", "PUT", f"{_MODEL}/aliases/{{alias}}", set_alias, "Name a version", views.AliasView, AliasRequest),
    Route("push", "DELETE", f"{_MODEL}/aliases/{{alias}}", remove_alias, "End an alias", list[views.AliasView]),
    Route("push", "PUT", f"{_ONE}/tags", tag_version, "Set and remove tags", Notes, TagsRequest),
    Route("push", "PUT", f"{_ONE}/note", note_version, "Replace the note", Notes, TextRequest),
    Route("push", "POST", f"{_ONE}/comments", comment_version, "Add a comment", Notes, TextRequest),
    Route("push", "POST", f"{_MODEL}/clean", clean_model, "Delete old blobs", views.CleanAnswer, CleanRequest),
)  # fmt: skip
