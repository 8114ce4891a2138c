"""The facts about one model for its retraining policy, from telemetry, registry and twins.

Decides which release is the champion: the one that most devices have confirmed. Refuses to know what is decided.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from contract.errors import BadInput, Code
from contract.protocol import MAX_DETAIL_CHARS
from controller.alerts.state import QUALITY
from controller.registry.version import Version
from controller.retraining.facts import Facts
from controller.retraining.model import Proposal, Retraining
from controller.retraining.policy import RetrainingPolicy
from controller.retraining.quality import Cell, Mean, mean_loss, newest_cells, oldest_cells, promised
from controller.rollout.facts import Sums
from controller.rollout.model import FINAL
from controller.state import State

MAX_JUDGED_DEVICES = 1_000
"""The most devices whose rows are read for one look: their labels are as exact as those of 100,000, and take a
second.
"""

MAX_CAUSES = 3
"""The most distributions that a decision names as its cause: the drift report has all of them."""


def champion_of(state: State, model: str) -> Version:
    """Returns the version that most devices have confirmed, of several the newest. BadInput `not_serving`
    if none has.
    """
    state.registry.versions(model)
    said = (twin.reported.get(model) for twin in state.world.durable.twins.values())
    counts = Counter(each.stable.release for each in said if each is not None and each.stable is not None)
    known = {release: count for release, count in counts.items() if release in state.registry.registered[model]}
    if not known:
        raise BadInput(Code.NOT_SERVING, f"no device serves {model} yet: roll a version out first")
    return state.registry.version(model, max(known, key=lambda release: (known[release], release)))


def facts_of(state: State, model: str, policy: RetrainingPolicy, asked: tuple[Proposal, ...], now: float) -> Facts:
    """Returns the present facts about a model. BadInput `unknown_model`, `not_serving`."""
    champion = champion_of(state, model)
    past = tuple(state.retrainings.attempts(model))
    came_at = _came_at(state, champion)
    devices = sorted(name for name, twin in state.world.durable.twins.items() if model in twin.reported)
    judged = devices[:: max(1, len(devices) // MAX_JUDGED_DEVICES)]
    scale = len(devices) / max(1, len(judged))
    classifies = champion.manifest.task == "classification"
    quality = policy.quality
    since = (now // quality.block_s - quality.recent_blocks) * quality.block_s
    kept = state.retrainings.first_mean(model, champion.release)
    newest_ended = max([came_at, *(each.ended_at for each in past)])
    begin = min(since, newest_ended if kept is not None else came_at) // quality.block_s * quality.block_s
    rows = [
        (device, start, sums)
        for device, release, start, sums in state.telemetry.past(model, begin, judged)
        if release == champion.release
    ]
    cells = _cells(rows, quality.block_s, classifies=classifies)
    recent = newest_cells(cells, quality.recent_blocks)
    return Facts(
        model=model,
        champion=champion.release,
        champion_at=came_at,
        classifies=classifies,
        recent=tuple(recent),
        reference=_reference(state, champion, policy, cells, recent),
        new_labels=int(scale * sum(sums.labelled for _, start, sums in rows if start >= newest_ended)),
        answers_per_s=scale * _answers_per_s(rows, since, now),
        devices=len(devices),
        size_bytes=champion.manifest.artifact.length,
        training_s=next((each.training_s for each in reversed(past) if each.training_s), 0.0),
        past=past,
        coming=_coming(state, champion, past),
        moved=_moved(state, model),
        asked=asked,
    )


def alarms(state: State, model: str) -> tuple[Proposal, ...]:
    """Returns the proposals of firing alerts about the quality of a model that are not silenced."""
    return tuple(
        Proposal(trigger="alert", detail=f"{each.name}: {each.reading.detail}"[:MAX_DETAIL_CHARS])
        for each in state.alerts.told()
        if each.labels.get("model") == model and state.alerts.measure_of(each) in QUALITY
    )


def _moved(state: State, model: str) -> str:
    """Returns the distributions that have moved most, compared with their own past."""
    found = state.data_looks.get(model)
    beyond = [each for each in found.moved if each.moved.is_beyond] if found is not None else []
    return ", ".join(
        f"{each.what} ({each.moved.distance:.1%} of rows, more in {each.towards})" for each in beyond[:MAX_CAUSES]
    )


def _coming(state: State, champion: Version, past: tuple[Retraining, ...]) -> int:
    """Returns the release of the newest attempt, if it passed and waits for its rollout, or for its end."""
    release = past[-1].release if past and past[-1].status == "passed" else 0
    known = state.world.durable.rollouts.values()
    ended = any(each.release == release and each.status in FINAL for each in known if each.model == champion.model)
    withdrawn = (champion.model, release) in state.registry.withdrawn
    return 0 if ended or withdrawn or release == champion.release else release


def _came_at(state: State, champion: Version) -> float:
    """Returns when its newest rollout began; without one, when it was registered."""
    known = state.world.durable.rollouts.values()
    began = [each.began_at for each in known if (each.model, each.release) == (champion.model, champion.release)]
    return max(began, default=datetime.fromisoformat(champion.lineage.created_at).timestamp())


def _cells(rows: Iterable[tuple[str, float, Sums]], block_s: float, *, classifies: bool) -> list[Cell]:
    """Returns the results of labels, by block and device."""
    found: dict[tuple[int, str], list[float]] = {}
    for device, start, sums in rows:
        count, lost, squared = _losses(sums, classifies=classifies)
        if count:
            cell = found.setdefault((int(start // block_s), device), [0, 0.0, 0.0])
            cell[0], cell[1], cell[2] = cell[0] + count, cell[1] + lost, cell[2] + squared
    return [Cell(block, device, int(count), lost, squared) for (block, device), (count, lost, squared) in found.items()]


def _losses(sums: Sums, *, classifies: bool) -> tuple[int, float, float]:
    """Returns (labels, sum of losses, sum of their squares)."""
    if classifies:
        judged = sums.labelled - sums.measured
        wrong = float(judged - sums.correct)
        return judged, wrong, wrong
    return sums.measured, sums.absolute_error_sum, sums.squared_error_sum


def _reference(
    state: State, champion: Version, policy: RetrainingPolicy, cells: list[Cell], recent: list[Cell]
) -> Mean | None:
    """Returns the better of the champion's scores: on its held-out rows, and in its first blocks."""
    model, release, wanted = champion.model, champion.release, policy.quality.reference_blocks
    first = state.retrainings.first_mean(model, release)
    if first is None:
        newest = {cell.block for cell in recent}
        before = [cell for cell in cells if cell.block not in newest]
        blocks = {cell.block for cell in before}
        first = mean_loss(oldest_cells(before, wanted))
        if first is not None and len(blocks) >= wanted:
            state.retrainings.keep_first_mean(model, release, first)
    known = [each for each in (first, _promised(champion, recent)) if each is not None]
    return min(known, key=lambda mean: mean.loss) if known else None


def _promised(champion: Version, recent: list[Cell]) -> Mean | None:
    like = mean_loss(recent)
    evidence = next((each.evidence for each in champion.gates if each.gate == "held_out"), {})
    classifies = champion.manifest.task == "classification"
    score = evidence.get("accuracy" if classifies else "mean_absolute_error")
    if like is None or score is None:
        return None
    return promised(score, int(evidence["rows"]), classifies=classifies, like=like)


def _answers_per_s(rows: Iterable[tuple[str, float, Sums]], since: float, now: float) -> float:
    """Returns inferences per second of those devices, since the later of `since` and their first row."""
    found = [(start, sums.inferences) for _, start, sums in rows if start >= since]
    if not found:
        return 0.0
    return sum(count for _, count in found) / max(60.0, now - min(start for start, _ in found))
