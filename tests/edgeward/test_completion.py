"""Names that a shell completes, and times in the zone of the machine that shows them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from contract.errors import Code, WorldError
from edgeward.cli import completion
from edgeward.cli.main import cli
from edgeward.cli.render import when, zone
from edgeward.cli.times import moment_of

MODELS = SimpleNamespace(name="weather"), SimpleNamespace(name="wind")
FLEET = SimpleNamespace(
    models=lambda: MODELS,
    versions=lambda model: [SimpleNamespace(release=1), SimpleNamespace(release=2)],
    aliases=lambda model: [SimpleNamespace(alias="champion")],
    devices=lambda **asked: [SimpleNamespace(device="cam-1")],
    rollouts=lambda: [SimpleNamespace(id="r-1")],
    selectors=lambda: [SimpleNamespace(name="north")],
)


def offered(monkeypatch: pytest.MonkeyPatch, *words: str, fleet: Any = FLEET) -> list[str]:
    monkeypatch.setattr(completion, "Client", lambda: fleet)
    *before, typed = words
    return [each.value for each in ShellComplete(cli, {}, "edgeward", "X").get_completions(before, typed)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("model", "show", "we"), ["weather"]),
        (("model", "show", "weather@"), ["weather@champion", "weather@newest", "weather@1", "weather@2"]),
        (("rollout", "start", "w"), ["weather", "wind"]),
        (("rollout", "watch", ""), ["r-1"]),
        (("device", "show", "c"), ["cam-1"]),
        (("device", "tune", "x"), []),
        (("telemetry", "query", "we"), ["weather"]),
        (("device", "list", "--model", "wi"), ["wind"]),
        (("device", "retire", "--selector", ""), ["north"]),
    ],
)
def test_a_shell_completes_names_of_models_devices_and_rollouts(
    words: tuple[str, ...], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offered(monkeypatch, *words) == names


def test_an_unreachable_controller_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise WorldError(Code.CONTROLLER_UNREACHABLE)

    assert offered(monkeypatch, "model", "show", "we", fleet=SimpleNamespace(models=fail)) == []


@pytest.fixture
def in_oslo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_oslo")
def test_times_are_shown_and_read_in_the_time_zone_of_this_machine() -> None:
    noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert (when(noon), zone()) == ("2026-11-27 13:00", "CET")
    assert moment_of("2026-11-27T13:00", noon) == noon
