"""Writes the pages that repeat the code: error codes, the Python client, the schema of a strategy, the update machine.

Run as ``python docs/generate.py``. `tests/test_docs.py` compares each page with this output. Refuses to know any
fact that is not in the code: other sentences are written by hand.
"""

import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import get_args

import msgspec

from contract.errors import Code
from controller.rollout.model import Strategy
from edgeward.client import Client
from edgeward.rollout_handle import RolloutHandle

ROOT = Path(__file__).parents[1]
PHASES = ("Steady", "Fetching", "Probing", "Ready", "Trial")


def codes() -> str:
    """Returns the reference of error codes, made from the comments beside them in contract/errors.py."""
    text = (ROOT / "contract" / "errors.py").read_text()
    rows = [
        "# Error codes",
        "",
        "Made from `contract/errors.py`; `tests/test_docs.py` holds it equal.",
        "",
        "| code | what to do |",
        "|---|---|",
    ]
    for code in Code:
        line = next(line for line in text.splitlines() if f'= "{code}"' in line)
        rows.append(f"| `{code}` | {line.partition('#')[2].strip()} |")
    return "\n".join(rows) + "\n"


def strategy_schema() -> str:
    """Returns the JSON schema by which an editor completes and checks a strategy."""
    found = msgspec.json.schema(Strategy)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **found}, indent=1) + "\n"


def python_client() -> str:
    """Returns the reference of the Python client: every call, its answer, and the first line of its docstring."""
    return _CLIENT.format(client="\n".join(_calls(Client)), rollout="\n".join(_calls(RolloutHandle)))


def _calls(kind: type) -> list[str]:
    found = {name: call for each in kind.__mro__ for name, call in vars(each).items()}
    methods = {name: call for name, call in found.items() if callable(call) and not name.startswith("_")}
    return [f"| `{name}` | {_answered(call)} | {_sentence(call)} |" for name, call in methods.items()]


def _answered(call: Callable[..., object]) -> str:
    return "nothing" if call.__annotations__["return"] is None else f"`{_plain_name(call.__annotations__['return'])}`"


def _plain_name(kind: object) -> str:
    inner = [_plain_name(each) for each in get_args(kind)]
    name = getattr(kind, "__name__", str(kind))
    return f"{name}[{', '.join(inner)}]" if inner else name


def _sentence(call: Callable[..., object]) -> str:
    return " ".join((inspect.getdoc(call) or "").partition("\n\n")[0].split())


class Edge(msgspec.Struct, frozen=True, order=True):
    """One way in which an event moves the machine, for any version."""

    before: str
    event: str
    after: str
    commands: tuple[str, ...]
    outcome: str
    """The outcome of an update that the record newly holds; empty if there is none."""


def update_machine() -> str:
    """Returns the update machine as a diagram and a table, from the steps that the tests of its laws enumerate."""
    laws = _load(ROOT / "tests" / "agent" / "test_machine_laws.py")
    graph = laws.reachable()
    boots = _sorted(_boot(state, laws.machine.resume(state.record, laws.NOW)) for state in graph)
    edges = _sorted(edge for state, steps in graph.items() for edge in _edges(state, steps))
    return _PAGE.format(
        states=len(graph),
        events=len(laws.EVENTS),
        phases="\n".join(f"| {phase} | {_first_line(laws, phase)} |" for phase in PHASES),
        diagram="\n".join(_arrows(boots) + _arrows(edges)),
        table="\n".join(map(_row, boots + edges)),
    )


def _edges(state: msgspec.Struct, steps: list) -> list[Edge]:
    return [
        _edge(type(state).__name__, _named(event), before=state, after=after, commands=commands)
        for event, (after, commands) in steps
        if after != state or commands
    ]


def _boot(state: msgspec.Struct, step: tuple) -> Edge:
    after, commands = step
    return _edge("power-up", "boot", before=state, after=after, commands=commands)


def _edge(name: str, event: str, *, before: msgspec.Struct, after: msgspec.Struct, commands: tuple) -> Edge:
    ended = after.record.outcome  # type: ignore[attr-defined]
    new = ended is not None and ended != before.record.outcome  # type: ignore[attr-defined]
    outcome = ended.result + (f": {ended.code}" if ended.code in OWN_CODES else "") if new else ""
    return Edge(name, event, type(after).__name__, tuple(type(each).__name__ for each in commands), outcome)


OWN_CODES = {Code.BOOT_BUDGET_SPENT, Code.SUPERSEDED, Code.PROBE_TIMEOUT, Code.TRIAL_INCONCLUSIVE}
"""Codes that the machine itself gives; all others come with the event."""


def _named(event: msgspec.Struct) -> str:
    """Returns the kind of the event, with the field that decides which state follows."""
    match type(event).__name__:
        case "HealthJudged":
            return f"HealthJudged {event.verdict.value}"  # type: ignore[attr-defined]
        case "FetchFailed":
            return "FetchFailed, " + ("retryable" if event.retryable else "final")  # type: ignore[attr-defined]
        case name:
            return name


def _sorted(edges: Iterable[Edge]) -> list[Edge]:
    """Returns each edge once. A step that repeats a recorded outcome gets no separate row."""
    found = set(edges)
    told = {msgspec.structs.replace(edge, outcome="") for edge in found if edge.outcome}
    return sorted(found - told, key=_order)


def _order(edge: Edge) -> tuple[object, ...]:
    return (PHASES.index(edge.before) if edge.before in PHASES else -1, edge.event, PHASES.index(edge.after), edge)


def _arrows(edges: list[Edge]) -> list[str]:
    """Returns one arrow for each pair of different states, with all events that lead from one to the other."""
    found: dict[tuple[str, str], list[str]] = {}
    for edge in edges:
        if edge.before == edge.after:
            continue
        events = found.setdefault(("[*]" if edge.before == "power-up" else edge.before, edge.after), [])
        if edge.event not in events:
            events.append(edge.event)
    return [f"    {before} --> {after}: {'<br>'.join(events)}" for (before, after), events in found.items()]


def _row(edge: Edge) -> str:
    commands = ", ".join(f"`{name}`" for name in edge.commands) or "none"
    return f"| {edge.before} | {edge.event} | {edge.after} | {commands} | {edge.outcome} |"


def _first_line(laws: ModuleType, phase: str) -> str:
    return (getattr(laws, phase).__doc__ or "").splitlines()[0]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_PAGE = """\
# The update machine

Made from `agent/core/machine.py` by `docs/generate.py`; `tests/test_docs.py` holds it equal.
Each model on a device has one machine of its own: `step(state, event, now) -> (state, commands)`.
The rows below are all the steps that a search over {states} reachable states and {events} events finds.
A state and an event that have no row together change nothing.
Such an event came late, came twice, or is about another version.

| state | meaning |
|---|---|
{phases}

```mermaid
stateDiagram-v2
{diagram}
```

The diagram leaves out events after which the machine stays in its state; the table has them.
Commands are performed in their order, and `Save` is durable before the next command begins.
Where an event has several rows, the record and the time decide which row holds.
[The machine](../../agent/core/machine.py) shows how.

| state | event | next state | commands | newly recorded outcome |
|---|---|---|---|---|
{table}
"""

_CLIENT = """\
# The Python client

Made from `edgeward/client.py` by `docs/generate.py`; `tests/test_docs.py` holds it equal.

Answers are frozen values with the API's names as attributes. Times are datetimes with a zone.
`plain` gives the JSON that the controller sent. Several answers of a kind come as a `Table`. It is
a sequence that prints as a table. `to_frame()` makes a DataFrame of it, with times as Timestamps.
A key that a newer controller adds is ignored. A key that is missing is the error
`message_malformed`, which names it.

The package ships its types. A type checker knows `to_frame()` where `pandas-stubs` is installed.

## `Client`

| call | answers | what it is |
|---|---|---|
{client}

## `RolloutHandle`

| call | answers | what it is |
|---|---|---|
{rollout}
"""


def mistakes() -> str:
    """Returns the mistakes of a newcomer, from the table that the tests make."""
    return str(_load(ROOT / "tests" / "edgeward" / "mistakes.py").page())


def six_questions() -> str:
    """Returns six questions of an operator with the commands that answer them, run on a prepared fleet."""
    sys.path.insert(0, str(ROOT))
    return str(importlib.import_module("tests.edgeward.six_questions").page())


PAGES: dict[str, Callable[[], str]] = {
    "docs/guides/six-questions.md": six_questions,
    "docs/reference/codes.md": codes,
    "docs/reference/mistakes.md": mistakes,
    "docs/reference/python-client.md": python_client,
    "docs/reference/update-machine.md": update_machine,
    "configs/rollouts/strategy.schema.json": strategy_schema,
}
"""The function that makes each page, by its path."""

if __name__ == "__main__":
    for name, make in PAGES.items():
        (ROOT / name).write_text(make())
