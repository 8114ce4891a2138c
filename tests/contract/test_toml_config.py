"""An error in a configuration names its line."""

from pathlib import Path

import msgspec
import pytest

from contract.errors import BadInput, Code
from contract.toml_config import decode_toml
from firmware_sim.scenario import Scenario, encode_scenario, load_scenario

SCENARIOS = sorted((Path(__file__).parents[2] / "configs" / "scenarios").glob("*.toml"))
TEXT = """# a scenario
name = "s"
hours = 1.0
devices = 5
heal_at_s = 60.0

[network]
loss = 0.1

[[release]]
at_s = 1.0
behaviour = "good"

[[release]]
at_s = 2.0
behaviour = "good"

[[stratum]]
name = "a"
[stratum.sensor]
noise = 0.1

[strategy]
name = "x"
[[strategy.waves]]
percent = 10
[[strategy.waves]]
percent = 100
"""


@pytest.mark.parametrize(
    ("line", "wrong", "said"),
    [
        (4, "devices = 0", "`int` >= 1"),
        (8, "loss = 2.0", "$.network.loss"),
        (8, "lost = 0.1", "lost"),
        (16, 'behaviour = "great"', "great"),
        (20, "[stratum.sensors]", "sensors"),
        (21, "noise = -1", "noise"),
        (28, "percent = 200", "percent"),
        (26, "serve_at = 1", "serve_at"),
    ],
)
def test_an_error_names_its_line(line: int, wrong: str, said: str) -> None:
    lines = TEXT.splitlines()
    lines[line - 1] = wrong
    with pytest.raises(BadInput) as caught:
        decode_toml("\n".join(lines), Scenario, "s.toml")
    assert caught.value.code == Code.CONFIG_INVALID
    assert caught.value.detail.startswith(f"s.toml:{line}: ")
    assert said in caught.value.detail


def test_a_missing_key_names_its_table() -> None:
    with pytest.raises(BadInput, match=r"^config_invalid: s.toml:14: .*missing required field `at_s`"):
        decode_toml(TEXT.replace("at_s = 2.0\n", ""), Scenario, "s.toml")


def test_invalid_toml_is_reported_with_its_place() -> None:
    with pytest.raises(BadInput, match="line 3"):
        decode_toml("a = 1\nb = 2\nc = ]", Scenario, "s.toml")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_written_as_toml_reads_back_the_same(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    copy = tmp_path / "copy.toml"
    copy.write_bytes(encode_scenario(msgspec.structs.replace(scenario)))
    assert load_scenario(copy) == scenario
