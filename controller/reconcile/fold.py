"""Folds messages of devices into the world: heartbeats, reports and presence into twins, telemetry into measurements.

Decides what a message changes. Refuses to know the decisions of rollouts.
"""

from msgspec.structs import replace

from contract.captured import Captured, CapturedRow
from contract.histogram import merge
from contract.messages import Heartbeat, ModelInterval, Presence, Report, Telemetry
from contract.protocol import MAX_FEATURES
from controller.fleet.believable import why_impossible
from controller.fleet.credit import Credit, least_s
from controller.fleet.heard import Heard
from controller.fleet.invented import without_invented, without_invented_cells
from controller.fleet.traffic import Traffic
from controller.fleet.twin import Twin, fold_heartbeat, fold_presence, fold_report
from controller.fleet.vitals import SPAN_S, OpenSpan, span_of
from controller.reconcile.measured import belongs, rows_of
from controller.reconcile.world import FromDevice, World, holds, members_of, put_twin
from controller.rollout.facts import MAX_CODES, Sums
from controller.rollout.model import JUDGED
from controller.telemetry.counts import Counted

IMPOSSIBLE = "counts_impossible"
"""The fault of a device whose counts are impossible."""
TOO_MANY = "counts_too_many"
"""The fault of a device that has counted more than it can have by the controller's clock."""
INVENTED = "names_invented"
"""Among a device's faults: it counts under classes, columns or groups that its version does not have."""
MAX_PREDICTIONS = 64
"""Answers of one release that are counted by name: devices differ about which are the rarest."""


def fold(world: World, device: str, message: FromDevice, now: float) -> bool:
    """Folds one message of `device` into `world`, in place; returns whether an earlier start of its agent is new."""
    if isinstance(message, Telemetry):
        if device not in world.durable.twins:
            world.durable.twins[device] = Twin(device)
        _fold_telemetry(world, device, message, now)
        return False
    twin = world.durable.twins.get(device) or Twin(device)
    boots = twin.boots
    match message:
        case Heartbeat():
            before, twin = twin, fold_heartbeat(twin, message, now)
            if before.hardware is None or before.labels != twin.labels:
                world.caches.joining.add(device)
        case Report():
            twin = fold_report(twin, message, now)
        case Presence():
            twin = fold_presence(twin, message, now)
    put_twin(world, twin)
    return twin.boots.changes_past_of(boots)


def _fold_telemetry(world: World, device: str, message: Telemetry, now: float) -> None:
    heard, is_news = world.measured.heard.get(device, Heard()).then(message.boot, message.seq)
    if not is_news:
        world.measured.left_out.counts["telemetry_repeated"] += 1
        return
    world.measured.heard[device] = heard
    world.caches.changed.add(device)
    known = world.measured.traffic.get(device)
    world.measured.traffic[device] = known.then(message, now) if known is not None else Traffic.begin(message, now)
    _add_vitals(world, device, message, now)
    inferences, credit = 0, world.measured.credits.get(device, Credit(now)).then(now)
    for interval in message.intervals:
        if not holds(world, interval.model, interval.version):
            continue  # a device may invent any number of releases, and each would take memory for its sums
        if words := why_impossible(interval, message.interval_s, inferences):
            of = (device, interval.model, interval.version.release)
            _note(world, of, IMPOSSIBLE, f"counts that cannot be were left out: {words}")
            world.measured.left_out.counts[IMPOSSIBLE] += 1
            continue
        if (left := credit.spend(least_s(interval))) is None:
            _note_too_many(world, (device, interval.model, interval.version.release), interval)
            continue
        credit, inferences = left, inferences + interval.inferences
        believed = _named(world, device, interval)
        _add(world, device, believed, now)
        at = now - interval.age_s
        world.measured.new.append(Counted(device, message.boot, message.seq, at, believed))
    world.measured.credits[device] = credit


def _named(world: World, device: str, interval: ModelInterval) -> ModelInterval:
    """The interval without counts under names that its version does not have: those are counted and reported."""
    names = world.names(interval.model, interval.version.release)
    kept, invented = (interval, ()) if names is None else without_invented(interval, names)
    _note_invented(world, (device, interval.model, interval.version.release), invented)
    return kept


def fold_captured(world: World, device: str, batch: Captured, now: float) -> Captured:
    """Returns the batch without what the registry and the signed manifests do not know: each model's rows have a limit,
    names have none. Notes in `world` what was left out.

    A batch that cannot be used is empty then: it is acknowledged, because its device would send it again for ever.
    """
    left_out = world.measured.left_out
    try:
        kept = _fold_captured(world, device, batch, now)
    except Exception as error:  # a batch that cannot be folded costs itself, whatever is wrong with it
        left_out.note_unusable(device, Captured.__name__, error)
        return replace(batch, rows=(), labels=())
    left_out.note_used(device, Captured.__name__)
    return kept


def _fold_captured(world: World, device: str, batch: Captured, now: float) -> Captured:
    if world.registered is None:
        return batch
    rows = []
    for row in batch.rows:
        if row.release in world.registered.get(row.model, ()):
            rows.append(_named_row(world, device, row))
        else:  # the registry was restored from a backup of before that version, or the device invents it
            world.measured.left_out.note_row(device, row.model, row.release, now)
    labels = tuple(label for label in batch.labels if label.model in world.registered)
    world.measured.left_out.counts["labels_unregistered"] += len(batch.labels) - len(labels)
    return replace(batch, rows=tuple(rows), labels=labels)


def _named_row(world: World, device: str, row: CapturedRow) -> CapturedRow:
    names = world.names(row.model, row.release)
    kept, invented = (row, ()) if names is None else without_invented_cells(row, names)
    _note_invented(world, (device, row.model, row.release), invented)
    return kept


def _note_invented(world: World, of: tuple[str, str, int], invented: tuple[str, ...]) -> None:
    if invented:
        world.measured.left_out.counts["names_unknown"] += len(invented)
        count = world.measured.invented[of] = world.measured.invented.get(of, 0) + len(invented)
        _note(world, of, INVENTED, f"{count} counts or cells were left out: v{of[2]} has no {invented[0]}")


def _note_too_many(world: World, of: tuple[str, str, int], interval: ModelInterval) -> None:
    world.measured.left_out.counts[TOO_MANY] += 1
    count = world.measured.too_many[of] = world.measured.too_many.get(of, 0) + interval.inferences
    words = f"{count} inferences were left out: no device can count so much in the time that has passed here"
    _note(world, of, TOO_MANY, words)


def _note(world: World, of: tuple[str, str, int], code: str, words: str) -> None:
    known = world.measured.faults.setdefault(of, {})
    if code in known or len(known) < MAX_CODES:
        known[code] = words
    world.measured.versions.setdefault(of[0], set()).add(of[1:])


def _add_vitals(world: World, device: str, message: Telemetry, now: float) -> None:
    """An interval is over when the next one begins, so that many devices do not cause writes at the same moment."""
    start, span = span_of(now), world.measured.vitals.get(device)
    if span is None or span.start != start:
        if span is not None:
            world.measured.closed_vitals.append((device, span.vitals()))
        span = world.measured.vitals[device] = OpenSpan(start)
    span.add(message)


def close_vitals(world: World, now: float) -> None:
    """Closes intervals that are over, of devices that have sent nothing since."""
    over = [device for device, span in world.measured.vitals.items() if span.start + 2 * SPAN_S <= now]
    for device in over:
        world.measured.closed_vitals.append((device, world.measured.vitals.pop(device).vitals()))


def _add(world: World, device: str, interval: ModelInterval, now: float) -> None:
    release = interval.version.release
    key = (device, interval.model, release)
    world.measured.totals[key] = world.measured.totals.get(key, Sums()).plus(interval)
    world.measured.versions.setdefault(device, set()).add((interval.model, release))
    if interval.faults:
        known = world.measured.faults.setdefault(key, {})
        known.update(
            {code: words for code, words in interval.faults.items() if code in known or len(known) < MAX_CODES}
        )
    if interval.features or interval.outputs:
        _add_distribution(world, interval)
    _add_answers(world, interval)
    for rollout in world.durable.rollouts.values():
        if rollout.model == interval.model and rollout.status in JUDGED:
            treated, at = interval.version.release == rollout.release, now - interval.age_s
            if device in members_of(world, rollout) and belongs(rollout, at, treated=treated):
                rows_of(world, rollout).add(device, at, interval, treated=treated)


def _add_answers(world: World, interval: ModelInterval) -> None:
    of = interval.model, interval.version.release
    if interval.divergence:
        world.measured.divergences[of] = merge((world.measured.divergences.get(of, ()), interval.divergence))
    if interval.predictions:
        known = world.measured.predictions.setdefault(of, {})
        for label, count in interval.predictions.items():
            name = label if label in known or len(known) < MAX_PREDICTIONS else "other"
            known[name] = known.get(name, 0) + count


def _add_distribution(world: World, interval: ModelInterval) -> None:
    known = world.measured.distributions.setdefault((interval.model, interval.version.release), {})
    for column, counts in (("", interval.outputs), *interval.features.items()):
        if column not in known and len(known) > MAX_FEATURES:
            continue  # a version has no more columns than MAX_FEATURES: the others are invented
        known[column] = merge((known.get(column, ()), counts))
