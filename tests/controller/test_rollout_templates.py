"""Rollout templates: kept with every revision, audited, held to scopes, and filled in where a start names nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.errors import BadInput
from controller.config import Config, StorageConfig
from controller.rollout.model import Strategy, Wave
from controller.rollout.schedule import ALWAYS, Schedule
from controller.state import State, open_state
from controller.trust.scope import Scope
from controller.verbs import scopes, templates, tokens
from tests.controller.test_api import call, deeds_of_people
from tests.controller.test_pins import ALL
from tests.controller.test_pins import state as fleet  # noqa: F401  # a fixture: two devices, two signed versions

SAVED = {"strategy": ALL, "selector": {"site": "north"}, "hours": ["mon-fri 08:00-16:00"], "note": "the usual one"}
CAREFUL = Strategy(name="careful", waves=(Wave(percent=100),))


def save(state: State, name: str = "usual", **changed: Any) -> tuple[int, Any]:
    return call(state, "PUT", f"/v1/rollout-templates/{name}", json={**SAVED, **changed})


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def test_each_save_is_a_revision_with_who_and_when_and_outlives_a_restart(empty: State, tmp_path: Path) -> None:
    assert save(empty)[1]["revision"] == 1
    assert save(empty, note="without hours", hours=[])[1]["revision"] == 2
    assert deeds_of_people(empty)[:2] == ["template save", "template save"]
    again = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    newest, first = call(again, "GET", "/v1/rollout-templates/usual")[1]
    assert (newest["revision"], newest["hours"], newest["by"]) == (2, [], "local:ada")
    assert (first["revision"], first["note"]) == (1, "the usual one")
    assert [each["revision"] for each in call(again, "GET", "/v1/rollout-templates")[1]] == [2]
    assert call(again, "DELETE", "/v1/rollout-templates/usual")[1]["revision"] == 2
    status, refused = call(again, "GET", "/v1/rollout-templates/usual")
    assert (status, refused["detail"]) == (422, "no template 'usual'; saved: none")
    again.close()


def test_only_the_newest_revisions_are_kept(empty: State) -> None:
    for _ in range(templates.MAX_REVISIONS + 2):
        templates.save(empty, "usual", CAREFUL, {}, (), note="", actor="ada")
    kept = [each.revision for each in templates.revisions(empty.store, "usual")]
    assert (kept[0], kept[-1], len(kept)) == (3, templates.MAX_REVISIONS + 2, templates.MAX_REVISIONS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "none"},
        {"strategy": {"name": "s", "waves": []}},
        {"hours": ["at night"]},
        {"selector": {"": "x"}},
        {"note": "x" * 501},
    ],
)
def test_what_no_rollout_could_use_is_not_saved(empty: State, wrong: dict[str, Any]) -> None:
    assert save(empty, **wrong)[0] == 422
    assert not templates.every(empty.store)


def test_what_a_start_names_wins_over_the_template(empty: State) -> None:
    save(empty)
    filled = templates.fill(empty.store, "usual", None, {}, ALWAYS)
    assert filled.strategy is not None
    assert (filled.strategy.name, filled.selector, filled.schedule.hours) == (
        "all", {"site": "north"}, ("mon-fri 08:00-16:00",)
    )  # fmt: skip
    own = templates.fill(
        empty.store, "usual", CAREFUL, {"site": "south"}, Schedule(not_after=9.0, hours=("sat 01:00-02:00",))
    )
    assert (own.strategy, own.selector, own.schedule.hours) == (CAREFUL, {"site": "south"}, ("sat 01:00-02:00",))
    assert templates.fill(empty.store, "", None, {}, ALWAYS).strategy is None
    with pytest.raises(BadInput, match="no template 'other'; saved: usual"):
        templates.fill(empty.store, "other", None, {}, ALWAYS)


def test_a_rollout_starts_from_a_template_and_the_audit_says_so(fleet: State) -> None:  # noqa: F811
    save(fleet, selector={}, hours=[])
    asked = {"model": "m", "template": "usual"}
    assert call(fleet, "POST", "/v1/rollouts/plan", json=asked)[1]["strategy"] == "all"
    started = call(fleet, "POST", "/v1/rollouts", json=asked)[1]
    assert (started["strategy"], started["devices"]) == ("all", 2)
    entry = next(each for each in call(fleet, "GET", "/v1/audit")[1] if each["action"] == "rollout start")
    assert entry["detail"].endswith("from template usual, revision 1 by local:ada")


def test_a_scope_holds_templates_and_what_is_started_by_them(fleet: State) -> None:  # noqa: F811
    north = Scope(labels={"site": "north"})
    save(fleet, "everywhere", selector={})
    _, token = tokens.create_token(fleet, "lena", ("operator",), days=1, actor="test", scope=north)
    headers = {"Authorization": f"Bearer {token}"}
    saved = {"strategy": "canary", "selector": {"site": "north"}}
    assert call(fleet, "PUT", "/v1/rollout-templates/mine", headers=headers, json=saved)[0] == 200
    assert (
        call(fleet, "PUT", "/v1/rollout-templates/everywhere", headers=headers, json=saved)[1]["code"]
        == "outside_scope"
    )
    assert call(fleet, "DELETE", "/v1/rollout-templates/everywhere", headers=headers)[1]["code"] == "outside_scope"
    for name, code in (("everywhere", "outside_scope"), ("mine", "selector_empty")):
        asked = {"model": "m", "template": name}
        assert call(fleet, "POST", "/v1/rollouts", headers=headers, json=asked)[1]["code"] == code
    assert scopes.template(fleet, Scope(models=("m",)), "everywhere", {}) == "", "a template is about no model"
