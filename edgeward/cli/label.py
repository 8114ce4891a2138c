"""`edgeward label next | give`: rows that people are asked to label, and their labels.

Decides how a row is named: MODEL/ID, so that an id alone says to which model it belongs. Refuses to know which rows are
asked for.
"""

from pathlib import Path

import click
from rich.text import Text

from contract.errors import BadInput, Code
from edgeward.answers.drift import LabelsWanted
from edgeward.answers.table import Table
from edgeward.cli.render import console, json_option, many, print_json, table, tell
from edgeward.client import Client

MAX_CELLS_CHARS = 160
"""Characters of a row's inputs in the list; all of them are in --csv and --json."""


@click.group()
def label() -> None:
    """Give captured rows their true answers: 20 a day keep the quality estimate valid."""


@label.command(name="next")
@click.argument("model")
@click.option(
    "--csv", "file", type=click.Path(dir_okay=False, path_type=Path), help="The file to write and to fill in."
)
@json_option
def next_(model: str, *, file: Path | None, as_json: bool) -> None:
    """Print the rows of MODEL that need a label today."""
    found = Client().labels_wanted(model)
    if as_json:
        print_json(found.plain)
        return
    if file is not None:
        Table([found]).to_frame().to_csv(file, index=False)
        tell(
            f"{many(len(found.rows), 'row')} in {file}: fill in the column label, then edgeward label give --csv {file}"
        )
        return
    if not found.rows:
        tell(_why_none(found))
        return
    rows = [
        (f"{model}/{each.id}", each.why, each.row.value, _confidence(each.row.confidence), _cells(each.row.inputs))
        for each in found.rows
    ]
    console.print(
        table(
            f"{many(len(rows), 'row')} {'needs' if len(rows) == 1 else 'need'} a label today",
            ("id", "why", "answered", "sure", "inputs"),
            rows,
        )
    )
    tell(f"next: edgeward label give {model}/{found.rows[0].id} LABEL")


@label.command()
@click.argument("row", required=False)
@click.argument("value", required=False)
@click.option(
    "--csv", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the columns id and label, as `label next --csv` writes it.",
)  # fmt: skip
@click.option("--model", "whose", default="", help="The model of the rows, if the ids in the file are numbers only.")
@json_option
def give(row: str | None, value: str | None, *, file: Path | None, whose: str, as_json: bool) -> None:
    """Say that VALUE is the true answer of ROW, as in `label give weather/812 rain`.

    A file may also be what `edgeward model captured` has written, with a column label added: then name the --model.
    """
    if (file is None) == (row is None) or (row is not None and value is None):
        raise BadInput(Code.REQUEST_INVALID, "expected MODEL/ID and a label, or --csv FILE")
    pairs = _from_file(file) if file is not None else [(str(row), str(value))]
    by_model: dict[str, dict[int, str | float]] = {}
    for name, text in pairs:
        model, number = split_row(f"{whose}/{name}" if whose and name.isdigit() else name)
        by_model.setdefault(model, {})[number] = text
    client, labelled = Client(), {}
    for model, labels in by_model.items():
        labelled[model] = count = client.label(model, labels)
        if not as_json:
            console.print(Text(f"{count} of {len(labels)} rows of {model} have a label now"))
    if as_json:
        print_json({"labelled": labelled})
    elif not by_model:
        console.print(Text(f"{file} has no label yet"))


def split_row(text: str) -> tuple[str, int]:
    """(model, id) of `MODEL/ID`. BadInput `request_invalid`."""
    model, _, number = text.partition("/")
    if not model or not number.isascii() or not number.isdigit() or len(number) > 15:
        raise BadInput(Code.REQUEST_INVALID, f"{text[:80]!r}: expected MODEL/ID, as `edgeward label next` prints it")
    return model, int(number)


def _from_file(file: Path) -> list[tuple[str, str]]:
    """(row, label) of a file; rows with an empty label are left out."""
    import pandas as pd  # 0.4 s to import: only for tables

    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise BadInput(Code.REQUEST_INVALID, f"{file}: {error}"[:300]) from None
    if not {"id", "label"} <= set(rows.columns):
        raise BadInput(Code.REQUEST_INVALID, f"{file}: expected the columns id and label")
    return [(str(name), str(text)) for name, text in zip(rows["id"], rows["label"], strict=True) if str(text).strip()]


def _why_none(found: LabelsWanted) -> str:
    if found.given_today >= found.per_day:
        return f"Done for today: {found.given_today} labels of {found.model} were given. Thank you."
    if not found.captured:
        return (
            f"No device has kept a row of {found.model} in the newest two days. Devices keep rows by [[capture]]\n"
            "in their own configuration: rate for a random part, below_confidence for unsure rows."
        )
    return f"All {found.captured} rows of {found.model} that devices kept in the newest two days have a label."


def _confidence(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cells(inputs: dict[str, float | int | bool | str | None]) -> str:
    cells = ", ".join(
        f"{name} {cell:.5g}" if isinstance(cell, float) else f"{name} {cell}" for name, cell in inputs.items()
    )
    return cells if len(cells) <= MAX_CELLS_CHARS else f"{cells[: MAX_CELLS_CHARS - 1]}…"
