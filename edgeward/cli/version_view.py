"""One version on a screen: whether it can be rolled out, its gates, its inputs, its origin, its devices.

Decides what 80 columns show, failed gates first, and the next command. Refuses to know how it is requested; `--json`
has everything.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from contract.manifest import Manifest, Stage, StateRules, Tensor
from contract.recurrent import bytes_of
from edgeward.answers.models import Gate, VersionDetail
from edgeward.cli.render import size, when

MAX_TENSORS = 12
"""Inputs or outputs that are named: three lines of 80 columns. `--json` has all."""
MAX_PARAMS = 6
"""Parameters that are shown: `--json` and `edgeward model diff` have all."""
MAX_PARAM_CHARS = 40
"""Characters of a parameter's value: a pipeline prints itself over many lines."""
MAX_DEVICES = 5
"""The most devices that are named, with the number of all."""
MAX_GATE_CHARS = 160
"""Characters of a passed gate's words; a failed one shows all, and so does parity with ties."""
MAX_WORST, MAX_ROW_CHARS = 3, 240
"""Rows that differ, and characters of each. `--json` has more."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a version can be rolled out; if not, the missing steps and who must do them; and the next command."""

    free: bool
    words: str
    command: str


class _Row(msgspec.Struct):
    """A row that ONNX answers otherwise than the estimator."""

    row: str
    inputs: dict[str, str]
    expected: dict[str, str]
    actual: dict[str, str]


class _Parity(msgspec.Struct):
    """The part of the parity evidence that is shown."""

    worst: tuple[_Row, ...] = ()


class _Evidence(msgspec.Struct):
    """The part of a version's evidence that is shown."""

    parity: _Parity = msgspec.field(default_factory=_Parity)


def standing_of(found: VersionDetail, *, signed: bool) -> Standing:
    """Returns the standing of a version; the first missing step decides."""
    named = f"{found.model}@{found.release}"
    if (kept_back := _kept_back(found)) is not None:
        return kept_back
    if failed := _failed(found):
        names = ", ".join(each.gate for each in failed)
        words = f"{names} failed: push a version that passes, or waive it with a reason"
        return Standing(False, words, f"edgeward model waive {named} --gate '{failed[0].gate}' --reason TEXT")
    if not signed:
        words = "it passed its gates; a release signer has not vouched for it yet"
        return Standing(False, words, f"edgeward trust sign {found.model} --key FILE")
    if found.rolled_back is not None:
        words = f"only with --again: {found.rolled_back.rollout} was rolled back: {found.rolled_back.reason}"
        return Standing(True, words, f"edgeward rollout start {named} --again")
    return Standing(True, "it can be rolled out", f"edgeward rollout start {named} --watch")


def _kept_back(found: VersionDetail) -> Standing | None:
    """Returns the standing of a version without its files, or one that was withdrawn; None for all others."""
    if found.removed is not None:
        by = found.removed
        words = f"its blobs were let go by {by.by} at {when(by.at)}: whoever trained it pushes it again"
        return Standing(False, words, f"edgeward model push FILE --name {found.model}")
    if found.withdrawn is not None:
        words = f"withdrawn by {found.withdrawn.by} at {when(found.withdrawn.at)}: {found.withdrawn.reason}"
        return Standing(False, words, f"edgeward version reinstate {found.model} {found.release}")
    if found.lost:
        return Standing(False, found.lost, f"edgeward model push FILE --name {found.model}")
    return None


def version_view(found: VersionDetail, *, signed: bool) -> RenderableType:
    """Returns a version as sections of lines."""
    standing = standing_of(found, signed=signed)
    semver = f" ({found.semver})" if found.semver else ""
    names = f", {', '.join(found.aliases)}" if found.aliases else ""
    made = f"{found.task} by {found.estimator or 'ONNX'}, {size(found.size_bytes)}, sha256 {found.digest[:12]}"
    gates = sorted(found.gates, key=lambda each: each.passed or each.waiver is not None)
    return Group(
        Text(f"{found.model} v{found.release}{semver}{names}", style="bold"),
        Text(standing.words, style="green" if standing.free else "yellow"),
        Text(made),
        _section("signature", _signature(found)),
        _section("gates", (row for gate in gates for row in _gate(gate))),
        *([_section("rows that differ", worst)] if (worst := [*_worst(found)]) else ()),
        _section("where it comes from", ((Text(what, "dim"), words) for what, words in _origin(found) if words)),
        _section("devices", [(Text("have it", "dim"), _devices(found))]),
        Text.assemble(("next: ", "dim"), standing.command),
    )


def _section(title: str, rows: Iterable[tuple[Text | str, ...]]) -> RenderableType:
    """Prints a title, and under it a line for each row; the last cell wraps beside the others."""
    grid = Table.grid(padding=(0, 1), pad_edge=False)
    cells = [tuple(each if isinstance(each, Text) else Text(each, overflow="fold") for each in row) for row in rows]
    widest = max(map(len, cells), default=0)
    for place in range(widest):
        grid.add_column(no_wrap=place < widest - 1)
    for row in cells:
        grid.add_row(*row)
    return Group(Text(title, style="bold"), Padding(grid, (0, 0, 0, 2)))


def _signature(found: VersionDetail) -> Iterator[tuple[Text, str]]:
    manifest = msgspec.convert(found.manifest, Manifest)
    yield Text("in", "dim"), _tensors(manifest.inputs)
    yield Text("out", "dim"), _tensors(manifest.outputs)
    for number, stage in enumerate(manifest.stages, 1):
        yield Text(f"model {number}", "dim"), _stage(stage)
    if manifest.state is not None:
        yield Text("state", "dim"), _state(manifest.state)
    if manifest.variants:
        forms = (f"{each.name} {size(each.artifact.length)}" for each in manifest.variants)
        yield Text("smaller", "dim"), ", ".join(forms)


def _state(rules: StateRules) -> str:
    kept = ", ".join(f"{each.input} from {each.output}" for each in rules.tensors)
    reset_s = float(rules.reset_after_s)
    after = f", anew after {reset_s:g} s without a request" if reset_s else ""
    return f"{kept}; up to {rules.max_keys} streams, {bytes_of(rules)} bytes each{after}"


def _stage(stage: Stage) -> str:
    fed = ", ".join(f"{name} from {output}" for name, output in stage.feeds[:MAX_TENSORS])
    return f"{stage.name}, sha256 {stage.sha256[:12]}{f', takes {fed}' if fed else ''}"


def _tensors(tensors: tuple[Tensor, ...]) -> str:
    more = len(tensors) - MAX_TENSORS
    return ", ".join([*map(_tensor, tensors[:MAX_TENSORS]), *([f"and {more} more"] if more > 0 else [])])


def _tensor(spec: Tensor) -> str:
    shape = " x ".join("n" if each < 0 else str(each) for each in spec.shape)
    return f"{spec.name} {spec.datatype} ({shape})"


def _gate(gate: Gate) -> Iterator[tuple[Text | str, ...]]:
    if gate.waiver is not None:
        words = f"by {gate.waiver.by}: {gate.waiver.reason} ({gate.detail})"
        yield Text("waived", "yellow"), gate.gate, words
    elif gate.passed:
        words = gate.detail if gate.evidence.get("ties") else _short(gate.detail, MAX_GATE_CHARS)
        yield Text("pass", "green"), gate.gate, words
    else:
        yield Text("fail", "red"), gate.gate, f"{gate.detail}{f'; {gate.remedy}' if gate.remedy else ''}"


def _worst(found: VersionDetail) -> Iterator[tuple[Text, str]]:
    """Yields rows of the sample or tried ones that ONNX answers otherwise, if parity failed."""
    if all(gate.passed for gate in found.gates if gate.gate == "parity"):
        return
    for row in msgspec.convert(found.evidence, _Evidence).parity.worst[:MAX_WORST]:
        words = f"expected {_cells(row.expected)}; got {_cells(row.actual)}; for {_cells(row.inputs)}"
        yield Text(row.row, "dim"), _short(words, MAX_ROW_CHARS)


def _cells(cells: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {cell}" for name, cell in cells.items())


def _short(words: str, limit: int) -> str:
    return textwrap.shorten(words, limit, placeholder=" ...")


def _origin(found: VersionDetail) -> Iterator[tuple[str, str]]:
    known = found.lineage
    yield "pushed", f"by {known.created_by} at {when(known.created_at)}"
    yield "from", f"v{known.parent}" if known.parent is not None else ""
    yield "data", f"{known.data.rows} rows, sha256 {known.data.sha256[:12]}" if known.data else "not said"
    code = known.code
    yield "code", f"{code.revision[:12]}{' with changes' if code.dirty else ''}" if code else "not said"
    yield "made in", f"Python {found.environment.python}" if found.environment else "not said"
    yield "metrics", ", ".join(f"{name} {number:.4g}" for name, number in found.metrics.items())
    yield "licence", found.licence or "not said"
    yield "tags", ", ".join(f"{name}={value}" for name, value in found.tags.items())
    yield "run", known.run
    yield "chosen", chosen_words(known.params)
    yield "note", f"{found.notes.note.text} ({found.notes.note.by})" if found.notes.note else ""
    yield from (("comment", f"{each.text} ({each.by}, {when(each.at)})") for each in found.notes.comments)


def chosen_words(params: Mapping[str, object]) -> str:
    """Returns parameters with a plain value, numbers first, by the last part of their names, and how many more there
    are.
    """
    told = {name.rpartition("__")[2]: str(value) for name, value in params.items() if _is_plain(str(value))}
    first = sorted(told.items(), key=lambda item: not item[1].replace(".", "").isdigit())[:MAX_PARAMS]
    rest = len(params) - len(first)
    return ", ".join([*(f"{name}={value}" for name, value in first), *([f"{rest} more: --json"] if rest else [])])


def _is_plain(value: str) -> bool:
    """Whether a value is short, and neither a trivial default nor an object that prints itself."""
    silent = value in ("None", "False", "True")
    return not silent and len(value) <= MAX_PARAM_CHARS and not any(mark in value for mark in "(<\n")


def _devices(found: VersionDetail) -> str:
    if not found.devices:
        return f"none has it; edgeward model check {found.model}@{found.release} says which can"
    named = ", ".join(found.devices[:MAX_DEVICES])
    more = len(found.devices) - MAX_DEVICES
    return f"{named}{f', and {more} more' if more > 0 else ''}"


def _failed(found: VersionDetail) -> list[Gate]:
    return [each for each in found.gates if not each.passed and each.waiver is None]
