"""The lineage of a model as a graph: data and code, version, rollouts, devices.

Decides which versions are shown and the text of each node. Refuses to know how it is drawn.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

from contract.wire import Message
from controller.registry.version import Version
from controller.rollout.model import Rollout
from controller.rollout.words import devices_of
from controller.state import State
from controller.verbs.versions import devices_by_release

MAX_VERSIONS = 6
"""The newest versions of a graph, besides older ones that devices have: a graph must be readable."""
NodeKind = Literal["data", "run", "version", "rollout", "devices"]


class Node(Message, frozen=True):
    """One origin or destination of a version."""

    id: str
    kind: NodeKind
    title: str
    lines: tuple[str, ...]
    """Further facts about it."""
    release: int | None
    """The version to which it belongs; None for data that several share."""
    key: str
    """The digest, the number or the id of the rollout, for a link."""


class Edge(Message, frozen=True):
    """A connection from one node to the next."""

    source: str
    target: str


class Lineage(Message, frozen=True):
    """A graph, from data at the left to devices at the right."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    left_out: int
    """Older versions that no device has and that are not shown."""


def lineage_of(state: State, model: str) -> Lineage:
    """The graph of a model. BadInput `unknown_model`."""
    versions, devices = state.registry.versions(model), devices_by_release(state, model)
    kept = [each for each in versions[:-MAX_VERSIONS] if each.release in devices] + list(versions[-MAX_VERSIONS:])
    shown = sorted(kept[-2 * MAX_VERSIONS :], key=lambda each: -each.release)
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for version in shown:
        chain = list(_chain(state, version, devices.get(version.release, [])))
        nodes |= {each.id: each for each in chain}
        edges += [Edge(source=a.id, target=b.id) for a, b in pairwise(chain)]
    return Lineage(nodes=tuple(nodes.values()), edges=tuple(edges), left_out=len(versions) - len(shown))


def _chain(state: State, version: Version, devices: list[str]) -> Iterable[Node]:
    """Yields the origins and then the destinations of one version."""
    lineage, release = version.lineage, version.release
    if lineage.data is not None:
        digest = lineage.data.sha256
        rows = f"{lineage.data.rows:,} rows, {len(lineage.data.columns)} columns"
        yield Node(
            id=f"data {digest}", kind="data", title=f"data {digest[:8]}", lines=(rows,), release=None, key=digest
        )
    code = lineage.code
    origin = [f"code {code.revision[:8]}{' with changes' if code.dirty else ''}"] if code else ["code not told"]
    ran = [f"run {lineage.run}"] if lineage.run else []
    made = f"{lineage.created_by}, {lineage.created_at[:10]}"
    what = lineage.estimator or lineage.source
    yield Node(
        id=f"run {release}",
        kind="run",
        title=what,
        lines=(*ran, *origin, made),
        release=release,
        key=lineage.source_sha256,
    )
    signed = release in state.trust_metadata.signed(version.model)
    words = ("signed" if signed else "not signed", "passed its gates" if version.passed else "a gate has failed")
    digest = version.manifest.artifact.sha256
    yield Node(
        id=f"version {release}",
        kind="version",
        title=f"v{release}",
        lines=(digest[:12], *words),
        release=release,
        key=str(release),
    )
    newest = _newest_rollout(state, version)
    if newest is not None:
        yield _rollout_node(newest)
    if devices:
        yield Node(
            id=f"devices {release}",
            kind="devices",
            title=devices_of(len(devices)),
            lines=(f"v{release}, confirmed or on trial",),
            release=release,
            key=str(release),
        )


def _newest_rollout(state: State, version: Version) -> Rollout | None:
    found = (
        each
        for each in reversed(state.world.durable.rollouts.values())
        if each.model == version.model and each.release == version.release
    )
    return next(found, None)


def _rollout_node(rollout: Rollout) -> Node:
    lines = (rollout.strategy.name, rollout.status.replace("_", " "))
    return Node(
        id=f"rollout {rollout.id}",
        kind="rollout",
        title=rollout.id,
        lines=lines,
        release=rollout.release,
        key=rollout.id,
    )
