"""Misuse of the client gives an error with the name of the argument, before anything is sent or written."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import edgeward
from contract.errors import BadInput, Code
from edgeward import arguments
from edgeward.cli.main import cli
from edgeward.cli.toml_place import told_by_line
from edgeward.client import Client

FRAME = pd.DataFrame({"a": [1.0]})


def unlinked() -> Client:
    """A client that would fail with AttributeError if it sent anything."""
    return Client.__new__(Client)


def words_of(call: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(BadInput) as error:
        call(*given, **named)
    assert error.value.code == Code.REQUEST_INVALID
    return error.value.detail


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"metrics": [("acc", 0.9)]}, 'metrics is a list: pass a dict, such as {"accuracy": 0.9}'),
        ({"metrics": {"acc": "0.9"}}, "metrics['acc'] is '0.9', of type str: pass a number"),
        ({"held_out": FRAME}, "held_out is a DataFrame: pass rows with their labels, HeldOut(rows, labels)"),
        ({"tags": {"experiment": 42}}, "tags['experiment'] is 42, of type int: pass a text, such as '42'"),
        ({"tags": {7: "x"}}, "a name in tags is 7, of type int: pass a text"),
        ({"gates": {"bias": 1}}, "gates['bias'] is 1, of type int: pass a function of (model, held-out rows)"),
        ({"variants": "fp16"}, "variants is 'fp16', of type str: pass several"),
        ({"variants": [16]}, "variants[0] is 16, of type int"),
        ({"licence": None}, "licence is None, of type NoneType: pass a text"),
        ({"parent": 1.5}, "parent is 1.5, of type float: pass a number, or a text"),
        ({"waive_rows": True}, "waive_rows is True, of type bool: pass a text"),
        ({"run": "a"}, "run is 'a', of type str: pass the run of"),
        ({"retraining": 3}, "retraining is 3"),
        ({"training_s": "3"}, "training_s is '3'"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_push_names_an_invalid_argument(named: dict[str, Any], words: str) -> None:
    assert words in words_of(unlinked().push, b"", name="m", sample=FRAME, **named)


@pytest.mark.parametrize("call", ["plan", "rollout"])
@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"release": 1.0}, "release is 1.0, of type float"),
        ({"strategy": ["canary"]}, "strategy is a list: pass a dict"),
        ({"selector": "site=oslo"}, 'selector is \'site=oslo\', of type str: pass a dict, such as {"site": "oslo"}'),
        ({"selector": {"floor": 3}}, "selector['floor'] is 3, of type int: pass a text, such as '3'"),
        ({"again": "no"}, "again is 'no', of type str: pass True or False"),
        ({"schedule": ["08:00"]}, "schedule is a list"),
    ],
)
def test_a_plan_and_a_rollout_name_an_invalid_argument(call: str, named: dict[str, Any], words: str) -> None:
    assert words in words_of(getattr(unlinked(), call), "m", **named)


def test_a_run_names_an_invalid_argument(tmp_path: Path) -> None:
    with edgeward.run("r", directory=tmp_path) as opened:
        assert "value is '0.9', of type str" in words_of(opened.log_metric, "acc", "0.9")
        assert "metrics is a list" in words_of(opened.log_metrics, [("acc", 0.9)])
        assert "step is 1.5" in words_of(opened.log_metric, "acc", 0.9, 1.5)
        assert "params is a list" in words_of(opened.log_params, [1])
        assert "tags['experiment'] is 42" in words_of(opened.tag, {"experiment": 42})
        assert "number is 1.5" in words_of(opened.seed, 1.5)
        assert "content is 3, of type int: pass bytes, or the path of a file" in words_of(opened.artifact, 3)
        assert "name is 3" in words_of(opened.log_data, FRAME, 3)
        assert "name is 3" in words_of(opened.log_model, b"", 3)
        opened.log_metrics({"acc": np.float32(0.5), "loss": np.int64(1)}, step=1)
        assert opened.record.metrics == {"acc": 0.5, "loss": 1.0}


def test_numbers_of_numpy_are_accepted_as_numbers() -> None:
    for good in (1, 0.5, np.float32(1), np.int64(1), np.array(0.5)):
        arguments.number("value", good)


def test_invalid_hours_name_their_option_and_no_file(tmp_path: Path) -> None:
    strategy = tmp_path / "mine.toml"
    strategy.write_text("soak_s = 60\n")
    found = CliRunner().invoke(cli, ["rollout", "plan", "m", "--strategy", str(strategy), "--hours", "noon"])
    assert found.exit_code == 2
    assert "Invalid value for '--hours': hours 'noon': write" in found.output
    assert "mine.toml" not in found.output
    with pytest.raises(BadInput, match=r"^strategy_invalid: schedule: it ends"), told_by_line(strategy):
        raise BadInput(Code.STRATEGY_INVALID, "schedule: it ends before it begins")
    with pytest.raises(BadInput, match=r"mine\.toml:1: soak_s is too long"), told_by_line(strategy):
        raise BadInput(Code.STRATEGY_INVALID, "soak_s is too long")
