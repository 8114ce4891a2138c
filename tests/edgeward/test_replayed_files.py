"""The sensors that `edgeward device config --replay` writes: one for each file, refused if a file is unusable."""

import tomllib
from pathlib import Path

import pytest

from contract.errors import BadInput
from edgeward.cli.device import MAX_NAMED_COLUMNS, _sensors


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    shop, cancer = tmp_path / "shop.csv", tmp_path / "cancer.csv"
    shop.write_text("price,label\n1,yes\n")
    cancer.write_text("mean radius,label\n2,0\n")
    return shop, cancer


def test_each_replayed_file_becomes_a_sensor(files: tuple[Path, Path]) -> None:
    shop, cancer = files
    text = _sensors((f"shop={shop}", f"cancer={cancer}"), "label")
    sensors = tomllib.loads(text)["sensor"]
    assert [(each["model"], each["path"]) for each in sensors] == [("shop", str(shop)), ("cancer", str(cancer))]
    assert {each["label"] for each in sensors} == {"label"}


def test_a_label_that_a_file_lacks_is_refused_with_its_columns(files: tuple[Path, Path]) -> None:
    with pytest.raises(BadInput, match=r"--label labl: .*shop.csv has no such column, but price, label"):
        _sensors((f"shop={files[0]}",), "labl")
    files[0].write_text(",".join(f"c{number}" for number in range(500)))
    with pytest.raises(BadInput) as caught:
        _sensors((f"shop={files[0]}",), "labl")
    assert caught.value.detail.endswith(f"c{MAX_NAMED_COLUMNS - 1}")


@pytest.mark.parametrize(
    ("replays", "words"),
    [(("shop.csv",), "expected MODEL=FILE"), (("shop=none.csv",), "there is no file none.csv")],
    ids=["no model", "no file"],
)
def test_a_replay_that_names_no_model_or_no_file_is_refused(replays: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        _sensors(replays, "")


def test_two_files_of_one_model_are_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(BadInput, match="name each model once"):
        _sensors((f"shop={files[0]}", f"shop={files[1]}"), "")
